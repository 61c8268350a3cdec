"""Tyreworld: wheel after wheel, each from its nuts to its nuts, then air, then all is put away."""

from __future__ import annotations

from ....envs.pddl.language import Literal
from ....envs.pddl.tyreworld import WORDS
from ....envs.pddl.words import natural
from ....envs.pddl.world import World
from ....envs.pddl_text import Fact
from .step import Step, Telling

_MOST = 4  # goals of a thought


def way(world: World) -> Step | None:
    """The next step; None where the goal is of another kind."""
    kinds = {"on", "tight", "inflated", "in", "closed"}
    if any(g.fact[0] not in kinds or not g.positive for g in world.goal):
        return None
    return _Garage(world).next()


class _Garage(Telling):
    def __init__(self, world: World) -> None:
        self._world = world
        of_hubs = [
            fact
            for wheel in world.wants("on")
            for fact in (wheel, *(nut for nut in world.wants("tight") if nut[2] == wheel[2]))
        ]
        goals = [
            *of_hubs,
            *(fact for k in ("tight", "inflated", "in", "closed") for fact in world.wants(k)),
        ]
        self._open = [fact for fact in dict.fromkeys(goals) if not world.has(*fact)]
        left = "; ".join(WORDS.literal(Literal(fact)) for fact in self._open[:_MOST])
        had = sorted((thing for _, thing in world.find("have")), key=natural)
        boxes = " ".join(f"{box} open." for _, box in world.find("isopen"))
        super().__init__(
            WORDS, f"Not yet: {left}. Have {', '.join(had) or 'nothing'}. {boxes}".rstrip()
        )

    def next(self) -> Step | None:
        if not self._open:
            return None
        kind, *names = self._open[0]
        if kind == "on":
            return self._wheel(*names)
        if kind == "tight":
            return self._tighten(*names)
        if kind == "inflated":
            return self._need("pump") or self._do("inflate", w=names[0])
        if kind == "in":
            thing, box = names
            return self._need(thing) or self._open_box(box) or self._do("put-away", x=thing, c=box)
        return self._do("close", c=names[0])

    # --- a hub ------------------------------------------------------------------------------

    def _wheel(self, wheel: str, hub: str) -> Step | None:
        """Towards a wheel on its hub."""
        world = self._world
        nut, up = self._hub(hub)
        if nut is not None and nut[0] == "tight":
            if up:
                return self._do("jack-down", h=hub)
            return self._need("wrench") or self._do("loosen", n=nut[1], h=hub)
        if not up:
            return self._lift(hub)
        if nut is not None:
            return self._need("wrench") or self._do("undo", n=nut[1], h=hub)
        other = next((on for _, on, at in world.find("on") if at == hub), None)
        if other is not None:
            return self._do("remove-wheel", w=other, h=hub)
        return self._need(wheel) or self._do("put-on-wheel", w=wheel, h=hub)

    def _tighten(self, nut: str, hub: str) -> Step | None:
        """Towards nuts that are tight on their hub."""
        world = self._world
        _, up = self._hub(hub)
        if world.has("loose", nut, hub):
            if up:
                return self._do("jack-down", h=hub)
            return self._need("wrench") or self._do("tighten", n=nut, h=hub)
        if not up:
            return self._lift(hub)
        return self._need("wrench") or self._need(nut) or self._do("do-up", n=nut, h=hub)

    def _hub(self, hub: str) -> tuple[Fact | None, bool]:
        """Say what is on a hub; what holds its nuts, and whether it is jacked up."""
        world = self._world
        nut = next((f for kind in ("tight", "loose") for f in world.find(kind, None, hub)), None)
        up = world.has("not-on-ground", hub)
        wheel = next((on for _, on, at in world.find("on") if at == hub), "no wheel")
        nuts = f"{nut[1]} {nut[0]}" if nut else "no nuts"
        height = "jacked up" if up else "on the ground"
        self._say(f"{hub}: {height}, {nuts}, {wheel}.")
        return nut, up

    def _lift(self, hub: str) -> Step | None:
        return self._need("jack") or self._do("jack-up", h=hub)

    # --- things -----------------------------------------------------------------------------

    def _need(self, thing: str) -> Step | None:
        """Towards a thing at hand; None where it is."""
        world = self._world
        if world.has("have", thing):
            return None
        box = world.value("in", thing)
        if box is not None:
            self._say(f"{thing} is in {box}.")
            return self._open_box(box) or self._do("fetch", x=thing, c=box)
        up = next((hub for _, hub in world.find("not-on-ground")), None)
        if thing == "jack" and up is not None:
            self._say(f"jack is under {up}.")
            return self._do("jack-down", h=up)
        return Step(self._state, "", "")  # the planner knows

    def _open_box(self, box: str) -> Step | None:
        return None if self._world.has("isopen", box) else self._do("open", c=box)
