"""Gripper: a robot with grippers carries balls between rooms."""

from __future__ import annotations

from collections import Counter
from random import Random

from .game import Draft, Game
from .words import Phrase, Words, natural
from .world import World

WORDS = Words(
    intro="This is gripper: a robot carries balls between rooms, and you are the robot.",
    phrases={
        "at-robby": Phrase("you are in {0}"),
        "carry": Phrase("the {1} gripper holds {0}"),
        "free": Phrase("the {0} gripper is free", "the {0} grippers are free"),
        "at": Phrase("{0} is in {1}", "{0} are in {1}"),
    },
    forms={
        "move": "move from {from} to {to}",
        "pick": "pick up {b} in {r} with {g} gripper",
        "drop": "drop {b} in {r} from {g} gripper",
    },
)

# Rooms and balls by size.
_SIZES = {"easy": (2, 3, 3, 4), "medium": (3, 3, 5, 7), "hard": (3, 4, 8, 11)}


def _draw(rng: Random, size: str) -> Draft:
    fewest_rooms, most_rooms, fewest, most = _SIZES[size]
    rooms = [f"room{letter}" for letter in "abcd"[: rng.randint(fewest_rooms, most_rooms)]]
    balls = [f"ball{number}" for number in range(1, rng.randint(fewest, most) + 1)]
    grippers = ["left", "right"]
    while True:
        places = {ball: rng.choice(rooms) for ball in balls}
        targets = {ball: rng.choice(rooms) for ball in balls}
        if sum(places[ball] != targets[ball] for ball in balls) * 2 >= len(balls):
            break
    return Draft(
        objects={
            **dict.fromkeys(rooms, "room"),
            **dict.fromkeys(balls, "ball"),
            **dict.fromkeys(grippers, "gripper"),
        },
        init=(
            ("at-robby", rng.choice(rooms)),
            *(("free", gripper) for gripper in grippers),
            *(("at", ball, room) for ball, room in places.items()),
        ),
        goal=tuple(("at", ball, room) for ball, room in targets.items()),
    )


def _solve(world: World) -> None:
    """Fill the grippers with what must leave the room, go where most of it belongs, unload."""
    targets = {ball: room for _, ball, room in world.wants("at")}
    kept = {ball for _, ball, _ in world.wants("carry")}
    while True:
        here = _here(world)
        for _, ball, gripper in world.find("carry"):
            if ball not in kept and targets.get(ball, here) == here:
                world.do("drop", ball, here, gripper)
        misplaced = {
            ball: room
            for _, ball, room in world.find("at")
            if ball not in kept and targets.get(ball, room) != room
        }
        for ball in _to_pick(misplaced, targets, here):
            free = world.find("free")
            if free:
                world.do("pick", ball, here, free[0][1])
                del misplaced[ball]
        loads = Counter(targets[ball] for _, ball, _ in world.find("carry") if ball in targets)
        loads.pop(here, None)
        waiting = Counter(room for room in misplaced.values() if room != here)
        options = loads or waiting
        if not options:
            _finish(world, kept)
        target = min(options, key=lambda r: (-options[r], -waiting[r], natural(r)))
        world.do("move", here, target)


def _here(world: World) -> str:
    places = world.find("at-robby")
    return places[0][1] if places else world.stuck()


def _to_pick(misplaced: dict[str, str], targets: dict[str, str], here: str) -> list[str]:
    """The balls to take along from here, those with company on their way first."""
    balls = [ball for ball, room in misplaced.items() if room == here]
    company = Counter(targets[ball] for ball in balls)
    return sorted(balls, key=lambda b: (-company[targets[b]], natural(targets[b]), natural(b)))


def _finish(world: World, kept: set[str]) -> None:
    """Whatever a goal may ask for when all balls are in place."""
    for _, ball, gripper in world.wants("carry"):
        if ball in kept and not world.has("carry", ball, gripper):
            room = world.value("at", ball)
            if room is None:
                world.stuck()
            _go(world, room)
            world.do("pick", ball, room, gripper)
    for _, room in world.wants("at-robby"):
        _go(world, room)
    world.stuck()


def _go(world: World, room: str) -> None:
    here = _here(world)
    if here != room:
        world.do("move", here, room)


GRIPPER = Game("gripper", WORDS, _draw, _solve)
