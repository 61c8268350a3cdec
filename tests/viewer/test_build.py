"""The report as files: what is written, what is refused, and what becomes of damaged runs."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import key
from typer.testing import CliRunner
from viewer_runs import ATTACKS, EVIL, game, memory, planted, write

from agemem_eval.harness.cli import app
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.plan import Cell
from agemem_eval.harness.types import Task
from agemem_eval.harness.viewer.build import build_view

TASKS = tuple(Task(f"t{i}", "test", "even") for i in range(4))
LONE = Cell("none", key(""), TASKS, 1)
STREAM = replace(LONE, lifelong=True)


def small(directory: Path, cell: Cell = LONE, n: int = 4) -> Path:
    jobs = [job for _, jobs in cell.streams() for job in jobs][:n]
    traces = {j.key: list(game(3, prefix=j.task.id)) for j in jobs}
    return write(directory, [cell], traces)


def data(view: Path, name: str) -> Any:
    text = (view / "data" / f"{name}.js").read_text()
    found = re.fullmatch(r'agememData\("([a-z0-9]+)","([A-Za-z0-9+/=]+)"\);\n', text)
    assert found is not None, "nothing but one call with two plain strings"
    assert found[1] == name
    return json.loads(gzip.decompress(base64.b64decode(found[2])))


def test_a_report_has_all_committed_episodes_and_says_how_many_are_owed(tmp_path: Path) -> None:
    run = small(tmp_path / "run", n=3)
    view = build_view([run], tmp_path / "view")
    assert view.n_episodes == 3
    assert view.n_damaged == 0
    page = view.index.read_text()
    overview = json.loads(re.search(r'id="overview">(.*?)</script>', page)[1])  # type: ignore[index]
    assert (overview["planned"], overview["scored"], overview["episodes"]) == (4, 3, 3)
    table = data(tmp_path / "view", "episodes")
    assert table["n"] == 3
    assert table["words"]["task"]["texts"] == ["t0", "t1", "t2"]
    assert table["numbers"]["success"] == [0, 1, 1]
    assert table["numbers"]["progress"] == [None] * 3  # not scored, which is not 0
    assert data(tmp_path / "view", "texts")["goal"]["texts"] == ["Your goal: find the lamp."]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    for name in ("one", "two"):
        build_view([run], tmp_path / name)
    files = [p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file()]
    assert len(files) >= 5
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_nothing_of_a_run_is_code_or_markup_in_any_file_of_its_report(tmp_path: Path) -> None:
    build_view([planted(tmp_path / "run")], tmp_path / "view")
    page = (tmp_path / "view" / "index.html").read_text()
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    for attack in ATTACKS[:4]:
        assert attack not in page
    for path in (tmp_path / "view" / "data").iterdir():
        data(tmp_path / "view", path.stem)
    (episode, *_) = data(tmp_path / "view", "t0")["episodes"]
    text = EVIL.encode(errors="replace").decode()
    assert episode["turns"][0]["before"][0]["text"] == text  # whole, only never code


def test_a_stream_begins_each_file_with_what_its_memory_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agemem_eval.harness.viewer.packing.CHUNK_BYTES", 1)
    build_view([small(tmp_path / "run", STREAM)], tmp_path / "view")
    chunks = [data(tmp_path / "view", f"t{n}") for n in range(4)]
    for n, chunk in enumerate(chunks):
        ids = [entry[0] for entry in chunk["initial"]]
        assert ids == [f"t{k}-{turn}" for k in range(n) for turn in (1, 2, 3)]
        assert all(episode["carries"] for episode in chunk["episodes"])


def test_lone_episodes_begin_with_an_empty_memory(tmp_path: Path) -> None:
    build_view([small(tmp_path / "run")], tmp_path / "view")
    chunk = data(tmp_path / "view", "t0")
    assert chunk["initial"] == []
    assert not any(episode["carries"] for episode in chunk["episodes"])


@pytest.mark.parametrize("how", ["cut", "rotten", "gone", "senseless"])
def test_a_damaged_trace_is_told_in_its_place_and_harms_no_other(tmp_path: Path, how: str) -> None:
    jobs = [job for _, jobs in STREAM.streams() for job in jobs]
    traces = {j.key: list(game(3, prefix=j.task.id)) for j in jobs}
    if how == "senseless":
        traces[jobs[1].key] = [memory("add", "x", "y"), {"type": "message", "step": 0}]
    run = write(tmp_path / "run", [STREAM], traces)
    path = run / "turns" / f"{jobs[1].key.id}.jsonl.zst"
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "rotten":
        path.write_bytes(b"not zstandard")
    elif how == "gone":
        path.unlink()
    view = build_view([run], tmp_path / "view")
    assert (view.n_episodes, view.n_damaged) == (4, 1)
    episodes = data(tmp_path / "view", "t0")["episodes"]
    assert [("problem" in e, "turns" in e) for e in episodes] == [
        (False, True), (True, False), (False, True), (False, True),
    ]  # fmt: skip
    # What the memory held before is unknown to those after it, and they say so.
    assert [e.get("unknown") for e in episodes] == [None, None, "t1", "t1"]


def test_numbers_that_are_none_do_not_break_the_data(tmp_path: Path) -> None:
    jobs = [job for _, jobs in LONE.streams() for job in jobs]
    events = [*game(1), {"type": "judge", "step": 1, "turn": 1, "op": "mq", "score": float("nan")}]
    build_view([write(tmp_path / "run", [LONE], {jobs[0].key: events})], tmp_path / "view")
    assert data(tmp_path / "view", "t0")["episodes"][0]["turns"][0]["after"][-1]["type"] == "judge"


# --- where it is written ------------------------------------------------------------------------


def test_a_report_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    build_view([run], tmp_path / "view")
    (tmp_path / "view" / "data" / "t77.js").write_text("left from a larger report")
    build_view([run], tmp_path / "view")
    assert not (tmp_path / "view" / "data" / "t77.js").exists()
    assert not list(tmp_path.glob(".view-*"))


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "view").mkdir()
    assert build_view([small(tmp_path / "run")], tmp_path / "view").index.is_file()


@pytest.mark.parametrize("inside", ["notes.txt", "index.html", "data/mine.js"])
def test_a_folder_that_holds_anything_else_is_refused_and_left_alone(
    tmp_path: Path, inside: str
) -> None:
    run, out = small(tmp_path / "run"), tmp_path / "out"
    if inside.startswith("data"):
        build_view([run], out)
    (out / inside).parent.mkdir(parents=True, exist_ok=True)
    (out / inside).write_text("mine")
    with pytest.raises(UsageError, match="choose another --out"):
        build_view([run], out)
    assert (out / inside).read_text() == "mine"


def test_a_file_or_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="is not a folder"):
            build_view([run], tmp_path / name)


def test_names_with_separators_lead_to_no_file_outside_the_folder(tmp_path: Path) -> None:
    base = replace(key(""), env="../../up", memory="/etc/x", model="..\\..\\up")
    cell = Cell("../../none", base, (Task("../../../task", "test", "../type"),), 1)
    ((job,),) = [jobs for _, jobs in cell.streams()]
    run = write(tmp_path / "a" / "run", [cell], {job.key: list(game(1))})
    before = set(_files(tmp_path))
    build_view([run], tmp_path / "a" / "view")
    new = {path.relative_to(tmp_path).as_posix() for path in set(_files(tmp_path)) - before}
    assert new == {
        "a/view/index.html", "a/view/view.json",
        *(f"a/view/data/{name}.js" for name in ("episodes", "texts", "figures", "t0")),
    }  # fmt: skip


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


# --- what is no run -----------------------------------------------------------------------------


def test_a_run_twice_is_refused(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    with pytest.raises(UsageError, match="given twice"):
        build_view([run, tmp_path / "." / "run"], tmp_path / "view")


def test_two_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [small(tmp_path / name / "run") for name in "ab"]
    build_view(runs, tmp_path / "view")
    page = (tmp_path / "view" / "index.html").read_text()
    assert '"runs":["run (1)","run (2)"]' in page
    assert data(tmp_path / "view", "episodes")["numbers"]["run"] == [0] * 4 + [1] * 4


@pytest.mark.parametrize("what", ["empty", "foreign", "newer", "torn"])
def test_what_is_no_run_of_this_version_gets_one_line(tmp_path: Path, what: str) -> None:
    run = tmp_path / "runs" / "x"
    if what in ("newer", "torn"):
        small(run)
        header = json.loads((run / "config.json").read_text())
        text = json.dumps({**header, "schema": 99}) if what == "newer" else '{"sch'
        (run / "config.json").write_text(text)
    else:
        run.mkdir(parents=True)
        if what == "foreign":
            (run / "thesis.tex").write_text("not a run")
    result = CliRunner().invoke(app, ["view", "x", "--runs-dir", str(tmp_path / "runs")])
    assert isinstance(result.exception, DataError)
    assert "\n" not in str(result.exception)
    assert not (run / "view").exists()
    if what == "newer":
        assert "upgrade agemem-eval" in str(result.exception)


def test_an_unknown_run_names_the_nearest(tmp_path: Path) -> None:
    small(tmp_path / "runs" / "first")
    result = CliRunner().invoke(app, ["view", "frist", "--runs-dir", str(tmp_path / "runs")])
    assert isinstance(result.exception, UsageError)
    assert "did you mean 'first'" in str(result.exception)


def test_a_run_that_has_only_begun_gives_a_report_without_episodes(tmp_path: Path) -> None:
    assert build_view([small(tmp_path / "run", n=0)], tmp_path / "view").n_episodes == 0


def test_the_command_writes_into_the_run_and_says_where(tmp_path: Path) -> None:
    small(tmp_path / "runs" / "first")
    for _ in range(2):  # the second time there is one already
        result = CliRunner().invoke(app, ["view", "first", "--runs-dir", str(tmp_path / "runs")])
        assert result.exit_code == 0, result.exception
        assert "view/index.html: 4 episodes" in result.stdout.replace("\n", "")
    shutil.rmtree(tmp_path / "runs")
