"""How a table was played here, and what is known of how the paper played it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..plan import make_embedder
from ..prompts import PROMPT_VERSION
from ..records import HARNESS_SCHEMA
from ..services import HEURISTIC
from .jobs import Job

PAPER_MODELS = "Qwen2.5-7B-Instruct and Qwen3-4B-Instruct, trained on HotpotQA alone"


def protocol_lines(jobs: Sequence[Job]) -> list[str]:
    """One line for each thing that differs, or of which the paper does not say how it was."""
    if not jobs:
        return ["nothing was played"]
    return [*_models(jobs), *_tasks(jobs), *_playing(jobs), *_memories(jobs), *_judging(jobs)]


def _models(jobs: Sequence[Job]) -> Iterator[str]:
    yield f"models: {_each(job.info.name for job in jobs)}; the paper: {PAPER_MODELS}"


def _tasks(jobs: Sequence[Job]) -> Iterator[str]:
    said = []
    for job in jobs:
        key, n = job.cell.base, len(job.cell.tasks)
        cap = job.steps / job.planned
        options = job.config.options_of(key.env)
        told = f" ({', '.join(f'{k}={v}' for k, v in sorted(options.items()))})" if options else ""
        said.append(
            f"{key.env}{told}: split {key.split} (data {key.data_hash}), {n} of {job.n_split} "
            f"tasks, at most {cap:.4g} steps a task on average"
        )
    yield from dict.fromkeys(said)
    yield "the paper names no split, number of tasks, step limit or prompt of its benchmarks"
    if any(job.cell.base.env == "hotpotqa" for job in jobs):
        yield (
            "hotpotqa in three stages, with five distractor messages unless said otherwise; the "
            "paper trains so, and reports its main numbers at five"
        )


def _playing(jobs: Sequence[Job]) -> Iterator[str]:
    agents = [job.config.agent for job in jobs]
    for name, meaning in (
        ("temperature", "sampling temperature"), ("top_p", "top_p"), ("max_tokens", "reply tokens"),
        ("context_tokens", "context tokens"), ("max_turns_per_step", "model calls a step"),
        ("transport", "transport"), ("shots", "worked examples"),
    ):  # fmt: skip
        yield f"{meaning}: {_each(_shown(getattr(agent, name)) for agent in agents)}"
    yield (
        "the paper tells no sampling of its evaluation; its released settings say temperature 0.6, "
        "and the code draws greedily"
    )
    configs = [job.config for job in jobs]
    yield (
        f"seed {_each(str(c.seed) for c in configs)}, episodes a task "
        f"{_each(str(c.repeats) for c in configs)}, memory kept over one "
        f"{_each(c.memory_scope for c in configs)}; the paper tells none of these"
    )


def _memories(jobs: Sequence[Job]) -> Iterator[str]:
    writers = _each(job.writer for job in jobs)
    yield (
        f"memories: this project's own implementations, written for by {writers}; the paper used "
        "the systems of their authors at their defaults"
    )
    if any(job.writer.startswith(HEURISTIC) for job in jobs):
        yield (
            "heuristic: fixed rules write for the memories; that checks their mechanism, and is no "
            "measure of them"
        )
    names = dict.fromkeys(job.config.embedder for job in jobs)
    embedders = ", ".join(f"{name} ({make_embedder(name).theta_f})" for name in names)
    yield (
        "embedder, and the threshold of Filter_context that goes with it unless a table sets one: "
        f"{embedders}; the paper's threshold is 0.6"
    )


def _judging(jobs: Sequence[Job]) -> Iterator[str]:
    judge = _each(job.config.judge or "none" for job in jobs if job.cell.base.env == "hotpotqa")
    if judge:
        yield f"judge of J and MQ: {judge}, with this project's rubrics; the paper: one of its own"
    yield f"records of schema {HARNESS_SCHEMA}, prompts of version {PROMPT_VERSION}"


def _each(values: Iterable[str]) -> str:
    """Those that there are, each once."""
    return ", ".join(dict.fromkeys(values))


def _shown(value: Any) -> str:
    return "the endpoint's" if value is None else str(value)
