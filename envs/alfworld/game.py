"""Games of the native ALFWorld engine: a problem compiled once, and the state of an episode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ...harness.errors import DataError
from ..pddl_text import UNIVERSAL_TYPE
from . import text
from .goal import Atom, Goal, Grounder
from .problem import SIGNATURES, TYPES, Problem, display_names

NONE = -1  # no object in hand, a receptacle that is nowhere
TRAITS = (
    "pickupable",
    "cleanable",
    "heatable",
    "coolable",
    "toggleable",
    "sliceable",
    "isreceptacleobject",
)
_FLAG_OF = {
    "isclean": text.CLEAN,
    "ishot": text.HOT,
    "iscool": text.COOL,
    "issliced": text.SLICED,
    "istoggled": text.TOGGLED,
    "ison": text.ON,
}
# The predicates that some action changes; all others are static.
_FLUENTS = {
    "atlocation",
    "inreceptacle",
    "objectatlocation",
    "opened",
    "holds",
    "holdsany",
    "checked",
    *_FLAG_OF,
}

_Facts = Mapping[str, list[tuple[str, ...]]]  # arguments by predicate
_Numbers = Mapping[str, Mapping[str, int]]  # number by id, by type


@dataclass(slots=True)
class State:
    """What can change in a game. Objects, receptacles and locations are numbers.

    Attributes:
        place: the agent's location.
        hand: the object held, or `NONE`.
        contents: for each receptacle its objects, sorted. An object may be in two receptacles.
        opened: receptacles that are open.
        object_places: (object, location) of all objects that lie somewhere.
        taken_from: (object, receptacle) where the object was taken out and not put back.
        flags: for each object its bits of `text.FLAG_NAMES`.
    """

    place: int
    hand: int
    contents: list[list[int]]
    opened: set[int]
    object_places: set[tuple[int, int]]
    taken_from: set[tuple[int, int]]
    flags: bytearray


Test = Callable[[State], bool]


class Game:
    """A compiled game, immutable and shareable between engines and threads.

    Objects, receptacles and locations are numbered in the order of their ids, the order in which
    the reference lists them; `objects[3]` is the display name of object 3.

    Attributes:
        source: what the game was read from.
        task: the task in words, such as `put a mug in desk.`
        walkthrough: commands that win, empty if unknown.
        goal: the goal condition over PDDL ids.
        objects: names of all objects, by number.
        receptacles: names of all receptacles, by number.
        object_numbers: number of each object, by name.
        receptacle_numbers: number of each receptacle, by name.
        types: PDDL type of each object and receptacle, such as `mugtype`, by name.
        traits: static properties of each object, a subset of `TRAITS`, by name.
        openable: for each receptacle number, whether it can be opened.
        holdable: the object types each receptacle can hold, by name.
        inside: names of what is inside each object that can hold others, by name.
        place_of: for each receptacle number its location, or `NONE`.
        at_place: for each location the receptacles there, sorted.
        go_commands: (location, command) for each receptacle that can be reached.
        intro: the first observation.
    """

    def __init__(self, problem: Problem, task: str, walkthrough: Iterable[str] = ()) -> None:
        """Compile a problem.

        Raises:
            DataError: a start that the domain does not provide for.
        """
        self.source = problem.source
        self.task = task
        self.walkthrough = tuple(walkthrough)
        self.goal: Goal = problem.goal
        facts: dict[str, list[tuple[str, ...]]] = {name: [] for name in SIGNATURES}
        for fact in problem.init:
            facts[fact[0]].append(fact[1:])
        names = display_names(problem)
        numbers = {kind: _numbering(problem.objects[kind], names) for kind in TYPES}
        self._compile_things(facts, names, numbers)
        self._compile_places(facts, numbers)
        self._start = self._compile_start(problem, facts, numbers)
        self.won = self._compile_goal(problem, facts, numbers)
        here = [self.receptacles[r] for r in self.at_place[self._start.place]]
        everywhere = [self.receptacles[r] for r, p in enumerate(self.place_of) if p != NONE]
        self.intro = text.intro(
            text.surroundings(here, ()) if here else text.room(everywhere), task
        )

    def start(self) -> State:
        """A fresh state of the beginning."""
        first = self._start
        return State(
            first.place,
            first.hand,
            list(map(list.copy, first.contents)),
            first.opened.copy(),
            first.object_places.copy(),
            set(),
            first.flags.copy(),
        )

    def _compile_things(self, facts: _Facts, names: Mapping[str, str], numbers: _Numbers) -> None:
        objects, receptacles = numbers["object"], numbers["receptacle"]
        self.objects = tuple(names[o] for o in objects)
        self.receptacles = tuple(names[r] for r in receptacles)
        self.object_numbers = {name: o for o, name in enumerate(self.objects)}
        self.receptacle_numbers = {name: r for r, name in enumerate(self.receptacles)}
        self.types = {
            names[thing]: kind for thing, kind in (*facts["objecttype"], *facts["receptacletype"])
        }
        having = {trait: {thing for (thing,) in facts[trait]} for trait in TRAITS}
        self.traits = {
            names[o]: frozenset(trait for trait in TRAITS if o in having[trait]) for o in objects
        }
        openable = {r for (r,) in facts["openable"]}
        self.openable = tuple(r in openable for r in receptacles)
        holdable: dict[str, set[str]] = {}
        for holder, kind in facts["cancontain"]:
            holdable.setdefault(holder, set()).add(kind)
        kinds = {holder: frozenset(kinds) for holder, kinds in holdable.items()}
        self.holdable = {
            name: kinds.get(self.types.get(name, ""), frozenset()) for name in self.receptacles
        }
        self.inside: dict[str, tuple[str, ...]] = {
            names[o]: () for o in objects if o in having["isreceptacleobject"]
        }
        for inner, outer in sorted(facts["inreceptacleobject"]):
            if names[outer] in self.inside:
                self.inside[names[outer]] += (names[inner],)

    def _compile_places(self, facts: _Facts, numbers: _Numbers) -> None:
        place_of = [NONE] * len(self.receptacles)
        at_place: list[list[int]] = [[] for _ in numbers["location"]]
        for name, place in sorted(facts["receptacleatlocation"]):
            r = numbers["receptacle"][name]
            if place_of[r] != NONE:
                raise DataError(f"{self.source}: receptacle {name!r} is at two locations")
            place_of[r] = numbers["location"][place]
            at_place[place_of[r]].append(r)
        self.place_of = tuple(place_of)
        self.at_place = tuple(map(tuple, at_place))
        self.go_commands = tuple(
            (place, f"go to {name}")
            for place, name in zip(place_of, self.receptacles, strict=True)
            if place != NONE
        )

    def _compile_start(self, problem: Problem, facts: _Facts, numbers: _Numbers) -> State:
        if len(problem.objects["agent"]) != 1 or len(facts["atlocation"]) != 1:
            raise DataError(f"{self.source}: a game needs one agent at one location")
        if facts["holds"] or facts["holdsany"]:
            raise DataError(f"{self.source}: a game must begin with empty hands")
        objects, receptacles = numbers["object"], numbers["receptacle"]
        locations = numbers["location"]
        contents: list[list[int]] = [[] for _ in receptacles]
        for o, r in sorted(facts["inreceptacle"]):
            contents[receptacles[r]].append(objects[o])
        flags = bytearray(len(objects))
        for predicate, flag in _FLAG_OF.items():
            for (o,) in facts[predicate]:
                flags[objects[o]] |= flag
        return State(
            place=locations[facts["atlocation"][0][1]],
            hand=NONE,
            contents=contents,
            opened={receptacles[r] for (r,) in facts["opened"]},
            object_places={
                (objects[o], locations[place]) for o, place in facts["objectatlocation"]
            },
            taken_from=set(),
            flags=flags,
        )

    def _compile_goal(self, problem: Problem, facts: _Facts, numbers: _Numbers) -> Test:
        universe = dict(problem.objects)
        universe[UNIVERSAL_TYPE] = tuple(i for ids in problem.objects.values() for i in ids)

        def fluent(atom: Atom) -> Test | None:
            kinds = SIGNATURES[atom.predicate]
            args = [numbers[kind].get(arg) for arg, kind in zip(atom.args, kinds, strict=True)]
            # A thing that no fact mentions, or of another type, never gets into such a fact.
            known = [number for number in args if number is not None]
            return _fluent_test(atom.predicate, *known) if len(known) == len(args) else None

        static = {name: frozenset(facts[name]) for name in SIGNATURES.keys() - _FLUENTS}
        return Grounder(universe, static, fluent, self.source).test(problem.goal)


def _numbering(declared: Iterable[str], names: Mapping[str, str]) -> dict[str, int]:
    used = sorted(name for name in declared if name in names)
    return {name: number for number, name in enumerate(used)}


def _fluent_test(predicate: str, *args: int) -> Test:
    """The test of one fact that can change."""
    first, last = args[0], args[-1]
    if predicate in _FLAG_OF:
        flag = _FLAG_OF[predicate]
        return lambda state: bool(state.flags[first] & flag)
    match predicate:
        case "inreceptacle":
            return lambda state: first in state.contents[last]
        case "objectatlocation":
            return lambda state: args in state.object_places
        case "atlocation":
            return lambda state: state.place == last
        case "opened":
            return lambda state: first in state.opened
        case "holds":
            return lambda state: state.hand == last
        case _:  # holdsany
            return lambda state: state.hand != NONE
