"""The explorer's plans about living things: finding them, life spans, life stages, growing."""

from __future__ import annotations

import re

from .hands import HOUSE, Hands, Plan
from .notes import names

# From long-lived to short-lived, by general knowledge.
_LONG_LIVED = (
    "giant tortoise", "crocodile", "parrot", "elephant", "turtle", "brown bear", "dove", "wolf",
    "beaver", "rabbit", "blue jay", "frog", "chameleon", "hedgehog", "chipmunk", "mouse",
    "butterfly", "dragonfly", "ant", "bee",
)  # fmt: skip
_YOUNG = r"baby|hatchling|juvenile|adult|tadpole|caterpillar|larva|pupa|nymph|toadlet"
_ANIMAL = re.compile(rf"(?:{_YOUNG}) \w.*|(?!dead).* egg|tadpole")
_PLANT = re.compile(r"(?!dead)(?P<kind>.+ (?:tree|plant)) in the (?P<stage>\w+) stage.*")
# Things of no life that can be carried, as found in any house.
_LIFELESS = (
    "thermometer", "stopwatch", "lighter", "metal pot", "glass cup", "paper cup", "plastic cup",
    "tin cup", "ceramic cup", "wood cup", "jug", "shovel", "axe", "bowl", "white pillow",
    "battery", "switch", "painting", "picture", "drawing", "finger painting", "steel block",
    "chair",
)  # fmt: skip
_ANIMAL_STAGES = (
    ("egg",),
    ("baby", "hatchling", "tadpole", "larva", "caterpillar", "nymph"),
    ("pupa",),
    ("juvenile", "froglet", "toadlet"),
    ("adult",),
)
# Animals whose young have a name of their own.
_OWN_WORDS: dict[str, tuple[str, ...]] = {
    "frog": ("tadpole", "froglet"),
    "toad": ("tadpole", "toadlet"),
    "butterfly": ("larva", "caterpillar", "pupa"),
    "bee": ("larva", "pupa"),
    "ant": ("larva", "pupa"),
    "dragonfly": ("nymph",),
}
_PLANT_STAGES = ("seed", "seedling", "adult", "reproducing")
# Mendel's findings on peas: whether a trait is dominant.
_MENDEL = {
    "tall plant height": True,
    "short plant height": False,
    "round seed shape": True,
    "wrinkly seed shape": False,
    "purple flower color": True,
    "white flower color": False,
}
_PATIENCE = 90  # units of time to wait for a life stage


def find(hands: Hands, goal: str) -> Plan[None]:
    """Find a thing of a kind, focus on it and bring it to a box."""
    asked = re.search(r"find a\(n\) ([\w -]+?)\. .*? to the (\w+ box) in the ([\w ]+)\.", goal)
    if asked is None:
        return
    kind, box, where = asked.groups()
    if kind == "plant":
        thing = yield from _take_plant(hands)
    elif kind == "non-living thing":
        places = [where, *HOUSE]
        thing = yield from hands.search(lambda name: name in _LIFELESS, places)
        yield from hands.focus(thing, prefer=f"in {hands.notes.here}")
        if thing and hands.notes.here != where:
            yield from hands.fetch(thing)
    else:
        thing = yield from hands.search(lambda name: bool(_ANIMAL.fullmatch(name)), ["outside"])
        if thing:
            yield from hands.focus(thing)
            yield from hands.fetch(thing)
        elif kind == "living thing":
            thing = yield from _take_plant(hands)
    yield from hands.go(where)
    if not (yield from hands.put(thing, box)):  # it may have grown, and have another name now
        for name in (yield from hands.carried()):
            if name != "orange":
                yield from hands.put(name, box)


def _take_plant(hands: Hands) -> Plan[str]:
    """Focus on a plant and pick up the pot it grows in; returns what is carried."""
    found = yield from hands.search(
        lambda name: bool(_PLANT.fullmatch(name)), ["greenhouse", "outside"]
    )
    plant = _PLANT.fullmatch(found)
    if plant is None:
        return ""
    yield from hands.focus(plant["kind"])
    line = names(hands.notes.place.line_of(found))
    pot = line[0] if line else found
    yield from hands.fetch(pot)
    return pot


def life_spans(hands: Hands, goal: str) -> Plan[None]:
    """Focus on the longest-lived animal, the shortest-lived, or first one and then the other."""
    yield from hands.go("outside")
    animals = [name for name in hands.notes.place.things if _ANIMAL.fullmatch(name)]
    ranked = sorted(animals, key=_rank)
    if not ranked:
        return
    for span in re.findall(r"[Ff]ocus on the animal with the (longest|shortest) life span", goal):
        yield from hands.focus(ranked[0 if span == "longest" else -1])


def _rank(animal: str) -> int:
    kinds = [rank for rank, kind in enumerate(_LONG_LIVED) if re.search(rf"\b{kind}\b", animal)]
    return kinds[0] if kinds else len(_LONG_LIVED) // 2


