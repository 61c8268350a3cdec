"""Rows of episodes and turns, CSV, and where an export goes; nothing here needs an extra."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import episode
from export_runs import CONFIG, FORMULA, MADE_UP, SCRIPT, SECRET, turn, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

import agemem_eval
from agemem_eval.harness import cli
from agemem_eval.harness.context import Context
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.exports.clean import Clean
from agemem_eval.harness.exports.columns import TURN_COLUMNS
from agemem_eval.harness.exports.command import FORMATS, export_command
from agemem_eval.harness.exports.csv_file import text
from agemem_eval.harness.exports.model_card import mark_of
from agemem_eval.harness.exports.source import Source, all_columns
from agemem_eval.harness.exports.target import MARK, whole_folder
from agemem_eval.harness.exports.transcript import Transcript
from agemem_eval.harness.files import read_json
from agemem_eval.harness.trace import Trace


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _export(run: Path, to: str, out: Path, **more: str) -> None:
    export_command([str(run)], to, Path("runs"), out=out, **more)


def test_an_episode_is_a_row_with_all_that_its_record_says(nasty: Path) -> None:
    rows = {row["task"]: row for row in Source(nasty).episode_rows()}
    first = rows["t0"]
    assert (first["run"], first["status"], first["success"]) == ("nasty", "completed", True)
    assert (first["metrics.f1"], first["quality.mq"], first["loss"]) == (0.25, 0.5, "never_stored")
    assert "metrics.em" not in first  # None is not 0
    assert (first["tool_calls.Add_memory"], first["tokens.agent.prompt"]) == (6, 600)
    assert "success" not in rows["t2"]
    assert (rows["t2"]["fault"], rows["t2"]["scored"]) == ("endpoint", False)
    assert rows["t2"]["tokens_lost.agent.prompt"] == 7


def test_tools_that_a_model_made_up_are_one_column(nasty: Path) -> None:
    source = Source(nasty)
    names = [column.name for column in all_columns([source])]
    assert not any(MADE_UP in name for name in names)
    assert next(source.episode_rows())["tool_calls.unknown_tool"] == 3


def test_a_turn_is_a_row_with_what_came_of_it(nasty: Path) -> None:
    one, two = list(Source(nasty).turn_rows())[2:4]
    assert (one["turn"], one["step"], two["turn"], two["step"]) == (1, 0, 2, 1)
    assert (one["tool_calls"], one["tools_failed"], two["tools_failed"]) == (1, 0, 1)
    assert (one["valid"], two["valid"], one["progress"], two["progress"]) == (True, False, None, 1)
    assert json.loads(one["memory_ops"]) == {"add": 1}
    assert json.loads(one["tools"])[0]["name"] == "Add_memory"
    assert (one["answer"], two["answer"], two["done"]) == (None, "42", True)


def test_the_rows_of_a_played_run_add_up_to_its_records(played: Path) -> None:
    source = Source(played)
    turns = list(source.turn_rows())
    for row in source.episode_rows():
        own = [turn for turn in turns if turn["episode"] == row["episode"]]
        assert len(own) == row["turns"]
        assert sum(turn["prompt_tokens"] for turn in own) == row["tokens.agent.prompt"]
        assert sum(turn["action"] is not None for turn in own) == row["steps"]
        calls = sum(n for name, n in row.items() if name.startswith("tool_calls."))
        assert sum(turn["tool_calls"] for turn in own) == calls
        assert sum(turn["reward"] or 0 for turn in own) == pytest.approx(row["reward"])


def test_no_secret_and_no_folder_of_this_machine_is_in_a_csv(nasty: Path, tmp_path: Path) -> None:
    _export(nasty, "csv", tmp_path / "out")
    written = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert SECRET not in written
    assert str(tmp_path) not in written
    assert "my key is ***, kept in ~/notes.txt" in written
    assert "cannot read ~/x and …/qwen: ***" in written  # of an error's path only the last part


def test_nothing_in_a_csv_is_a_formula(nasty: Path, tmp_path: Path) -> None:
    _export(nasty, "csv", tmp_path / "out")
    for name in ("episodes.csv", "turns.csv"):
        for row in _csv(tmp_path / "out" / name):
            for cell in (*row, *row.values()):
                assert not cell.lstrip().startswith(("=", "+", "@", "\t")), cell
    turn = _csv(tmp_path / "out" / "turns.csv")[0]
    assert turn["completion"].startswith(f"'{FORMULA}")
    assert SCRIPT in turn["completion"]  # text is text: a CSV has no markup


@pytest.mark.parametrize("value", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\n=1", "＝1"])
def test_what_looks_like_a_formula_begins_with_an_apostrophe(value: str) -> None:
    assert text(value).startswith("'")


def test_a_csv_tells_a_missing_value_from_an_empty_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [episode("t0", loss="", progress=None, reward=-0.5)])
    _export(run, "csv", tmp_path / "out")
    header, line = (tmp_path / "out" / "episodes.csv").read_text().splitlines()
    cells = dict(zip(header.replace('"', "").split(","), line.split(","), strict=True))
    assert (cells["loss"], cells["fault"], cells["progress"]) == ('""', "", "")
    assert (cells["reward"], cells["success"], cells["scored"]) == ("-0.5", "true", "true")


def test_an_episode_without_a_readable_trace_has_no_turns_and_one_line_says_so(
    nasty: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _export(nasty, "csv", tmp_path / "out")
    assert len(_csv(tmp_path / "out" / "episodes.csv")) == 5
    assert len({row["episode"] for row in _csv(tmp_path / "out" / "turns.csv")}) == 3
    warnings = [line for line in capfd.readouterr().err.splitlines() if "trace" in line]
    assert len(warnings) == 1
    assert "2 episodes have no readable trace and are exported without turns" in warnings[0]


def test_a_trace_of_something_else_is_told_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", [episode("t0")], lambda _: [{"type": "completion"}, {"a": 1}])
    source = Source(run)
    assert list(source.turn_rows()) == []
    assert "holds what is no event" in next(iter(source.unread.values()))


def test_a_number_that_no_table_can_hold_is_told_too(tmp_path: Path) -> None:
    huge = turn(1, "x", prompt_tokens=10**30)
    source = Source(write_run(tmp_path / "r", [episode("t0")], lambda _: [huge]))
    assert list(source.turn_rows()) == []
    assert "1e+30 is no 64-bit integer" in next(iter(source.unread.values()))


def test_a_card_is_known_by_a_comment_that_no_name_ends(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a--><b>", [episode("t0")])
    assert mark_of([Source(run)]).count(">") == 1


def test_an_unfinished_run_tells_its_coverage(
    nasty: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _export(nasty, "csv", tmp_path / "out")
    told = capfd.readouterr().err
    assert "nasty is not finished: 4 of 6 episodes scored (count/none 4 of 6)" in told


def test_an_export_of_the_same_run_is_replaced_and_anything_else_refused(
    nasty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    _export(nasty, "csv", out)
    _export(nasty, "csv", out)
    assert "in place of the earlier export" in capsys.readouterr().out
    other = write_run(tmp_path / "other", [episode("t0")])
    with pytest.raises(UsageError, match="holds an export of nasty as csv"):
        _export(other, "csv", out)
    (out / MARK).unlink()
    with pytest.raises(UsageError, match="is no export of these runs"):
        _export(nasty, "csv", out)
    file = tmp_path / "notes.md"
    file.write_text("mine")
    with pytest.raises(UsageError, match="is no export of these runs"):
        _export(nasty, "model-card", file)
    assert file.read_text() == "mine"


def test_an_export_that_fails_leaves_nothing_and_keeps_the_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out, "csv", ["a"]) as folder:
        (folder / "x").write_text("first")
    with pytest.raises(DataError, match="the disk is full"):
        _fill_a_disk(out)
    assert (out / "x").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert read_json(out / MARK)["runs"] == ["a"]


def _fill_a_disk(out: Path) -> None:
    with whole_folder(out, "csv", ["a"]) as folder:
        (folder / "x").write_text("second")
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["a", "--to", "parqet"], "unknown format 'parqet'; did you mean 'parquet'?"),
        (["nasti", "--to", "csv"], "unknown run 'nasti'; did you mean 'nasty'?"),
        (["nasty", "nasty", "--to", "csv"], "a run is named twice: nasty, nasty"),
        (["nasty", "--to", "csv", "--project", "p"], "--project is of wandb and mlflow"),
        (["empty", "--to", "csv"], "is empty, so it is not a run"),
        (["unplayed", "--to", "csv"], "unplayed: no episode was played yet"),
    ],
)
def test_bad_input_is_one_line(
    nasty: Path,
    arguments: list[str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    runs = nasty.parent
    (runs / "empty").mkdir()
    write_run(runs / "unplayed", [], tasks=["t0"])
    monkeypatch.chdir(runs.parent)
    monkeypatch.setattr(sys, "argv", ["agemem-eval", "export", *arguments])
    with pytest.raises(SystemExit) as ended:
        sys.exit(cli.main())
    assert ended.value.code == 2
    told = capfd.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert problem in told[0]


@pytest.mark.parametrize("to", ["parquet", "datasets", "inspect", "wandb", "mlflow"])
def test_a_missing_extra_is_one_line(nasty: Path, tmp_path: Path, to: str) -> None:
    code = f"""
