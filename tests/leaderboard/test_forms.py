"""The six forms: what stands in them, and that no name steers any of them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from board_bench import write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agemem_eval.harness.cli import main
from agemem_eval.harness.leaderboard.html import page
from agemem_eval.harness.leaderboard.values import _safe
from agemem_eval.harness.observe.text import escape
from agemem_eval.harness.tables import Grid, latex_grid, latex_text, markdown_grid, print_grid

HOSTILE = (
    "<script>alert(1)</script>", "=cmd()", "a|b", r"\input{x}", "[red]x[/red]", r"\[red]", "a_b_",
    "`x`", "$x$", "100%", "x & y", "#1", "~a~", "{", "*a*", "[x](y)", "![x](y)", "a\nb", "\x1b[2J",
    "é – ≈ 漢", "@me", "https://x.y", "&lt;", "^", '"', "'", "-1", "+1", "\u202eb", "'><b>",
)  # fmt: skip
NAMES = st.one_of(st.sampled_from(HOSTILE), st.text(min_size=1, max_size=20))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    cells = {
        ("alfworld", "<script>"): [True] * 30,
        ("alfworld", "=cmd()"): [True] * 10 + [False] * 20,
        ("alfworld", r"a|b\input{x}"): [False] * 30,
        ("pddl", "<script>"): [True] * 30,
        ("pddl", "=cmd()"): [True] * 10 + [False] * 15 + [None] * 5,
    }
    write_run(folder / "r", cells, model="[red]m")
    return folder


def report(runs: Path, capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["report", "r", "--runs-dir", str(runs), *args])
    assert not ended.value.code
    return capsys.readouterr().out


def test_a_terminal_shows_names_as_they_are(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = report(runs, capsys, "--reference", "paper")
    for text in ("<script>", "=cmd()", r"a|b\input{x}", "[red]m", "alfworld SR, %", "100.0 [88.6"):
        assert text in shown
    assert "★" in shown
    assert "(25/30) ?" in shown
    apart = shown.index("reported by the authors, another protocol")
    assert shown.index("Qwen2.5-7B") > apart > shown.index("<script>")
    assert "Every cell" in shown  # the tables of each cell below


@settings(max_examples=150, deadline=None)
@given(NAMES, NAMES)
def test_a_name_stays_one_cell_of_text_in_markdown(name: str, head: str) -> None:
    shown = markdown_grid(Grid("t", ("n", head or "-"), [(name, "1")], marks={(0, 1): "best"}))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(shown)
    cells = [
        tokens[i + 1] for i, t in enumerate(tokens) if t.type in ("td_open", "th_open")
    ]  # fmt: skip
    assert len(cells) == 4
    children = [child for child in cells[2].children or [] if child.content != "<!-- -->"]
    assert "".join(child.content for child in children) == escape(name).strip()
    assert {child.type for child in children} <= {"text", "text_special"}


class Texts(HTMLParser):
    """Tags, and the text of table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag == "td":
            self._inside = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "td"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells[-1] += data


def parsed(shown: str) -> Texts:
    texts = Texts()
    texts.feed(shown)
    return texts


@settings(max_examples=30, deadline=None)
@given(NAMES)
def test_a_name_is_text_in_html(name: str) -> None:
    grid = Grid(name, ("n", name), [(name, "1")], notes=[name], sections={0: name})
    plain = replace(grid, title="t", names=("n", "m"), rows=[("x", "1")], notes=["x"])
    shown, other = parsed(page([grid], [], [name])), parsed(page([plain], [], ["x"]))
    assert shown.tags == other.tags
    assert shown.cells[0].strip() == escape(name).strip()


def test_the_page_runs_and_loads_nothing_but_its_own(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = report(runs, capsys, "--format", "html", "--reference", "paper")
    assert shown.count("<script>") == 1  # ours; the name is text
    assert "&lt;script&gt;" in shown
    assert not re.search(r'(src|href)="(?!data:)', shown)
    assert "default-src 'none'" in shown
    assert "unsafe" not in shown
    assert "'sha256-" in shown.replace("&#39;", "'")


@settings(max_examples=150, deadline=None)
@given(NAMES)
def test_a_name_is_no_command_in_latex(name: str) -> None:
    from agemem_eval.harness.tables import _ACCENTS, _LATEX

    shown = latex_text(name)
    assert shown.isascii()
    known = sorted([*_LATEX.values(), "{[}U+", "{]}"], key=len, reverse=True)
    accents = "|".join(re.escape(a) + r"\{[A-Za-z]\}" for a in _ACCENTS.values())
    rest = re.sub("|".join([*map(re.escape, known), accents]), "", shown)
    assert not re.search(r"[\\{}$&#^_%~\[\]*]", rest), shown


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_with_the_names_shown(tmp_path: Path) -> None:
    rows = [(name, name) for name in HOSTILE]
    grid = Grid("a_b", ("m", "%"), rows, 1, ["≈ x"], {(0, 1): "best", (1, 1): "second"}, {3: "[x]"})
    head = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "t.tex").write_text(head + latex_grid(grid, "x") + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]


@given(NAMES)
def test_no_field_of_csv_is_a_formula_and_each_is_read_back(name: str) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([_safe(name), 1])
    ((field, _),) = csv.reader(io.StringIO(out.getvalue()))
    assert not field.lstrip().startswith(tuple("=+-@\t\r"))
    assert field.removeprefix("'") == escape(name).removeprefix("'")


def test_csv_has_one_line_a_row_and_numbers_unrounded(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = report(runs, capsys, "--format", "csv", "--reference", "paper")
    lines = list(csv.DictReader(io.StringIO(shown)))
    ours = [line for line in lines if line["source"] == "run"]
    assert [line["memory"] for line in ours] == ["<script>", "'=cmd()", r"a|b\input{x}"]
    assert float(ours[1]["pddl SR coverage"]) == pytest.approx(25 / 30)
    assert ours[0]["alfworld SR mark"] == "best"
    assert ours[2]["pddl SR"] == ""  # not measured is not 0
    paper = [line for line in lines if line["source"] == "paper"]
    assert len(paper) == 18
    assert not any(line["alfworld SR mark"] for line in paper)


def test_json_keeps_rows_and_gains_the_leaderboard(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(report(runs, capsys, "--format", "json", "--reference", "paper"))
    assert [row["memory"] for row in found["rows"]][:2] == ["<script>", "=cmd()"]
    (block,) = found["leaderboard"]["blocks"]
    assert block["rows"][0]["scores"]["alfworld/success"]["mark"] == "best"
    assert block["rows"][2]["average"] is None
    assert block["tests"][0]["comparison"]["mde"] > 0
    assert found["leaderboard"]["reference"]["about"].startswith("reported by the authors")


def test_latex_of_a_run_has_the_marks(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = report(runs, capsys, "--format", "latex", "--reference", "paper")
    assert r"\textbf{100.0 {[}88.6{,} 100.0{]}}" in shown
    assert r"\toprule" in shown
    assert shown.count(r"\begin{") == shown.count(r"\end{")


def test_a_narrow_terminal_keeps_the_reference_apart() -> None:
    from rich.console import Console

    grid = Grid("t", ("n", "m", "x"), [("a", "b", "1"), ("c", "d", "2")], sections={1: "apart"})
    for width in (10, 80):
        out = io.StringIO()
        print_grid(grid, Console(file=out, width=width))
        shown = out.getvalue()
        assert shown.index("a") < shown.index("apart") < shown.index("c")
