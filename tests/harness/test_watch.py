"""Watchers: one that fails is dropped and closed, and neither the run nor the others notice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.runner import run
from agemem_eval.harness.trace import Event
from agemem_eval.harness.watch import Planned, Watcher


class Recorder(Watcher):
    """Keeps what it is told; raises in one method, and then at each close."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.told = fails, []

    def _tell(self, what: str) -> None:
        self.told.append(what)
        if what == self.fails or (what == "close" and self.fails):
            raise ValueError(f"broken in {what}")

    def planned(self, plan: Planned) -> None:
        self._tell("planned")

    def begins(self, key: EpisodeKey, attempt: int) -> None:
        self._tell("begins")

    def event(self, key: EpisodeKey, event: Event) -> None:
        self._tell("event")

    def ends(self, episode: Episode) -> None:
        self._tell("ends")

    def committed(self, episode: Episode) -> None:
        self._tell("committed")

    def close(self) -> None:
        self._tell("close")


@pytest.mark.parametrize("where", ["planned", "begins", "event", "ends", "committed", "close"])
def test_a_watcher_that_fails_is_dropped_closed_and_told_of_once(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = Recorder(where), Recorder()
    what = make_config(
        {
            "envs": ["agemem_fakes.envs:CountEnv"],
            "memories": ["none"],
            "episodes": 3,
            "model": "agemem_fakes.models:Inc",
        }
    )
    result = asyncio.run(run(what, Execution(runs_dir=tmp_path, workers=0), [broken, sound]))
    assert result.complete
    assert broken.told.index(where) == len(broken.told) - (1 if where == "close" else 2)
    assert broken.told.count("close") == 1
    assert broken.told[-1] == sound.told[-1] == "close"
    assert sound.told.count("committed") == 3
    said = [r.message for r in caplog.records if "is dropped" in r.message]
    assert said == [f"Recorder failed in {where} and is dropped: ValueError: broken in {where}"]