def life_stages(hands: Hands, goal: str) -> Plan[None]:
    """Focus on each stage of an animal's or a plant's life, waiting for those to come."""
    asked = re.search(r"life stages of the (.+?)(?P<plant> plant)?,", goal)
    if asked is None:
        return
    yield from hands.go("outside")
    kind = {"moth": "(?:moth|butterfly)", "butterfly": "(?:moth|butterfly)"}.get(asked[1], asked[1])
    stages = _plant_stages(kind) if asked["plant"] else _animal_stages(kind)
    number = re.search(r"the (\d+) life stages", goal)
    done = len(hands.notes.focused)  # several stages may have one name
    wanted = int(number[1]) if number else len(stages)
    latest = -1
    for _ in range(_PATIENCE):
        yield from hands.look()
        for stage in range(latest + 1, len(stages)):
            found = _in_stage(hands.notes.place.lines, stages[stage])
            if not found:
                if asked["plant"]:
                    break  # all stages are to come, and none is to be left out
                continue
            latest = stage
            if done > 0:  # focused on before this plan began
                done -= 1
                continue
            yield from hands.do(f"focus on {found}", prefer="outside")
            break
        else:
            if len(hands.notes.focused) >= wanted:
                return
        if latest + 1 >= len(stages) or len(hands.notes.focused) >= wanted:
            return
        if not _in_stage(hands.notes.place.lines, stages[latest + 1]):
            yield from hands.wait()


def _animal_stages(kind: str) -> list[re.Pattern[str]]:
    """What names an animal in each of its stages."""
    own = next((words for kinds, words in _OWN_WORDS.items() if kinds in kind), ())
    patterns = []
    for words in _ANIMAL_STAGES:
        alone = [word for word in words if word in own]
        named = [f"{kind} egg"] if words == ("egg",) else [f"{word} {kind}" for word in words]
        patterns.append(re.compile("|".join([*named, *alone, *(f"{kind} {w}" for w in alone)])))
    return patterns


def _plant_stages(kind: str) -> list[re.Pattern[str]]:
    return [
        re.compile(rf"{kind} seed" if s == "seed" else rf"{kind} (?:tree|plant) in the {s} stage.*")
        for s in _PLANT_STAGES
    ]


def _in_stage(lines: list[str], stage: re.Pattern[str]) -> str:
    """How to call the first thing in that stage; in a pot, with the pot's name."""
    for line in lines:
        inside = names(line)
        for name in inside:
            if stage.fullmatch(name):
                return name if name == inside[0] else f"{name} in {inside[0]}"
    return ""


def grow_plant(hands: Hands, goal: str) -> Plan[None]:
    """Put seeds into pots with soil and water, and wait."""
    asked = re.search(r"grow a (\w+) plant.*found in the ([\w ]+)\.", goal)
    if asked is None:
        return
    kind, where = asked.groups()
    yield from hands.go(where)
    yield from hands.fetch("seed jar")
    yield from hands.go("greenhouse")
    yield from hands.look()
    pots = [names(line) for line in hands.notes.place.lines if "flower pot" in line]
    ready = [inside[0] for inside in pots if "soil" in inside]
    if not ready:
        ready = yield from _fill_pot(hands, [inside[0] for inside in pots])
    for pot in ready[:1]:
        yield from hands.do(f"move {kind} seed in seed jar to {pot}")
        yield from hands.focus(f"{kind} seed in {pot}")
    for _ in range(_PATIENCE):
        yield from hands.wait()


def inheritance(hands: Hands, goal: str) -> Plan[None]:
    """Answer for a pea plant as Mendel found; other plants would have to be crossed."""
    asked = re.search(
        r"whether (.+?) is a .* in the (.+?) plant\. If the trait is dominant, focus on the "
        r"(\w+ box)\. If the trait is recessive, focus on the (\w+ box)",
        goal,
    )
    if asked is None:
        return
    trait, plant, dominant, recessive = asked.groups()
    jar = yield from hands.search(
        lambda name: name == "seed jar", ["greenhouse", "bathroom", "living room"], shut=False
    )
    if jar:
        yield from hands.fetch(jar)
    if plant != "pea" or trait not in _MENDEL:
        return
    box = dominant if _MENDEL[trait] else recessive
    yield from hands.search(lambda name: name == box, ["greenhouse", *HOUSE], shut=False)
    yield from hands.focus(box)


def _fill_pot(hands: Hands, pots: list[str]) -> Plan[list[str]]:
    """Dig soil outside and bring it to a pot in the greenhouse."""
    if not pots:
        return []
    shovel = yield from hands.search(lambda name: name == "shovel", ["greenhouse", "outside"])
    if not shovel:
        shovel = yield from hands.search(lambda name: name == "shovel")
    yield from hands.fetch("shovel")
    yield from hands.go("outside")
    yield from hands.do("use shovel in inventory on ground")
    yield from hands.fetch("soil")
    yield from hands.go("greenhouse")
    yield from hands.put("soil", pots[0])
    return pots[:1]
