"""The native engine is the reference engine, step by step, on official and generated games.

By default it is held against hashes that the reference engine made (`equivalence.py`); the tests
marked `reference` play the reference engine itself, for about ten minutes on two processes.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.gamefile import GameText
from agemem_eval.envs.alfworld.reference import ReferenceEngine
from agemem_eval.harness.errors import DataError, MissingExtraError, UsageError

HERE = Path(__file__).parent
KITCHEN = (HERE / "golden" / "kitchen.pddl").read_text(encoding="utf-8")
FACTS, _, _ = KITCHEN.partition("(:goal")
GOALS = (
    "(and)",
    "(or (opened Drawer_bar__plus_04) (exists (?a - agent ?l - location ?r - receptacle) (and"
    " (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (receptacleType ?r MicrowaveType))))",
    "(forall (?o - object) (imply (objectType ?o AppleType) (isClean ?o)))",
    "(and (not (holdsAny agent1)) (exists (?o - object) (or (isSliced ?o) (isCool ?o))))",
    "(exists (?o - object) (and (objectType ?o DeskLampType) (isToggled ?o) (not (isOn ?o))))",
    "(not (exists (?o - object) (and (pickupable ?o) (objectAtLocation ?o loc_bar_6))))",
    "(exists (?o1 - object) (exists (?o2 - object ?r - receptacle) (and (not (= ?o1 ?o2))"
    " (objectType ?o1 AppleType) (objectType ?o2 AppleType) (inReceptacle ?o1 ?r)"
    " (inReceptacle ?o2 ?r))))",
)
INSTALLED = importlib.util.find_spec("textworld") is not None


@cache
def equivalence() -> ModuleType:
    """The script beside this file, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("alfworld_equivalence", HERE / "equivalence.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    return json.loads(equivalence().GOLDEN.read_text(encoding="utf-8"))["games"]


def differences(games: dict[str, GameText], golden: dict[str, Any]) -> list[str]:
    return [
        text for key in games for text in equivalence().differences(golden[key], games[key], key)
    ]


def test_official_games(alfworld_data: Path, golden: dict[str, Any]) -> None:
    games = equivalence().official_games(alfworld_data)
    assert len(games) == 140
    assert differences(games, golden) == []


def test_generated_games(golden: dict[str, Any]) -> None:
    games = equivalence().generated_games()
    assert len(games) == 200
    assert differences(games, golden) == []


def test_the_hashes_cover_every_action() -> None:
    coverage = json.loads(equivalence().GOLDEN.read_text(encoding="utf-8"))["coverage"]
    assert all(coverage[verb] >= 100 for verb in equivalence().VERB_WEIGHTS)
    assert sum(n for kind, n in coverage.items() if "refused" in kind) > 5000


def test_a_difference_is_found_at_its_step(golden: dict[str, Any]) -> None:
    key, game = next(iter(equivalence().generated_games().items()))
    other = GameText(key, game.problem, "do something else.", game.walkthrough)
    (text,) = equivalence().differences(golden[key], other, key)
    assert "another game" in text
    claimed = {**golden[key], "game": equivalence().content_hash(other)}
    (text,) = equivalence().differences(claimed, other, key)
    assert f"{key}: step 0: None gives" in text


@pytest.mark.skipif(INSTALLED, reason="TextWorld is installed")
def test_without_textworld_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'agemem-eval\[reference\]'"):
        ReferenceEngine(GameText("here", KITCHEN, "do."))


@pytest.mark.reference
def test_all_games_live(alfworld_data: Path, golden: dict[str, Any], tmp_path: Path) -> None:
    made = equivalence().run_parts(alfworld_data, tmp_path, processes=2)
    for entry in made.values():
        entry.pop("kinds")
    assert made == golden


@pytest.mark.reference
@pytest.mark.parametrize("goal", GOALS)
def test_odd_problems_live(goal: str) -> None:
    game = GameText("kitchen", f"{FACTS}(:goal {goal}))", "win.")
    for key in ("one walk", "another walk"):
        native = equivalence().trace(Engine(game.compile()), game, key, log=True)
        live = equivalence().trace(ReferenceEngine(game), game, key, log=True)
        assert native.log == live.log


@pytest.mark.reference
def test_one_game_a_process_live() -> None:
    first, second = (ReferenceEngine(GameText("kitchen", KITCHEN, task)) for task in ("a", "b"))
    assert first.reset().endswith("Your task is to: a")
    assert second.reset().endswith("Your task is to: b")
    with pytest.raises(UsageError, match="one game a process"):
        first.step("look")
    assert second.step("look").startswith("You are in the middle")
    assert first.reset().endswith("Your task is to: a")
    assert first.step("help") == Engine(GameText("kitchen", KITCHEN, "a").compile()).step("help")


@pytest.mark.reference
def test_only_known_rules_reach_textworld_live() -> None:
    with pytest.raises(DataError, match="domain is not a known one"):
        ReferenceEngine(GameText("here", KITCHEN, "do.", domain="(define (domain alfred))"))
    with pytest.raises(DataError, match="grammar is not a known one"):
        ReferenceEngine(GameText("here", KITCHEN, "do.", grammar="{open('trap', 'w')}"))
    with pytest.raises(DataError, match="plain text"):
        ReferenceEngine(GameText("here", KITCHEN, "{open('trap', 'w')}"))
