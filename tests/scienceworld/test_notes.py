"""Reading ScienceWorld's texts: what the explorer and the oracle know of them, without Java."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.envs.scienceworld import env
from agemem_eval.envs.scienceworld import explorer as explorer_module
from agemem_eval.envs.scienceworld.explorer import Explorer
from agemem_eval.envs.scienceworld.instructions import INSTRUCTIONS
from agemem_eval.envs.scienceworld.notes import Notes, names
from agemem_eval.envs.scienceworld.oracle import Oracle, room_of

HALL = """This room is called the hallway. In it, you see:
\tthe agent
\ta substance called air
\ta drawing
\ta counter. On the counter is: a bowl (containing a red apple, a banana), a drawer.
\ta cupboard. The cupboard door is closed.
You also see:
\tA door to the bedroom (that is open)
\tA door to the kitchen (that is closed)"""
KITCHEN = """This room is called the kitchen. In it, you see:
\tthe agent
\ta thermometer, currently reading a temperature of 10 degrees celsius
You also see:
\tA door to the bathroom (that is open)
\tA door to the hallway (that is open)"""


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a cupboard. The cupboard door is closed. ", ["cupboard"]),
        ("a glass jar (containing a substance called sodium chloride)",
         ["glass jar", "sodium chloride"]),
        ("a table. On the table is: a battery, a green light bulb, which is off, a red wire.",
         ["table", "battery", "green light bulb", "red wire"]),
        ("a self watering flower pot 5 (containing a pear tree in the adult stage. "
         "On the pear tree you see: a flower. , soil)",
         ["self watering flower pot 5", "pear tree in the adult stage", "flower", "soil"]),
        ("A paper clip", ["paper clip"]),
        ("a sink, which is turned on. In the sink is: a jug (containing nothing).",
         ["sink", "jug"]),
        ("a substance called air", []),
    ],
)  # fmt: skip
def test_names_are_read_from_a_line(line: str, found: list[str]) -> None:
    assert names(line) == found


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    notes = Notes(text)
    notes.observe("go to kitchen", text)
    names(text)
    room_of(text)
    for goal in (text, "Your task is to boil " + text):
        explorer = Explorer(goal, text)
        for _ in range(5):
            action = explorer.next_action()
            if action is None:
                break
            assert action == explorer.next_action()  # asking twice changes nothing
            explorer.observe(action, text)


def test_a_way_leads_through_known_doors() -> None:
    notes = Notes(HALL)
    assert notes.here == "hallway"
    assert notes.place.things == ["drawing", "counter", "bowl", "red apple", "banana", "drawer",
                                  "cupboard"]  # fmt: skip
    assert notes.way("bathroom") is None
    notes.observe("go to kitchen", "You move to the kitchen.")
    notes.observe("look around", KITCHEN)
    notes.observe("go to hallway", "You move to the hallway.")
    assert notes.way("bathroom") == ["kitchen", "bathroom"]
    assert notes.unseen() == ["bedroom", "bathroom"]
    notes.observe("move bowl to sink", "You move the bowl to the sink.")
    assert notes.here == "hallway"


def test_the_explorer_walks_where_it_cannot_teleport() -> None:
    goal = (
        "Your task is to find a(n) non-living thing. First, focus on the thing. Then, move it to "
        "the red box in the kitchen."
    )
    explorer = Explorer(goal, HALL)
    answers = {
        "teleport to kitchen": "No known action matches that input.",
        "open door to kitchen": "The door is now open.",
        "go to kitchen": "You move to the kitchen.",
        "look around": KITCHEN,
    }
    taken = []
    for _ in range(6):
        taken.append(explorer.next_action())
        explorer.observe(taken[-1] or "", answers.get(taken[-1] or "", "You focus on the x."))
    assert taken[:3] == ["focus on drawing", "pick up drawing", "teleport to kitchen"]
    assert taken[3:] == ["open door to kitchen", "go to kitchen", "look around"]


def test_the_explorer_understands_no_other_task() -> None:
    explorer = Explorer("Your task is to write a poem.", HALL)
    assert explorer.next_action() is None


# --- the oracle -----------------------------------------------------------------------------


def test_the_oracle_follows_its_path_past_harmless_actions() -> None:
    oracle = Oracle(["go to kitchen", "wait1"], "hallway")
    assert oracle.next_action(HALL, "") == "go to kitchen"
    oracle.observe("look around", True)
    oracle.observe("nonsense", False)
    assert oracle.next_action(HALL, HALL) == "go to kitchen"
    oracle.observe("go to kitchen", True)
    assert oracle.next_action(KITCHEN, "") == "wait1"
    oracle.observe("wait1", True)
    assert oracle.next_action(KITCHEN, "") is None


def test_the_oracle_returns_to_where_its_path_was_left() -> None:
    oracle = Oracle(["go to kitchen", "pick up thermometer"], "hallway")
    oracle.observe("go to kitchen", True)
    oracle.observe("go to hallway", True)  # somebody else's
    assert oracle.next_action(HALL, "") == "open door to kitchen"
    assert oracle.next_action(HALL.replace("closed)", "open)"), "") == "go to kitchen"
    assert oracle.next_action(HALL.replace("kitchen", "attic"), "") == "teleport to kitchen"
    assert oracle.next_action(KITCHEN, "") == "pick up thermometer"


def test_the_oracle_answers_a_question_with_a_number() -> None:
    oracle = Oracle(["pick up orange", "1"], "hallway")
    asked = "Ambiguous request: Please enter the number"
    assert oracle.next_action(HALL, asked) == "0"
    oracle.observe("pick up orange", True)
    assert oracle.next_action(HALL, asked) == "1"


# --- texts of our own -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "It's not clear how to get there from here.",
        "Its not clear how to go to/through a cathode.",
        "I'm not sure how to use those two things together.",
        "The door is already open.",
        "The painting is not openable.",
        "The metal pot is not something that can be activated.",
        "That can't be moved there, because the cupboard isn't open.",
        "You can't move something into itself.",
        "The stove appears broken, and can't be activated or deactivated.",
    ],
)
def test_a_refusal_is_told_from_an_answer(text: str) -> None:
    assert env._REFUSAL.match(text)


@pytest.mark.parametrize(
    "text",
    [
        HALL,
        KITCHEN,
        "You move the orange to the inventory.",
        "The thermometer measures a temperature of 10 degrees celsius",
        "The cupboard is now open.",
        "a cupboard. The cupboard door is closed. ",
        "a glass cup (containing nothing)",
        "You decide to wait for 10 iterations.",
        "Inside the fridge is: \n\tnothing",
    ],
)
def test_an_answer_is_no_refusal(text: str) -> None:
    assert not env._REFUSAL.match(text)


def test_the_example_has_answers_and_is_of_no_task() -> None:
    assert INSTRUCTIONS.example.count("<think>") == INSTRUCTIONS.example.count("<answer>") == 5
    for word in ("weigh", "pebble", "cellar"):
        assert word not in INSTRUCTIONS.text


def test_an_action_with_a_gap_is_recognised_when_it_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A plan that knows no name for a thing leaves a gap; the game folds it, and says no.
    def plan(*_: object) -> Iterator[str]:
        yield "connect  wire 1 to "
        yield "wait"

    monkeypatch.setattr(explorer_module, "_PLANS", ((r"red light", plan),))
    explorer = Explorer("Your task is to turn on the red light bulb.", HALL)
    assert explorer.next_action() == "connect wire 1 to"
    explorer.observe("connect wire 1 to", "No known action matches that input.")
    assert explorer.next_action() == "wait"
