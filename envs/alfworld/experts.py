"""The oracle: an expert that knows where everything is.

It plans anew from the present state at each step, so it goes on sensibly after anybody else's
actions. It is the upper bound of a game and proves that the game can be won.
"""

from __future__ import annotations

from collections.abc import Sequence

from .engine import Engine
from .game import NONE, Game
from .progress import Wanted, of_kind, reachable, wanted_by

# What gives an object a state: (verb, type of receptacle).
STATIONS = {
    "clean": ("clean", "sinkbasintype"),
    "hot": ("heat", "microwavetype"),
    "cool": ("cool", "fridgetype"),
}


class Oracle:
    """Chooses the next command towards a game's goal from the engine's facts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        wanted = wanted_by(engine.game.goal)
        self._placed = [w for w in wanted if w.place is not None]
        self._held = next((w for w in wanted if w.held), None)
        self._lamp = next((w for w in wanted if w.lit), None)

    def next_action(self) -> str | None:
        """The next command; None when the game is won or cannot be."""
        if self._engine.won:
            return None
        if self._placed:
            return self._place()
        if self._held and self._lamp:
            return self._look_in_light(self._held, self._lamp)
        return None

    def _place(self) -> str | None:
        engine = self._engine
        wanted = self._placed[0]
        things = of_kind(engine.game, wanted.kind)
        targets = reachable(engine.game, wanted.place or "")
        if not targets:
            return None
        done = {t: [o for o in things if self._is_done(o, t, wanted)] for t in targets}
        target = max(targets, key=lambda t: len(done[t]))  # the first of the best
        held = engine.holding
        if held in things:
            return self._treat(held, wanted) or self._put(held, target)
        left = [o for o in things if o not in done[target]]
        return self._fetch(sorted(left, key=lambda o: -len(wanted.states & engine.flags(o))))

    def _is_done(self, thing: str, target: str, wanted: Wanted) -> bool:
        in_place = thing in self._engine.contents(target)
        return in_place and wanted.states <= self._engine.flags(thing)

    def _treat(self, thing: str, wanted: Wanted) -> str | None:
        """The next command to give the thing in hand a state it lacks; None if it lacks none."""
        for state in sorted(wanted.states - self._engine.flags(thing)):
            if state in STATIONS:
                verb, kind = STATIONS[state]
                stations = reachable(self._engine.game, kind)
                if stations:
                    go = self._go(stations[0])
                    return go or f"{verb} {thing} with {stations[0]}"
        return None

    def _look_in_light(self, wanted: Wanted, lamp: Wanted) -> str | None:
        engine = self._engine
        if engine.holding not in of_kind(engine.game, wanted.kind):
            return self._fetch(of_kind(engine.game, wanted.kind))
        for light in of_kind(engine.game, lamp.kind):
            for place in self._reachable_places(light):
                return self._go(place) or f"use {light}"
        return None

    def _fetch(self, things: Sequence[str]) -> str | None:
        """The next command to get the first of the things that can be got."""
        held = self._engine.holding
        if held is not None:
            return self._put_away(held)
        for thing in things:
            for place in self._reachable_places(thing):
                return self._reach_into(place) or f"take {thing} from {place}"
        return None

    def _put_away(self, thing: str) -> str | None:
        """The next command to get rid of what is in the way: here, or where it is least work."""
        game = self._engine.game
        kind = game.types.get(thing)
        holders = [r for r in game.receptacles if kind in game.holdable[r] and _can_go(game, r)]
        here = self._engine.here
        holders.sort(key=lambda r: (r not in here, not self._engine.is_open(r)))
        return self._put(thing, holders[0]) if holders else None

    def _put(self, thing: str, place: str) -> str:
        return self._reach_into(place) or f"move {thing} to {place}"

    def _reach_into(self, place: str) -> str | None:
        """The next command to get one's hand into a receptacle; None when it can be there."""
        return self._go(place) or (None if self._engine.is_open(place) else f"open {place}")

    def _go(self, place: str) -> str | None:
        return None if place in self._engine.here else f"go to {place}"

    def _reachable_places(self, thing: str) -> list[str]:
        return [p for p in self._engine.places_of(thing) if _can_go(self._engine.game, p)]


def _can_go(game: Game, place: str) -> bool:
    return game.place_of[game.receptacle_numbers[place]] != NONE
