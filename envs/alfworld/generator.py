"""Generated ALFWorld games: household scenes of official scale, from a seed.

A game is a floor plan (which receptacles stand where), objects laid out in it, and a task of one
of the six official types. Floor plans are split for good: the checksum of a plan's inventory of
receptacles decides whether it is for testing or for training, so no test scene is ever trained
on. The same split and index give the same bytes on every machine and version of Python.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from ...harness.errors import UsageError, unknown_name
from .rendering import problem_text, sentence, walkthrough
from .scenes import (
    LAMP,
    OBJECTS,
    OPENABLE,
    ROOMS,
    TREATMENTS,
    Assignment,
    FloorPlan,
    Item,
    ObjectKind,
    Receptacle,
)

VERSION = "1"  # changes whenever the bytes of any game do
SIZES: Mapping[str, int] = {"generated": 200, "generated-train": 6000}
PLANS: Mapping[str, int] = {"generated": 12, "generated-train": 120}  # floor plans a room family
TEST_SHARE = 5  # one inventory in so many is for testing
N_RECEPTACLES = range(7, 55)  # as in the official games

# The rooms each task type is set in, in turn.
TASK_ROOMS: Mapping[str, tuple[str, ...]] = {
    "pick_and_place_simple": ("kitchen", "bedroom", "living room", "bathroom"),
    "look_at_obj_in_light": ("bedroom", "living room"),
    "pick_clean_then_place_in_recep": ("kitchen", "bathroom"),
    "pick_heat_then_place_in_recep": ("kitchen",),
    "pick_cool_then_place_in_recep": ("kitchen",),
    "pick_two_obj_and_place": ("bathroom", "living room", "bedroom", "kitchen"),
}
TASK_TYPES = tuple(TASK_ROOMS)
# Receptacles made for one thing: nobody is asked to put two there.
_FOR_ONE = ("CoffeeMachine", "HandTowelHolder", "StoveBurner", "ToiletPaperHanger", "TowelHolder")


@dataclass(frozen=True, slots=True)
class GeneratedGame:
    """One generated game.

    Attributes:
        problem: PDDL text of the domain alfred.
        task: what the player is told to do, with its full stop.
        walkthrough: commands that win.
        type: one of `TASK_TYPES`.
        id: `<split>/<type>/<index>`.
    """

    problem: str
    task: str
    walkthrough: tuple[str, ...]
    type: str
    id: str


def generate(split: str, index: int) -> GeneratedGame:
    """The game at a position of a split.

    Raises:
        UsageError: an unknown split, or an index outside it.
    """
    if split not in SIZES:
        raise unknown_name("generated split", split, SIZES)
    if not 0 <= index < SIZES[split]:
        raise UsageError(f"split {split!r} has the games 0 to {SIZES[split] - 1}, not {index}")
    rng = _game_rng(split, index)
    number, assignment = _plan_and_assignment(rng, split, index)
    plan = floor_plan(split, setting(index)[1], number)
    items = _lay_out(rng, plan, assignment)
    name = task_id(split, index)
    return GeneratedGame(
        problem=problem_text(name.replace("/", "_"), plan, assignment, items),
        task=sentence(assignment, rng.randrange(2)),
        walkthrough=tuple(walkthrough(plan, assignment, items)),
        type=assignment.type,
        id=name,
    )


def task_id(split: str, index: int) -> str:
    """The id of a game; needs no generation."""
    return f"{split}/{setting(index)[0]}/{index:04d}"


def setting(index: int) -> tuple[str, str]:
    """The task type and the family of rooms at a position of a split.

    Types alternate and, within a type, rooms do, so that the first games are a balanced sample.
    """
    task_type = TASK_TYPES[index % len(TASK_TYPES)]
    rooms = TASK_ROOMS[task_type]
    return task_type, rooms[index // len(TASK_TYPES) % len(rooms)]


def scene(split: str, index: int) -> str:
    """Names the floor plan of a game; needs no generation of the rest."""
    number, _ = _plan_and_assignment(_game_rng(split, index), split, index)
    return f"{setting(index)[1]} {number}"


def split_hash(split: str) -> str:
    """A hash of all games of a split."""
    return _whole(split)[0]


def walkthrough_lengths(split: str) -> tuple[int, ...]:
    """The number of commands of each game's walkthrough, in the order of the split."""
    return _whole(split)[1]


@cache
def _whole(split: str) -> tuple[str, tuple[int, ...]]:
    """What can only be told by making every game of a split, once a process."""
    total = hashlib.sha256(VERSION.encode())
    lengths = []
    for index in range(SIZES[split]):
        game = generate(split, index)
        total.update("\0".join((game.id, game.task, game.problem)).encode())
        lengths.append(len(game.walkthrough))
    return total.hexdigest()[:16], tuple(lengths)


def _game_rng(split: str, index: int) -> Random:
    return Random(f"alfworld game {VERSION} {split} {index}")


# Floor plans.


@cache
def floor_plan(split: str, room: str, number: int) -> FloorPlan:
    """A floor plan of a split's family of rooms, numbered from 0 to `PLANS[split]` - 1."""
    rng = Random(f"alfworld plan {VERSION} {split} {room} {number}")
    while True:
        plan = _draw_plan(rng, room)
        fits = len(plan.receptacles) in N_RECEPTACLES
        if fits and for_testing(plan) == (split == "generated"):
            return plan


def for_testing(plan: FloorPlan) -> bool:
    """Whether a floor plan is for testing; plans with the same inventory share their fate."""
    return zlib.crc32(repr((plan.room, plan.inventory)).encode()) % TEST_SHARE == 0


