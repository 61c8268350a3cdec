"""Tables of rows: for a terminal, as Markdown, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .metrics import Row

MEMORY_ROLES = ("memory_write", "memory_read", "embedding")
WIDE = 165  # characters that the whole table needs
TITLE_WIDTH, CELL_WIDTH = 18, 24  # of the narrow form
Column = tuple[str, Callable[[Row], str]]


def columns(rows: Sequence[Row]) -> list[Column]:
    """The columns of a table: those that every table has, then one for each tool that was used."""
    fixed: list[Column] = [
        ("env", lambda r: r.env),
        ("split", lambda r: r.split),
        ("memory", lambda r: r.memory),
        ("model", lambda r: r.model),
        ("success [95% CI]", _success),
        ("progress", lambda r: _percent(r.progress_rate)),
        ("steps", lambda r: _number(r.steps_mean)),
        ("invalid", lambda r: _percent(r.invalid_action_rate)),
        ("prompt tokens", lambda r: _tokens(r, ("agent",), "prompt")),
        ("output tokens", lambda r: _tokens(r, ("agent",), "completion")),
        ("memory tokens", lambda r: _tokens(r, MEMORY_ROLES, "prompt", "completion")),
        ("tool calls", _calls),
        ("scored", lambda r: f"{r.n_scored}/{r.n_planned}"),
    ]
    return fixed if rows else []


def tool_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each row that used tools: mean calls an episode by tool, and failed ones."""
    lines = []
    for row in rows:
        if not row.tool_calls:
            continue
        parts = []
        for tool, calls in row.tool_calls.items():
            failed = sum(n for status, n in calls["statuses"].items() if status != "success")
            parts.append(f"{tool} {calls['mean']:.2f}" + (f" ({failed} failed)" if failed else ""))
        lines.append(f"{row.env}, {row.memory}: {', '.join(parts)}")
    return lines


def score_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each row whose environment gives further scores: their means."""
    lines = []
    for row in rows:
        parts = []
        for name, score in row.scores.items():
            mean = "–" if score["mean"] is None else f"{score['mean']:.3f}"
            few = f" (of {score['n']})" if score["n"] != row.n_scored else ""
            parts.append(f"{name} {mean}{few}")
        if row.within_cap is not None:
            share, n = _percent(row.within_cap["mean"]), int(row.within_cap["n"])
            of = "the" if n == row.n_planned else f"{n}"
            parts.append(f"oracle within the step cap on {share} of {of} tasks")
        if parts:
            lines.append(f"{row.env}, {row.memory}: {', '.join(parts)}")
    return lines


def quality_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each row whose memory was rated: scores, losses, faults, cost, gain."""
    lines = []
    for row in rows:
        parts = [
            f"{name} {score['mean']:.3f}" + (f" (of {score['n']})" * (score["n"] != row.n_scored))
            for name, score in row.quality.items()
            if score["mean"] is not None
        ]
        lost = ", ".join(f"{n} {where.replace('_', ' ')}" for where, n in row.losses.items())
        parts += [f"failed questions: {lost}"] if lost else []
        skipped = ", ".join(f"{kind} {mean:.2f}" for kind, mean in row.memory_faults.items())
        parts += [f"skipped an episode: {skipped}"] if skipped else []
        if parts and row.memory != "none":
            lines.append(f"{row.env}, {row.memory}: {'; '.join(parts)}")
    return lines


def cost_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each row whose memory asked a model or embedded: the cost of an operation."""
    lines = []
    for row in rows:
        parts = []
        for operation, cost in row.memory_costs.items():
            tokens = cost["prompt_tokens"] + cost["completion_tokens"]
            if cost["calls"] or cost["embedding_tokens"]:
                parts.append(
                    f"{operation} {cost['calls']:.2f} calls, {tokens:,.0f} tokens, "
                    f"{cost['embedding_tokens']:,.0f} embedded, {1000 * row.memory_wall_s[operation]:.1f} ms"
                )
        if parts:
            lines.append(f"{row.env}, {row.memory}: {'; '.join(parts)}")
    return lines


def lifelong_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each row whose memory was kept over streams."""
    lines = []
    for row in rows:
        if row.lifelong is None or not row.lifelong["n_streams"]:
            continue
        life = row.lifelong
        first, second = _percent(life["first_half"]), _percent(life["second_half"])
        spread = (
            "" if life["order_sd"] is None else f", sd over orders {_percent(life['order_sd'])}"
        )
        lines.append(
            f"{row.env}, {row.memory}: first half {first}, second half {second}, gain "
            f"{100 * life['gain']:+.1f} points over {life['n_streams']} streams{spread}"
        )
    return lines


