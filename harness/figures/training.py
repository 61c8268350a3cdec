"""Logs of training, as reward curves are drawn from: `metrics.jsonl` in a directory.

One JSON object a line, one line a training step:

    {"step": 12, "reward": 0.41, "components": {"task": 0.52, "context": 0.40, "memory": 0.31},
     "group_rewards": [0.2, 0.6], "series": "All-Returns", "seed": 0}

    step           whole number, growing from line to line
    reward         mean reward of the step's trajectories
    components     mean of each part of the reward, by name; optional
    group_rewards  mean reward of each group (task) of the step; optional: what the interval of a
                   single seed is made from
    series, seed   what the curve is called, and which seed it is; optional, as on the first line:
                   logs of one series are one curve. Without them, the name of the directory

Further keys are left alone, so that a trainer may log more. A torn last line, which a killed run
leaves, is skipped.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError

FILE = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One line of a log."""

    step: int
    reward: float
    components: dict[str, float] = field(default_factory=dict)
    group_rewards: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """The steps of one training run."""

    series: str
    seed: int | None
    steps: tuple[TrainingStep, ...]


def has_logs(directory: Path) -> bool:
    """Whether a directory, or one in it, holds a log."""
    return bool(_files(directory))


def load_logs(directory: Path) -> list[TrainingLog]:
    """The logs in a directory: its own, or those of the directories in it (one a seed).

    Raises:
        DataError: for a line that is not as told above, with its number.
    """
    return [_read(file) for file in _files(directory)]


def _files(directory: Path) -> list[Path]:
    own = directory / FILE
    return [own] if own.is_file() else sorted(directory.glob(f"*/{FILE}"))


def _read(file: Path) -> TrainingLog:
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    steps: list[TrainingStep] = []
    about: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines) and not line.endswith("\n"):
                break  # torn
            raise DataError(f"{file}, line {number}: no JSON: {error}") from error
        about = about or (value if isinstance(value, dict) else {})
        try:
            step = _step(value)
            if steps and step.step <= steps[-1].step:
                raise ValueError(f"step {step.step} after step {steps[-1].step}")
        except (KeyError, TypeError, ValueError) as error:
            said = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{file}, line {number}: not a training step: {said}") from error
        steps.append(step)
    if not steps:
        raise DataError(f"{file} holds no training step")
    seed = about.get("seed")
    series = str(about.get("series") or file.parent.name)
    return TrainingLog(series, seed if isinstance(seed, int) else None, tuple(steps))


def _step(value: Any) -> TrainingStep:
    if not isinstance(value, dict):
        raise TypeError("no object")
    step = value["step"]
    if not isinstance(step, int) or isinstance(step, bool):
        raise TypeError(f"step {step!r} is no whole number")
    components = value.get("components") or {}
    if not isinstance(components, dict):
        raise TypeError("components is no object")
    # A component that was not scored at this step is null, and stays missing.
    parts = {str(k): _number(str(k), v) for k, v in components.items() if v is not None}
    groups = value.get("group_rewards") or []
    if not isinstance(groups, list):
        raise TypeError("group_rewards is no list")
    means = tuple(_number("group_rewards", v) for v in groups)
    return TrainingStep(step, _number("reward", value["reward"]), parts, means)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{name} {value!r} is no finite number")
    return float(value)
