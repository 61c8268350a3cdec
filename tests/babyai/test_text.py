"""The text layer on views made by hand: what is said, what an action means, and reading it back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.envs.babyai.commands import Plan, Primitive, Refusal, macros, plan, possible
from agemem_eval.envs.babyai.reading import Clause, Description, read_mission, read_observation
from agemem_eval.envs.babyai.view import (
    BALL,
    BOX,
    COLORS,
    DOOR,
    EMPTY,
    FLOOR,
    KEY,
    SIZE,
    UNSEEN,
    WALL,
    View,
)

L, R, F, P, T = (
    Primitive.LEFT,
    Primitive.RIGHT,
    Primitive.FORWARD,
    Primitive.PICKUP,
    Primitive.TOGGLE,
)
CODES = {".": EMPTY, "#": WALL, "?": UNSEEN, "k": KEY, "b": BALL, "x": BOX, "D": DOOR}


def view(*rows: str, carried: tuple[int, int] | None = None, doors: str = "closed",
         colors: dict[tuple[int, int], str] | None = None) -> View:  # fmt: skip
    """A view from rows, the farthest first, the agent `@` in the last; rows above are unseen."""
    rows = ("?" * SIZE,) * (SIZE - len(rows)) + rows
    image = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    for j, row in enumerate(rows):
        assert len(row) == SIZE
        for i, sign in enumerate(row):
            ahead, right = SIZE - 1 - j, i - SIZE // 2
            code = EMPTY if sign == "@" else CODES[sign]
            color = COLORS.index((colors or {}).get((ahead, right), "red"))
            state = ("open", "closed", "locked").index(doors) if sign == "D" else 0
            image[i, j] = (code, color if code >= DOOR else 0, state)
    if carried:
        image[SIZE // 2, SIZE - 1] = (*carried, 0)
    return View(image.tobytes())


# --- what is said --------------------------------------------------------------------------------


def test_objects_are_told_by_steps_ahead_and_to_a_side() -> None:
    seen = view(
        "###D###",
        "#.....#",
        "#b...k#",
        "#..@..#",
        colors={(1, 2): "blue"},
    )
    assert seen.text == (
        "You see red ball 1, 1 step ahead and 2 to the left; red door 1 (closed), 3 steps ahead; "
        "blue key 1, 1 step ahead and 2 to the right. Walls: 3 steps to the left, 3 steps to the "
        "right. You carry nothing."
    )


def test_things_alike_are_numbered_from_the_nearest() -> None:
    seen = view("b.....b", ".b.....", "b..@..b", colors={(1, -2): "grey"})
    assert [(str(t), t.ahead, t.right) for t in seen.things] == [
        ("red ball 1", 0, -3),
        ("grey ball 1", 1, -2),
        ("red ball 2", 0, 3),
        ("red ball 3", 2, -3),
        ("red ball 4", 2, 3),
    ]
    assert seen.find("red ball", 3) == seen.things[3]
    assert seen.find("red ball", 5) is None


def test_what_is_carried_is_told_and_is_not_a_thing_in_view() -> None:
    seen = view("...@...", carried=(KEY, COLORS.index("purple")))
    assert seen.things == ()
    assert seen.text == (
        "You see no objects. Walls: none in a straight line. You carry a purple key."
    )


@pytest.mark.parametrize("state", ["open", "closed", "locked"])
def test_a_door_is_told_with_its_state(state: str) -> None:
    assert f"red door 1 ({state}), 1 step ahead." in view("...D...", "...@...", doors=state).text


def test_a_wall_behind_a_closed_door_is_not_told() -> None:
    hidden = view("???????", "...D...", "...@...")
    assert "Walls: none in a straight line" in hidden.text
    shown = view("...#...", "...D...", "...@...", doors="open")
    assert "Walls: 2 steps ahead" in shown.text


# --- what an action means ------------------------------------------------------------------------


ROOM = view("#######", "#....b#", "#.x...#", "#..@..#")


@pytest.mark.parametrize(
    ("action", "primitives"),
    [
        ("turn left", (L,)),
        ("left", (L,)),
        ("turn right", (R,)),
        ("move forward", (F,)),
        ("Move Forward.", (F,)),
        ("go to red box 1", (F, L)),
        ("go to red closed box 1", (F, L)),
        ("pick up red box 1", (F, L, P)),
        ("pickup red box 1", (F, L, P)),
        ("go to the red box", (F, L)),
        ("go to red ball 1", (F, F, R, F)),
    ],
)
def test_an_action_means_native_actions(action: str, primitives: tuple[Primitive, ...]) -> None:
    assert plan(action, ROOM) == Plan(primitives)


def test_doors_are_walked_through_to_the_cell_beyond() -> None:
    closed = view("###D###", "#.....#", "#..@..#")
    assert plan("toggle and go through red door 1", closed) == Plan((F, T, F, F), may_stop=True)
    opened = view("...#...", "...#...", "#..D..#", "#.....#", "#..@..#", doors="open")
    assert plan("go through red door 1", opened) == Plan((F, F, F), may_stop=True)


def test_what_is_faced_already_is_gone_to_by_staying() -> None:
    facing = view("...b...", "...@...")
    assert plan("go to red ball 1", facing) == Plan((Primitive.DONE,))


def test_ways_lead_around_objects_and_never_over_unseen_cells() -> None:
    around = view("##b..##", "##xx.##", "#..@..#")
    assert plan("go to red ball 1", around) == Plan((R, F, L, F, F, L, F))
    walled = view("???b???", "???x???", "#..@..#")
    assert plan("go to red ball 1", walled) == Refusal("You see no way to red ball 1.")


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("", "That is not an action."),
        ("dance", "That is not an action."),
        ("go to red ball 1 now", "That is not an action."),
        ("go to wall 1", "That is not an action."),
        ("go to red ball 2", "You see no red ball 2."),
        ("go to green ball 1", "You see no green ball 1."),
        ("go to green ball", "You see no green ball."),
        ("go through red ball 1", "red ball 1 is not a door."),
        ("toggle and go through red box 1", "red box 1 is not a door."),
        ("drop", "You carry nothing."),
        ("toggle", "There is no door and no box in front of you."),
        ("pick up", "There is nothing in front of you."),
    ],
)
def test_what_is_not_possible_is_refused_with_a_reason(action: str, reason: str) -> None:
    assert plan(action, ROOM) == Refusal(reason)


def test_the_view_decides_what_is_possible_with_a_door_or_with_full_hands() -> None:
    red, blue = (KEY, COLORS.index("red")), (KEY, COLORS.index("blue"))
    locked = view("###D###", "...@...", doors="locked")
    assert isinstance(plan("toggle", locked), Refusal)
    assert plan("toggle and go through red door 1", locked) == Refusal(
        "red door 1 is locked, and you do not carry a red key."
    )
    assert plan("toggle", view("###D###", "...@...", doors="locked", carried=red)) == Plan((T,))
    wrong = view("###D###", "...@...", doors="locked", carried=blue)
    assert isinstance(plan("toggle", wrong), Refusal)
    full = view("...b...", "...@...", carried=blue)
    assert plan("pick up", full) == Refusal("You carry a blue key already.")
    assert plan("drop", full) == Refusal("There is no room: red ball 1 is in front of you.")
    opened = view("###D###", "...@...", doors="open", carried=blue)
    assert isinstance(plan("drop", opened), Refusal)
    assert plan("toggle and go through red door 1", opened) == Refusal("red door 1 is open.")
    assert plan("go through red door 1", view("###D###", "...@...")) == Refusal(
        "red door 1 is closed."
    )
    assert plan("pick up red door 1", opened) == Refusal("red door 1 cannot be picked up.")
    two = view("b..b...", "...@...")
    assert plan("go to red ball", two) == Refusal("You see 2 of them: say which, as in red ball 1.")


# --- any view ------------------------------------------------------------------------------------


def decoded(values: bytes) -> np.ndarray:
    """Any image that minigrid could encode, and many that it would not."""
    image = np.frombuffer(values, dtype=np.uint8).reshape(SIZE, SIZE, 3) % (BOX + 1, 6, 3)
    image[..., 2][image[..., 0] != DOOR] = 0
    image[SIZE // 2, SIZE - 1, 0] = (EMPTY, KEY, BALL, BOX)[values[0] % 4]
    return image.astype(np.uint8)


IMAGES = st.binary(min_size=3 * SIZE * SIZE, max_size=3 * SIZE * SIZE).map(decoded)


def kind_at(image: np.ndarray, ahead: int, right: int) -> int:
    return int(image[right + SIZE // 2, SIZE - 1 - ahead, 0])


def state_at(image: np.ndarray, ahead: int, right: int) -> int:
    return int(image[right + SIZE // 2, SIZE - 1 - ahead, 2])


@given(IMAGES)
def test_a_text_is_read_back_to_what_was_seen(image: np.ndarray) -> None:
    seen = View(image.tobytes())
    read = read_observation(f"You turn left, move forward 3 times. {seen.text}")
    assert read is not None
    assert read.done == ("turn left", "move forward", "move forward", "move forward")
    assert (read.things, read.carried) == (seen.things, seen.carried)
    walls = {(1, 0): read.walls[0], (0, -1): read.walls[1], (0, 1): read.walls[2]}
    for (a, r), wall in walls.items():
        reach = SIZE - 1 if a else SIZE // 2
        line = [(n * a, n * r) for n in range(1, reach + 1)]
        shut = [kind_at(image, *c) == DOOR and state_at(image, *c) > 0 for c in line]
        kinds = [UNSEEN if s else kind_at(image, *c) for c, s in zip(line, shut, strict=True)]
        until_hidden = list(itertools.takewhile(lambda kind: kind != UNSEEN, kinds))
        assert wall == (until_hidden.index(WALL) + 1 if WALL in until_hidden else None)


@given(IMAGES)
def test_what_is_offered_is_never_refused_and_walks_on_free_cells(image: np.ndarray) -> None:
    seen = View(image.tobytes())
    offered = possible(seen)
    assert offered == sorted(offered)
    assert {"turn left", "turn right"} <= set(offered)
    for action, found in macros(seen):
        assert action in offered
        assert plan(action, seen) == found
        last = len(found.primitives) - 1  # beyond a door the way may be blocked: that step may stop
        place, heading = (0, 0), 0
        for number, primitive in enumerate(found.primitives):
            step = ((1, 0), (0, 1), (-1, 0), (0, -1))[heading]
            if primitive == F:
                place = (place[0] + step[0], place[1] + step[1])
                if not (found.may_stop and (number == last or T in found.primitives[:number])):
                    kind = kind_at(image, *place)
                    state = state_at(image, *place)
                    assert place == (0, 0) or kind in (EMPTY, FLOOR) or (kind == DOOR and not state)
            heading = (heading + {L: -1, R: 1}.get(primitive, 0)) % 4


@given(st.text(max_size=60), IMAGES)
def test_any_text_is_planned_or_refused(action: str, image: np.ndarray) -> None:
    found = plan(action, View(image.tobytes()))
    assert isinstance(found, Plan | Refusal)
    assert not isinstance(found, Refusal) or found.reason.endswith(".")


# --- missions ------------------------------------------------------------------------------------


def test_missions_are_read_in_the_order_they_are_due() -> None:
    ball, door = Description("red", "ball", ""), Description("", "door", "left")
    anything = Description("grey", "", "front")
    assert read_mission("go to the red ball") == [[Clause("go to", ball)]]
    assert read_mission("open a door on your left, then go to the red ball") == [
        [Clause("open", door)],
        [Clause("go to", ball)],
    ]
    assert read_mission(
        "put the red ball next to the door on your left and pick up a grey object in front of you "
        "after you go to a red ball"
    ) == [
        [Clause("go to", ball)],
        [Clause("put", ball, door), Clause("pick up", anything)],
    ]


@pytest.mark.parametrize(
    "mission", ["", "dance", "put the red ball", "go to red ball", "go to a b"]
)
def test_other_sentences_are_no_missions(mission: str) -> None:
    assert read_mission(mission) is None


@given(st.text(max_size=80))
def test_texts_that_show_no_view_are_not_read(text: str) -> None:
    read_mission(text)
    assert read_observation(text) is None