def _draw_plan(rng: Random, room: str) -> FloorPlan:
    counts = {kind: rng.randint(*bounds) for kind, bounds in ROOMS[room].receptacles.items()}
    n_free = sum(most for _, most in ROOMS[room].fixtures.values())
    locations = _locations(rng, sum(counts.values()) + n_free + 1)
    free = tuple(locations.pop() for _ in range(n_free))
    start = locations.pop()
    taken: set[str] = set()
    receptacles: list[Receptacle] = []
    for kind, count in counts.items():
        for number in range(count):
            beside = number > 0 and rng.random() < 0.25  # both within reach of one location
            receptacles.append(
                Receptacle(
                    id=_new_id(rng, kind, taken),
                    kind=kind,
                    location=receptacles[-1].location if beside else locations.pop(),
                    openable=rng.random() < OPENABLE.get(kind, 0.0),
                )
            )
    return FloorPlan(room, tuple(receptacles), start, free)


# Tasks.


def _plan_and_assignment(rng: Random, split: str, index: int) -> tuple[int, Assignment]:
    """The number of a floor plan drawn from the split's, and a task that makes sense there."""
    task_type, room = setting(index)
    while True:  # a plan that lacks what the task type needs is passed over
        number = rng.randrange(PLANS[split])
        options = _options(floor_plan(split, room, number), task_type)
        if options:
            thing = rng.choice(list(options))
            return number, Assignment(task_type, thing, rng.choice(options[thing]))


def _options(plan: FloorPlan, task_type: str) -> dict[str, list[str]]:
    """The kinds of objects a task can be about, each with where they can go."""
    present = [kind for kind, _ in plan.inventory]
    treatment = TREATMENTS.get(task_type)
    room = ROOMS[plan.room]
    options = {}
    for kind in (OBJECTS[name] for name in (*room.usual, *room.occasional)):
        sources = [place for place in present if place in kind.found]
        if not sources or not kind.allowed or (treatment and treatment.trait not in kind.traits):
            continue
        if task_type == "look_at_obj_in_light":
            targets = [LAMP] if any(place in OBJECTS[LAMP].found for place in present) else []
        else:
            without = [treatment.station] if treatment else []
            if task_type == "pick_two_obj_and_place":
                without += _FOR_ONE
            targets = _targets(kind, present, sources, without)
        if targets:
            options[kind.name] = targets
    return options


def _targets(
    kind: ObjectKind, present: Sequence[str], sources: Sequence[str], without: Sequence[str]
) -> list[str]:
    """Where objects of a kind may go, if they can come from elsewhere."""
    return [
        place
        for place in present
        if place in kind.allowed
        and place not in without
        and any(source != place for source in sources)
    ]


# Objects.


def _lay_out(rng: Random, plan: FloorPlan, assignment: Assignment) -> list[Item]:
    room = ROOMS[plan.room]
    counts = {kind: rng.choice((0, 1, 1, 1, 2, 2, 3)) for kind in room.usual}
    counts |= {kind: rng.choice((0, 0, 1, 2)) for kind in room.occasional}
    least = 2 if assignment.type == "pick_two_obj_and_place" else 1
    counts[assignment.thing] = rng.randint(least, 3)
    if assignment.target == LAMP:
        counts[LAMP] = rng.randint(1, 2)
    taken: set[str] = set()
    items = [
        Item(_new_id(rng, kind, taken), kind, place, place.location)
        for kind, count in counts.items()
        for place in _places(rng, plan, OBJECTS[kind], assignment, count)
    ]
    free = list(plan.free)
    for kind, bounds in room.fixtures.items():
        items += [
            Item(_new_id(rng, kind, taken), kind, None, free.pop())
            for _ in range(rng.randint(*bounds))
        ]
    return items


def _places(
    rng: Random, plan: FloorPlan, kind: ObjectKind, assignment: Assignment, count: int
) -> Iterator[Receptacle]:
    """Where objects of a kind lie; what is to be moved as it is never lies there already."""
    as_it_is = assignment.type not in TREATMENTS and kind.name == assignment.thing
    avoided = assignment.target if as_it_is else None
    present = [place for place, _ in plan.inventory if place in kind.found and place != avoided]
    if not present:
        return
    weights = [kind.found[place] for place in present]
    for place in rng.choices(present, weights, k=count):
        yield rng.choice([r for r in plan.receptacles if r.kind == place])


# Ids and locations, in the manner of AI2-THOR's, from which ALFWorld makes its names.


def _signed(number: int, digits: str) -> str:
    return f"_plus_{digits}" if number > 0 else f"_minus_{digits}" if number < 0 else digits


def _new_id(rng: Random, kind: str, taken: set[str]) -> str:
    while True:
        position = (rng.randint(-399, 399), rng.randint(0, 199), rng.randint(-399, 399))
        name = "_bar_".join(
            _signed(c, f"{abs(c) // 100:02d}_dot_{abs(c) % 100:02d}") for c in position
        )
        whole, basin, _ = kind.partition("Basin")
        name = f"{whole}_bar_{name}_bar_{kind}" if basin else f"{kind}_bar_{name}"
        if name not in taken:
            taken.add(name)
            return name


def _locations(rng: Random, count: int) -> list[str]:
    cells = rng.sample([(x, z) for x in range(-16, 17) for z in range(-16, 17)], count)
    return [
        f"loc_bar_{_signed(x, str(abs(x)))}_bar_{_signed(z, str(abs(z)))}"
        f"_bar_{rng.randrange(4)}_bar_{rng.choice((30, 45, 60))}"
        for x, z in cells
    ]
