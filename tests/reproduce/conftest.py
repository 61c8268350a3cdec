"""`reproduce` in this process, on tiny tables; what is not installed is missing on purpose."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reproduce_bench import Call, Done, answer

from agemem_eval.harness.reproduce.command import reproduce_command
from agemem_eval.harness.testserver import ChatServer


@pytest.fixture
def reproduce(tmp_path: Path) -> Call:
    """Calls the command with environments in this process, which starts quickly."""

    def call(what: str, *models: str, yaml: str = "", **given: Any) -> Done:
        config = tmp_path / "settings.yaml"
        config.write_text(f"workers: 0\n{yaml}")
        given = {
            "trained": None, "config": config, "out": tmp_path / "results", "dry_run": False,
            "skip_missing": False, "runs_dir": tmp_path / "runs", "episodes": 1, **given,
        }  # fmt: skip
        if "memory_model" not in given:
            given["memory_model"] = "heuristic"
        code = reproduce_command(what, models=list(models) or None, **given)
        return Done(code, tmp_path / "results" / what)

    return call


@pytest.fixture
def nothing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """ScienceWorld and BabyAI are not installed, whether they are or not."""

    def find_spec(name: str, *rest: Any) -> Any:
        hidden = name in ("scienceworld", "minigrid", "gymnasium")
        return None if hidden else importlib.util.find_spec(name, *rest)

    monkeypatch.setattr("agemem_eval.envs.scienceworld.simulator.find_spec", find_spec)
    monkeypatch.setattr("agemem_eval.envs.babyai.env.find_spec", find_spec)


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(answer).in_thread() as served:
        yield served


@pytest.fixture
def trained(tmp_path: Path) -> str:
    """A checkpoint that its card says is trained."""
    card = tmp_path / "card.json"
    card.write_text('{"training": "agemem"}')
    return f"openai:Qwen2.5-7B-AgeMem card='{card}'"
