"""What the teacher's minds take from texts and notes, and what they say of it."""

from __future__ import annotations

from agemem_eval.policies.teacher.grid import Grid
from agemem_eval.policies.teacher.house import House
from agemem_eval.policies.teacher.house import told as told_of_house
from agemem_eval.policies.teacher.lab import Lab
from agemem_eval.policies.teacher.puzzle import Puzzle


def test_a_house_is_read_from_its_texts() -> None:
    house = House("put a mug in garbagecan.")
    house.read("", "You are in the middle of a room. Looking quickly around you, you see a "
               "garbagecan 1, a shelf 2, and a shelf 1.")  # fmt: skip
    assert house.whole
    assert house.remark() == "Here: garbagecan, shelf. Search shelf, garbagecan. Look at shelf 2."
    house.read("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a pen 1.")
    assert house.remark() == "The mug is not here. Look at shelf 2."
    assert house.remark("go to garbagecan 1") == (
        "The mug is not here. Search shelf, garbagecan. Look at garbagecan 1."
    )
    house.read("go to shelf 2", "You arrive at shelf 2. On the shelf 2, you see a mug 2.")
    assert house.act() == "take mug 2 from shelf 2"
    assert house.remark() == "The mug 2 is here. Take mug 2."
    assert house.state()["searched"] == "shelf 1"
    house.read("take mug 2 from shelf 2", "You pick up the mug 2 from the shelf 2.")
    assert house.mended("shelf 2", "a mug 2") is None
    assert house.mended("shelf 1", "a pen 1") == "a pen 1"
    again = House("put a mug in garbagecan.")
    again.read("", "You pick up the mug 2 from the shelf 2.")
    for name, fact in house.state().items():
        again.recall(name, fact)
    assert again.act() == house.act() == "go to garbagecan 1"


def test_what_did_nothing_is_named_before_what_is_done_instead() -> None:
    house = House("put a mug in garbagecan.")
    house.read("", "You are in the middle of a room. Looking quickly around you, you see a "
               "drawer 2, and a drawer 1.")  # fmt: skip
    house.read("go to drawer 2", "You arrive at drawer 2. The drawer 2 is closed.")
    house.read("open drawer 2", "You open the drawer 2. The drawer 2 is open. In it, you see "
               "nothing.")  # fmt: skip
    house.read("go to drawer 1", "Nothing happens.")  # it is in reach already
    assert house.act() == "examine drawer 1"
    assert house.remark() == "Not done: go to drawer 1. In hand: nothing. Examine drawer 1."
    house.read("?", "Nothing happens.")
    assert house.remark().startswith("That did nothing. ")


def test_after_a_place_that_is_not_there_the_search_is_planned_anew() -> None:
    house = House("put a mug in garbagecan.")
    house.read("", "You are in the middle of a room. Looking quickly around you, you see a "
               "garbagecan 1, a shelf 2, a shelf 1, and a sofa 1.")  # fmt: skip
    house.read("go to shelf 2", "You arrive at shelf 2. On the shelf 2, you see nothing.")
    house.read("go to bed 1", "Nothing happens.")
    assert house.remark("go to sofa 1") == (
        "Not done: go to bed 1. In hand: nothing. Here: garbagecan, shelf, sofa. "
        "Search shelf, garbagecan, sofa. Look at sofa 1."
    )


def test_what_was_put_where_it_belongs_is_not_taken_for_a_find() -> None:
    house = House("put two mug in desk.")
    house.read("", "You are in the middle of a room. Looking quickly around you, you see a desk 1, "
               "and a shelf 1.")  # fmt: skip
    house.read("go to desk 1", "You arrive at desk 1. On the desk 1, you see a mug 1.")
    assert house.act() == "go to shelf 1"
    assert house.remark().startswith("The mug 1 is placed. ")


