"""The reference: TextWorld's PDDL engine as ALFWorld uses it, behind the native engine's API.

Needs the extra `reference` (textworld[pddl] 1.7.0, alfworld 0.4.2). That engine is not safe for
threads (it swaps `sys.stdout` and `sys.argv`), leaks memory with each new object, and crashes when
its planner library is closed. So one engine object lives as long as the process and plays one
game at a time; several games at once need several processes.
"""

from __future__ import annotations

import copy
import functools
import importlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

from ...harness.errors import MissingExtraError, UsageError
from .gamefile import GameText, check_rules, with_task

_LOCK = threading.RLock()
_shared: _Shared | None = None


class _Shared:
    """TextWorld's engine in ALFWorld's wrappers, one a process, and who is playing on it."""

    def __init__(self) -> None:
        _import("fast_downward")
        core = _import("textworld.core")
        pddl = _import("textworld.envs.pddl")
        data_root = os.environ.get("ALFWORLD_DATA")
        wrappers = _import("alfworld.agents.environment.alfred_tw_env")
        if data_root is None:  # importing alfworld sets it, which would change what we read
            os.environ.pop("ALFWORLD_DATA", None)
        package = Path(str(_import("alfworld").__file__)).parent
        _remember_parses()
        # `policy_commands` stays off: it would plan anew at every step, for seconds to minutes.
        infos = core.EnvInfos(won=True, admissible_commands=True)
        self.env: Any = wrappers.AlfredInfos(wrappers.AlfredDemangler(pddl.PddlEnv(infos)))
        self.domain = (package / "data" / "alfred.pddl").read_text(encoding="utf-8")
        self.grammar = (package / "data" / "alfred.twl2").read_text(encoding="utf-8")
        self.player: ReferenceEngine | None = None


class ReferenceEngine:
    """One episode of a game on TextWorld's engine.

    A newer engine that is reset takes the process's one TextWorld engine over; the older one can
    only be reset again.

    Attributes:
        game: what is played.
        won: whether the goal holds now.
        valid: whether the last command was an admissible one.
    """

    def __init__(self, game: GameText) -> None:
        """Check the game; nothing of it that is not known reaches TextWorld, which evaluates it.

        Raises:
            DataError: no playable game, or a domain or grammar that is not known to be harmless.
            MissingExtraError: TextWorld or alfworld is not installed.
        """
        shared = _get_shared()
        game.compile()  # refuses what is no game; on some of that TextWorld exits the process
        self.game = game
        domain = game.domain or shared.domain
        grammar = with_task(game.grammar or shared.grammar, game.task)
        check_rules(domain, grammar, game.source)
        self._document = {
            "pddl_domain": domain,
            "grammar": grammar,
            "pddl_problem": game.problem,
            "solvable": game.solvable,
            "walkthrough": list(game.walkthrough),
        }
        self.valid = True
        self.won = False
        self._admissible: list[str] = []

    def reset(self) -> str:
        """Start anew; returns the first observation, which ends with the task."""
        with _LOCK:
            shared = _get_shared()
            argv = sys.argv
            try:
                if shared.player is not self:
                    shared.player = None
                    shared.env.load(self._document)
                    shared.player = self
                state = shared.env.reset()
            finally:
                sys.argv = argv
            self.valid = True
            return self._take_in(state)

    def step(self, command: str) -> str:
        """Do one command; returns the observation.

        Raises:
            UsageError: another engine of this process was reset since.
        """
        with _LOCK:
            shared = _get_shared()
            if shared.player is not self:
                raise UsageError(
                    "the reference engine plays one game a process at a time: reset this one "
                    "again, or use engine=native"
                )
            self.valid = command.strip() in self._admissible
            state, _, _ = shared.env.step(command)
            return self._take_in(state)

    def admissible(self) -> list[str]:
        """All commands that would do something now, sorted."""
        return list(self._admissible)

    def _take_in(self, state: Any) -> str:
        self.won = bool(state["won"])
        self._admissible = list(state["admissible_commands"])
        return str(state["feedback"])


def _remember_parses() -> None:
    """Have TextWorld parse each text once: that changes no result and takes most of its time.

    It parses templates, grammar rules and queries anew at every step, and translates the problem
    twice at each load and at each reset.
    """
    textgen = _import("textworld.envs.pddl.textgen")
    rule = _import("textworld.logic").Rule
    fast_downward = _import("fast_downward")
    parse = functools.lru_cache(4096)(textgen._parse_and_convert)
    # Symbols are given a context as they are expanded, so each use gets symbols of its own.
    textgen._parse_and_convert = lambda *args, **kwargs: copy.deepcopy(parse(*args, **kwargs))
    rule.parse_conjunctive_query = functools.lru_cache(4096)(rule.parse_conjunctive_query)
    fast_downward.pddl2sas = functools.lru_cache(2)(fast_downward.pddl2sas)


def _get_shared() -> _Shared:
    global _shared
    with _LOCK:
        if _shared is None:
            _shared = _Shared()
        return _shared


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"the reference engine (module {error.name})", "reference"
        ) from error
