"""The native engine: what it says and does, in cases small enough to check by reading."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.alfworld import text
from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.game import Game
from agemem_eval.envs.alfworld.problem import parse_problem

KITCHEN = (Path(__file__).parent / "golden" / "kitchen.pddl").read_text(encoding="utf-8")
GAME = Game(parse_problem(KITCHEN, "kitchen.pddl"), "put a clean, cool apple in fridge.")
WINNING = (
    "go to countertop 1", "take apple 1 from countertop 1", "go to sinkbasin 1",
    "clean apple 1 with sinkbasin 1", "go to fridge 1", "cool apple 1 with fridge 1",
    "open fridge 1", "move apple 1 to fridge 1",
)  # fmt: skip


def played(*commands: str) -> Engine:
    engine = Engine(GAME)
    for command in commands:
        engine.step(command)
        assert engine.valid, command
    return engine


def test_intro() -> None:
    # drawer 1 is nowhere, so nobody sees it
    assert Engine(GAME).reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a countertop 1, "
        "a drawer 3, a drawer 2, a fridge 1, a microwave 1, and a sinkbasin 1.\n\n"
        "Your task is to: put a clean, cool apple in fridge."
    )


def test_intro_at_a_receptacle() -> None:
    start = KITCHEN.replace("(atLocation agent1 loc_bar_0)", "(atLocation agent1 loc_bar_4)")
    game = Game(parse_problem(start, "kitchen.pddl"), "rest.")
    assert "You are facing the drawer 3, and drawer 2. Next to it, you see nothing." in game.intro


def test_a_game_is_won_and_goes_on() -> None:
    engine = Engine(GAME)
    outcomes = []
    for command in WINNING:
        engine.step(command)
        outcomes.append(engine.won)
    assert outcomes == [False] * 7 + [True]
    engine.step("look")
    assert engine.won
    assert engine.step("take apple 1 from fridge 1").startswith("You pick up")
    assert not engine.won


@pytest.mark.parametrize(
    ("before", "command", "observation"),
    [
        (
            (),
            "look",
            "You are in the middle of a room. Looking quickly around you, you see nothing.",
        ),
        ((), "inventory", "You are not carrying anything."),
        (WINNING[:2], "inventory", "You are carrying: a apple 1."),
        (
            (),
            "go to countertop 1",
            "You arrive at countertop 1. On the countertop 1, you see a apple 1, a curtains , "
            "a keychain 1, and a knife 1.",
        ),
        ((), "go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed."),
        (
            ("go to fridge 1",),
            "open fridge 1",
            "You open the fridge 1. The fridge 1 is open. In it, you see a apple 2.",
        ),
        (("go to fridge 1", "open fridge 1"), "close fridge 1", "You close the fridge 1."),
        (("go to fridge 1",), "examine fridge 1", "The fridge 1 is closed."),
        (
            ("go to drawer 3",),
            "look",
            "You are facing the drawer 3, and drawer 2. Next to it, you see nothing.",
        ),
        (("go to countertop 1",), "take knife 1 from countertop 1",
         "You pick up the knife 1 from the countertop 1."),
        (WINNING[:3], "clean apple 1 with sinkbasin 1",
         "You clean the apple 1 using the sinkbasin 1."),
        (WINNING[:5], "cool apple 1 with fridge 1", "You cool the apple 1 using the fridge 1."),
        (WINNING[:7], "move apple 1 to fridge 1", "You move the apple 1 to the fridge 1."),
        (
            ("go to countertop 1", "take knife 1 from countertop 1"),
            "slice apple 1 with knife 1",
            "You sliced the apple 1 with the knife 1.",
        ),
        # through a closed door: the domain asks only where a thing is
        (("go to drawer 3",), "use desklamp 1", "You turn on the desklamp 1."),
        (("go to drawer 3", "use desklamp 1"), "use desklamp 1", "You turn on the desklamp 1."),
        (
            ("go to countertop 1", "take knife 1 from countertop 1", "go to fridge 1"),
            "slice apple 2 with knife 1",
            "You sliced the apple 2 with the knife 1.",
        ),
        (
            ("go to drawer 2", "take mug 1 from drawer 2"),
            "examine mug 1",
            "This is a normal mug 1. In it, you see a spoon 1.",
        ),
    ],
)  # fmt: skip
def test_observations(before: tuple[str, ...], command: str, observation: str) -> None:
    engine = played(*before)
    assert engine.step(command) == observation
    assert engine.valid


def test_help_names_every_verb() -> None:
    said = Engine(GAME).step("help")
    for verb in ("look", "inventory", "go", "open", "close", "take", "move", "examine", "use",
                 "heat", "clean", "cool", "slice"):  # fmt: skip
        assert f"\n  {verb}" in said


@pytest.mark.parametrize(
    ("before", "command"),
    [
        ((), ""),
        ((), "LOOK"),
        ((), "look around"),
        ((), "go to"),
        ((), "go to drawer 1"),  # is nowhere
        ((), "go to Fridge 1"),
        ((), "go  to fridge 1"),
        ((), "go to\u00a0fridge 1"),
        ((), "open fridge 1"),  # not there
        (("go to fridge 1",), "go to fridge 1"),  # there already
        (("go to drawer 3",), "go to drawer 2"),  # the same place
        (("go to fridge 1",), "close fridge 1"),  # closed already
        (("go to fridge 1",), "take apple 2 from fridge 1"),  # closed
        (("go to countertop 1",), "open countertop 1"),
        (("go to countertop 1",), "examine apple 1"),  # not held
        (("go to countertop 1",), "take apple 2 from countertop 1"),  # elsewhere
        (("go to countertop 1",), "take curtains  from fridge 1"),
        (("go to countertop 1",), "examine curtains "),  # blanks are stripped
        (WINNING[:2], "take knife 1 from countertop 1"),  # hands are full
        (WINNING[:2], "put apple 1 in/on countertop 1"),
        (WINNING[:5], "move apple 1 to fridge 1"),  # closed
        (WINNING[:5], "heat apple 1 with fridge 1"),
        (WINNING[:2], "slice apple 1 with apple 1"),
        (("go to countertop 1", "take knife 1 from countertop 1"),
         "slice apple 2 with knife 1"),  # elsewhere
        (("go to countertop 1", "take keychain 1 from countertop 1", "go to fridge 1",
          "open fridge 1"), "move keychain 1 to fridge 1"),  # does not belong there
    ],
)  # fmt: skip
def test_nothing_happens(before: tuple[str, ...], command: str) -> None:
    engine = played(*before)
    state, offers = repr(engine._state), engine.admissible()
    assert engine.step(command) == "Nothing happens."
    assert not engine.valid
    assert repr(engine._state) == state
    assert engine.admissible() == offers


def test_admissible_commands_are_sorted_as_text() -> None:
    engine = played("go to countertop 1", "take apple 1 from countertop 1")
    assert engine.admissible() == [
        "examine apple 1", "examine countertop 1", "go to drawer 2", "go to drawer 3",
        "go to fridge 1", "go to microwave 1", "go to sinkbasin 1", "help", "inventory", "look",
        "move apple 1 to countertop 1",
    ]  # fmt: skip


def test_what_changed_receptacle_within_reach_lies_beside_it() -> None:
    engine = played("go to drawer 2", "take mug 1 from drawer 2", "open drawer 3",
                    "move mug 1 to drawer 3")  # fmt: skip
    assert engine.step("look").endswith("Next to it, you see a mug 1.")
    for command in ("take mug 1 from drawer 3", "move mug 1 to drawer 2"):
        engine.step(command)
    # now it counts as taken from drawer 3
    assert engine.step("look").endswith("Next to it, you see a mug 1.")
    assert engine.contents("drawer 2") == ("keychain 1", "mug 1")


def test_a_thing_in_two_places_stays_in_the_other() -> None:
    engine = played("go to countertop 1", "take keychain 1 from countertop 1")
    assert engine.holding == "keychain 1"
    assert engine.places_of("keychain 1") == ("drawer 2",)
    engine = played("go to drawer 2", "take keychain 1 from drawer 2")
    assert engine.places_of("keychain 1") == ("countertop 1",)


def test_facts_by_name() -> None:
    engine = played(*WINNING[:6])
    assert engine.here == ("fridge 1",)
    assert engine.holding == "apple 1"
    assert engine.flags("apple 1") == {"clean", "cool"}
    assert engine.flags("apple 2") == {"clean"}
    assert engine.contents("fridge 1") == ("apple 2",)
    assert not engine.is_open("fridge 1")
    assert engine.is_open("countertop 1")
    assert engine.places_of("apple 1") == ()
    assert GAME.types["sinkbasin 1"] == "sinkbasintype"
    assert GAME.traits["desklamp 1"] == {"pickupable", "toggleable"}
    assert GAME.holdable["fridge 1"] == {"appletype"}


def test_heat_and_cold_drive_each_other_out() -> None:
    engine = played("go to countertop 1", "take apple 1 from countertop 1", "go to fridge 1",
                    "cool apple 1 with fridge 1", "go to microwave 1",
                    "heat apple 1 with microwave 1")  # fmt: skip
    assert engine.flags("apple 1") == {"hot"}
    assert engine.step("examine apple 1") == "This is a hot apple 1."


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (0, "There's nothing special about egg 1."),
        (text.CLEAN, "This is a clean egg 1."),
        (text.HOT, "This is a hot egg 1."),
        (text.COOL, "This is a cold egg 1."),
        (text.SLICED, "This is a sliced egg 1."),
        (text.CLEAN | text.HOT, "This is a hot and clean egg 1."),
        (text.CLEAN | text.COOL, "This is a cool and clean egg 1."),
        (text.CLEAN | text.SLICED, "This is a clean sliced egg 1."),
        (text.HOT | text.SLICED, "This is a hot sliced egg 1."),
        (text.COOL | text.SLICED, "This is a cool sliced egg 1."),
        (text.CLEAN | text.HOT | text.SLICED, "This is a hot and clean sliced egg 1."),
        (text.CLEAN | text.COOL | text.SLICED, "This is a cool and clean sliced egg 1."),
        (text.TOGGLED, "This egg 1 is on."),
        (text.TOGGLED | text.CLEAN, "This is a clean egg 1."),
    ],
)
def test_examined_things(flags: int, said: str) -> None:
    assert text.examined("egg 1", flags, toggleable=True, sliceable=True) == said


def test_listings() -> None:
    assert text.a_listing([]) == "nothing"
    assert text.a_listing(["x"]) == "a x"
    assert text.a_listing(["x", "y"]) == "a x, and a y"
    assert text.a_listing(["x", "y", "z"]) == "a x, a y, and a z"


def test_reset_forgets_everything() -> None:
    engine = played(*WINNING)
    assert engine.reset() == GAME.intro
    assert repr(engine._state) == repr(Engine(GAME)._state)
    assert (engine.won, engine.valid) == (False, True)


VOCABULARY = """go to take move from open close use examine heat cool clean slice with look help
    inventory apple 1 2 fridge countertop drawer 3 knife mug desklamp curtains"""
words = st.sampled_from(VOCABULARY.split())
lines = st.lists(words, max_size=7).map(" ".join) | st.text(max_size=40)


@settings(max_examples=200)
@given(st.lists(lines | st.integers(min_value=0), max_size=40))
def test_a_command_counts_if_and_only_if_it_is_admissible(plan: list[str | int]) -> None:
    engine = Engine(GAME)
    for wish in plan:
        offers = engine.admissible()
        assert offers == sorted(set(offers))
        command = wish if isinstance(wish, str) else offers[wish % len(offers)]
        state = repr(engine._state)
        observation = engine.step(command)
        assert engine.valid is (command.strip() in offers)
        if not engine.valid:
            assert observation == "Nothing happens."
            assert repr(engine._state) == state


def test_engines_share_a_game_and_nothing_else() -> None:
    expected = [(Engine.step(e, c), e.won) for e in [Engine(GAME)] for c in WINNING]
    found: list[bool] = []

    def play() -> None:
        for _ in range(50):
            engine = Engine(GAME)
            found.append([(engine.step(c), engine.won) for c in WINNING] == expected)

    threads = [threading.Thread(target=play) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 200
