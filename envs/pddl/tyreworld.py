"""Tyreworld: wheels are changed with tools out of a boot."""

from __future__ import annotations

from random import Random

from ..pddl_text import Fact
from .game import Draft, Game
from .words import Phrase, Words, natural
from .world import World

WORDS = Words(
    intro="This is tyreworld: you change the wheels of a car with tools out of its boot.",
    phrases={
        "have": Phrase("you have {0}", "you have {0}"),
        "in": Phrase("{0} is in {1}", "{0} are in {1}"),
        "isopen": Phrase("{0} is open", "{0} are open"),
        "closed": Phrase("{0} is closed", "{0} are closed"),
        "unlocked": Phrase("{0} is unlocked", "{0} are unlocked"),
        "on-ground": Phrase("{0} is on the ground", "{0} are on the ground"),
        "not-on-ground": Phrase("{0} is jacked up", "{0} are jacked up"),
        "fastened": Phrase("{0} is fastened", "{0} are fastened"),
        "unfastened": Phrase("{0} is unfastened", "{0} are unfastened"),
        "free": Phrase("{0} has no wheel", "{0} have no wheel"),
        "on": Phrase("{0} is on {1}"),
        "tight": Phrase("{0} is tight on {1}"),
        "loose": Phrase("{0} is loose on {1}"),
        "intact": Phrase("{0} is intact", "{0} are intact"),
        "inflated": Phrase("{0} is inflated", "{0} are inflated"),
        "not-inflated": Phrase("{0} is not inflated", "{0} are not inflated"),
    },
    forms={
        "open": "open {c}",
        "close": "close {c}",
        "fetch": "fetch {x} from {c}",
        "put-away": "put away {x} in {c}",
        "loosen": "loosen {n} on {h}",
        "tighten": "tighten {n} on {h}",
        "jack-up": "jack up {h}",
        "jack-down": "jack down {h}",
        "undo": "undo {n} on {h}",
        "do-up": "do up {n} on {h}",
        "remove-wheel": "remove {w} from {h}",
        "put-on-wheel": "put {w} on {h}",
        "inflate": "inflate {w}",
    },
)

_TOOLS = ("jack", "pump", "wrench")
# Hubs, wheels to change, and how likely each further goal of a changed wheel is.
_SIZES = {
    "easy": ((1, 2), (1, 1), {"inflated": 0.7, "in": 0.4, "tight": 0.3, "tidy": 0.0}),
    "medium": ((2, 3), (1, 2), {"inflated": 0.8, "in": 0.6, "tight": 0.7, "tidy": 0.2}),
    "hard": ((3, 4), (3, 3), {"inflated": 0.9, "in": 0.8, "tight": 0.9, "tidy": 0.6}),
}


def _draw(rng: Random, size: str) -> Draft:
    hubs, changes, odds = _SIZES[size]
    numbers = range(1, rng.randint(*hubs) + 1)
    facts: list[Fact] = [("unlocked", "boot")]
    facts.append(("closed", "boot") if rng.random() < 0.7 else ("isopen", "boot"))
    facts += [
        ("in", thing, "boot") if rng.random() < 0.8 else ("have", thing)
        for thing in (*_TOOLS, *(f"spare{n}" for n in numbers))
    ]
    for n in numbers:
        facts += [("on", f"wheel{n}", f"hub{n}"), ("on-ground", f"hub{n}"),
                  ("fastened", f"hub{n}"), ("intact", f"spare{n}")]  # fmt: skip
        facts.append(("tight" if rng.random() < 0.8 else "loose", f"nuts{n}", f"hub{n}"))
        facts.append(("not-inflated" if rng.random() < 0.75 else "inflated", f"spare{n}"))
    goal: list[Fact] = []
    spares = rng.sample(numbers, len(numbers))
    for n, spare in zip(sorted(rng.sample(numbers, rng.randint(*changes))), spares, strict=False):
        goal.append(("on", f"spare{spare}", f"hub{n}"))
        further: tuple[Fact, ...] = (
            ("inflated", f"spare{spare}"),
            ("tight", f"nuts{n}", f"hub{n}"),
            ("in", f"wheel{n}", "boot"),
        )
        goal += [fact for fact in further if rng.random() < odds[fact[0]]]
    if rng.random() < odds["tidy"]:
        goal += [*(("in", tool, "boot") for tool in _TOOLS), ("closed", "boot")]
    return Draft(
        objects={
            **dict.fromkeys(_TOOLS, "tool"),
            "boot": "container",
            **dict.fromkeys((f"hub{n}" for n in numbers), "hub"),
            **dict.fromkeys((f"nuts{n}" for n in numbers), "nut"),
            **dict.fromkeys((f"wheel{n}" for n in numbers), "wheel"),
            **dict.fromkeys((f"spare{n}" for n in numbers), "wheel"),
        },
        init=tuple(facts),
        goal=tuple(goal),
    )


