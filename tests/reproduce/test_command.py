"""`reproduce` from end to end: what is played, what is written, and what is refused."""

from __future__ import annotations

import csv
import io
import math
import os
from pathlib import Path
from typing import Any

import pytest
from reproduce_bench import Call, Done, answer

from agemem_eval.harness.errors import AgememError
from agemem_eval.harness.reproduce.measure import question_tokens
from agemem_eval.harness.reproduce.write import SCRIPTED
from agemem_eval.harness.runner import rows_of
from agemem_eval.harness.testserver import ChatServer
from agemem_eval.results import paper

NOBODY = "http://127.0.0.1:9/v1"
PLAYED = {
    "table2": 18, "figure2": 5, "figure3": 2, "table3": 1, "figure4": 4, "table4": 1,
    "table5": 5, "table7": 14, "table8": 3,
}  # fmt: skip


@pytest.mark.usefixtures("nothing_extra")
@pytest.mark.parametrize("what", PLAYED)
def test_a_table_is_played_without_weights_and_says_that_it_is_only_a_check(
    what: str, reproduce: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = reproduce(what, "scripted", skip_missing=True)
    assert done.code == 0
    runs = [path for path in (tmp_path / "runs").iterdir() if (path / "config.json").exists()]
    assert len(runs) == len(done.json["runs"]) == PLAYED[what]
    assert SCRIPTED in done.markdown
    assert done.json["models"][0]["only_a_check_of_the_path"]
    assert paper.SET_APART in done.markdown
    assert capsys.readouterr().out == done.markdown
    table = done.json
    assert all(p["difference"] is None for v in table["values"] for p in v["paper"])
    for value in table["values"]:
        assert (value["ours"] is None) == bool(value["why"]), value
        assert value["ours"] is None or value["n"] == value["n_planned"] >= 1
    reported = {(p["model"], v["row"], v["column"]): p["value"]
                for v in table["values"] for p in v["paper"]}  # fmt: skip
    from agemem_eval.harness.reproduce.tables import paper_values

    assert reported == paper_values(what)
    shown = done.markdown.replace(",", "")
    columns = {column["name"] for column in table["columns"]}
    for line in paper.table(what):
        assert all(f" {text} " in shown for key, text in line.items() if key in columns), line


def test_numbers_are_those_of_the_run(reproduce: Call, tmp_path: Path) -> None:
    done = reproduce("table3", "scripted", episodes=3)
    (run,) = done.json["runs"]
    (row,) = rows_of(tmp_path / "runs" / run["run"])
    means = {name: calls["mean"] for name, calls in row.tool_calls.items()}
    assert done.value("ADD", "noRL")["ours"] == pytest.approx(means["Add_memory"])
    assert done.value("DELETE", "noRL")["ours"] == means.get("Delete_memory", 0) == 0
    assert done.value("TOTAL", "noRL")["ours"] == pytest.approx(sum(means.values()))
    assert done.value("TOTAL", "noRL")["n"] == 3
    assert done.value("ADD", "GRPO")["ours"] is None
    assert "--trained SPEC" in done.value("ADD", "GRPO")["why"]
    assert (run["tasks"], run["tasks_of_split"]) == (3, 500)
    assert "3 of 500" in done.markdown


def play_judged(reproduce: Call, server: ChatServer, what: str, trained: str, **more: Any) -> Done:
    return reproduce(
        what, "openai:Qwen2.5-7B-Instruct", trained=[trained], judge="openai:judge",
        base_url=server.url, **more,
    )  # fmt: skip


def test_a_judge_and_a_checkpoint_fill_the_table_and_differences_are_told(
    reproduce: Call, server: ChatServer, trained: str
) -> None:
    done = play_judged(reproduce, server, "figure2", trained, episodes=2)
    assert done.code == 0
    value = done.value("AgeMem", "MQ")
    assert value["paper"] == [
        {"model": "Qwen2.5-7B", "value": 0.533, "same_model": True,
         "difference": pytest.approx(value["ours"] - 0.533)}
    ]  # fmt: skip
    assert value["played_by"] == "openai:Qwen2.5-7B-AgeMem"
    assert done.value("AgeMem-noRL", "MQ")["played_by"] == "openai:Qwen2.5-7B-Instruct"
    mem0 = done.value("Mem0", "MQ")
    assert mem0["ours"] == 0.5, "it holds facts, and the judge gives all 0.5"
    assert mem0["paper"][0]["difference"] == pytest.approx(0.5 - 0.527)
    assert done.value("Mem0", "EM")["ours"] == 0, "the agent says ok to the question"
    assert "(-0.027)" in done.markdown
    assert SCRIPTED not in done.markdown


@pytest.mark.usefixtures("nothing_extra")
def test_j_is_in_percent_where_the_paper_has_it_so_and_never_the_exact_match(
    reproduce: Call, server: ChatServer, trained: str
) -> None:
    done = play_judged(reproduce, server, "figure4", trained, skip_missing=True)
    assert done.value("HotpotQA", "Base")["ours"] == 50.0
    assert done.value("HotpotQA", "Base")["paper"][0]["difference"] == pytest.approx(50 - 38.36)
    assert done.value("HotpotQA EM", "Base")["ours"] == 0
    assert done.value("HotpotQA EM", "Base")["paper"] == []
    without = reproduce("figure4", "openai:Qwen2.5-7B-Instruct", base_url=server.url,
                        skip_missing=True)  # fmt: skip
    assert without.value("HotpotQA", "Base")["ours"] is None
    assert "--judge" in without.value("HotpotQA", "Base")["why"]
    assert without.value("HotpotQA EM", "Base")["ours"] == 0


def test_a_second_call_and_another_table_play_nothing_again(
    reproduce: Call, server: ChatServer, trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = play_judged(reproduce, server, "figure2", trained)
    asked = server.n_requests
    assert asked > 0
    again = play_judged(reproduce, server, "figure2", trained)
    assert again.json == first.json
    capsys.readouterr()
    shared = play_judged(reproduce, server, "table3", trained)
    assert server.n_requests == asked, "all there already"
    assert capsys.readouterr().err.count("there already") == 2
    assert {r["run"] for r in shared.json["runs"]} < {r["run"] for r in first.json["runs"]}


def test_several_models_stand_in_one_table_each_with_its_own_checkpoint(
    reproduce: Call, server: ChatServer, trained: str, tmp_path: Path
) -> None:
    done = reproduce(
        "table3", "openai:Qwen2.5-7B", "openai:other", base_url=server.url, trained=[trained]
    )
    assert done.value("ADD", "GRPO", "openai:Qwen2.5-7B")["ours"] == 0
    other = done.value("ADD", "GRPO", "openai:other")
    assert other["ours"] is None
    assert [p["model"] for p in other["paper"]] == ["Qwen2.5-7B", "Qwen3-4B"]
    assert not any(p["same_model"] for p in other["paper"])
    assert len(done.json["runs"]) == 3


def test_a_checkpoint_may_be_served_elsewhere_and_the_judge_stays_where_it_is(
    reproduce: Call, server: ChatServer, tmp_path: Path
) -> None:
    card = tmp_path / "c.json"
    card.write_text('{"training": "agemem"}')
    with ChatServer(answer).in_thread() as elsewhere:
        done = reproduce(
            "table3", "openai:m", judge="openai:judge", base_url=server.url,
            trained=[f"openai:t card={card} base_url={elsewhere.url}"],
        )  # fmt: skip
        assert done.code == 0
        assert {r.body["model"] for r in elsewhere.requests} == {"t"}
    assert {r.body["model"] for r in server.requests} == {"m", "judge"}


def test_recipes_are_kept_apart(reproduce: Call, server: ChatServer, trained: str) -> None:
    other = trained.replace("Qwen2.5-7B-AgeMem", "short")
    done = reproduce(
        "table4", "openai:m", base_url=server.url, trained=[f"answer-only={other}", trained]
    )
    assert done.value("Answer-Only", "EM")["played_by"] == "openai:short"
    assert done.value("All-Returns", "EM")["played_by"] == "openai:Qwen2.5-7B-AgeMem"
    assert done.value("All-Returns", "tokens")["ours"] > 0


def test_tokens_are_those_of_calls_after_the_question(
    reproduce: Call, server: ChatServer, tmp_path: Path
) -> None:
    done = reproduce("figure3", "openai:m", base_url=server.url, episodes=2)
    ours = done.value("AgeMem-noRL", "prompt_tokens")["ours"]
    asked = [
        request.body["messages"]
        for request in server.requests
        if "I have a question for you now" in request.body["messages"][-1]["content"]
    ]
    # Retrieval before each step ends with what was found: of that variant the question is not last.
    assert len([m for m in asked if "Retrieve_memory" in m[0]["content"]]) == 2, "one call each"
    whole = done.value("AgeMem-noRL", "whole episode")["ours"]
    assert whole > 3 * ours
    from agemem_eval.harness.analysis import load_frames

    run = done.value("AgeMem-noRL", "prompt_tokens")["run"]
    (frame,) = load_frames(tmp_path / "runs" / run)
    from agemem_eval.harness.store import RunStore

    store, last = RunStore.open(frame.directory), []
    for key in frame.keys:
        calls = [e for e in store.read_trace(key.id) if e["type"] == "completion"]
        last.append(calls[-1]["prompt_tokens"])
    assert question_tokens(frame).tolist() == last
    assert ours == pytest.approx(sum(last) / 2)
    assert not done.value("AgeMem-noRL", "prompt_tokens")["estimated"]


def test_tokens_that_no_model_reported_are_marked(reproduce: Call) -> None:
    done = reproduce("figure3", "scripted")
    assert done.value("AgeMem-noRL", "prompt_tokens")["estimated"]
    assert "| ours | ~" in done.markdown


def test_a_question_never_put_has_no_tokens() -> None:
    from agemem_eval.harness.reproduce.measure import _question_tokens

    goal = {"type": "message", "kind": "goal"}

    def call(tokens: int) -> dict[str, Any]:
        return {"type": "completion", "prompt_tokens": tokens}

    assert math.isnan(_question_tokens(iter([goal, call(5)])))
    assert math.isnan(_question_tokens(iter([goal, call(5), goal])))
    assert _question_tokens(iter([goal, call(5), goal, call(10), call(20)])) == 15


def test_a_dry_run_plays_and_writes_nothing(
    reproduce: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = reproduce("table8", "scripted", dry_run=True, episodes=4)
    assert done.code == 0
    told = capsys.readouterr().out
    assert told.count("4 episodes (4 of 500 tasks), 0 scored already") == 3
    assert "3 runs for 3 cells, 12 episodes to play" in told
    # Of each question: exposure, distractors and question, a step each; 6 calls a step at most.
    steps = 4 * sum(1 + n + 1 for n in (3, 5, 7))
    assert f"at most {steps} steps, {6 * steps:,} calls of the agent" in told
    assert "left out: what needs AgeMem, trained with all returns: --trained SPEC" in told
    assert not (tmp_path / "results").exists()
    assert not list((tmp_path / "runs").glob("*/config.json"))


def test_the_csv_holds_every_value_and_no_formula(
    reproduce: Call, server: ChatServer, trained: str
) -> None:
    done = reproduce("table3", "openai:=cmd|x", base_url=server.url, trained=[trained])
    rows = list(csv.DictReader(io.StringIO(done.csv, newline="")))
    assert None not in rows[0]
    assert len(rows) == 7 * 2 * 2, "two models of the paper beside one that is called like none"
    assert {row["paper_is"] for row in rows} == {paper.SET_APART}
    values = {(r["row"], r["column"], r["paper_model"]): r for r in rows}
    row = values["ADD", "GRPO", "Qwen3-4B"]
    assert float(row["ours"]) - float(row["paper"]) == pytest.approx(float(row["difference"]))
    assert "openai:=cmd\\|x" in done.markdown


@pytest.mark.usefixtures("nothing_extra")
def test_what_is_not_installed_is_refused_in_one_line_that_names_every_extra(
    reproduce: Call, tmp_path: Path
) -> None:
    with pytest.raises(AgememError) as raised:
        reproduce("table2", "scripted")
    assert raised.value.exit_code == 3
    assert "agemem-eval[scienceworld]" in str(raised.value)
    assert "agemem-eval[babyai]" in str(raised.value)
    assert "--skip-missing" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "runs").glob("*/config.json"))
    done = reproduce("figure4", "scripted", skip_missing=True)
    value = done.value("SciWorld", "Base")
    assert (value["ours"], value["n_planned"]) == (None, 0)
    assert "agemem-eval[scienceworld]" in value["why"]
    assert done.value("ALFWorld", "Base")["ours"] == 100


BAD: dict[str, tuple[str, tuple[str, ...], dict[str, Any], str]] = {
    "table": ("table9", ("scripted",), {}, "unknown table or figure 'table9'; did you mean"),
    "no model": ("table3", (), {}, "--model scripted checks"),
    "twice": ("table3", ("scripted", "scripted"), {}, "given twice"),
    "at two addresses": (
        "table3", (f"openai:a base_url={NOBODY}", "openai:a"), {}, "openai:a is given twice",
    ),
    "two trainings": (
        "table4", ("scripted",), {"trained": ["openai:a", "answer-only=openai:a"]}, "given twice"
    ),
    "model": ("table3", ("scriptd",), {}, "did you mean 'scripted'"),
    "empty": ("table3", ("",), {}, "cannot be read"),
    "quotes": ("table3", ("openai:'x",), {}, "cannot be read"),
    "pair": ("table3", ("openai:x lora",), {}, "not of the form key=value"),
    "option": ("table3", ("openai:x tempo=1",), {}, "unknown option of openai"),
    "recipe": ("table4", ("scripted",), {"trained": ["answer=x"]}, "did you mean 'answer-only'"),
    "too many": (
        "table3", ("scripted",), {"trained": ["openai:a", "openai:b"]}, "2. checkpoint"
    ),
    "untrained": (
        "table3", ("openai:a",), {"trained": ["openai:b"], "base_url": NOBODY},
        "not known to be trained",
    ),
    "no key": ("table3", ("openai:a",), {}, "OPENAI_API_KEY"),
    "judge": ("table3", ("scripted",), {"judge": "scripted"}, "cannot judge"),
    "episodes": ("table3", ("scripted",), {"episodes": 501}, "holds 500 tasks"),
    "no episodes": ("table3", ("scripted",), {"episodes": 0}, "episodes"),
    "own": ("table3", ("scripted",), {"yaml": "memory: mem0"}, "a table sets that itself"),
    "key": ("table3", ("scripted",), {"yaml": "sped: 1"}, "did you mean"),
    "env": ("table3", ("scripted",), {"yaml": "by_env: {alfwold: {seed: 1}}"}, "'alfworld'"),
    "env key": (
        "table3", ("scripted",), {"yaml": "by_env: {alfworld: {sed: 1}}"}, "by_env.alfworld.sed"
    ),
    "env own": (
        "table3", ("scripted",), {"yaml": "by_env: {alfworld: {model: x}}"}, "sets that itself"
    ),
    "no mapping": ("table3", ("scripted",), {"yaml": "by_env: 3"}, "must be a mapping"),
    "owner": ("table3", ("scripted",), {"yaml": "options: {mem1: {k: 3}}"}, "'mem0'"),
    "conflict": (
        "table3", ("scripted",), {"yaml": "options: {hotpotqa: {form: interactive}}"},
        "this table sets hotpotqa.form itself",
    ),
    "file": ("table3", ("scripted",), {"config": Path("/no/such.yaml")}, "cannot read"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line_before_anything_is_played(
    case: str, reproduce: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    what, models, given, told = BAD[case]
    with pytest.raises(AgememError) as raised:
        reproduce(what, *models, **given)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2
    assert not list((tmp_path / "runs").glob("*/config.json"))


def test_a_trained_model_is_refused_as_an_untrained_one(reproduce: Call, trained: str) -> None:
    with pytest.raises(AgememError, match="is trained for AgeMem: give what it was trained from"):
        reproduce("figure2", trained, base_url=NOBODY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told_before_hours_are_spent(
    reproduce: Call, tmp_path: Path
) -> None:
    (tmp_path / "results").mkdir(mode=0o500)
    with pytest.raises(AgememError, match="cannot keep files"):
        reproduce("table3", "scripted")


def test_settings_of_one_environment_are_its_own(reproduce: Call, tmp_path: Path) -> None:
    yaml = """
agent: {max_tokens: 300}
options: {mem0: {top_k: 4}}
by_env:
  alfworld: {max_steps: 20, seed: 7}
  sciworld: {split: dev}
  hotpotqa: {max_tokens: 200, options: {hotpotqa: {exposure: each}}}
"""
    from agemem_eval.harness.reproduce.settings import Settings, Spec
    from agemem_eval.harness.reproduce.tables import Play, hotpotqa

    file = tmp_path / "y.yaml"
    file.write_text(yaml)
    settings, spec = Settings({"memory_model": "heuristic"}, file), Spec("scripted")
    alfworld, _ = settings.cell(Play("alfworld", "mem0"), spec)
    assert (alfworld.agent.max_steps, alfworld.agent.max_tokens, alfworld.seed) == (20, 300, 7)
    assert alfworld.options == {"mem0": {"top_k": "4"}}
    science, _ = settings.cell(Play("scienceworld", "none"), spec)
    assert (science.split, science.options, science.seed) == ("dev", {}, 0)
    questions, _ = settings.cell(hotpotqa("none"), spec)
    assert questions.agent.max_tokens == 200
    assert questions.options == {"hotpotqa": {"form": "three-stage", "exposure": "each"}}


def test_a_run_that_fails_leaves_the_others_done_and_the_table_as_far_as_it_got(
    reproduce: Call, server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = f"openai:dead base_url={NOBODY} max_retries=0"
    done = reproduce("figure3", dead, "openai:m", base_url=server.url, episodes=8)
    assert done.code == 1
    broken = done.value("AgeMem-noRL-RAG", "prompt_tokens", "openai:dead max_retries=0")
    assert broken["ours"] is None
    assert "0 of 8 episodes scored" in broken["why"]
    second = done.value("AgeMem-noRL", "prompt_tokens", "openai:dead max_retries=0")
    assert "answered nobody" in second["why"], "it is not asked for each run anew"
    assert done.value("AgeMem-noRL", "prompt_tokens", "openai:m")["n"] == 8
    assert done.json["runs"][0]["problem"] == broken["why"]
    assert done.json["runs"][2]["problem"] is None
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.scienceworld
@pytest.mark.babyai
def test_all_environments_are_planned_and_played_where_they_are_installed(
    reproduce: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce("table2", "scripted", dry_run=True).code == 0
    assert "30 runs for 30 cells, 30 episodes to play" in capsys.readouterr().out
    done = reproduce("figure4", "scripted")
    assert done.code == 0
    for dataset in ("ALFWorld", "SciWorld", "HotpotQA EM"):
        assert done.value(dataset, "Base")["ours"] == 100, dataset
        assert done.value(dataset, "+LT")["n"] == 1