def test_what_a_task_was_shown_is_remembered_where_nothing_else_tells_it() -> None:
    goal = (
        "Your task is to find the animal with the longest life span, then the shortest life span. "
        "First, focus on the animal with the longest life span.  Then, focus on the animal with "
        "the shortest life span. The animals are in the 'outside' location."
    )
    seen = (
        "This outside location is called the outside. Here you see: \n\tthe agent\n"
        "\ta baby brown bear\n\ta baby mouse\nYou also see:\n"
        "\tA door to the kitchen (that is open)\n"
    )
    lab = Lab(goal)
    lab.read("", seen)
    assert lab.act() == "focus on baby brown bear"
    assert lab.remark() == "baby brown bear in outside."
    lab.read("focus on baby brown bear", "You focus on the baby brown bear.")
    assert lab.act() == "focus on baby mouse"
    assert lab.found() == {"focus": "baby brown bear"}
    again = Lab(goal)
    again.read("look around", seen)
    assert not again.whole
    assert again.act() == "focus on baby brown bear"
    for name, fact in lab.state().items():
        again.recall(name, fact)
    assert again.whole
    assert again.act() == "focus on baby mouse"


def test_a_building_is_drawn_again_from_notes() -> None:
    grid = Grid("pick up the red key, then open the blue door")
    grid.read("", "You see blue door 1 (closed), 3 steps ahead; red key 1, 1 step ahead. "
              "Walls: 4 steps ahead. You carry nothing.")  # fmt: skip
    assert grid.remark() == "Want red key. blue door 1: no; red key 1: yes, 1 step ahead."
    assert grid.act().startswith("pick up")
    grid.read("pick up", "You pick up the red key. You see blue door 1 (closed), 3 steps ahead. "
              "Walls: 4 steps ahead. You carry a red key.")  # fmt: skip
    grid.read("turn left", "You turn left 2 times. You see no objects. Walls: 2 steps ahead. "
              "You carry a red key.")  # fmt: skip
    state = grid.state()
    assert state == {
        "place": "0 ahead and 0 right of the start, facing back",
        "doors": "blue door (closed) 3 ahead and 0 right",
        "left": "open the blue door",
    }
    again = Grid("pick up the red key, then open the blue door")
    again.read("turn left", "You turn left 2 times. You see no objects. Walls: 2 steps ahead. "
               "You carry a red key.")  # fmt: skip
    assert not again.whole
    for name, fact in state.items():
        again.recall(name, fact)
    assert again.whole
    assert again.state() == state
    assert again.remark() == "Want blue door. Carried: red key. No blue door. Turn 2."


def test_of_each_thing_in_view_it_is_said_whether_the_mission_means_it() -> None:
    grid = Grid("open the door")
    grid.read("", "You see red door 1 (locked), 2 steps ahead; red key 1, 1 step to the left; blue "
              "key 1, 1 step ahead. Walls: 3 steps ahead. You carry nothing.")  # fmt: skip
    door = "red door 1: yes (locked), 2 steps ahead"
    assert grid.remark("drop") == (
        f"Want door. {door}; red key 1: no; blue key 1: no. Needs red key."
    )
    grid.read("pick up", "You pick up the red key. You see red door 1 (locked), 2 steps ahead. "
              "Walls: 3 steps ahead. You carry a red key.")  # fmt: skip
    assert grid.remark("drop") == f"Want door. Carried: red key. {door}."


def test_wanted_is_first_a_thing_then_what_it_is_to_lie_beside() -> None:
    grid = Grid("put the green ball next to the grey box")
    grid.read("", "You see grey box 1, 2 steps ahead. Walls: 3 steps ahead. You carry nothing.")
    assert grid.remark("drop") == "Want green ball. grey box 1: no. No green ball."
    grid.read("turn left", "You turn left. You see grey box 1, 2 steps to the right. Walls: 3 "
              "steps ahead. You carry a green ball.")  # fmt: skip
    assert grid.remark("drop") == (
        "Want grey box. Carried: green ball. grey box 1: yes, 2 steps to the right."
    )


def test_a_locked_door_is_of_matter_where_nothing_wanted_is_in_view() -> None:
    view = "You see red door 1 (locked), 2 steps ahead{}. Walls: 3 steps ahead. You carry nothing."
    grid = Grid("pick up the ball")
    grid.read("", view.format(""))
    assert grid.remark("drop") == "Want ball. red door 1: no. No ball. Needs red key."
    grid = Grid("pick up the ball")
    grid.read("", view.format("; red ball 1, 1 step ahead"))
    assert "Needs" not in grid.remark("drop")