def _solve(world: World) -> None:
    """Hub after hub, then the pump, then everything back into its place."""
    garage = _Garage(world)
    hubs = sorted((n for n, k in world.objects.items() if k == "hub"), key=natural)
    # The hub that is up comes first, since there is one jack.
    for hub in sorted(hubs, key=lambda h: not world.has("not-on-ground", h)):
        garage.change_wheel(hub)
        garage.fasten(hub)
    for _, wheel in world.wants("inflated"):
        if not world.has("inflated", wheel):
            garage.get("pump")
            world.do("inflate", wheel)
    for _, hub in world.wants("on-ground"):
        garage.lower(hub)
    for _, hub in world.wants("not-on-ground"):
        garage.lift(hub)
    for _, thing, container in world.wants("in"):
        if not world.has("in", thing, container):
            garage.get(thing)
            garage.open(container)
            world.do("put-away", thing, container)
    for _, thing in world.wants("have"):
        garage.get(thing)
    for _, container in world.wants("isopen"):
        garage.open(container)
    for _, container in world.wants("closed"):
        if world.has("isopen", container):
            world.do("close", container)
    world.stuck()


class _Garage:
    """What a mechanic can do in several actions."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get(self, thing: str) -> None:
        """Have a thing at hand, wherever it is."""
        world = self._world
        if world.has("have", thing):
            return
        container, hub = world.value("in", thing), world.value("on", thing)
        screwed = world.value("tight", thing) or world.value("loose", thing)
        if container is not None:
            self.open(container)
            world.do("fetch", thing, container)
        elif hub is not None:
            self._unfasten(hub)
            self.lift(hub)
            world.do("remove-wheel", thing, hub)
        elif screwed is not None:
            self._unfasten(screwed)
        elif thing == "jack" and (up := world.find("not-on-ground")):
            world.do("jack-down", up[0][1])
        else:
            world.stuck()

    def open(self, container: str) -> None:
        """Have a container open."""
        if not self._world.has("isopen", container):
            self._world.do("open", container)

    def lift(self, hub: str) -> None:
        """Have a hub jacked up."""
        if not self._world.has("not-on-ground", hub):
            self.get("jack")
            self._world.do("jack-up", hub)

    def lower(self, hub: str) -> None:
        """Have a hub on the ground."""
        if not self._world.has("on-ground", hub):
            self._world.do("jack-down", hub)

    def change_wheel(self, hub: str) -> None:
        """Have the wheel on a hub that the goal wants there, and none that it wants elsewhere."""
        world = self._world
        wanted = [fact[1] for fact in world.wants("on", None, hub)]
        present = [fact[1] for fact in world.find("on", None, hub)]
        for wheel in present:
            if wheel not in wanted and (wanted or self._wanted_elsewhere(wheel, hub)):
                self.get(wheel)
        for wheel in wanted:
            if not world.has("on", wheel, hub):
                self.get(wheel)
                self._unfasten(hub)
                self.lift(hub)
                world.do("put-on-wheel", wheel, hub)

    def fasten(self, hub: str) -> None:
        """Bring the nuts of a hub into the state that the goal wants."""
        world = self._world
        for _, nut, _ in (*world.wants("tight", None, hub), *world.wants("loose", None, hub)):
            self._screw_on(nut, hub)
        if world.wants("fastened", hub) and not world.has("fastened", hub):
            nuts = [n for n, kind in world.objects.items() if kind == "nut"]
            off = [n for n in nuts if world.has("have", n) or world.find("in", n)]
            self._screw_on(min(off, key=natural) if off else world.stuck(), hub)
        if world.wants("unfastened", hub):
            self._unfasten(hub)
        for _, nut, _ in world.wants("tight", None, hub):
            if not world.has("tight", nut, hub):
                self.lower(hub)
                self.get("wrench")
                world.do("tighten", nut, hub)
        for _, nut, _ in world.wants("loose", None, hub):
            if not world.has("loose", nut, hub):
                self._loosen(nut, hub)

    def _screw_on(self, nut: str, hub: str) -> None:
        world = self._world
        if not world.has("tight", nut, hub) and not world.has("loose", nut, hub):
            self.get(nut)
            self.get("wrench")
            self.lift(hub)
            world.do("do-up", nut, hub)

    def _unfasten(self, hub: str) -> None:
        """Take the nuts off a hub."""
        world = self._world
        while not world.has("unfastened", hub):
            for _, nut, _ in world.find("tight", None, hub)[:1]:
                self._loosen(nut, hub)
            nuts = world.find("loose", None, hub)
            if not nuts:
                world.stuck()
            self.get("wrench")
            self.lift(hub)
            world.do("undo", nuts[0][1], hub)

    def _loosen(self, nut: str, hub: str) -> None:
        self.lower(hub)
        self.get("wrench")
        self._world.do("loosen", nut, hub)

    def _wanted_elsewhere(self, wheel: str, hub: str) -> bool:
        world = self._world
        elsewhere = any(place != hub for _, _, place in world.wants("on", wheel))
        free = bool(world.wants("free", hub))
        return bool(elsewhere or free or world.wants("in", wheel) or world.wants("have", wheel))


TYREWORLD = Game("tyreworld", WORDS, _draw, _solve)
