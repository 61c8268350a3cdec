"""What an environment may change midway: the goal and the context; and its own scores and caps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.baselines.none import NoMemory
from agemem_eval.harness.agent import run_episode
from agemem_eval.harness.config import AgentConfig
from agemem_eval.harness.ledger import Ledger, Usage
from agemem_eval.harness.metering import Meter
from agemem_eval.harness.metrics import cell_row
from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.options import resolve
from agemem_eval.harness.plan import within_cap
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.report import grids
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import (
    Completion,
    EnvSpec,
    Instructions,
    ModelInfo,
    Observation,
    Request,
    StepResult,
    Task,
)
from agemem_eval.harness.workers.wire import EnvDescription

KEY = EpisodeKey("staged", "1", "d", "test", "t", "none", "m", "fake", "f", "p", 0, 0)
SPEC = EnvSpec(
    "staged", "1", (), "test", max_steps=9, instructions=Instructions("1", "Reply.", "x"),
    metrics={"score": "what was scored", "late": "scored at the end only"},
)  # fmt: skip


class Staged:
    """Talk, then a new context, then a question as a new goal."""

    spec = SPEC

    def __init__(self, *results: StepResult) -> None:
        self.results = list(results)
        self.first = "first talk"

    async def reset(self, task: Task, seed: int) -> Observation:
        return Observation(self.first, "listen", metrics={"score": 0.0, "late": None})

    async def step(self, action: str) -> StepResult:
        return self.results.pop(0)

    async def valid_actions(self) -> list[str] | None:
        return None

    async def expert_action(self, name: str = "oracle") -> str | None:
        return "ok"

    async def close(self) -> None:
        pass


class Listener(ModelBase):
    """Answers `ok` and keeps every prompt."""

    info = ModelInfo("listener")

    def __init__(self) -> None:
        self.prompts: list[list[str]] = []

    async def generate(self, request: Request) -> Completion:
        self.prompts.append([message.content for message in request.messages][1:])
        return Completion("<answer>ok</answer>", Usage(1, 1))


def said(observation: str, **more: Any) -> StepResult:
    return replace(StepResult(observation, 0.0, None, None, False), **more)


async def play(env: Staged, task: Task | None = None, **config: Any) -> tuple[Episode, Listener]:
    model = Listener()
    episode = await run_episode(
        env,
        NoMemory(None),  # type: ignore[arg-type]
        model,
        task or Task("t", "test"),
        key=KEY,
        config=AgentConfig(**config),
        meter=Meter(Ledger(), Trace()),
    )
    return episode, model


async def test_a_new_context_keeps_the_system_prompt_and_the_goal_alone() -> None:
    env = Staged(said("second talk"), said("an aside", new_context=True), said("bye"))
    _, model = await play(env, max_steps=3)
    assert model.prompts[1][-1] == "second talk"
    assert model.prompts[2] == ["Your goal: listen", "an aside"]


async def test_a_new_goal_takes_the_place_of_the_old_one() -> None:
    env = Staged(
        said("an aside", new_context=True), said("now answer", goal="answer: who?"), said("no")
    )
    _, model = await play(env, max_steps=3)
    last = model.prompts[2]
    assert "Your goal: listen" not in last
    assert last[-2:] == ["Your goal: answer: who?", "now answer"]
    assert "an aside" in last, "a new goal alone leaves the context as it is"


async def test_a_goal_stays_pinned_when_the_context_is_full() -> None:
    talk = [said("word " * 150, goal=f"goal {n}") for n in range(8)]
    episode, model = await play(Staged(*talk), max_steps=8, context_tokens=700)
    assert episode.overflow_drops > 0
    assert [text for text in model.prompts[-1] if text.startswith("Your goal")] == [
        "Your goal: goal 6"
    ]


async def test_the_last_scores_count_and_those_of_the_start_where_nothing_came_after() -> None:
    env = Staged(said("a", metrics={"score": 0.5}), said("b", metrics={"score": 0.25, "late": 1.0}))
    episode, _ = await play(env, max_steps=2)
    assert episode.metrics == {"score": 0.25, "late": 1.0}
    flooded = Staged()
    flooded.first = "word " * 2000
    nothing, _ = await play(flooded, context_tokens=700)
    assert (nothing.status, nothing.reason) == ("limit", "context_overflow")
    assert nothing.metrics == {"score": 0.0, "late": None}


@pytest.mark.parametrize(("own", "given", "steps"), [(None, None, 9), (4, None, 4), (4, 6, 6)])
async def test_the_cap_is_the_given_one_then_the_tasks_then_the_environments(
    own: int | None, given: int | None, steps: int
) -> None:
    env = Staged(*[said("more")] * 9)
    episode, _ = await play(env, Task("t", "test", max_steps=own), max_steps=given)
    assert (episode.status, episode.steps) == ("limit", steps)


def test_what_was_not_scored_counts_nowhere() -> None:
    keys = [replace(KEY, task=str(n)) for n in range(3)]
    values: dict[str, Any] = {
        "task_type": "", "success": False, "progress": None, "reward": 0.0, "steps": 1,
        "turns": 1, "invalid_actions": 0, "malformed_outputs": 0, "forfeits": 0,
        "overflow_drops": 0, "tool_calls": {}, "tokens": {}, "memory_entries": 0, "wall_s": 1.0,
        "started_at": "",
    }  # fmt: skip
    scores: list[Any] = [
        {"em": 1.0, "sp": None, "never": None},
        {"em": 0.0, "sp": 0.5},
        {"em": 9.0},
    ]
    statuses: list[Any] = ["completed", "limit", "infra_error"]
    found = {
        key: Episode(key=key, status=status, metrics=score, **values)
        for key, status, score in zip(keys, statuses, scores, strict=True)
    }
    row = cell_row(keys, found.values(), within_cap={"mean": 0.5, "n": 2})
    assert row.scores == {
        "em": {"mean": 0.5, "n": 2},
        "never": {"mean": None, "n": 0},
        "sp": {"mean": 0.5, "n": 1},
    }
    results, scores = grids([row])[:2]
    assert scores.title == f"Scores of {row.env}"
    assert scores.names == ("memory", "em", "never", "sp")
    assert scores.rows == [(row.memory, "0.500", "–", "0.500 (of 1)")]
    assert results.notes == [f"{row.env}: oracle within the step cap on 50.0% of 2 tasks"]


def test_the_share_within_the_cap_is_none_where_nothing_is_claimed() -> None:
    given = {"envs": "alfworld", "memories": "none", "model": "scripted"}
    config, _ = resolve(given)
    capped, _ = resolve({**given, "max_steps": 5})
    found = EnvDescription(SPEC, (), "")
    tasks = (
        Task("a", "test", oracle_steps=9),
        Task("b", "test", oracle_steps=10),
        Task("c", "test", oracle_steps=20, max_steps=20),
        Task("d", "test"),
    )
    assert within_cap(tasks, config, found) == {"mean": 2 / 3, "n": 3}, (
        "what is not known is left out"
    )
    assert within_cap(tasks, capped, found) == {"mean": 0, "n": 3}
    assert within_cap(tasks[3:], config, found) is None


def test_caps_that_differ_are_different_results(tmp_path: Path) -> None:
    keys = []
    for cap in ((), ("--max-steps", "30")):
        run = ["run", "--env", "pddl", "--memory", "none", "--model", "scripted", *cap]
        run += ["--episodes", "1", "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "agemem_eval", *run, "--name", f"r{len(keys)}"],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
        plan = json.loads((tmp_path / f"runs/r{len(keys)}/plan.json").read_text())
        keys.append(plan[0]["key"]["protocol_hash"])
        assert json.loads(done.stdout)["rows"][0]["coverage"] == 1
    assert keys[0] != keys[1], "tasks have caps of their own, which a given one replaces"


def test_what_the_oracle_is_thought_to_manage_does_not_keep_a_run_from_resuming(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "agemem_eval", "run", "--env", "alfworld", "--memory", "none"]
    command += ["--model", "scripted", "--episodes", "2", "--name", "r"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    path = tmp_path / "runs/r/plan.json"
    plan = json.loads(path.read_text())
    del plan[0]["within_cap"]  # as in a run that was made before it was told
    path.write_text(json.dumps(plan))
    again = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert again.returncode == 0, again.stderr


def test_another_usual_name_is_the_same_environment() -> None:
    config, _ = resolve({"envs": "sciworld,alfworld", "memories": "none"})
    assert config.envs == ("scienceworld", "alfworld")


def test_scores_are_kept_in_the_store_and_shown(tmp_path: Path) -> None:
    plugin = Path(__file__).parents[1] / "support" / "example_plugin"
    env = {**os.environ, "PYTHONPATH": str(plugin)}
    command = [sys.executable, "-m", "agemem_eval"]
    run = ["run", "--env", "agemem_example:Doors", "--memory", "none", "--model", "scripted"]
    done = subprocess.run(
        [*command, *run, "--name", "r", "--json"], cwd=tmp_path, env=env, capture_output=True
    )
    first = json.loads(done.stdout)
    done = subprocess.run(
        [*command, "report", "r", "--format", "json"], cwd=tmp_path, env=env, capture_output=True
    )
    assert json.loads(done.stdout)["rows"] == first["rows"]
    assert first["rows"][0]["within_cap"] == {"mean": 1, "n": 10}
