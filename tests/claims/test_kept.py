"""An experiment played in parts: elsewhere, or on another day, with what was kept in between."""

from __future__ import annotations

import copy
import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from claims_data import DEFINITION, written

from agemem_eval.harness.claims.episodes import CELLS
from agemem_eval.harness.cli import main


def call(command: str, *more: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["claims", command, "experiment.yaml", *more])
    return int(done.value.code or 0)


def refused(said: str, capsys: pytest.CaptureFixture[str], command: str, *more: str) -> None:
    capsys.readouterr()
    assert call(command, *more) == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder in which the untrained players have played and are kept, and the runs are lost."""
    folder, definition = tmp_path_factory.mktemp("kept"), copy.deepcopy(DEFINITION)
    definition["tasks"]["two"]["episodes"] = 2
    written(folder, definition)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("play", "--player", "none", "--player", "norl") == 0
        assert call("write", "--out", "out") == 0
    (folder / "runs").rename(folder / "lost")
    return folder, definition


@pytest.fixture
def kept(
    once: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, Any]]:
    """A copy of it that is the current folder."""
    shutil.copytree(once[0], tmp_path / "kept")
    monkeypatch.chdir(tmp_path / "kept")
    return tmp_path / "kept", copy.deepcopy(once[1])


def cells(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / CELLS).open() as file:
        return {line["cell"]: line for line in csv.DictReader(file, delimiter="\t")}


def test_two_plays_make_what_one_makes(kept: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = kept
    scored = {name: line["scored"] for name, line in cells(folder / "out").items()}
    assert scored == {
        "one/none/0": "3", "one/norl/0": "3", "one/rl/0": "0",
        "two/none/0": "2", "two/norl/0": "2", "two/rl/0": "0",
    }  # fmt: skip
    assert call("play", "--kept", "out") == 0
    assert len(list((folder / "runs").iterdir())) == 2, "the two of the trained player"
    assert call("write", "--out", "out") == 0
    (folder / "runs").rename(folder / "second")
    (folder / "lost").rename(folder / "runs")
    assert call("play") == 0  # in one go: what had been lost, and the rest again
    assert call("write", "--out", "whole") == 0
    for path in (folder / "whole").iterdir():
        assert (folder / "out" / path.name).read_bytes() == path.read_bytes()


def test_a_dry_run_tells_what_is_kept(
    kept: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("play", "--kept", "out", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "2 runs for 2 cells, 5 episodes to play" in said
    assert "kept whole in out: 4 of 6 runs" in said


def test_a_cell_that_is_kept_in_part_is_played_whole(kept: tuple[Path, dict[str, Any]]) -> None:
    folder, definition = kept
    definition["tasks"]["one"]["episodes"] = 2
    written(folder, definition)
    assert call("play", "--player", "rl") == 0
    assert call("write", "--out", "less", "--runs-dir", "runs") == 0
    (folder / "runs").rename(folder / "second")
    definition["tasks"]["one"]["episodes"] = 3
    written(folder, definition)
    text = (folder / "less" / CELLS).read_text()
    (folder / "less" / CELLS).write_text(text.replace("\t2\t2\tgenerated", "\t3\t2\tgenerated", 1))
    assert call("play", "--player", "rl", "--kept", "less") == 0
    assert len(list((folder / "runs").iterdir())) == 1
    assert call("write", "--out", "less") == 0
    assert [line["scored"] for line in cells(folder / "less").values()] == list("003002")


def test_what_was_played_otherwise_is_not_taken_for_it(
    kept: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, definition = kept
    definition["settings"]["max_steps"] = 4
    written(folder, definition)
    said = "out keeps one/none/0 as it was played with another settings than now"
    refused(said, capsys, "play", "--kept", "out", "--player", "none")
    refused("no episodes are kept in nowhere", capsys, "play", "--kept", "nowhere")
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    refused("says 2: give the options it was written with, or --replace to lose it", capsys,
            "write", "--out", "out", "--episodes", "2")  # fmt: skip
    definition["players"]["nobody"] = definition["players"].pop("none")
    definition["tables"]["main"]["players"][0] = "nobody"
    written(folder, definition)
    refused("out keeps episodes of one/none/0 and 1 more cells, which the experiment does not have",
            capsys, "write", "--out", "out")  # fmt: skip
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before
    assert call("write", "--out", "out", "--replace") == 0
    assert not any(int(line["scored"]) for line in cells(folder / "out").values())


def test_fewer_episodes_of_another_checkpoint_are_refused(
    kept: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = kept
    text = (folder / "out" / CELLS).read_text()
    line = next(line for line in text.splitlines() if line.startswith("one/none/0"))
    other = line.replace("\t3\t3\t", "\t3\t4\t")  # one more than the runs have
    other = other.replace(cells(folder / "out")["one/none/0"]["model_hash"], "another")
    (folder / "out" / CELLS).write_text(text.replace(line, other))
    (folder / "lost").rename(folder / "runs")
    refused("out keeps more episodes of one/none/0 than these runs have, played with another "
            "checkpoint", capsys, "write", "--out", "out")  # fmt: skip


def test_an_unknown_player_is_refused(
    kept: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    refused("player", capsys, "play", "--player", "nobody")
