"""What each table of the paper needs: every number has its cell, and cells are shared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.reproduce.measure import is_named
from agemem_eval.harness.reproduce.settings import Settings, Spec
from agemem_eval.harness.reproduce.tables import (
    RECIPES,
    Average,
    Play,
    Value,
    make_table,
    paper_values,
)
from agemem_eval.harness.runner import default_name
from agemem_eval.results import paper

STAGES = ("hotpotqa.form", "three-stage")
# Cells of the untrained model, and those that need a checkpoint.
COUNTS = {
    "table2": (30, 5), "figure2": (5, 1), "figure3": (2, 2), "table3": (1, 1), "figure4": (6, 6),
    "table4": (1, 2), "table5": (5, 5), "table7": (21, 12), "table8": (3, 3),
}  # fmt: skip


def name(play: Play, **given: str) -> str:
    """The run that plays it."""
    config, _ = Settings({"memory_model": "heuristic", **given}, None).cell(play, Spec("scripted"))
    return default_name(config)


@pytest.mark.parametrize("table", paper.TABLES)
def test_every_number_of_the_paper_has_its_place(table: str) -> None:
    made = make_table(table)
    for model, row, column in paper_values(table):
        assert (row, column) in made.values, (model, row, column)
        assert row in made.rows
        assert column in {c.name for c in made.columns}


def test_all_of_the_papers_numbers_are_read() -> None:
    for table in paper.TABLES:
        text = [v for row in paper.table(table) for k, v in row.items()]
        numbers = sum(len(row) for row in paper.table(table))
        heads = {"table5": 1, "table7": 1, "table8": 1, "table3": 1}.get(table, 2)
        assert len(paper_values(table)) == numbers - heads * len(paper.table(table)), text


@pytest.mark.parametrize("table", paper.TABLES)
def test_a_table_needs_so_many_cells(table: str) -> None:
    plays = make_table(table).plays()
    trained = [play for play in plays if play.recipe is not None]
    assert (len(plays) - len(trained), len(trained)) == COUNTS[table]
    assert {play.recipe for play in trained} <= set(RECIPES)
    assert len({name(p) for p in plays if p.recipe is None}) == COUNTS[table][0], "all differ"


@pytest.mark.parametrize(("table", "left"), [("table5", 0), ("table8", 0), ("table4", 1)])
def test_sweeps_are_of_the_checkpoint_where_there_is_one(table: str, left: int) -> None:
    plays = make_table(table, ("agemem",)).plays()
    assert sum(play.recipe is None for play in plays) == left


CELLS = {
    ("table2", "No-Memory", "ALFWorld"): (Play("alfworld", "none"), "success"),
    ("table2", "Mem0g", "SciWorld"): (Play("scienceworld", "mem0g"), "success"),
    ("table2", "A-Mem", "PDDL"): (Play("pddl", "amem"), "progress"),
    ("table2", "AgeMem-noRL", "BabyAI"): (Play("babyai", "agemem-norl"), "success"),
    ("table2", "AgeMem", "HotpotQA"): (
        Play("hotpotqa", "agemem", "agemem", options=(STAGES,)), "quality.j",
    ),
    ("table2", "LangMem", "HotpotQA EM"): (
        Play("hotpotqa", "langmem", options=(STAGES,)), "success",
    ),
    ("figure2", "AgeMem", "MQ"): (
        Play("hotpotqa", "agemem", "agemem", options=(STAGES,)), "quality.mq",
    ),
    ("figure3", "AgeMem-noRL-RAG", "prompt_tokens"): (
        Play("hotpotqa", "agemem-norl-rag", options=(STAGES,)), "question_tokens",
    ),
    ("figure3", "AgeMem-RAG", "prompt_tokens"): (
        Play("hotpotqa", "agemem-rag", "agemem", options=(STAGES,)), "question_tokens",
    ),
    ("table3", "FILTER", "GRPO"): (
        Play("hotpotqa", "agemem", "agemem", options=(STAGES,)), "tool_calls.Filter_context",
    ),
    ("table3", "TOTAL", "noRL"): (
        Play("hotpotqa", "agemem-norl", options=(STAGES,)), "tool_calls",
    ),
    ("figure4", "SciWorld", "Base"): (Play("scienceworld", "none"), "success"),
    ("figure4", "ALFWorld", "+LT"): (Play("alfworld", "agemem-norl-rag"), "success"),
    ("figure4", "ALFWorld", "+LT/RL"): (Play("alfworld", "agemem-rag", "agemem"), "success"),
    ("figure4", "HotpotQA", "+LT/ST/RL"): (
        Play("hotpotqa", "agemem", "agemem", options=(STAGES,)), "quality.j",
    ),
    ("table4", "Answer-Only", "tool_calls"): (
        Play("hotpotqa", "agemem", "answer-only", options=(STAGES,)), "tool_calls",
    ),
    ("table5", "0.4", "tokens"): (
        Play("hotpotqa", "agemem", "agemem", options=(STAGES, ("agemem.theta_f", "0.4"))),
        "question_tokens",
    ),
    ("table5", "AgeMem-noRL, 0.8", "MQ"): (
        Play("hotpotqa", "agemem-norl", options=(STAGES, ("agemem-norl.theta_f", "0.8"))),
        "quality.mq",
    ),
    ("table7", "A-Mem+ST/RL", "ALFWorld"): (Play("alfworld", "amem", "amem+st", True), "success"),
    ("table7", "Mem0+ST", "SciWorld"): (Play("scienceworld", "mem0", None, True), "success"),
    ("table8", "7", "J"): (
        Play("hotpotqa", "agemem", "agemem", options=(STAGES, ("hotpotqa.distractors", "7"))),
        "quality.j",
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", CELLS, ids=" ".join)
def test_a_value_is_measured_on_the_cell_that_the_paper_describes(
    place: tuple[str, str, str],
) -> None:
    table, row, column = place
    assert make_table(table).values[row, column] == Value(*CELLS[place])


def test_an_average_is_of_the_environments_alone() -> None:
    five = ("ALFWorld", "SciWorld", "PDDL", "BabyAI", "HotpotQA")
    assert make_table("table2").values["AgeMem", "Avg"] == Average(five)
    three = ("ALFWorld", "SciWorld", "HotpotQA")
    assert make_table("table7").values["Mem0+ST/RL", "Avg"] == Average(three)


def test_tables_share_the_cells_that_they_have_in_common() -> None:
    main = {(name(p), p.recipe) for p in make_table("table2").plays()}
    for table, shared in (("figure2", 6), ("table3", 2), ("table4", 2), ("figure3", 2),
                          ("figure4", 6), ("table7", 15)):  # fmt: skip
        own = {(name(p), p.recipe) for p in make_table(table).plays()}
        assert len(own & main) == shared, table


def test_the_papers_number_of_distractors_and_the_embedders_threshold_are_no_cells_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = name(make_table("table2").values["AgeMem", "HotpotQA"].play)
    assert name(make_table("table8").values["5", "J"].play) == base
    assert name(make_table("table8").values["7", "J"].play) != base
    assert name(make_table("table5").values["0.6", "J"].play) != base  # of hashing it is 0.33

    class Dense:
        theta_f = 0.6

    monkeypatch.setattr("agemem_eval.harness.reproduce.settings.make_embedder", lambda _: Dense())
    assert name(make_table("table5").values["0.6", "J"].play) == base
    assert name(make_table("table5").values["0.4", "J"].play) != base


def test_options_reach_the_configuration() -> None:
    settings = Settings({"judge": "openai:j"}, None)
    spec = Spec("openai:m", (("rpm", "5"), ("seed", "3")))
    play = make_table("table5").values["AgeMem-noRL, 0.7", "J"].play
    config, execution = settings.cell(play, spec)
    assert config.options == {
        "hotpotqa": {"form": "three-stage"},
        "agemem-norl": {"theta_f": "0.7"},
        "openai": {"seed": "3"},
    }
    assert execution.model_options == {"rpm": "5"}
    assert (config.envs, config.memories, config.judge) == (
        ("hotpotqa",),
        ("agemem-norl",),
        "openai:j",
    )
    st = make_table("table7").values["Mem0+ST", "ALFWorld"].play
    config, _ = settings.cell(st, spec)
    assert config.st_tools
    assert config.judge is None, "nothing is judged there: the cell is the same without a judge"


def test_the_documentation_tells_the_same_counts_and_its_settings_are_accepted(
    tmp_path: Path,
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reproduce.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \| .* \| (\d+)[^|]* \| (\d+) \|$", text, re.MULTILINE)
    assert {name: (int(a), int(b)) for name, a, b in told} == COUNTS
    file = tmp_path / "settings.yaml"
    file.write_text(text.partition("```yaml")[2].partition("```")[0])
    settings = Settings({"memory_model": "heuristic"}, file)
    config, execution = settings.cell(Play("pddl", "none"), Spec("scripted"))
    assert (config.split, config.repeats, execution.concurrency) == ("agentboard", 3, 32)
    for recipe in RECIPES:
        assert f"`{'SPEC' if recipe == 'agemem' else f'{recipe}=SPEC'}`" in text


def test_an_unknown_table_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'table2'"):
        make_table("tabel2")


@pytest.mark.parametrize(
    ("name", "same"),
    [("vllm:Qwen/Qwen2.5-7B-Instruct", "Qwen2.5-7B"), ("openai:qwen3-4b", "Qwen3-4B"),
     ("openai:Qwen2.5-72B", None), ("openai:gpt-4o", None)],
)  # fmt: skip
def test_a_model_is_known_by_its_name(name: str, same: str | None) -> None:
    named = [of for of in ("Qwen2.5-7B", "Qwen3-4B") if is_named(name, of)]
    assert named == ([same] if same else [])