import sys
from pathlib import Path
for name in ("pandas", "pyarrow", "datasets", "inspect_ai", "wandb", "mlflow"):
    sys.modules[name] = None
from agemem_eval.harness.exports.command import export_command
from agemem_eval.harness.errors import MissingExtraError
try:
    export_command([{str(nasty)!r}], {to!r}, Path("runs"), out=Path({str(tmp_path / to)!r}))
except MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "is not installed: pip install 'agemem-eval[" in done.stdout, done.stderr
    assert not (tmp_path / to).exists()


def test_loading_a_run_needs_nothing_before_a_frame_is_asked_for(played: Path) -> None:
    code = f"""
import sys, agemem_eval
heavy = {{"numpy", "pydantic", "pandas", "pyarrow", "scipy"}} & set(sys.modules)
assert not heavy, heavy
run = agemem_eval.load_run({str(played)!r})
assert not {{"pandas", "pyarrow"}} & set(sys.modules)
print(run, run.config.memories, [row.memory for row in run.rows], next(run.iter_turns())["turn"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("<run played: 2 cells> ('none', 'agemem') ['none', 'agemem")
    with pytest.raises(UsageError, match="unknown run"):
        agemem_eval.load_run("no-such-run")


def test_paths_of_settings_keep_their_last_part_and_urls_lose_their_password(
    tmp_path: Path,
) -> None:
    clean = Clean(tmp_path, CONFIG)
    assert clean.settings({"count": {"data": "/srv/x/data"}}) == {"count": {"data": "…/data"}}
    assert clean.setting("http://me:pw@host/v1/chat") == "http://***@host/v1/chat"
    assert clean.setting("hf:/srv/models/qwen") == "hf:…/qwen"
    assert clean.text("go to /srv/models/qwen") == "go to /srv/models/qwen"  # a world's own path
    assert clean.text(f"in {tmp_path}/turns") == "in <run>/turns"
    assert clean.text(f"not {tmp_path}x") == f"not {tmp_path}x".replace("/tmp/", "<tmp>/")


def test_two_runs_are_one_table(nasty: Path, played: Path, tmp_path: Path) -> None:
    export_command([str(nasty), str(played)], "csv", Path("runs"), out=tmp_path / "out")
    rows = _csv(tmp_path / "out" / "episodes.csv")
    assert [row["run"] for row in rows] == ["nasty"] * 5 + ["played"] * 4
    assert len({row["protocol"] for row in rows}) == 2


def test_the_documented_columns_are_those_that_there_are() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "exports.md").read_text()
    assert not [column.name for column in TURN_COLUMNS if f"`{column.name}`" not in docs]
    assert not [name for name in FORMATS if f"--to {name}" not in docs]


_OPERATIONS = st.one_of(
    st.tuples(st.just("add"), st.booleans()),
    st.tuples(st.sampled_from(["remove", "summary"]), st.lists(st.integers(1, 9), max_size=4)),
    st.tuples(st.just("unpin"), st.integers(1, 9)),
    st.tuples(st.just("restart"), st.none()),
)


@settings(deadline=None)
@given(st.lists(_OPERATIONS, max_size=25))
def test_a_transcript_holds_what_the_context_held(operations: list[tuple[str, Any]]) -> None:
    trace = Trace()
    context = Context(10_000, len, trace)
    for operation, value in operations:
        if operation == "add":
            context.add("user", "observation", f"text {len(trace.events)}", pinned=value)
        elif operation == "remove":
            context.remove([f"m{n}" for n in value], "filter")
        elif operation == "summary":
            context.summarise([f"m{n}" for n in value], "in short")
        elif operation == "unpin":
            context.unpin(f"m{value}", "what is left")
        else:
            context.restart()
    transcript = Transcript()
    for event in trace.events:
        transcript.add(event)
    held = [(said.id, said.text) for said in transcript.context]
    assert held == [(message.id, message.content) for message in context.messages]
