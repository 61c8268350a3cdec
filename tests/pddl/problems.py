"""Small problems in the wording of AgentBoard's files."""

from __future__ import annotations

from itertools import pairwise


def gripper(number: int) -> str:
    balls = [f"ball{n}" for n in range(1, number + 2)]
    kinds = " ".join(f"(ball {ball})" for ball in balls)
    places = " ".join(f"(at {ball} rooma)" for ball in balls)
    goals = " ".join(f"(at {ball} roomb)" for ball in balls)
    return f"""(define (problem carry-{number}) (:domain gripper-strips)
      (:objects rooma roomb {" ".join(balls)} left right)
      (:init (room rooma) (room roomb) (gripper left) (gripper right) {kinds}
             (at-robby rooma) (free left) (free right) {places})
      (:goal (and {goals})))"""


def blockworld(number: int) -> str:
    blocks = [f"b{n}" for n in range(1, number + 3)]
    stands = " ".join(f"(on-table {block}) (clear {block})" for block in blocks)
    goals = " ".join(f"(on {a} {b})" for a, b in pairwise(blocks))
    return f"""(define (problem tower-{number})
      (:domain blocksworld-4ops)
      (:objects {" ".join(blocks)} )
      (:init (arm-empty) {stands}) (:goal (and {goals})))"""


def barman(number: int) -> str:
    shots = [f"shot{n}" for n in range(1, number % 2 + 3)]
    stands = " ".join(f"(ontable {c}) (clean {c}) (empty {c})" for c in ["shaker1", *shots])
    return f"""(define (problem prob) (:domain barman)
      (:objects shaker1 - shaker left right - hand {" ".join(shots)} - shot
        ingredient1 ingredient2 - ingredient cocktail1 - cocktail
        dispenser1 dispenser2 - dispenser l0 l1 l2 - level)
      (:init {stands} (handempty left) (handempty right)
        (dispenses dispenser1 ingredient1) (dispenses dispenser2 ingredient2)
        (shaker-empty-level shaker1 l0) (shaker-level shaker1 l0) (next l0 l1) (next l1 l2)
        (cocktail-part1 cocktail1 ingredient1) (cocktail-part2 cocktail1 ingredient2))
      (:goal (and (contains shot1 cocktail1) (contains shot2 ingredient{number % 2 + 1}))))"""


def tyreworld(number: int) -> str:
    numbers = range(1, number % 3 + 2)
    init = " ".join(
        f"(intact r{n}) (in r{n} boot) (not-inflated r{n}) (on w{n} the-hub{n}) "
        f"(on-ground the-hub{n}) (tight nuts{n} the-hub{n}) (fastened the-hub{n})"
        for n in numbers
    )
    return f"""(define (problem tyreworld-{number}) (:domain tyreworld)
      (:objects wrench jack pump - tool
        {" ".join(f"the-hub{n}" for n in numbers)} - hub
        {" ".join(f"nuts{n}" for n in numbers)} - nut boot - container
        {" ".join(f"r{n} w{n}" for n in numbers)} - wheel)
      (:init (in jack boot) (in pump boot) (in wrench boot) (unlocked boot) (closed boot) {init})
      (:goal (and (on r1 the-hub1) (inflated r1) (in w1 boot))))"""


MAKERS = {"gripper": (gripper, "prob{:02}", 20), "blockworld": (blockworld, "problem{}", 10),
          "barman": (barman, "p{:02}", 20), "tyreworld": (tyreworld, "p{:02}", 10)}  # fmt: skip
DIFFICULTY = [("hard" if n % 3 else "easy") for n in range(60)]
