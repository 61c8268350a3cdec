"""Problems: S-expressions, PDDL, display names and goals."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.game import Game
from agemem_eval.envs.alfworld.problem import display_names, parse_problem
from agemem_eval.envs.sexpr import MAX_DEPTH, parse_sexpr
from agemem_eval.harness.errors import DataError

KITCHEN = (Path(__file__).parent / "golden" / "kitchen.pddl").read_text(encoding="utf-8")
FACTS, _, _ = KITCHEN.partition("(:goal")

symbols = st.from_regex(r"[a-z_:=-][a-z0-9_.-]{0,8}", fullmatch=True)
trees = st.recursive(symbols, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=30)


def written(tree: object) -> str:
    return tree if isinstance(tree, str) else f"({' '.join(map(written, tree))})"  # type: ignore[arg-type, call-overload]


@given(st.lists(trees, max_size=5).map(tuple))
def test_sexpr_reads_what_was_written(tree: tuple[object, ...]) -> None:
    text = written(tree)
    assert parse_sexpr(text, "here") == tree
    assert parse_sexpr(f"; words\n {text.upper()} ; more ) words (\n", "here") == tree


@given(st.text(alphabet="() ;?-a\n\u00e9", max_size=60) | st.text(max_size=200))
def test_sexpr_refuses_all_else_by_name(text: str) -> None:
    try:
        outcome: object = parse_sexpr(text, "here")
    except DataError as error:
        outcome = error
    assert isinstance(outcome, tuple) or str(outcome).startswith("here: PDDL ")


def test_sexpr_variables_begin_at_the_question_mark() -> None:
    assert parse_sexpr("(a?b ?c)", "here") == ("a", "?b", "?c")


def test_sexpr_depth_is_bounded() -> None:
    deep = MAX_DEPTH * "(" + MAX_DEPTH * ")"
    assert parse_sexpr(deep, "here")
    with pytest.raises(DataError, match="deeper than"):
        parse_sexpr(f"({deep})", "here")
    with pytest.raises(DataError, match="deeper than"):
        parse_sexpr("(" * 1_000_000, "here")


def test_problem_keeps_file_order() -> None:
    problem = parse_problem(KITCHEN, "kitchen.pddl")
    assert problem.name == "kitchen"
    assert problem.objects["agent"] == ("agent1",)
    assert problem.objects["receptacle"][:2] == ("fridge_bar__plus_01", "microwave_bar__plus_02")
    assert problem.init[0] == ("atlocation", "agent1", "loc_bar_0")
    assert len(set(problem.init)) == len(problem.init)


def test_names_count_down_in_the_order_of_ids() -> None:
    names = display_names(parse_problem(KITCHEN, "kitchen.pddl"))
    assert names["drawer_bar__plus_04"] == "drawer 3"
    assert names["drawer_bar__plus_05"] == "drawer 2"
    assert names["drawer_bar__plus_07"] == "drawer 1"
    # "minus" sorts before "plus"
    assert names["apple_bar__minus_01_dot_00"] == "apple 2"
    assert names["apple_bar__plus_01_dot_00"] == "apple 1"
    assert names["sink_bar__plus_03_bar_sinkbasin"] == "sinkbasin 1"
    assert names["curtains"] == "curtains "


def test_things_without_facts_take_no_number() -> None:
    text = KITCHEN.replace("(:objects", "(:objects Drawer_bar__plus_99 - receptacle")
    names = display_names(parse_problem(text, "kitchen.pddl"))
    assert "drawer_bar__plus_99" not in names
    assert names["drawer_bar__plus_04"] == "drawer 3"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(:domain alfred)", "(:domain gripper)", "domain 'alfred'"),
        ("(define", "(defined", "does not begin"),
        ("(:goal", "(:goals", ":goal missing"),
        ("agent1 - agent", "agent1 - robot", "unknown type 'robot'"),
        ("agent1 - agent", "agent1 - agent agent1 - agent", "'agent1' is declared twice"),
        ("agent1 - agent", "agent1 -", "'-' in 'opened'|unknown type|declared"),
        ("agent1 - agent", "(agent1) - agent", "parentheses"),
        ("(atLocation agent1", "(flies agent1", "no fact 'flies"),
        ("(atLocation agent1 loc_bar_0)", "(atLocation agent1)", "no fact 'atlocation agent1'"),
        ("(atLocation agent1", "(atLocation agent2", "'agent2' in 'atlocation'"),
        ("(atLocation agent1", "(atLocation (agent1)", "parentheses"),
        ("(atLocation agent1 loc_bar_0)", "atLocation", "no fact"),
        ("(isCool ?o)", "(isFrozen ?o)", "no condition 'isfrozen"),
        ("(isCool ?o)", "(isCool ?o ?o)", "no condition"),
        ("(isCool ?o)", "(isCool pear)", "'pear' in the goal"),
        ("(isCool ?o)", "(isCool (pear))", "parentheses"),
        ("(isCool ?o)", "()", "no condition"),
        ("(isCool ?o)", "(not)", "'not' in the goal has 0"),
        ("(isCool ?o)", "(forall ?x (isCool ?x))", "no list of variables"),
        ("(isCool ?o)", "(checked ?r)", "'checked'"),
        ("))\n )\n)", "))\n )", "before its parentheses"),
        ("Mug_bar__plus_05_dot_00", "Mug_x_bar__plus_05_dot_00", "cannot make a name"),
    ],
)
def test_a_bad_problem_is_named(old: str, new: str, message: str) -> None:
    assert old in KITCHEN
    with pytest.raises(DataError, match=message) as caught:
        Game(parse_problem(KITCHEN.replace(old, new), "bad.pddl"), "do.")
    assert str(caught.value).startswith("bad.pddl: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ("(holds agent1 Curtains)", "empty hands"),
        ("(atLocation agent1 loc_bar_1)", "one agent at one location"),
        ("(receptacleAtLocation Fridge_bar__plus_01 loc_bar_2)", "two locations"),
    ],
)
def test_a_start_that_cannot_be_played_is_refused(fact: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Game(parse_problem(KITCHEN.replace("(:init", f"(:init {fact}"), "bad.pddl"), "do.")


GOALS = [
    # (goal, holds at the start, holds after COMMANDS)
    ("(and)", True, True),
    ("(or)", False, False),
    ("(holdsAny agent1)", False, True),
    ("(exists (?o - object) (and (holds agent1 ?o) (objectType ?o AppleType)))", False, True),
    ("(forall (?o - object) (not (holds agent1 ?o)))", True, False),
    ("(opened Drawer_bar__plus_05)", True, True),
    ("(imply (opened Drawer_bar__plus_05) (opened Fridge_bar__plus_01))", False, True),
    ("(imply (opened Drawer_bar__plus_04) (opened Drawer_bar__plus_07))", True, True),
    ("(or (opened Drawer_bar__plus_04) (atLocation agent1 loc_bar_1))", False, True),
    ("(exists (?o - object) (and (objectType ?o AppleType) (isCool ?o)))", False, True),
    ("(forall (?o - object) (imply (objectType ?o AppleType) (isClean ?o)))", False, True),
    ("(objectAtLocation Apple_bar__minus_01_dot_00 loc_bar_1)", True, False),
    ("(exists (?o - object ?r - receptacle) (and (inReceptacle ?o ?r) (isClean ?o)))", True, True),
    (
        "(exists (?o1 - object) (and (objectType ?o1 KeyChainType) (exists (?r1 - receptacle"
        " ?r2 - receptacle) (and (not (= ?r1 ?r2)) (inReceptacle ?o1 ?r1)"
        " (inReceptacle ?o1 ?r2)))))",
        True,
        True,
    ),
    ("(exists (?o - object) (and (= ?o curtains) (isSliced ?o)))", False, False),
    ("(isHot Fridge_bar__plus_01)", False, False),
    ("(exists (?x - location) (exists (?x - rtype) (canContain ?x AppleType)))", True, True),
]
COMMANDS = (
    "go to countertop 1", "take apple 1 from countertop 1", "go to sinkbasin 1",
    "clean apple 1 with sinkbasin 1", "go to fridge 1", "open fridge 1", "move apple 1 to fridge 1",
    "take apple 2 from fridge 1", "go to countertop 1", "move apple 2 to countertop 1",
    "go to fridge 1", "take apple 1 from fridge 1", "cool apple 1 with fridge 1",
)  # fmt: skip


@pytest.mark.parametrize(("goal", "before", "after"), GOALS)
def test_goals(goal: str, before: bool, after: bool) -> None:
    engine = Engine(Game(parse_problem(f"{FACTS}(:goal {goal}))", "goal.pddl"), "do."))
    assert engine.won is before
    for command in COMMANDS:
        engine.step(command)
        assert engine.valid, command
    # apple 2, clean from the start, lies on the counter; apple 1 is clean, cool and held
    assert engine.won is after
    engine.reset()
    assert engine.won is before


def test_a_free_variable_is_refused() -> None:
    with pytest.raises(DataError, match=r"\?x outside its quantifier"):
        Game(parse_problem(f"{FACTS}(:goal (isHot ?x)))", "goal.pddl"), "do.")


def test_a_goal_that_explodes_is_refused() -> None:
    names = " ".join(f"?v{i}" for i in range(8))
    body = " ".join(f"(isHot ?v{i})" for i in range(8))
    goal = f"(exists ({names} - object) (and {body}))"
    with pytest.raises(DataError, match="grounds to more than"):
        Game(parse_problem(f"{FACTS}(:goal {goal}))", "goal.pddl"), "do.")
