"""What the pytest fixture `agemem_eval` gives: small cells, and what came of them."""

from __future__ import annotations

import asyncio
import io
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from rich.console import Console

from ..analysis import CellFrame, load_frames
from ..errors import AgememError, UsageError
from ..options import resolve
from ..runner import RunResult, run
from .baseline import baseline_bytes
from .command import pin
from .render import conclusion, print_outcome
from .sides import Side, open_side
from .verdict import Outcome, Settings, compare_sides


class NoPowerWarning(UserWarning):
    """Too few tasks to see the drop that a test looks for."""


@dataclass(frozen=True, slots=True)
class Evaluations:
    """Plays cells; the value of the fixture `agemem_eval`."""

    runs_dir: Path
    root: Path  # paths of baselines are from here
    baselines: Path
    update: bool  # pin instead of comparing
    updated: list[str]

    def run(
        self,
        env: str | type,
        memory: str | type,
        *,
        options: Mapping[str, object] | None = None,
        allow_incomplete: bool = False,
        **settings: Any,
    ) -> Evaluation:
        """Play an environment with a memory, in this process.

        Args:
            env: As of `--env`, or a class at the top level of a module.
            memory: As of `--memory`, or such a class.
            options: As of `-o`: {"changes": 2, "rag.top_k": 5}.
            allow_incomplete: Take a run of which the infrastructure broke episodes.
            settings: What a file for `--config` may hold: `episodes=10`, `model="openai:x"`, …

        Returns:
            What came of it. The test fails where the run cannot be played.
        """
        pairs = [f"{key}={_text(value)}" for key, value in (options or {}).items()]
        given = {"workers": 0, "runs_dir": self.runs_dir, **settings, "option": pairs}
        try:
            given |= {"env": _spec(env), "memory": _spec(memory)}
            result = _played(given)
            evaluation = Evaluation(self, result.directory, load_frames(result.directory))
        except AgememError as error:
            _fail(str(error))
        if not (result.complete or allow_incomplete):
            reasons = {episode for row in result.rows for episode in row.statuses}
            _fail(
                f"{result.scored} of {result.planned} episodes were scored (statuses: "
                f"{', '.join(sorted(reasons)) or 'none'}; {result.stopped or 'not stopped'}): "
                f"see {result.directory / 'log.jsonl'}"
            )
        return evaluation


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A run that a test has made."""

    _of: Evaluations = field(repr=False)
    directory: Path
    frames: list[CellFrame] = field(repr=False)

    @property
    def success_rate(self) -> float | None:
        """The share of solved episodes among those that were scored; None if none was."""
        return self.mean("success")

    @property
    def coverage(self) -> float:
        """The share of planned episodes that were scored."""
        return sum(f.n_scored for f in self.frames) / sum(f.n_planned for f in self.frames)

    def mean(self, column: str) -> float | None:
        """The mean of a column over scored episodes, e.g. `tokens.agent.prompt`; None of none."""
        values = np.concatenate([frame.values(column) for frame in self.frames])
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else None

    def assert_no_regression(
        self,
        baseline: str | Path,
        max_drop: float = 0.0,
        *,
        alpha: float = 0.05,
        metrics: Sequence[str] | None = None,
        require_power: bool = False,
        allow_mixed: bool = False,
    ) -> None:
        """Fail the test where `agemem-eval compare BASELINE RUN` would exit with 1 or 2.

        With `--agemem-update-baselines` the run is pinned as that baseline instead. What cannot
        be told for lack of tasks is a `NoPowerWarning`.

        Args:
            baseline: The name of a pinned baseline, or a path from the rootdir.
            max_drop: Of a score, what is no regression yet.
            alpha: Level of significance.
            metrics: Columns that decide, as of `--metric`; default: the headline.
            require_power: Fail where `max_drop` would go unseen.
            allow_mixed: Compare what is in common with a baseline of another protocol.
        """
        __tracebackhide__ = True
        path = self._path(baseline)
        settings = Settings(
            max_drop=max_drop, alpha=alpha, metrics=metrics, require_power=require_power,
            allow_mixed=allow_mixed,
        )  # fmt: skip
        try:
            if self._of.update:
                self._pin(path)
                return
            outcome = self._compared(path, settings)
        except AgememError as error:
            _fail(str(error))
        if outcome.code:
            text = io.StringIO()
            print_outcome(outcome, Console(file=text, width=200, no_color=True))
            _fail(text.getvalue())
        if outcome.powerless:
            warnings.warn(conclusion(outcome), NoPowerWarning, stacklevel=2)

    def _compared(self, path: Path, settings: Settings) -> Outcome:
        if not path.is_file():
            raise UsageError(
                f"there is no baseline {path}: pytest --agemem-update-baselines makes it, then "
                "commit it"
            )
        base = open_side(str(path), self._of.runs_dir, self._of.baselines)
        new = Side(self.directory.name, self.frames, pinned=False)
        return compare_sides(base, new, settings)

    def _pin(self, path: Path) -> None:
        if str(path) in self._of.updated and path.read_bytes() != baseline_bytes(self.frames):
            raise UsageError(
                f"two tests pin different runs as {path}: give them names of their own"
            )
        pin(self.directory, path, force=True)
        self._of.updated.append(str(path))

    def _path(self, baseline: str | Path) -> Path:
        if isinstance(baseline, Path) or "/" in baseline or baseline.endswith(".json"):
            return self._of.root / baseline
        return self._of.baselines / f"{baseline}.json"


def _played(given: dict[str, Any]) -> RunResult:
    """Play in a thread: a loop of its own, whatever loop the test runs in."""
    config, execution = resolve(given)
    found: list[RunResult] = []
    raised: list[BaseException] = []

    def play() -> None:
        try:
            found.append(asyncio.run(run(config, execution)))
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            raised.append(error)

    thread = threading.Thread(target=play, name="agemem-eval", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return found[0]


def _spec(thing: str | type) -> str:
    """The name by which the registry finds a class."""
    if isinstance(thing, str):
        return thing
    if "." in thing.__qualname__:
        raise UsageError(f"{thing.__qualname__} must be at the top level of its module")
    return f"{thing.__module__}:{thing.__qualname__}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fail(why: str) -> NoReturn:
    raise pytest.fail.Exception(f"agemem-eval: {why}", pytrace=False) from None