def test_each_place_of_a_search_stands_after_the_one_before_as_in_the_rooms_view() -> None:
    house = House("look at mug under the desklamp.")
    house.read("", "You are in the middle of a room. Looking quickly around you, you see a desk 2, "
               "a desk 1, a shelf 2, and a shelf 1.")  # fmt: skip
    assert house.remark() == "Here: desk, shelf. Search desk, shelf. Look at desk 2."
    house.read("go to desk 2", "You arrive at desk 2. On the desk 2, you see nothing.")
    missing = "The mug is not here. The desklamp is not here."
    assert house.remark() == f"{missing} Past desk 2, a desk 1."
    house.read("go to desk 1", "You arrive at desk 1. On the desk 1, you see a mug 1.")
    assert house.remark() == "The mug 1 is here. The desklamp is not here. Take mug 1."
    house.read("take mug 1 from desk 1", "You pick up the mug 1 from the desk 1.")
    assert house.remark() == (
        "My goal: look at mug under the desklamp. Here: desk, shelf. Search shelf. Look at shelf 2."
    )
    house.read("go to shelf 2", "You arrive at shelf 2. The shelf 2 is closed.")
    assert house.remark() == "Open shelf 2."


def test_what_is_thought_before_another_action_is_of_that_action() -> None:
    house = House("put a mug in garbagecan.")
    house.read("", "You are in the middle of a room. Looking quickly around you, you see a "
               "garbagecan 1, a shelf 2, and a shelf 1.")  # fmt: skip
    house.read(
        "go to shelf 2", "You arrive at shelf 2. On the shelf 2, you see a mug 2, and a pen 1."
    )
    assert house.remark("go to shelf 4") == "The mug 2 is here. Look at shelf 4."
    assert house.remark("take pen 1 from shelf 2") == "The mug 2 is here. Take pen 1."
    assert house.remark() == "The mug 2 is here. Take mug 2."


def test_two_of_a_kind_are_noted_where_one_is_left_for_later() -> None:
    house = House("put two mug in desk.")
    house.read("", "You are in the middle of a room. Looking quickly around you, you see a desk 1, "
               "and a shelf 1.")  # fmt: skip
    house.read("go to shelf 1",
               "You arrive at shelf 1. On the shelf 1, you see a mug 1, and a mug 2.")  # fmt: skip
    assert house.found() == {"shelf 1": "mug 2"}


def test_what_is_told_of_places_is_what_was_read_last() -> None:
    texts = [
        "I read: On the desk 1, you see a pen 1.\n\nI wrote: go to shelf 1\nI read: You arrive at "
        "shelf 1. On the shelf 1, you see nothing.",
        "I read: On the desk 1, you see a pen 1, and a mug 1.",
    ]
    assert told_of_house(texts) == {"desk 1": "a pen 1, and a mug 1"}


def test_of_a_puzzle_is_said_what_its_rules_look_at() -> None:
    puzzle = Puzzle("make all of this true at the same time: b1 is on b3; b2 is on b1.")
    puzzle.read("", "This is blocksworld: blocks stand on a table and on each other, and you move "
                "them. There are the blocks b1, b2, and b3. Your hand is empty. b1 and b2 are on "
                "the table. b3 is on b1. b2 and b3 are clear.")  # fmt: skip
    assert puzzle.act() == "unstack b3 from b1"
    state = "Wanted: b2 b1 b3. Now: b2; b3 b1 off. Hand: empty."
    assert puzzle.remark() == f"{state} Take off b3."
    assert puzzle.remark("pick up b2") == state  # no reason for a mistake
    puzzle.read("unstack b3 from b1", "Now: your hand holds b3; b1 is clear. No longer: your hand "
                "is empty; b3 is on b1; b3 is clear.")  # fmt: skip
    assert puzzle.act() == "put down b3"
    assert puzzle.remark() == "Wanted: b2 b1 b3. Now: b1; b2. Hand: b3. b3 goes on none."


def test_of_a_puzzle_of_another_kind_is_said_what_is_left_of_the_goal() -> None:
    puzzle = Puzzle("make all of this true at the same time: your hand holds b1; b2 is clear.")
    puzzle.read("", "This is blocksworld: blocks stand on a table and on each other, and you move "
                "them. There are the blocks b1 and b2. Your hand is empty. b1 is on the table. "
                "b2 is on b1. b2 is clear.")  # fmt: skip
    assert puzzle.remark() == "Not yet: your hand holds b1."
    assert puzzle.act() == "unstack b2 from b1"  # as the planner would
