"""A generated scene in words: its PDDL problem, its task sentence and a way to win.

The goals are the six of the official games, and the sentences belong to the same family.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .scenes import FIXTURE_TRAITS, OBJECTS, TREATMENTS, Assignment, FloorPlan, Item, Receptacle

# The domain's actions name these types, so every problem has to declare them.
_DECLARED_RECEPTACLES = ("SinkBasin", "Microwave", "Fridge")
_DECLARED_OBJECTS = ("Knife", "ButterKnife")
# In the order of the official games.
_TRAITS = (
    "pickupable", "receptacle", "cleanable", "heatable", "coolable", "sliceable", "toggleable"
)  # fmt: skip
_PREDICATES = {"receptacle": "isReceptacleObject"}

_SENTENCES: Mapping[str, tuple[str, str]] = {
    "pick_and_place_simple": ("put a {thing} in {target}.", "put some {thing} on {target}."),
    "look_at_obj_in_light": (
        "look at {thing} under the {target}.",
        "examine the {thing} with the {target}.",
    ),
    "pick_two_obj_and_place": (
        "put two {thing} in {target}.",
        "find two {thing} and put them in {target}.",
    ),
    "treated": (
        "put a {adjective} {thing} in {target}.",
        "{verb} some {thing} and put it in {target}.",
    ),
}


def sentence(assignment: Assignment, variant: int) -> str:
    """The task in one of its two wordings."""
    treatment = TREATMENTS.get(assignment.type)
    words = {"thing": assignment.thing.lower(), "target": assignment.target.lower()}
    if treatment is None:
        return _SENTENCES[assignment.type][variant].format(**words)
    return _SENTENCES["treated"][variant].format(
        verb=treatment.verb, adjective=treatment.adjective, **words
    )


def walkthrough(plan: FloorPlan, assignment: Assignment, items: Sequence[Item]) -> list[str]:
    """Commands that win: fetch, treat, bring; or fetch and switch on the lamp."""
    names = _display_names(plan, items)
    commands: list[str] = []
    here = plan.start
    opened: set[str] = set()

    def visit(receptacle: Receptacle, *, reach_in: bool) -> None:
        nonlocal here
        if receptacle.location != here:
            commands.append(f"go to {names[receptacle.id]}")
            here = receptacle.location
        if reach_in and receptacle.openable and receptacle.id not in opened:
            commands.append(f"open {names[receptacle.id]}")
            opened.add(receptacle.id)

    things = [(i, i.place) for i in items if i.kind == assignment.thing and i.place]
    lamps = [(i, i.place) for i in items if i.kind == assignment.target and i.place]
    targets = [r for r in plan.receptacles if r.kind == assignment.target]
    treatment = TREATMENTS.get(assignment.type)
    for thing, place in things[: 2 if assignment.type == "pick_two_obj_and_place" else 1]:
        visit(place, reach_in=True)
        commands.append(f"take {names[thing.id]} from {names[place.id]}")
        if treatment:
            station = next(r for r in plan.receptacles if r.kind == treatment.station)
            visit(station, reach_in=False)
            commands.append(f"{treatment.verb} {names[thing.id]} with {names[station.id]}")
        if targets:
            visit(targets[0], reach_in=True)
            commands.append(f"move {names[thing.id]} to {names[targets[0].id]}")
        else:
            visit(lamps[0][1], reach_in=True)
            commands.append(f"use {names[lamps[0][0].id]}")
    return commands


def _display_names(plan: FloorPlan, items: Sequence[Item]) -> dict[str, str]:
    """The names players see: numbers count down in the order of the ids of a kind."""
    kinds = {r.id: r.kind.lower() for r in plan.receptacles}
    kinds |= {i.id: i.kind.lower() for i in items}
    left = Counter(kinds.values())
    names = {}
    for name in sorted(kinds, key=str.lower):
        kind = kinds[name]
        names[name] = f"{kind} {left[kind]}"
        left[kind] -= 1
    return names


def problem_text(name: str, plan: FloorPlan, assignment: Assignment, items: Sequence[Item]) -> str:
    """The PDDL problem of a scene, in the domain alfred."""
    receptacle_kinds = dict.fromkeys((*(r.kind for r in plan.receptacles), *_DECLARED_RECEPTACLES))
    object_kinds = dict.fromkeys((*(i.kind for i in items), *_DECLARED_OBJECTS))
    locations = [r.location for r in plan.receptacles] + [i.location for i in items if not i.place]
    objects = [
        "agent1 - agent",
        *(f"{kind}Type - otype" for kind in object_kinds),
        *(f"{kind}Type - rtype" for kind in receptacle_kinds),
        *(f"{item.id} - object" for item in items),
        *(f"{receptacle.id} - receptacle" for receptacle in plan.receptacles),
        *(f"{location} - location" for location in dict.fromkeys((*locations, plan.start))),
    ]
    facts = _facts(plan, items, receptacle_kinds, object_kinds)
    return "\n".join(
        (
            f"(define (problem {name})",
            "(:domain alfred)",
            "(:objects",
            *(f"    {line}" for line in objects),
            ")",
            "(:init",
            *(f"    ({fact})" for fact in facts),
            ")",
            _goal(assignment),
            ")\n",
        )
    )


def _facts(
    plan: FloorPlan,
    items: Sequence[Item],
    receptacle_kinds: Iterable[str],
    object_kinds: Iterable[str],
) -> Iterable[str]:
    yield from (f"receptacleType {r.id} {r.kind}Type" for r in plan.receptacles)
    yield from (f"objectType {i.id} {i.kind}Type" for i in items)
    for place in receptacle_kinds:
        for kind in object_kinds:
            if kind in OBJECTS and place in OBJECTS[kind].allowed:
                yield f"canContain {place}Type {kind}Type"
    for trait in _TRAITS:
        predicate = _PREDICATES.get(trait, trait)
        yield from (f"{predicate} {i.id}" for i in items if trait in _traits(i.kind))
    yield from (f"openable {r.id}" for r in plan.receptacles if r.openable)
    yield f"atLocation agent1 {plan.start}"
    yield from (f"inReceptacle {i.id} {i.place.id}" for i in items if i.place)
    yield from (f"receptacleAtLocation {r.id} {r.location}" for r in plan.receptacles)
    yield from (f"objectAtLocation {i.id} {i.location}" for i in items)


def _traits(kind: str) -> tuple[str, ...]:
    return OBJECTS[kind].traits if kind in OBJECTS else FIXTURE_TRAITS.get(kind, ())


def _goal(assignment: Assignment) -> str:
    of_kind = f"(objectType ?o {assignment.thing}Type)"
    in_target = f"(receptacleType ?r {assignment.target}Type) (inReceptacle ?o ?r)"
    if assignment.type == "look_at_obj_in_light":
        parts = (
            "(exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and"
            f" (objectType ?ot {assignment.target}Type) (toggleable ?ot) (isToggled ?ot)"
            " (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r)))",
            f"(exists (?o - object ?a - agent) (and {of_kind} (holds ?a ?o)))",
        )
        return f"(:goal (and\n    {parts[0]}\n    {parts[1]}\n))"
    inner = f"{of_kind} {in_target}"
    if assignment.type == "pick_two_obj_and_place":
        first, second = inner.replace("?o ", "?o1 "), inner.replace("?o ", "?o2 ")
        body = (
            f"(exists (?o1 - object) (and {first}\n"
            f"        (exists (?o2 - object) (and (not (= ?o1 ?o2)) {second}))))"
        )
    else:
        treatment = TREATMENTS.get(assignment.type)
        needs = f"({treatment.trait} ?o) ({treatment.state} ?o) " if treatment else ""
        body = f"(exists (?o - object) (and {needs}{inner}))"
    return f"(:goal (and\n    (exists (?r - receptacle)\n        {body})\n))"
