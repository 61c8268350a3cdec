"""What a training tells of itself: a line a step on disk, and the same for TensorBoard and W&B.

`metrics.jsonl` is read by `agemem-eval figures` (`harness/figures/training.py`); `evaluation.jsonl`
holds held-out results, `sft.jsonl` the updates of supervised fine-tuning, `drills.jsonl` those
before it. All that depends on the
clock stands under `seconds`: without it two trainings of one recipe and seed have the same lines.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from ..harness import stats
from ..harness.errors import DataError, MissingExtraError, UsageError
from ..harness.figures.training import FILE
from ..harness.files import LineFile
from ..harness.ledger import RoleUsage
from ..harness.observe.text import say
from ..harness.records import stable_hash
from ..harness.tools import ToolStatus
from .checkpoints import Phase, curve, disk
from .recipe import Recipe
from .trajectory import Group, Trajectory

METRICS, EVALUATION, SFT, DRILLS = FILE, "evaluation.jsonl", "sft.jsonl", "drills.jsonl"
FILES = (METRICS, EVALUATION, SFT, DRILLS)
_PREFIXES = {METRICS: "train", EVALUATION: "evaluation", SFT: "sft", DRILLS: "drills"}
BOARD = "tensorboard"

Line = dict[str, Any]


class Logs:
    """The logs of a training, from where a checkpoint left them.

    Args:
        directory: Of the training.
        sizes: Length of each log in bytes at the checkpoint; what is beyond is cut off.
        phase: What begins, or goes on.
        step: Of the checkpoint, in this phase.
        recipe: Says whether W&B is logged to.

    Raises:
        DataError: if a log is shorter than it was, or the disk refuses.
        MissingExtraError: without TensorBoard, or W&B where it is wanted.
        UsageError: where W&B cannot be logged to, as without a key.
    """

    def __init__(
        self, directory: Path, sizes: Mapping[str, int], phase: Phase, step: int, recipe: Recipe
    ) -> None:
        self._directory = directory
        with disk(f"the logs of {directory}"):
            for name in FILES:
                if name in sizes or name != DRILLS:  # which are done before any checkpoint
                    _cut(directory / name, sizes.get(name, 0))
            self._files = {name: LineFile(directory / name) for name in FILES}
            self._boards: list[Any] = [_TensorBoard(directory / BOARD / phase, step)]
        if recipe.wandb:
            self._boards.append(_Wandb(directory, recipe))

    def write(self, name: str, line: Line) -> None:
        """Append a line to a log.

        Raises:
            DataError: if the disk refuses.
        """
        line = _finite(line)
        with disk(f"{self._directory / name}"):
            self._files[name].write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            prefix = _PREFIXES[name]
            scalars = dict(_scalars(line, prefix))
            for board in self._boards:
                board.add(scalars, line["step"])

    def sizes(self) -> dict[str, int]:
        """Bring the logs to the disk; their lengths.

        Raises:
            DataError: if the disk refuses.
        """
        found = {}
        with disk(f"the logs of {self._directory}"):
            for name in FILES:
                descriptor = os.open(self._directory / name, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                    found[name] = os.fstat(descriptor).st_size
                finally:
                    os.close(descriptor)
        return found

    def close(self) -> None:
        """Close all of them."""
        for file in self._files.values():
            file.close()
        for board in self._boards:
            board.close()


def step_line(recipe: Recipe, step: int, groups: Sequence[Group]) -> Line:
    """What the rollouts of a step tell; see `docs/training.md` for the meaning of each key."""
    trajectories = [t for group in groups for t in group.trajectories]
    rewards = [t.reward.total for t in trajectories]
    return {
        "step": step,
        "reward": fmean(rewards),
        "components": means(t.reward.components for t in trajectories),
        "group_rewards": [fmean(group.rewards) for group in groups],
        "series": recipe.series,
        "seed": recipe.seed,
        "reward_std": pstdev(rewards),
        "hacks": means(t.reward.hacks for t in trajectories),
        "flat_groups": fmean(group.flat for group in groups),
        **conduct(trajectories),
        **_by_source(recipe, groups),
    }


def evaluation_line(
    recipe: Recipe, step: int, groups: Sequence[Group], lost: int, seconds: float
) -> Line:
    """Held-out results: the mean reward with its 95% interval, and what it is made of.

    Of several sources reward and components are the means of the sources' own means.
    """
    trajectories = [t for group in groups for t in group.trajectories]
    parts = [some for some in _split(recipe, groups) if some]
    found = [_mean_reward(some) for some in parts]
    reward = stats.macro_average(found) if len(found) > 1 else found[0]
    components = [
        means(t.reward.components for group in some for t in group.trajectories) for some in parts
    ]
    return {
        "step": step,
        "reward": reward.value,
        "low": reward.low,
        "high": reward.high,
        "method": reward.method,
        "components": means(components),
        "hacks": means(t.reward.hacks for t in trajectories),
        "tasks": len(groups),
        "lost": lost,
        **conduct(trajectories),
        **_by_source(recipe, groups, interval=True),
        "seconds": {"evaluation": round(seconds, 3)},
    }


def _split(recipe: Recipe, groups: Sequence[Group]) -> list[list[Group]]:
    """The groups of each source."""
    numbers = range(len(recipe.parts))
    return [[group for group in groups if group.source == number] for number in numbers]


def _mean_reward(groups: Sequence[Group]) -> stats.Estimate:
    """Of the trajectories, by task."""
    trajectories = [t for group in groups for t in group.trajectories]
    found = stats.mean([t.reward.total for t in trajectories], [t.task for t in trajectories])
    assert found is not None
    return found


def _by_source(recipe: Recipe, groups: Sequence[Group], *, interval: bool = False) -> Line:
    """What each of several sources came to, by its label; nothing where there is one source.

    A source that nothing was played of is left out.
    """
    if not recipe.tasks.sources:
        return {}
    found: Line = {}
    for label, some in zip(recipe.labels, _split(recipe, groups), strict=True):
        if not some:
            continue
        trajectories = [t for group in some for t in group.trajectories]
        parts = means(t.reward.components for t in trajectories)
        found[label] = {
            "reward": fmean(t.reward.total for t in trajectories),
            "components": {name: value for name, value in parts.items() if "." not in name},
            "success": fmean(bool(t.episode.success) for t in trajectories),
            "flat_groups": fmean(group.flat for group in some),
            "tasks": len(some),
        }
        if interval:
            del found[label]["flat_groups"]  # of one trajectory each
            reward = _mean_reward(some)
            found[label] |= {"low": reward.low, "high": reward.high}
    return {"sources": found}


def conduct(trajectories: Sequence[Trajectory]) -> Line:
    """How the policy behaved: answers, format, tools, lengths."""
    episodes = [t.episode for t in trajectories]
    calls = sum(e.turns for e in episodes)
    steps = [step for t in trajectories for step in t.steps]
    by_stage = Counter(step.stage for step in steps)
    return {
        "answered": fmean(t.reward.components["answered"] or 0.0 for t in trajectories),
        "success": fmean(bool(e.success) for e in episodes),
        "format_valid": 1 - sum(e.malformed_outputs for e in episodes) / calls if calls else None,
        "tools": _tools(trajectories),
        "calls": calls / len(episodes),
        "calls_by_stage": {str(s): n / len(episodes) for s, n in sorted(by_stage.items())},
        "environment_steps": fmean(e.steps for e in episodes),
        "overflow_drops": fmean(e.overflow_drops for e in episodes),
        "prompt_tokens": sum(len(step.prompt_ids) for step in steps),
        "completion_tokens": sum(len(step.completion_ids) for step in steps),
        "completion_mean": fmean(len(s.completion_ids) for s in steps) if steps else None,
        "trajectories": len(trajectories),
    }


def judge_part(judged: RoleUsage | None) -> Line:
    """What the judge cost, a kept reply counted as a fresh one; nothing where none is asked."""
    if judged is None:
        return {}
    sums = {key: getattr(judged, key) for key in ("calls", "prompt_tokens", "completion_tokens")}
    return {"judge": sums}


def means(parts: Any) -> dict[str, float | None]:
    """The mean of each part where it was scored; None where it never was."""
    values: dict[str, list[float]] = {}
    for part in parts:
        for name, value in part.items():
            values.setdefault(name, [])
            if value is not None:
                values[name].append(value)
    return {name: fmean(found) if found else None for name, found in values.items()}


def read_lines(path: Path) -> list[Line]:
    """The lines of a log; a torn last one is left out."""
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _tools(trajectories: Sequence[Trajectory]) -> dict[str, dict[str, float]]:
    """Of each tool the calls an episode, and the share of them that succeeded."""
    calls: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for trajectory in trajectories:
        for name, by in trajectory.episode.tool_calls.items():
            calls[name] += sum(by.values())
            good[name] += by.get(ToolStatus.SUCCESS.value, 0)
    n = len(trajectories)
    return {
        name: {"calls": calls[name] / n, "succeeded": good[name] / calls[name]}
        for name in sorted(calls)
    }


def _cut(path: Path, size: int) -> None:
    held = path.stat().st_size if path.is_file() else 0
    if held < size:
        raise DataError(
            f"{path} has {held} bytes and had {size} at the last checkpoint: it was changed since; "
            "choose another --name"
        )
    if held > size:
        with path.open("rb+") as file:
            file.truncate(size)


def _finite(value: Any) -> Any:
    """JSON has no NaN; a number that is none is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _scalars(line: Line, where: str) -> Iterator[tuple[str, float]]:
    """The numbers of a line, by path."""
    for key, value in line.items():
        if isinstance(value, Mapping):
            yield from _scalars(dict(value), f"{where}/{key}")
        elif isinstance(value, int | float) and key not in ("step", "seed"):
            yield f"{where}/{key}", float(value)


class _TensorBoard:
    """Event files; those of steps that are made again are marked as void."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("TensorBoard", "train") from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of Weights & Biases; the service's own settings say where it goes."""

    def __init__(self, directory: Path, recipe: Recipe) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", "wandb") from error
        try:
            self._run = wandb.init(
                project="agemem-eval",
                name=directory.name,
                id=f"{directory.name}-{stable_hash(curve(recipe.identity))[:8]}",
                resume="allow",
                dir=str(directory),
                group=recipe.name,
                job_type="train",
                config=recipe.identity,
            )
            self._run.define_metric("*", step_metric="step")
        except Exception as error:  # its own kinds, and those of what its settings are read with
            raise UsageError(
                f"cannot log to Weights & Biases: {_one_line(error)} (wandb: true in the recipe; "
                "WANDB_MODE=offline logs to disk)"
            ) from error
        self._works = True

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        if self._works:
            self._try(lambda: self._run.log({**scalars, "step": step}))

    def close(self) -> None:
        self._try(self._run.finish)

    def _try(self, work: Callable[[], object]) -> None:
        """A service that fails ends no training: all it is told is on disk, too."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - of any kind
            self._works = False
            say(f"agemem-eval: Weights & Biases is told no more: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
