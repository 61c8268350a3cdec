"""The native ALFWorld engine: cheap episodes over a compiled game.

It plays what TextWorld's PDDL engine plays on ALFWorld's domain and text grammar, step for step:
the same observations, the same admissible commands in the same order, the same end.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Mapping

from . import text
from .game import NONE, Game

_KNIVES = ("knifetype", "butterknifetype")
# verb: (needed trait of the object, receptacle types, flag it gains, flag it loses)
_TREATMENTS: Mapping[str, tuple[str, tuple[str, ...], int, int]] = {
    "clean": ("cleanable", ("sinkbasintype", "sinktype"), text.CLEAN, 0),
    "heat": ("heatable", ("microwavetype",), text.HOT, text.COOL),
    "cool": ("coolable", ("fridgetype",), text.COOL, text.HOT),
}


class Engine:
    """One episode of a game, from `reset` on; it can go on after the game is won.

    Attributes:
        game: what is played.
        won: whether the goal holds now.
        valid: whether the last command was an admissible one.
    """

    __slots__ = ("_state", "game", "valid", "won")

    def __init__(self, game: Game) -> None:
        self.game = game
        self.reset()

    def reset(self) -> str:
        """Start anew; returns the first observation, which ends with the task."""
        self._state = self.game.start()
        self.valid = True
        self.won = self.game.won(self._state)
        return self.game.intro

    def step(self, command: str) -> str:
        """Do one command; returns the observation.

        A command counts only if it is exactly an admissible one, blanks around it aside. Any
        other leaves the state as it is.
        """
        verb, _, rest = command.strip().partition(" ")
        action = _ACTIONS.get(verb)
        observation = action(self, rest) if action else None
        self.valid = observation is not None
        if observation is None:
            return text.NOTHING_HAPPENS
        self.won = self.game.won(self._state)
        return observation

    def admissible(self) -> list[str]:
        """All commands that would do something now, sorted."""
        game, state = self.game, self._state
        commands = [command for place, command in game.go_commands if place != state.place]
        commands += ("help", "inventory", "look")
        held = self.holding
        for r in game.at_place[state.place]:
            commands += self._admissible_at(r, held)
        if held is not None:
            commands.append(f"examine {held}")
            if game.types.get(held) in _KNIVES:
                commands += [
                    f"slice {game.objects[o]} with {held}"
                    for o, place in state.object_places
                    if place == state.place and "sliceable" in game.traits[game.objects[o]]
                ]
        return sorted(set(commands))

    def _admissible_at(self, r: int, held: str | None) -> list[str]:
        game, state = self.game, self._state
        name = game.receptacles[r]
        commands = [f"examine {name}"]
        if game.openable[r]:
            commands.append(f"close {name}" if r in state.opened else f"open {name}")
        things = [game.objects[o] for o in state.contents[r]]
        commands += [f"use {thing}" for thing in things if "toggleable" in game.traits[thing]]
        if self._accessible(r):
            if held is None:
                commands += [
                    f"take {thing} from {name}"
                    for thing in things
                    if "pickupable" in game.traits[thing]
                ]
            elif game.types.get(held) in game.holdable[name]:
                commands.append(f"move {held} to {name}")
        if held is not None:
            for verb, (trait, kinds, *_) in _TREATMENTS.items():
                if game.types.get(name) in kinds and trait in game.traits[held]:
                    commands.append(f"{verb} {held} with {name}")
        return commands

    # What is so now, by display name: for experts, progress and tests.

    @property
    def holding(self) -> str | None:
        """The object in hand."""
        hand = self._state.hand
        return None if hand == NONE else self.game.objects[hand]

    @property
    def here(self) -> tuple[str, ...]:
        """The receptacles at the agent's location; none in the middle of the room."""
        return tuple(self.game.receptacles[r] for r in self.game.at_place[self._state.place])

    def contents(self, receptacle: str) -> tuple[str, ...]:
        """The objects in or on a receptacle, whether they can be seen or not."""
        numbers = self._state.contents[self.game.receptacle_numbers[receptacle]]
        return tuple(self.game.objects[o] for o in numbers)

    def places_of(self, thing: str) -> tuple[str, ...]:
        """The receptacles that hold an object: mostly one; none while it is held."""
        o = self.game.object_numbers[thing]
        holders = zip(self.game.receptacles, self._state.contents, strict=True)
        return tuple(name for name, contents in holders if o in contents)

    def is_open(self, receptacle: str) -> bool:
        """Whether things can be put into and taken out of a receptacle."""
        return self._accessible(self.game.receptacle_numbers[receptacle])

    def flags(self, thing: str) -> frozenset[str]:
        """Which of `clean, hot, cool, sliced, toggled, on` an object is."""
        bits = self._state.flags[self.game.object_numbers[thing]]
        return frozenset(name for name, flag in text.FLAG_NAMES.items() if bits & flag)

    # Actions: each returns the observation, or None where its preconditions do not hold.

    def _accessible(self, r: int) -> bool:
        return r in self._state.opened or not self.game.openable[r]

    def _receptacle_here(self, name: str) -> int | None:
        r = self.game.receptacle_numbers.get(name)
        return r if r is not None and self.game.place_of[r] == self._state.place else None

    def _see(self, r: int) -> str:
        game = self.game
        return text.receptacle(
            game.receptacles[r],
            [game.objects[o] for o in self._state.contents[r]],
            openable=game.openable[r],
            is_open=r in self._state.opened,
        )

    def _look(self, rest: str) -> str | None:
        if rest:
            return None
        game, state = self.game, self._state
        # What lies here but was taken out of a receptacle here: it is in another one by now.
        beside = sorted(
            (o, r)
            for o, r in state.taken_from
            if game.place_of[r] == state.place and (o, state.place) in state.object_places
        )
        return text.surroundings(self.here, [game.objects[o] for o, _ in beside])

    def _inventory(self, rest: str) -> str | None:
        return None if rest else text.inventory(self.holding)

    def _help(self, rest: str) -> str | None:
        return None if rest else text.HELP

    def _go_to(self, rest: str) -> str | None:
        to, _, name = rest.partition(" ")
        r = self.game.receptacle_numbers.get(name) if to == "to" else None
        if r is None or self.game.place_of[r] in (NONE, self._state.place):
            return None
        self._state.place = self.game.place_of[r]
        return f"You arrive at {name}. {self._see(r)}"

    def _open(self, name: str) -> str | None:
        r = self._receptacle_here(name)
        if r is None or self._accessible(r):
            return None
        self._state.opened.add(r)
        return f"You open the {name}. {self._see(r)}"

    def _close(self, name: str) -> str | None:
        r = self._receptacle_here(name)
        if r is None or not self.game.openable[r] or r not in self._state.opened:
            return None
        self._state.opened.remove(r)
        return f"You close the {name}."

    def _take(self, rest: str) -> str | None:
        state = self._state
        thing, _, name = rest.partition(" from ")
        o, r = self.game.object_numbers.get(thing), self._receptacle_here(name)
        if o is None or r is None or state.hand != NONE or not self._accessible(r):
            return None
        if o not in state.contents[r] or "pickupable" not in self.game.traits[thing]:
            return None
        state.contents[r].remove(o)
        state.hand = o
        state.object_places.discard((o, state.place))
        state.taken_from.add((o, r))
        return f"You pick up the {thing} from the {name}."

    def _move(self, rest: str) -> str | None:
        state = self._state
        thing, _, name = rest.partition(" to ")
        o, r = self.game.object_numbers.get(thing), self._receptacle_here(name)
        if o is None or r is None or state.hand != o or not self._accessible(r):
            return None
        if self.game.types.get(thing) not in self.game.holdable[name]:
            return None
        if o not in state.contents[r]:
            insort(state.contents[r], o)
        state.hand = NONE
        state.object_places.add((o, state.place))
        state.taken_from.discard((o, r))
        return f"You move the {thing} to the {name}."

    def _examine(self, name: str) -> str | None:
        game, state = self.game, self._state
        r = self._receptacle_here(name)
        if r is not None:
            return self._see(r)
        o = game.object_numbers.get(name)
        # The domain also means objects in sight, but names the type "location," with a comma
        # there, and of that type there is nothing: the reference examines only what is held.
        if o is None or state.hand != o:
            return None
        if name in game.inside:
            return text.container(name, game.inside[name])
        traits = game.traits[name]
        return text.examined(
            name,
            state.flags[o],
            toggleable="toggleable" in traits,
            sliceable="sliceable" in traits,
        )

    def _use(self, name: str) -> str | None:
        game, state = self.game, self._state
        o = game.object_numbers.get(name)
        if o is None or "toggleable" not in game.traits[name]:
            return None
        if not any(o in state.contents[r] for r in game.at_place[state.place]):
            return None
        # Toggling never takes `toggled` back, so the reference only ever says "on".
        state.flags[o] = (state.flags[o] ^ text.ON) | text.TOGGLED
        return f"You turn on the {name}."

    def _slice(self, rest: str) -> str | None:
        game, state = self.game, self._state
        thing, _, knife = rest.partition(" with ")
        o, k = game.object_numbers.get(thing), game.object_numbers.get(knife)
        if o is None or k is None or state.hand != k or game.types.get(knife) not in _KNIVES:
            return None
        if "sliceable" not in game.traits[thing] or (o, state.place) not in state.object_places:
            return None
        state.flags[o] |= text.SLICED
        return f"You sliced the {thing} with the {knife}."

    def _treat(self, verb: str, rest: str) -> str | None:
        trait, kinds, gained, lost = _TREATMENTS[verb]
        game, state = self.game, self._state
        thing, _, name = rest.partition(" with ")
        o, r = game.object_numbers.get(thing), self._receptacle_here(name)
        if o is None or r is None or state.hand != o:
            return None
        if trait not in game.traits[thing] or game.types.get(name) not in kinds:
            return None
        state.flags[o] = (state.flags[o] | gained) & ~lost
        return f"You {verb} the {thing} using the {name}."


_ACTIONS: Mapping[str, Callable[[Engine, str], str | None]] = {
    "look": Engine._look,
    "inventory": Engine._inventory,
    "help": Engine._help,
    "go": Engine._go_to,
    "open": Engine._open,
    "close": Engine._close,
    "take": Engine._take,
    "move": Engine._move,
    "examine": Engine._examine,
    "use": Engine._use,
    "slice": Engine._slice,
    "clean": lambda engine, rest: engine._treat("clean", rest),
    "heat": lambda engine, rest: engine._treat("heat", rest),
    "cool": lambda engine, rest: engine._treat("cool", rest),
}
