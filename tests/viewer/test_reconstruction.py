"""What a trace is said to show is what was there: the memory's entries, the model's prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.plan import Cell
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.viewer.reconstruct import Memory, State, Turn, reconstruct

from .conftest import Witness, play

MEMORIES = (
    "none", "rag", "mem0", "mem0g", "amem", "langmem", "agemem", "agemem-rag",
    "empty-store", "store-all",
)  # fmt: skip
TOLD = ("gold-store", "shuffled-store")  # need an environment that tells gold facts
STAGES = ["hotpotqa.form=three-stage", "hotpotqa.changes=2"]

RUNS: dict[str, dict[str, Any]] = {
    "all": {
        "env": "hotpotqa", "memory": ",".join(MEMORIES + TOLD), "episodes": 2, "option": STAGES,
    },
    "worlds": {"env": "alfworld", "memory": ",".join(MEMORIES), "episodes": 1},
    "tight": {
        "env": "alfworld", "memory": "mem0g,agemem,rag,amem", "episodes": 2, "st_tools": True,
        "transport": "native", "context_tokens": 2600, "show_valid_actions": "always",
    },
    "unruly": {
        "env": "alfworld", "memory": "agemem,empty-store,langmem", "model": "random", "episodes": 2,
        "max_steps": 12, "option": ["langmem.mode=hot-path"],
    },
    "stream": {
        "env": "hotpotqa", "memory": ",".join(m for m in MEMORIES + TOLD if m != "none"),
        "episodes": 3, "memory_scope": "run", "option": STAGES[:1],
    },
}  # fmt: skip


@pytest.fixture(scope="module", params=RUNS)
def directory(
    request: pytest.FixtureRequest, witness: Witness, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return play(tmp_path_factory.mktemp("runs"), request.param, **RUNS[request.param])


def test_the_memory_at_the_end_is_what_the_memory_itself_says_it_holds(
    directory: Path, witness: Witness
) -> None:
    for id_, _, state in _episodes(directory):
        assert state.memory == witness.entries[id_]


def test_the_context_at_every_call_is_what_the_model_was_sent(
    directory: Path, witness: Witness
) -> None:
    n_calls = 0
    for id_, turns, _ in _episodes(directory):
        prompts = iter(witness.prompts[id_])
        state = State()
        for turn in turns:
            for change in turn.before:
                state.apply(change)
            if turn.call is not None:
                n_calls += 1
                sent = next(prompts)
                assert [(m["role"], m["text"]) for m in state.context] == [
                    (m.role, m.content) for m in sent
                ]
                assert [m.get("calls", []) for m in state.context] == [
                    [[c.name, c.arguments, c.id] for c in m.tool_calls] for m in sent
                ]
            for change in turn.after:
                state.apply(change)
        assert next(prompts, None) is None
    assert n_calls > 10


def _episodes(directory: Path) -> list[tuple[str, list[Turn], State]]:
    store, found = RunStore.open(directory), []
    for cell in map(Cell.from_json, store.plan()):
        for _, jobs in cell.streams():
            memory: Memory = {}
            for job in jobs:
                turns, state = reconstruct(store.read_trace(job.key.id), memory)
                found.append((job.key.id, turns, state))
                memory = state.memory if cell.lifelong else {}
    assert found
    return found
