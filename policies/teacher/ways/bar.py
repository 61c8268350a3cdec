"""Barman: mix each cocktail in the shaker, then fill in what comes from a dispenser."""

from __future__ import annotations

from collections.abc import Sequence

from ....envs.pddl.barman import WORDS
from ....envs.pddl.language import Literal
from ....envs.pddl.words import natural
from ....envs.pddl.world import World
from ....envs.pddl_text import Fact
from .step import Step, Telling


def way(world: World) -> Step | None:
    """The next step; None where the goal is of another kind, or the shaker is spoilt."""
    if any(g.fact[0] != "contains" or not g.positive for g in world.goal):
        return None
    return _Bar(world).next()


class _Bar(Telling):
    def __init__(self, world: World) -> None:
        self._world = world
        kinds = world.objects
        self._hands = [name for name, kind in kinds.items() if kind == "hand"]
        self._shots = sorted((n for n, kind in kinds.items() if kind == "shot"), key=natural)
        self._shaker = next((name for name, kind in kinds.items() if kind == "shaker"), "")
        held = {hand: thing for _, hand, thing in world.find("holding")}
        self._held = held
        self._open = sorted(
            (fact for fact in world.wants("contains") if not world.has(*fact)), key=self._turn
        )
        left = "; ".join(WORDS.literal(Literal(fact)) for fact in self._open)
        hands = "; ".join(f"{hand} {held.get(hand, 'free')}" for hand in self._hands)
        super().__init__(WORDS, f"Not yet: {left}. {hands}.")

    def next(self) -> Step | None:
        if not self._open:
            return None
        _, shot, drink = self._open[0]
        mixed = self._world.objects.get(drink) == "cocktail"
        return self._serve(shot, drink) if mixed else self._fill(shot, drink)

    # --- cocktails --------------------------------------------------------------------------

    def _turn(self, goal: Fact) -> int:
        """What comes first: a cocktail that is mixed, other cocktails, ingredients."""
        drink = goal[2]
        if self._world.objects.get(drink) != "cocktail":
            return 2
        return 0 if drink in self._contents(self._shaker) and self._lower() else 1

    def _serve(self, shot: str, cocktail: str) -> Step | None:
        world, shaker = self._world, self._shaker
        parts = [
            ingredient
            for number in (1, 2)
            for _, _, ingredient in world.find(f"cocktail-part{number}", cocktail)
        ]
        if len(parts) != 2 or not shaker:
            return None
        self._say(f"{cocktail}: {parts[0]} and {parts[1]}.")
        inside = self._contents(shaker)
        clean = " and clean" if world.has("clean", shaker) else ""
        held = f"has {' and '.join(inside)}" if inside else f"is empty{clean}"
        self._say(f"{shaker} {held}.")
        if cocktail in inside and self._lower():
            pour = {"b": cocktail, "s": shaker, "d": shot}
            step = self._ready(shot) or self._hold(shaker)
            return step or self._do("pour-shaker-to-shot", **pour)
        if world.has("shaked", shaker):
            return self._hold(shaker) or self._do("empty-shaker", s=shaker)
        if {*inside} - {*parts}:
            return None  # spoilt: the planner knows
        if not inside and not clean:
            return self._alone(shaker) or self._do("clean-shaker", s=shaker)
        missing = [part for part in parts if part not in inside]
        if missing:
            return self._add(missing)
        step = self._ready(shot) or self._alone(shaker)
        return step or self._do("shake", b=cocktail, s=shaker)

    def _add(self, missing: Sequence[str]) -> Step | None:
        """Towards an ingredient more in the shaker, by a shot that is wanted for nothing yet."""
        wanted = {shot for _, shot, _ in self._world.wants("contains")}
        helper = next((s for s in self._shots if s not in wanted), self._open[-1][1])
        inside = self._contents(helper)
        part = next((part for part in missing if part in inside), missing[0])
        self._say(f"{part} is missing; {helper} brings it.")
        if part not in inside:
            return self._fill(helper, part)
        self._say(f"{helper} has {part}.")
        pour = {"i": part, "s": helper, "d": self._shaker}
        return self._hold(helper) or self._do("pour-shot-to-clean-shaker", **pour)

    # --- shots ------------------------------------------------------------------------------

    def _fill(self, shot: str, drink: str) -> Step | None:
        """Towards a shot that has an ingredient."""
        world = self._world
        source = next((name for _, name, _ in world.find("dispenses", None, drink)), None)
        if source is None:
            return None
        form = "fill-shot"
        if not self._contents(shot) and world.has("used", shot, drink):
            self._say(f"{shot} is empty with traces of {drink}.")
            form = "refill-shot"
        elif step := self._ready(shot):
            return step
        return self._alone(shot) or self._do(form, s=shot, i=drink, d=source)

    def _ready(self, shot: str) -> Step | None:
        """Towards a shot that is empty and clean; None where it is."""
        world = self._world
        inside, traces = self._contents(shot), world.value("used", shot)
        if inside:
            self._say(f"{shot} has {' and '.join(inside)}.")
            return self._hold(shot) or self._do("empty-shot", s=shot)
        if not world.has("clean", shot):
            self._say(f"{shot} is empty with traces of {traces or 'a cocktail'}.")
            if traces is None:
                return Step(self._state, "", "")  # never to be cleaned: the planner knows
            return self._alone(shot) or self._do("clean-shot", s=shot)
        self._say(f"{shot} is empty and clean.")
        return None

    # --- hands ------------------------------------------------------------------------------

    def _hold(self, thing: str) -> Step | None:
        """Towards a thing in a hand; None where it is."""
        if thing in self._held.values():
            return None
        free = [hand for hand in self._hands if hand not in self._held]
        if not free:
            return self._leave(self._hands[0])
        return self._do("grasp", c=thing, h=free[0])

    def _alone(self, thing: str) -> Step | None:
        """Towards a thing in a hand, while the other is free; None where it is so."""
        if step := self._hold(thing):
            return step
        other = next((hand for hand, held in self._held.items() if held != thing), None)
        return self._leave(other) if other is not None else None

    def _leave(self, hand: str) -> Step:
        return self._do("leave", c=self._held[hand], h=hand)

    def _contents(self, container: str) -> list[str]:
        found = (fact[2] for fact in self._world.find("contains", container))
        return sorted(found, key=natural)

    def _lower(self) -> bool:
        """Whether something can still be poured from the shaker."""
        level = self._world.value("shaker-level", self._shaker)
        return level is not None and bool(self._world.find("next", None, level))
