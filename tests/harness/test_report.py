"""The tables: which there are, what stands in them, and how they look in little room."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from agemem_eval.harness.ledger import Cost, RoleUsage
from agemem_eval.harness.metrics import Row, cell_row
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.report import grids, markdown, print_table
from agemem_eval.harness.tables import markdown_text

KEY = EpisodeKey("env", "1", "h", "test", "t", "mem0", "m", "openai:m", "o", "p", seed=0, repeat=0)


def episode(task: str, **values: object) -> Episode:
    key = replace(KEY, task=task)
    base = Episode(
        key, "", "completed", True, 1.0, 1.0, 4, 4, 0, 0, 0, 0, {},
        {"agent": RoleUsage(4, 400, 40), "memory_write": RoleUsage(2, 60, 6)}, 3, 1.0, "now",
    )  # fmt: skip
    return replace(base, **values)  # type: ignore[arg-type]


def row(*episodes: Episode) -> Row:
    return cell_row([e.key for e in episodes], episodes)


RATED = row(
    episode(
        "a",
        quality={"fact_recall": 1.0, "stale": None},
        memory_costs={"write": Cost(2, 4, 60, 6, 30, 0.5), "read": Cost(3)},
        memory_faults={"decide": 1},
    ),
    episode(
        "b",
        success=False,
        quality={"fact_recall": 0.5, "stale": 1.0},
        loss="not_stored",
        memory_costs={"write": Cost(2, 2, 20, 2, 10, 0.1)},
    ),
)


def test_a_memory_that_was_rated_has_a_row_of_its_own() -> None:
    memory = next(grid for grid in grids([RATED]) if grid.title == "Memory")
    cells = dict(zip(memory.names, memory.rows[0], strict=True))
    assert cells == {
        "env": "env",
        "memory": "mem0",
        "written by": "–",
        "entries": "3.0",
        "facts stored": "0.750",
        "stale": "1.000 (of 1)",
        "lost*": "1 / 0 / 0",
        "skipped": "decide 0.50",
    }
    assert memory.notes == ["* failed questions: not stored / not retrieved / not used"]


def test_the_cost_of_an_operation_is_that_of_one_on_average() -> None:
    costs = next(grid for grid in grids([RATED]) if grid.title.startswith("Cost"))
    (cells,) = costs.rows  # reading asked nobody for anything
    assert cells == ("env", "mem0", "write", "2.0", "1.50", "20", "2", "10", "150.0")
    assert RATED.memory_costs["read"]["n"] == 1.5


def test_there_is_no_table_where_there_is_nothing_to_show() -> None:
    plain = row(episode("a"))
    assert [grid.title for grid in grids([plain])] == ["", "Memory"]
    none = replace(plain, memory="none")
    assert [grid.title for grid in grids([none])] == [""]
    assert "### " not in markdown([none])
    assert markdown([RATED]).count("### ") == 2


def test_a_narrow_terminal_loses_no_cell() -> None:
    shown = {}
    for width in (60, 240):
        out = io.StringIO()
        print_table([RATED, RATED], Console(file=out, width=width, no_color=True))
        shown[width] = out.getvalue()
        assert all(len(line) <= width for line in shown[width].splitlines())
        for cell in ("0.750", "1 / 0 / 0", "decide 0.50", "150.0", "50.0% [9.5, 90.5]"):
            assert cell in " ".join(shown[width].split()), (width, cell)


def test_names_are_shown_as_they_are() -> None:
    odd = replace(RATED, memory="[bold]m|<b>")
    out = io.StringIO()
    print_table([odd], Console(file=out, width=240, no_color=True))
    assert "[bold]m|<b>" in out.getvalue()
    assert r"[bold]m\|&lt;b>" in markdown([odd])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b *c* [d](e)", r"a\|b \*c\* [d\](e)"),
        ("<script> & $x$", "&lt;script> &amp; &#36;x&#36;"),
        ("theta_f, _so_", r"theta_f, \_so\_"),
        ("@all #12 # no", "@<!-- -->all #<!-- -->12 # no"),
        ("http://x www.y", "http:<!-- -->//x www<!-- -->.y"),
        ("> said", r"\> said"),
        ("# head", r"\# head"),
        ("-0.5", "-0.5"),
        ("~12", "~12"),
        ("two\nlines", r"two\\x0alines"),
    ],
)
def test_markdown_shows_a_text_as_it_is(text: str, shown: str) -> None:
    assert markdown_text(text) == shown
