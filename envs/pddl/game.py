"""What makes a PDDL domain a game here: its wording, its generator, and an expert that plays it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from ..pddl_text import Fact
from .language import Literal
from .words import Words
from .world import World

SIZES = ("easy", "medium", "hard")


@dataclass(frozen=True, slots=True)
class Draft:
    """A problem as a generator draws it.

    Attributes:
        objects: with their types.
        init: facts that hold at the start.
        goal: facts to bring about.
    """

    objects: Mapping[str, str]
    init: tuple[Fact, ...]
    goal: tuple[Fact, ...]

    def literals(self) -> tuple[Literal, ...]:
        """The goal as literals."""
        return tuple(Literal(fact) for fact in self.goal)


@dataclass(frozen=True, slots=True)
class Game:
    """One domain.

    Attributes:
        name: of the domain and its file.
        words: its wording.
        draw: a random problem of a size, one of `SIZES`.
        solve: the expert; see `world`.
    """

    name: str
    words: Words
    draw: Callable[[Random, str], Draft]
    solve: Callable[[World], None]
