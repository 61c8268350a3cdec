"""The paper's numbers as data: the same as where they are from, and consistent in themselves."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from agemem_eval.results import paper

SHARED = Path(__file__).resolve().parents[3] / "shared" / "paper"


@pytest.mark.parametrize("name", paper.TABLES)
def test_every_table_is_the_file_it_was_taken_from_to_the_byte(name: str) -> None:
    file = SHARED / paper.TABLES[name]
    if not file.is_file():
        pytest.skip("the files the numbers were taken from are not beside this checkout")
    ours = resources.files("agemem_eval.results.paper") / paper.TABLES[name]
    assert ours.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", paper.TABLES)
def test_every_number_is_one_and_no_row_lacks_a_value(name: str) -> None:
    rows = paper.table(name)
    assert rows
    for row in rows:
        assert all(row.values())
        numbers = [
            v for k, v in row.items() if k not in ("model", "method", "dataset", "reward", "tool")
        ]
        assert all(float(number) >= 0 for number in numbers)


@pytest.mark.parametrize("name", ["table2", "table7"])
def test_printed_averages_are_the_means_of_their_rows_within_rounding(name: str) -> None:
    for row in paper.table(name):
        values = [float(v) for k, v in row.items() if k not in ("model", "method", "Avg")]
        # Each part may be off by half a hundredth, and so may their printed mean.
        assert sum(values) / len(values) == pytest.approx(float(row["Avg"]), abs=0.0101), row


def test_total_tool_calls_are_the_sums_of_the_tools_within_rounding() -> None:
    *tools, total = paper.table("table3")
    assert total["tool"] == "TOTAL"
    assert len(tools) == 6
    for column in list(total)[1:]:
        summed = sum(float(row[column]) for row in tools)
        assert summed == pytest.approx(float(total[column]), abs=0.0101), column


def by(name: str, *keys: str) -> dict[tuple[str, ...], dict[str, str]]:
    return {tuple(row[key] for key in keys): row for row in paper.table(name)}


def test_tables_that_repeat_a_number_agree() -> None:
    main, parts = by("table2", "model", "method"), by("figure4", "model", "dataset")
    for model in ("Qwen2.5-7B", "Qwen3-4B"):
        for dataset in ("ALFWorld", "SciWorld", "HotpotQA"):
            of = parts[model, dataset]
            assert of["Base"] == main[model, "No-Memory"][dataset]
            assert of["+LT/ST/RL"] == main[model, "AgeMem"][dataset]
        rewards, quality = by("table4", "model", "reward"), by("figure2", "model", "method")
        returns = rewards[model, "All-Returns"]
        assert returns["MQ"] == quality[model, "AgeMem"]["MQ"]
        assert (
            returns["tokens"] == by("figure3", "model", "method")[model, "AgeMem"]["prompt_tokens"]
        )
        assert returns["tool_calls"] == by("table3", "tool")["TOTAL",][f"{model}_GRPO"]
        assert 100 * float(returns["J"]) == pytest.approx(
            float(main[model, "AgeMem"]["HotpotQA"]), abs=0.051
        )
    seven = by("table7", "method")
    for method in ("No-Memory", "LangMem", "A-Mem", "Mem0", "AgeMem"):
        for dataset in ("ALFWorld", "SciWorld", "HotpotQA"):
            assert seven[method,][dataset] == main["Qwen2.5-7B", method][dataset]
    default = by("table5", "theta_f")["0.6",]
    assert default == {
        "theta_f": "0.6",
        **{k: by("table8", "N")["5",][k] for k in ("J", "MQ", "tokens")},
    }
    assert default["J"] == by("table4", "model", "reward")["Qwen2.5-7B", "All-Returns"]["J"]


def test_the_sweep_tables_are_of_the_model_they_are_compared_with() -> None:
    from agemem_eval.harness.reproduce.tables import ONE_MODEL

    of_model = by("table4", "model", "reward")[ONE_MODEL, "All-Returns"]
    assert by("table5", "theta_f")["0.6",]["J"] == of_model["J"]


def test_methods_and_environments_have_a_name_here() -> None:
    methods = {row["method"] for row in paper.table("table2")}
    methods |= {row["method"] for n in ("figure2", "figure3") for row in paper.table(n)}
    assert methods == set(paper.MEMORIES)
    from agemem_eval.harness import registry

    assert set(paper.MEMORIES.values()) <= {p.name for p in registry.plugins("memories")}
    assert {env for env, _ in paper.ENVIRONMENTS.values()} <= {
        p.name for p in registry.plugins("envs")
    }