_SECTIONS: tuple[tuple[str, Callable[[Sequence[Row]], list[str]]], ...] = (
    ("scores", score_lines),
    ("calls an episode", tool_lines),
    ("memory", quality_lines),
    ("cost of an operation", cost_lines),
    ("over the stream", lifelong_lines),
)


def notes(rows: Sequence[Row]) -> list[str]:
    """What a reader must know to read the table right."""
    said = []
    if any(usage["estimated"] for row in rows for usage in row.tokens.values()):
        said.append("~ tokens were estimated: the model reports none")
    if any(row.model.startswith("scripted") for row in rows):
        said.append(
            "scripted: the environment's expert acts and a fixed rule uses the tools; "
            "a check of the whole path, not a measure of the memory"
        )
    if any(row.labels.get("memory_model", "").startswith("heuristic") for row in rows):
        said.append(
            "heuristic: fixed rules write for the memory; a check of its mechanism, not a measure"
        )
    if any(row.quality and row.labels.get("embedder") == "hashing" for row in rows):
        said.append("facts are matched with n-grams (hashing): use --embedder minilm for findings")
    if any(row.coverage < 1 for row in rows):
        said.append("scored below planned: infrastructure failures are owed, never scored as 0")
    return said


def print_table(rows: Sequence[Row], console: Console) -> None:
    """The table, the tool calls and the notes on a terminal; a narrow one gets a column a row."""
    if console.width >= WIDE:
        console.print(_wide(rows))
    else:
        beside = max(1, (console.width - TITLE_WIDTH) // CELL_WIDTH)
        for start in range(0, len(rows), beside):
            console.print(_narrow(rows[start : start + beside]))
    for title, section in _SECTIONS:
        for line in section(rows):
            console.print(f"{title}, {line}", markup=False, highlight=False)
    for line in notes(rows):
        console.print(line, style="dim", markup=False, highlight=False)


def _wide(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    shown = columns(rows)
    for index, (title, _) in enumerate(shown):
        table.add_column(title, justify="left" if index < 4 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell(row)) for _, cell in shown))
    return table


def _narrow(rows: Sequence[Row]) -> Table:
    """Metrics downwards, rows side by side."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="bold", no_wrap=True)
    for _ in rows:
        table.add_column(justify="right", overflow="fold")
    for title, cell in columns(rows):
        table.add_row(title, *(_plain(cell(row)) for row in rows))
    return table


def markdown(rows: Sequence[Row]) -> str:
    """The same as Markdown."""
    shown = columns(rows)
    lines = [
        "| " + " | ".join(title for title, _ in shown) + " |",
        "|" + "|".join("---" if i < 4 else "---:" for i in range(len(shown))) + "|",
    ]
    lines += ["| " + " | ".join(_escaped(cell(r)) for _, cell in shown) + " |" for r in rows]
    calls = [
        f"- {title.capitalize()}, {_escaped(line)}"
        for title, section in _SECTIONS
        for line in section(rows)
    ]
    said = [f"- {_escaped(line)}" for line in notes(rows)]
    return "\n".join(lines + ([""] if calls or said else []) + calls + said) + "\n"


def as_json(rows: Sequence[Row], **about: Any) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {**about, "rows": [row.to_json() for row in rows]}


def _success(row: Row) -> str:
    if row.success_rate is None or row.success_ci is None:
        return "–"
    low, high = row.success_ci
    return f"{100 * row.success_rate:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _tokens(row: Row, roles: Sequence[str], *kinds: str) -> str:
    """Mean tokens an episode over these roles; `~` marks an estimate."""
    if not row.n_scored:
        return "–"
    usages = [row.tokens[role] for role in roles if role in row.tokens]
    total = sum(float(usage[kind]) for usage in usages for kind in kinds)
    mark = "~" if any(usage["estimated"] for usage in usages) else ""
    return f"{mark}{total:,.0f}"


def _calls(row: Row) -> str:
    if not row.n_scored:
        return "–"
    return f"{sum(calls['mean'] for calls in row.tool_calls.values()):.1f}"


def _plain(text: str) -> str:
    """Names may hold what the terminal library reads as markup."""
    return text.replace("[", r"\[")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", r"\|").replace("<", "&lt;").replace("\n", " ")
