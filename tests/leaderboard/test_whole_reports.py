"""Whole reports, in each form: one number wherever it stands, and names that stay names."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from board_bench import cell_of, frame
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from agemem_eval.harness.leaderboard.board import Board, make_board
from agemem_eval.harness.leaderboard.command import WRITERS
from agemem_eval.harness.leaderboard.grids import grids_of
from agemem_eval.harness.ledger import RoleUsage
from agemem_eval.harness.metrics import Row, cell_row
from agemem_eval.harness.observe.text import escape
from agemem_eval.harness.tables import Grid, print_grid
from agemem_eval.results import paper

PRICES = {"openai:m": {"prompt": 2.0}, "w": {"prompt": 1.0, "completion": 4.0}}
USED = {
    "tokens": lambda i: {
        "agent": RoleUsage(3, 1000 + i, 0),
        "memory_write": RoleUsage(1, 333 * i, 7),
        "embedding": RoleUsage(1, 11, 0),
    },
    "labels": {"memory_model": "w", "embedder": "hashing"},
    "quality": lambda i: {"mq": (i % 7) / 7},
    "tool_calls": lambda i: {"Add_memory": {"success": i % 3, "error": 1}},
}


def a_board() -> Board:
    """Three memories, two environments, one cell of low coverage, one not measured."""
    cells = {
        ("alfworld", "a"): [True] * 17 + [False] * 3,
        ("alfworld", "b"): [True] * 5 + [False] * 15,
        ("alfworld", "c"): [True] * 4 + [False] * 16,
        ("babyai", "a"): [True] * 10 + [False] * 3,
        ("babyai", "b"): [True] * 9 + [None] * 4,
    }
    made = [frame(name, won, fields=USED) for name, won in cells.items()]
    return make_board([made], prices=PRICES)


def as_csv(board: Board, reference: str | None = None) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(WRITERS["csv"](board, [], reference))))


def as_json(board: Board, reference: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WRITERS["json"](board, [], reference))["leaderboard"]
    return found


def test_csv_and_json_hold_the_same_numbers() -> None:
    board = a_board()
    (block,) = as_json(board)["blocks"]
    names = {column["id"]: column["name"] for column in block["columns"]}
    for line, row in zip(as_csv(board), block["rows"], strict=True):
        wanted: dict[str, Any] = {"memory": row["memory"], "model": row["model"]}
        for id_, name in names.items():
            score = row["scores"].get(id_, {})
            wanted |= {name: score.get("value")}
            wanted |= {
                f"{name} {k}": score.get(k) for k in ("low", "high", "n", "coverage", "mark")
            }
        average = row["average"] or {}
        wanted |= {"average": average.get("value")}
        wanted |= {f"average {k}": average.get(k) for k in ("low", "high", "n", "se", "mark")}
        for role, usage in row["tokens"].items():
            wanted |= {f"tokens {role} {kind}": value for kind, value in usage.items()}
        for tool, calls in row["tool_calls"].items():
            wanted |= {f"tool calls {tool}": calls["mean"]}
            wanted |= {f"tool calls {tool} failed": calls["failed"]}
        wanted |= {f"dollars {role}": dollars for role, dollars in row["cost"]["roles"].items()}
        wanted |= {"dollars total": row["cost"]["total"], "dollars spent": row["cost"]["spent"]}
        wanted |= {"table": 1, "source": "run", "runs": "r"}
        assert {name: "" if value is None else str(value) for name, value in wanted.items()} == line


def test_tables_show_the_numbers_of_json_rounded() -> None:
    board = a_board()
    (block,) = as_json(board)["blocks"]
    scores = grids_of(board, None)[0]
    for row, shown in zip(block["rows"], scores.rows, strict=True):
        for column, cell in zip(block["columns"][:2], shown[2:4], strict=True):
            score = row["scores"].get(column["id"])
            if score is None:
                assert cell == "–"
                continue
            value, low, high = (f"{100 * score[k]:.1f}" for k in ("value", "low", "high"))
            n, planned = score["n"], score["n_planned"]
            of = f" ({n}/{planned})" if n < planned else ""
            assert cell == f"{value} [{low}, {high}]{of}"


def test_tokens_and_tool_calls_weigh_each_environment_alike_and_no_unscored_episode() -> None:
    line = next(ln for ln in a_board().blocks[0].lines if ln.entry.memory == "b")
    # 20 episodes of alfworld, the first 9 of babyai; 4 more were broken.
    assert line.tokens["agent"].prompt == pytest.approx(1000 + (9.5 + 4) / 2)
    assert line.tokens["memory_write"].prompt == pytest.approx(333 * (9.5 + 4) / 2)
    of_alfworld, of_babyai = sum(i % 3 for i in range(20)) / 20, 1.0
    calls, failed = line.tool_calls["Add_memory"]
    assert calls == pytest.approx((of_alfworld + of_babyai) / 2 + 1)
    assert failed == pytest.approx(1)


def test_dollars_are_those_of_a_bill_by_hand_and_a_missing_price_is_null() -> None:
    board = a_board()
    line = next(ln for ln in board.blocks[0].lines if ln.entry.memory == "b")
    assert line.cost is not None
    assert line.cost.roles["agent"] == pytest.approx(2 * (1000 + (9.5 + 4) / 2) / 1e6)
    written = (333 * 9.5 + 4 * 7 + 333 * 4 + 4 * 7) / 2 / 1e6
    assert line.cost.roles["memory_write"] == pytest.approx(written)
    assert line.cost.roles["embedding"] is None
    assert (line.cost.total, line.cost.spent) == (None, None)
    assert line.cost.unpriced == ("prompt tokens of hashing",)
    (block,) = as_json(board)["blocks"]
    assert {row["cost"]["total"] for row in block["rows"]} == {None}
    assert {row["dollars total"] for row in as_csv(board)} == {""}
    costs = next(grid for grid in grids_of(board, None) if grid.title.startswith("Cost"))
    assert {(row[-2], row[-1]) for row in costs.rows} == {("–", "–")}


def test_the_papers_rows_hold_its_numbers_and_are_neither_ranked_nor_marked() -> None:
    board = a_board()
    alone, beside = grids_of(board, None)[0], grids_of(board, "paper")[0]
    assert beside.rows[: len(alone.rows)] == alone.rows
    assert beside.marks == alone.marks
    assert beside.sections == {len(alone.rows): f"{paper.SET_APART} ({paper.SOURCE})"}
    told = {(row[1], row[0]): row[2:4] for row in beside.rows[len(alone.rows) :]}
    wanted = {
        (row["model"], f"{paper.MEMORIES[row['method']]} ({row['method']})"): tuple(
            f"{float(row[env]):.1f}" for env in ("ALFWorld", "BabyAI")
        )
        for row in paper.table("table2")
    }
    assert told == wanted
    assert all(row[4] == "–" for row in beside.rows[len(alone.rows) :])  # not of all environments
    lines = as_csv(board, "paper")
    assert [line["source"] for line in lines[:3]] == ["run"] * 3
    assert {line["source"] for line in lines[3:]} == {"paper"}
    assert sum(line["alfworld SR"] != "" for line in lines[3:]) == len(wanted)
    tokens = {row["prompt_tokens"] for row in paper.table("figure3")}
    assert {line["tokens agent prompt"] for line in lines[3:]} - {""} == {
        str(float(value)) for value in tokens
    }
    assert not any(line["alfworld SR mark"] for line in lines if line["source"] == "paper")
    assert as_json(board, "paper")["blocks"] == as_json(board)["blocks"]


def test_the_papers_average_stands_where_all_its_environments_are() -> None:
    judged = {"quality": {"j": 0.5, "mq": 0.5}, "labels": {"judge": "g", "embedder": "e"}}
    scored = {"pddl": {"progress": 0.5}, "hotpotqa": judged}
    cells = [
        frame((env, "a"), [True, False], fields=scored.get(env), headline=(score,))
        for env, score in paper.ENVIRONMENTS.values()
    ]
    board = make_board([cells])
    lines = [line for line in as_csv(board, "paper")[1:] if line["average"]]
    table = paper.table("table2")
    assert [float(line["average"]) * 100 for line in lines] == pytest.approx(
        [float(row["Avg"]) for row in table]
    )
    assert [float(line["hotpotqa J"]) * 100 for line in lines] == pytest.approx(
        [float(row["HotpotQA"]) for row in table]
    )


# --- names ------------------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script>", "=cmd()", "a|b", r"\input{x}", "[red]", "[/]", "&amp;", "a\nb",
    "\t@SUM(1)", "]]>", "<!-- x", "-->", "| --- |", "a\\", "\\|", "$\\$", "{{ 7*7 }}", "{% x %}",
    "é漢字😀", "\u202eabc", "\x00", "\x1b[31m", "' OR 1", '"', ":smile:", "# h", "1. x", "\u2028",
    "—",
)  # fmt: skip
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=12)).filter(str.strip)


class Table(HTMLParser):
    """What a browser would build: the tags in order, and rows of cells of text."""

    def __init__(self, shown: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self._cell = False
        self.feed(shown)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag} {sorted(name for name, _ in attrs)}")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._cell &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


def named(env: str, memory: str, model: str, tool: str) -> tuple[Board, list[Row]]:
    """A report in which every name that is not ours is one of these."""
    fields = {"tool_calls": {tool: {"success": 1}}, "labels": {"judge": model, "embedder": memory}}
    made = [
        cell_of((env, name), won, model=model, fields=fields)
        for name, won in ((memory, [True] * 9), ("other", [False] * 9))
    ]
    cells = [
        frame((env, name), won, model=model, fields=fields)
        for name, won in ((memory, [True] * 9), ("other", [False] * 9))
    ]
    rows = [cell_row(cell.keys, episodes) for cell, episodes in made]
    return make_board([cells]), rows


@cache
def plain_tags() -> list[str]:
    return Table(WRITERS["html"](*named("e", "m", "n", "t"), None)).tags


def rows_of_markdown(shown: str) -> list[list[str]]:
    """The cells of all tables, as CommonMark reads them."""
    rows: list[list[str]] = []
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(shown)
    for token, inner in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("td_open", "th_open"):
            parts = [part for part in inner.children or [] if part.content != "<!-- -->"]
            assert not {part.type for part in parts} & {"html_inline", "link_open", "image"}
            rows[-1].append("".join(part.content for part in parts))
    return rows


def aligned(grids: Sequence[Grid]) -> list[int]:
    return [len(grid.names) for grid in grids for _ in range(len(grid.rows) + 1)]


@settings(max_examples=25, deadline=None)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
@example("e", "<script>", "=cmd()", r"\input{x}")
@example("e", "a|b", "[red]", "<b>")
def test_whatever_a_name_holds_it_comes_back_as_text_and_columns_stay_aligned(
    env: str, memory: str, model: str, tool: str
) -> None:
    board, rows = named(env, memory, model, tool)
    shown = {form: write(board, rows, None) for form, write in WRITERS.items()}
    grids = grids_of(board, None)
    name, of = escape(memory), escape(model)

    (block,) = json.loads(shown["json"])["leaderboard"]["blocks"]
    assert (block["rows"][0]["memory"], block["rows"][0]["model"]) == (memory, model)

    lines = list(csv.reader(io.StringIO(shown["csv"])))
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[1][2].removeprefix("'") == name.removeprefix("'")
    assert not any(f.lstrip()[:1] in tuple("=+-@") for line in lines for f in line if not num(f))

    read = rows_of_markdown(shown["markdown"])
    assert [len(row) for row in read[: len(aligned(grids))]] == aligned(grids)
    assert read[1][:2] == [name.strip(), of.strip()]

    page = Table(shown["html"])
    assert page.tags == plain_tags()
    assert [cell.strip() for cell in page.rows[1][:2]] == [name.strip(), of.strip()]

    balanced_latex(shown["latex"], grids)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]", shown["terminal"])
    out = io.StringIO()
    print_grid(grids[0], Console(file=out, width=5000, no_color=True))
    assert f"{name} " in out.getvalue()
    assert of in out.getvalue()


def num(field: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", field) is not None


def balanced_latex(shown: str, grids: Sequence[Grid]) -> None:
    """Every group is closed, and every row has the ampersands of its table."""
    assert shown.isascii()
    bare = re.sub(r"\\([\\{}&%$#_])", lambda m: "\n" if m[1] == "\\" else "", shown)
    depth = 0
    for letter in bare:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert Counter(re.findall(r"\\begin\{(\w+)", bare)) == Counter(
        re.findall(r"\\end\{(\w+)", bare)
    )
    assert shown.count("%") == shown.count(r"\%") + 1  # the comment above, which is ours
    tables = bare.split(r"\toprule")[1:]
    for grid, table in zip(grids, tables, strict=True):
        lines = table.split(r"\bottomrule")[0].replace(r"\midrule", "").splitlines()
        found = [line.count("&") for line in lines if line.strip()]
        assert found == [len(grid.names) - 1] * (len(grid.rows) + 1)


@pytest.mark.parametrize("width", [30, 5000])
@pytest.mark.parametrize("text", ["[red]x", "[/]", ":smile:", "[link=http://x]y"])
def test_titles_notes_and_sections_steer_no_terminal(text: str, width: int) -> None:
    grid = Grid(
        text, ("n", "m", text), [("a", "b", "1")] * 2, notes=[f"n{text}"], sections={1: f"s{text}"}
    )
    out = io.StringIO()
    print_grid(grid, Console(file=out, width=width, force_terminal=True, no_color=True))
    for shown in (text, f"n{text}", f"s{text}"):
        assert shown in re.sub("\x1b\\[[0-9;]*m", "", out.getvalue())
    assert "\x1b]" not in out.getvalue()  # no link
