"""Experts: the oracle plans on the present state, the observer on what it has read of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from ..pddl_text import Fact
from .game import Game
from .games import GAMES, domain
from .language import Literal
from .words import NO_LONGER, NOW, Reader
from .world import Step, World, plan

_CHANGE = re.compile(rf"(?:^| )({NOW}|{NO_LONGER})([^.]*)\.")


class Planner:
    """Follows a plan as long as the world does, and plans anew when it does not."""

    def __init__(self, game: Game, objects: Mapping[str, str], goal: Collection[Literal]) -> None:
        """Plan for one problem."""
        self._game = game
        self._domain = domain(game.name)
        self._objects, self._goal = objects, goal
        self._steps: list[Step] = []
        self._now: set[Fact] | None = None  # the facts before the first of the steps
        self._next: set[Fact] | None = None  # and after it

    def next_action(self, facts: set[Fact]) -> str | None:
        """The next action from a state, in words; None where the goal holds or no way is known."""
        if self._steps and facts == self._next:
            del self._steps[0]
            self._expect(facts)
        elif not self._steps or facts != self._now:
            self._steps = plan(self.world(facts), self._game.solve) or []
            self._expect(facts)
        if not self._steps:
            return None
        name, *args = self._steps[0]
        return self._game.words.action(self._domain.operators[name], args)

    def world(self, facts: set[Fact]) -> World:
        """A model of a state of the problem."""
        return World(self._domain, self._objects, facts, self._goal)

    def _expect(self, facts: set[Fact]) -> None:
        self._now = self._next = facts
        if self._steps:
            self._next = self._after(facts, self._steps[0])

    def _after(self, facts: set[Fact], step: Step) -> set[Fact]:
        name, *args = step
        ground = self._domain.operators[name].ground(args)
        return (facts - set(ground.deletes)) | set(ground.adds)


class Observer:
    """Plays by what it has read: it keeps the state in mind that the texts tell, and no other.

    It knows the domains and their wording, as an experienced player would.
    """

    def __init__(self, goal: str, first: str) -> None:
        """Start with the goal and the first observation."""
        game = next((g for g in GAMES.values() if g.words.intro in first), None)
        self.facts: set[Fact] = set()
        self._reader = Reader(domain(game.name), game.words) if game else None
        self._planner: Planner | None = None
        if game and self._reader:
            self._planner = Planner(game, self._reader.objects(first), self._reader.literals(goal))
        self.observe(first)

    def observe(self, text: str) -> None:
        """Take in what was seen, whoever acted."""
        if self._reader is None:
            return
        if self._reader.objects(text):  # a whole state
            self.facts = {literal.fact for literal in self._reader.literals(text)}
            return
        for head, said in _CHANGE.findall(text):
            changed = {literal.fact for literal in self._reader.literals(said)}
            self.facts = self.facts | changed if head == NOW else self.facts - changed

    def next_action(self) -> str | None:
        """The next action, in words; None where there is none to be known."""
        return self._planner.next_action(self.facts) if self._planner else None

    def world(self) -> World | None:
        """The state as it was read, and the goal; None where the domain is unknown."""
        return self._planner.world(self.facts) if self._planner else None
