"""The command line as a person meets it: tables, JSON, one-line errors, exit codes, resume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agemem_eval.harness.testserver import ChatServer

RUN = ("run", "--env", "alfworld", "--memory", "agemem", "--model", "scripted", "--episodes", "4")


def cli(cwd: Path, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agemem_eval", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)


def test_run_prints_a_table_and_names_the_model_for_what_it_is(tmp_path: Path) -> None:
    done = cli(tmp_path, *RUN)
    assert done.returncode == 0, done.stderr
    assert "agemem-norl" in done.stdout
    assert "scripted (oracle)" in done.stdout
    assert "4/4" in done.stdout
    assert "4 of 4 episodes scored" in done.stderr


def test_json_holds_the_promised_fields_and_nothing_else_is_printed(tmp_path: Path) -> None:
    done = cli(tmp_path, *RUN, "--json")
    (row,) = json.loads(done.stdout)["rows"]
    promised = (
        "env memory model split data_hash n_planned n_scored coverage success_rate success_ci "
        "progress_rate steps_mean invalid_action_rate tokens tool_calls wall_s"
    )
    assert set(promised.split()) <= set(row)
    assert (row["coverage"], row["n_scored"], row["success_rate"]) == (1, 4, 1)
    assert row["tokens"]["agent"]["prompt"] > 0
    assert done.stderr == ""


def test_the_same_command_resumes_and_report_shows_the_same_table(tmp_path: Path) -> None:
    first = json.loads(cli(tmp_path, *RUN, "--json").stdout)
    again = json.loads(cli(tmp_path, *RUN, "--json").stdout)
    assert again["rows"] == first["rows"]
    assert len(list((tmp_path / "runs").iterdir())) == 1
    report = cli(tmp_path, "report", first["run"], "--format", "json")
    assert json.loads(report.stdout)["rows"] == first["rows"]
    markdown = cli(tmp_path, "report", first["run"], "--format", "markdown").stdout
    assert markdown.startswith("### Leaderboard\n\n| memory | model |")
    assert "\n| env | split | memory |" in markdown


def test_workers_and_concurrency_do_not_change_a_number(tmp_path: Path) -> None:
    tables = []
    for name, extra in (("a", ("--workers", "0")), ("b", ("--concurrency", "1"))):
        done = cli(tmp_path, *RUN, "--json", "--name", name, *extra)
        row = json.loads(done.stdout)["rows"][0]
        row.pop("wall_s")
        row.pop("memory_wall_s")
        tables.append(row)
    assert tables[0] == tables[1]


def test_a_replay_gives_the_same_table_under_its_own_name(tmp_path: Path) -> None:
    tables = []
    where = ("--runs-dir", "here", "--json")
    for name, model in (("a", "scripted:explorer"), ("b", "replay:a")):
        done = cli(tmp_path, *RUN, "--model", model, "--name", name, *where)
        assert done.returncode == 0, done.stderr
        row = json.loads(done.stdout)["rows"][0]
        assert row.pop("model").startswith(model.partition(":")[0])
        row.pop("wall_s")
        row.pop("memory_wall_s")
        tables.append(row)
    assert tables[0] == tables[1]


def test_lifelong_memory_keeps_what_it_learned(tmp_path: Path) -> None:
    row = json.loads(cli(tmp_path, *RUN, "--memory-scope", "run", "--json").stdout)["rows"][0]
    alone = json.loads(cli(tmp_path, *RUN, "--json").stdout)["rows"][0]
    assert row["coverage"] == 1
    assert row["memory_entries_mean"] > alone["memory_entries_mean"]


def test_a_configuration_file_gives_way_to_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "env: alfworld\nmemory: agemem\nmodel: scripted\nepisodes: 9\nagent:\n  shots: 0\n"
        "options:\n  agemem:\n    top_k: 5\nconcurrency: 2\n"
    )
    done = cli(tmp_path, "run", "--config", "c.yaml", "--episodes", "2", "--name", "r", "--json")
    assert json.loads(done.stdout)["rows"][0]["n_planned"] == 2
    config = json.loads((tmp_path / "runs/r/config.json").read_text())["config"]
    assert config["agent"]["shots"] == 0
    assert config["options"] == {"agemem": {"top_k": "5"}}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "--env", "alfwrld", "--memory", "none"), 2, "did you mean 'alfworld'"),
        (("run", "--env", "alfworld", "--memory", "agmem"), 2, "did you mean 'agemem'"),
        (("run", "--env", "alfworld", "--memory", "none,none"), 2, "named twice"),
        ((*RUN, "--model", "scriptd"), 2, "did you mean 'scripted'"),
        ((*RUN, "--model", "scripted:me"), 2, "explorer, oracle"),
        ((*RUN, "--model", "replay:none"), 2, "no run"),
        ((*RUN, "--split", "generatd"), 2, "did you mean 'generated'"),
        ((*RUN, "--embedder", "hashin"), 2, "did you mean 'hashing'"),
        ((*RUN, "-o", "engin=native"), 2, "did you mean 'engine'"),
        ((*RUN, "-o", "engine=nativ"), 2, "native"),
        ((*RUN, "-o", "top_k=0"), 2, "top_k"),
        ((*RUN, "-o", "agemem.topk=3"), 2, "did you mean 'top_k'"),
        ((*RUN, "-o", "nonsense"), 2, "key=value"),
        ((*RUN, "--transport", "carrier"), 2, "transport"),
        ((*RUN, "--episodes", "0"), 2, "episodes"),
        ((*RUN, "--episodes", "201"), 2, "holds 200 tasks"),
        ((*RUN, "--context-tokens", "300"), 2, "--context-tokens"),
        ((*RUN, "--name", "../x"), 2, "path separators"),
        ((*RUN, "--evn", "x"), 2, "--evn"),
        ((*RUN, "--split", "valid_seen", "--data", "nowhere"), 2, "nowhere"),
        ((*RUN, "--config", "nowhere.yaml"), 2, "nowhere.yaml"),
        (
            (
                *("run", "--env", "alfworld", "--model", "scripted"),
                *("--memory", "agemem,agemem_eval.baselines.agemem:AgeMem"),
            ),
            2,
            "agemem-norl twice",
        ),
        (("rnu",), 2, "Did you mean 'run'"),
        (("report", "nothing"), 2, "unknown run"),
        (("list", "env"), 2, "did you mean 'envs'"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = cli(tmp_path, *arguments)
    assert done.returncode == code
    errors = [line for line in done.stderr.splitlines() if line.startswith("agemem-eval: error:")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_another_configuration_under_the_same_name_shows_the_difference(tmp_path: Path) -> None:
    assert cli(tmp_path, *RUN, "--name", "r").returncode == 0
    done = cli(tmp_path, *RUN, "--name", "r", "--max-steps", "7")
    assert done.returncode == 2
    assert "agent.max_steps: null in the run, 7 now" in done.stderr


def test_an_endpoint_that_is_down_is_coverage_below_1_and_never_a_score(tmp_path: Path) -> None:
    down = ("--model", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--concurrency", "2")
    quick = ("-o", "max_retries=0", "--retries", "0", "--max-infra-errors", "2", "--json")
    done = cli(tmp_path, *RUN, *down, *quick)
    assert done.returncode == 1
    result = json.loads(done.stdout)
    (row,) = result["rows"]
    assert "failed" in result["stopped"]
    assert row["coverage"] == 0
    assert row["success_rate"] is row["success_ci"] is row["progress_rate"] is None
    assert 2 <= row["statuses"].pop("infra_error") < 4, "those under way end, no more are begun"
    assert row["statuses"] == {}


async def test_an_endpoint_plays_and_its_ledger_closes(tmp_path: Path) -> None:
    import asyncio

    async with ChatServer() as server:
        arguments = (*RUN, "--model", "openai:m", "--base-url", server.url, "--max-steps", "3")
        done = await asyncio.to_thread(cli, tmp_path, *arguments, "--json")
        (row,) = json.loads(done.stdout)["rows"]
        assert done.returncode == 0, done.stderr
        assert row["memory"] == "agemem-norl"
        total = sum(u["prompt"] + u["completion"] for u in row["tokens"].values()) * row["n_scored"]
        assert total == server.served.prompt_tokens + server.served.completion_tokens


def test_an_endpoints_timeouts_and_written_out_defaults_are_no_identity(tmp_path: Path) -> None:
    base = ("--model", "openai:m", "--base-url", "http://127.0.0.1:9/v1", "--retries", "0")
    for options in (("-o", "max_retries=0"), ("-o", "max_retries=1", "-o", "engine=native")):
        done = cli(tmp_path, *RUN, *base, *options, "-o", "backoff_s=0.01")
        assert done.returncode == 1, done.stderr
        assert "another configuration" not in done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_list_and_doctor(tmp_path: Path) -> None:
    listed = json.loads(cli(tmp_path, "list", "--json").stdout)
    assert {item["name"] for item in listed["memories"]} >= {"none", "agemem"}
    assert "top_k" in next(i for i in listed["memories"] if i["name"] == "agemem")["options"]
    checks = cli(tmp_path, "doctor", "--json")
    assert checks.returncode == 0
    assert all(c["ok"] for c in json.loads(checks.stdout)["checks"] if c["what"] == "envs")
