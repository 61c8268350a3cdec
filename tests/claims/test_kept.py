"""An experiment played in parts: elsewhere, or on another day, with what was kept in between."""

from __future__ import annotations

import copy
import csv
import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest
from claims_data import DEFINITION, written

from agemem_eval.harness.claims.episodes import CELLS, EPISODES
from agemem_eval.harness.cli import main

Kept = tuple[Path, dict[str, Any]]


def call(command: str, *more: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(["claims", command, "experiment.yaml", *more])
    return int(done.value.code or 0)


def refused(said: str, capsys: pytest.CaptureFixture[str], command: str, *more: str) -> None:
    capsys.readouterr()
    assert call(command, *more) == 2
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Kept:
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
def kept(once: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A copy of it that is the current folder."""
    shutil.copytree(once[0], tmp_path / "kept")
    monkeypatch.chdir(tmp_path / "kept")
    return tmp_path / "kept", copy.deepcopy(once[1])


def cells(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / CELLS).open() as file:
        return {line["cell"]: line for line in csv.DictReader(file, delimiter="\t")}


def test_two_plays_make_what_one_makes(kept: Kept) -> None:
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


def test_a_dry_run_tells_what_is_kept(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call("play", "--kept", "out", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "2 runs for 2 cells, 5 episodes to play" in said
    assert "kept whole in out: 4 of 6 runs" in said


def changed(folder: Path, cell: str, **columns: str) -> None:
    """Change what is kept of a cell."""
    lines = [line.split("\t") for line in (folder / CELLS).read_text().splitlines()]
    (line,) = (line for line in lines if line[0] == cell)
    for name, value in columns.items():
        line[lines[0].index(name)] = value
    (folder / CELLS).write_text("".join("\t".join(line) + "\n" for line in lines))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_cell_that_is_kept_in_part_is_played_whole(kept: Kept) -> None:
    folder, _ = kept
    text = gzip.decompress((folder / "out" / EPISODES).read_bytes()).decode().splitlines()
    last = max(at for at, line in enumerate(text) if line.startswith("one/none/0"))
    del text[last]
    (folder / "out" / EPISODES).write_bytes(gzip.compress("\n".join([*text, ""]).encode()))
    changed(folder / "out", "one/none/0", scored="2")
    assert call("play", "--kept", "out", "--player", "none") == 0
    assert len(list((folder / "runs").iterdir())) == 1
    assert call("write", "--out", "out") == 0
    scored = [line["scored"] for line in cells(folder / "out").values()]
    assert scored == ["3", "3", "0", "2", "2", "0"]


@pytest.mark.parametrize("settings", [{"max_steps": 4}, {"seed": 1}])
def test_what_was_played_with_other_settings_is_not_taken_for_it(
    settings: dict[str, Any], kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, definition = kept
    definition["settings"] |= settings
    written(folder, definition)
    before = contents(folder / "out")
    said = "out keeps one/none/0 as it was played with other settings than now"
    refused(said, capsys, "play", "--kept", "out", "--player", "none")
    refused("out keeps episodes of one/none/0, played with other settings than now", capsys,
            "write", "--out", "out")  # fmt: skip
    assert contents(folder / "out") == before
    assert call("write", "--out", "out", "--replace") == 0
    assert not any(int(line["scored"]) for line in cells(folder / "out").values())


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("data_hash", "other data"), ("memory_hash", "another memory"),
        ("model_hash", "another checkpoint"), ("protocol_hash", "other settings"),
        ("env_version", "another version of its environment"),
    ],
)  # fmt: skip
def test_what_was_played_as_another_is_not_taken_for_it(
    column: str, said: str, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = kept
    changed(folder / "out", "one/norl/0", **{column: "another"})
    before = contents(folder / "out")
    refused(f"out keeps one/norl/0 as it was played with {said} than now", capsys,
            "play", "--kept", "out")  # fmt: skip
    (folder / "lost").rename(folder / "runs")
    refused(f"out keeps episodes of one/norl/0, played with {said} than now", capsys,
            "write", "--out", "out")  # fmt: skip
    assert contents(folder / "out") == before
    assert call("write", "--out", "out", "--replace") == 0
    assert "another" not in (folder / "out" / CELLS).read_text()


def test_cells_of_a_checkpoint_that_was_replaced_since_are_not_left_beside_new_ones(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = kept
    lines = cells(folder / "out")
    for cell in ("one/norl/0", "two/norl/0"):  # whose runs are lost for good
        shutil.rmtree(folder / "lost" / lines[cell]["run"])
        changed(folder / "out", cell, model_hash="another")
    (folder / "lost").rename(folder / "runs")
    refused("out keeps episodes of one/norl/0, played with another checkpoint than now", capsys,
            "write", "--out", "out")  # fmt: skip
    assert call("write", "--out", "out", "--replace") == 0
    scored = {name: line["scored"] for name, line in cells(folder / "out").items()}
    assert (scored["one/none/0"], scored["one/norl/0"]) == ("3", "0"), "what fits is kept"


def test_cells_that_the_experiment_has_no_more_are_refused(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, definition = kept
    definition["players"]["nobody"] = definition["players"].pop("none")
    definition["tables"]["main"]["players"][0] = "nobody"
    written(folder, definition)
    refused("out keeps episodes of one/none/0, which the experiment does not have", capsys,
            "write", "--out", "out")  # fmt: skip


def test_a_folder_without_episodes_or_with_damaged_ones_is_refused(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = kept
    refused("no episodes are kept in nowhere", capsys, "play", "--kept", "nowhere")
    (folder / "out" / EPISODES).write_bytes(b"no gzip")
    refused("cannot read the data of out", capsys, "play", "--kept", "out")
    assert not (folder / "runs").exists()


def test_an_unknown_player_is_refused(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    refused("player", capsys, "play", "--player", "nobody")
