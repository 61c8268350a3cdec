"""The four domains by name, with their PDDL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from ...harness.errors import unknown_name
from .barman import BARMAN
from .blocksworld import BLOCKSWORLD
from .game import Game
from .gripper import GRIPPER
from .language import Domain, parse_domain
from .tyreworld import TYREWORLD

GAMES: Mapping[str, Game] = {game.name: game for game in (GRIPPER, BLOCKSWORLD, BARMAN, TYREWORLD)}


@cache
def domain(name: str) -> Domain:
    """The domain of a game.

    Raises:
        UsageError: there is no such game.
    """
    if name not in GAMES:
        raise unknown_name("PDDL domain", name, GAMES)
    return parse_domain(domain_text(name), f"{name}.pddl")


def domain_text(name: str) -> str:
    """The PDDL of a game's domain."""
    return files(__package__).joinpath("domains", f"{name}.pddl").read_text(encoding="utf-8")
