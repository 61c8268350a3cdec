"""The table of a run, for a terminal, as Markdown, as JSON; and smaller ones beside it.

The first table is what every run has. The others stand where there is something to show: further
scores of the environment, how good the memories are, what their operations cost, what they gain
over a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from .metrics import Row
from .observe.text import escape
from .tables import Grid, markdown_grid, markdown_text, print_grid

MEMORY_ROLES = ("memory_write", "memory_read", "embedding")
LOSSES = ("not_stored", "not_retrieved", "not_used")


def grids(rows: Sequence[Row], title: str = "") -> list[Grid]:
    """The tables that there is something for; the first is there always.

    Args:
        rows: The cells.
        title: Of the first one, where another table stands above it.
    """
    found = [
        _results(rows, title),
        *_scores(rows),
        _quality(rows),
        _costs(rows),
        _lifelong(rows),
    ]
    return [grid for grid in found if grid.rows or grid is found[0]]


def _results(rows: Sequence[Row], title: str) -> Grid:
    names = (
        "env", "split", "memory", "model", "success [95% CI]", "progress", "steps", "invalid",
        "prompt tokens", "output tokens", "memory tokens", "tool calls", "scored",
    )  # fmt: skip
    cells = [
        (
            row.env,
            row.split,
            row.memory,
            row.model,
            _success(row),
            _percent(row.progress_rate),
            _number(row.steps_mean),
            _percent(row.invalid_action_rate),
            _tokens(row, ("agent",), "prompt"),
            _tokens(row, ("agent",), "completion"),
            _tokens(row, MEMORY_ROLES, "prompt", "completion"),
            _calls(row),
            f"{row.n_scored}/{row.n_planned}",
        )
        for row in rows
    ]
    said = []
    for env in dict.fromkeys(row.env for row in rows):
        said += list(dict.fromkeys(_within_cap(row) for row in rows if row.env == env))
    return Grid(title, names, cells, 4, [line for line in said + tool_lines(rows) if line])


def _within_cap(row: Row) -> str:
    if row.within_cap is None:
        return ""
    share, n = _percent(row.within_cap["mean"]), int(row.within_cap["n"])
    of = "the" if n == row.n_planned else f"{n}"
    return f"{row.env}: oracle within the step cap on {share} of {of} tasks"


def tool_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each row that used tools: mean calls an episode by tool, and failed ones."""
    lines = []
    for row in rows:
        parts = []
        for tool, calls in row.tool_calls.items():
            failed = sum(n for status, n in calls["statuses"].items() if status != "success")
            parts.append(f"{tool} {calls['mean']:.2f}" + (f" ({failed} failed)" if failed else ""))
        if parts:
            lines.append(f"calls an episode, {row.env}, {row.memory}: {', '.join(parts)}")
    return lines


def _scores(rows: Sequence[Row]) -> list[Grid]:
    """A table for each environment that gives further scores."""
    found = []
    for env in dict.fromkeys(row.env for row in rows):
        own = [row for row in rows if row.env == env and row.scores]
        names = tuple(sorted({name for row in own for name in row.scores}))
        cells = [(row.memory, *(_mean(row.scores.get(n), row) for n in names)) for row in own]
        found.append(Grid(f"Scores of {env}", ("memory", *names), cells, 1))
    return found


def _quality(rows: Sequence[Row]) -> Grid:
    """How good the memories are; see `quality.score.MEANINGS`."""
    own = [row for row in rows if row.n_scored and (row.memory != "none" or _rated(row))]
    given = {n for row in own for n, score in row.quality.items() if score["mean"] is not None}
    names = tuple(n for row in own[:1] for n in (*_ORDER, *sorted(given - set(_ORDER))))
    names = tuple(name for name in names if name in given)
    lost = any(row.losses for row in own)
    skipped = any(row.memory_faults for row in own)
    cells = [
        (
            row.env,
            row.memory,
            row.labels.get("memory_model", "–"),
            _number(row.memory_entries_mean),
            *(_mean(row.quality.get(n), row, decimals=n != "memory_tokens") for n in names),
            *([_lost(row)] if lost else []),
            *([_skipped(row)] if skipped else []),
        )
        for row in own
    ]
    titles = tuple(_SHORT.get(name, name.replace("_", " ")) for name in names)
    more = (("lost*",) if lost else ()) + (("skipped",) if skipped else ())
    said = (
        ["* failed questions: " + " / ".join(w.replace("_", " ") for w in LOSSES)] if lost else []
    )
    return Grid(
        "Memory", ("env", "memory", "written by", "entries", *titles, *more), cells, 3, said
    )


def _rated(row: Row) -> bool:
    """Whether there is something to say of a row even without a memory."""
    scores = (row.quality.get(name) for name in ("j", "fact_recall_in_context"))
    return any(score is not None and score["mean"] is not None for score in scores)


_ORDER = (
    "mq", "j", "fact_recall", "fact_precision", "fact_f1", "fact_recall_retrieved",
    "fact_recall_in_context", "updated", "stale", "redundancy", "unsupported", "memory_tokens",
)  # fmt: skip


_SHORT = {  # what stands above a column; the names in JSON are the whole ones
    "fact_recall": "facts stored",
    "fact_precision": "precision",
    "fact_f1": "f1",
    "fact_recall_retrieved": "retrieved",
    "fact_recall_in_context": "in context",
    "memory_tokens": "size (tokens)",
}


def _lost(row: Row) -> str:
    return " / ".join(str(row.losses.get(where, 0)) for where in LOSSES)


def _skipped(row: Row) -> str:
    return ", ".join(f"{kind} {mean:.2f}" for kind, mean in row.memory_faults.items()) or "–"


def _costs(rows: Sequence[Row]) -> Grid:
    """What one operation of a memory costs: reading and writing by itself, or a tool."""
    names = ("env", "memory", "operation", "an episode", "calls", "prompt", "output", "embedded")
    cells = [
        (
            row.env,
            row.memory,
            operation,
            f"{cost['n']:.1f}",
            f"{cost['calls']:.2f}",
            f"{cost['prompt_tokens']:,.0f}",
            f"{cost['completion_tokens']:,.0f}",
            f"{cost['embedding_tokens']:,.0f}",
            f"{1000 * row.memory_wall_s[operation]:.1f}",
        )
        for row in rows
        for operation, cost in row.memory_costs.items()
        if cost["calls"] or cost["embedding_tokens"]
    ]
    return Grid("Cost of one operation, in tokens", (*names, "ms"), cells, 3)


def _lifelong(rows: Sequence[Row]) -> Grid:
    """What a memory that is kept over a stream gains."""
    names = ("env", "memory", "streams", "first half", "second half", "gain", "sd over orders")
    cells = [
        (
            row.env,
            row.memory,
            str(life["n_streams"]),
            _percent(life["first_half"]),
            _percent(life["second_half"]),
            f"{100 * life['gain']:+.1f}",
            "–" if life["order_sd"] is None else f"{100 * life['order_sd']:.1f}",
        )
        for row in rows
        if (life := row.lifelong) is not None and life["n_streams"]
    ]
    return Grid("Success over the stream, gain in points", names, cells)


def notes(rows: Sequence[Row]) -> list[str]:
    """What a reader must know to read the table right."""
    said = []
    if any(usage["estimated"] for row in rows for usage in row.tokens.values()):
        said.append("~ tokens were estimated: the model reports none")
    if any("scripted" in row.model for row in rows):  # or its replay
        said.append(
            "scripted: the environment's expert acts and a fixed rule uses the tools; "
            "a check of the whole path, not a measure of the memory"
        )
    if any(row.model.removeprefix("replay of ").startswith("nano") for row in rows):
        said.append(
            "nano: a checkpoint of this package, a few million weights at most; nothing about "
            "larger models follows from its results"
        )
    if any(row.labels.get("memory_model", "").startswith("heuristic") for row in rows):
        said.append(
            "heuristic: fixed rules write for the memory; a check of its mechanism, not a measure"
        )
    for judge in dict.fromkeys(row.labels["judge"] for row in rows if "judge" in row.labels):
        judged = [row for row in rows if row.labels.get("judge") == judge]
        cost = sum(_spent(row) for row in judged)
        said.append(
            f"mq and j by {judge}, {cost:,.0f} tokens; `agemem-eval judge-check` tells how far to "
            "trust it"
        )
        if missed := sum(row.judge_faults for row in judged):
            said.append(f"the judge gave no usable score {missed} times: such a score is missing")
    if any(row.quality and row.labels.get("embedder") == "hashing" for row in rows):
        said.append(
            "facts are matched by n-grams: use --embedder minilm for what is to be a finding"
        )
    if any(row.coverage < 1 for row in rows):
        said.append("scored below planned: infrastructure failures are owed, never scored as 0")
    return said


def _spent(row: Row) -> float:
    """Tokens of the judge, over all episodes of a row."""
    usage = row.tokens.get("judge")
    return 0 if usage is None else row.n_scored * (usage["prompt"] + usage["completion"])


# --- showing them ---------------------------------------------------------------------------


def print_table(rows: Sequence[Row], console: Console, title: str = "") -> None:
    """The tables and the notes on a terminal; a narrow one gets a column a row."""
    for grid in grids(rows, title):
        print_grid(grid, console)
    for line in notes(rows):
        console.print(Text(escape(line), "dim"))


def markdown(rows: Sequence[Row], title: str = "") -> str:
    """The same as Markdown."""
    said = [f"- {markdown_text(line)}" for line in notes(rows)]
    parts = [*map(markdown_grid, grids(rows, title)), *(["\n".join(said)] if said else [])]
    return "\n\n".join(parts) + "\n"


def as_json(rows: Sequence[Row], **about: Any) -> dict[str, Any]:
    """The object that `--json` prints."""
    return {**about, "rows": [row.to_json() for row in rows]}


# --- cells ----------------------------------------------------------------------------------


def _success(row: Row) -> str:
    if row.success_rate is None or row.success_ci is None:
        return "–"
    low, high = row.success_ci
    return f"{100 * row.success_rate:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _mean(score: dict[str, float | None] | None, row: Row, *, decimals: bool = True) -> str:
    """A mean, and of how many where it is not of all."""
    if score is None or score["mean"] is None:
        return "–"
    mean = f"{score['mean']:.3f}" if decimals else f"{score['mean']:,.0f}"
    return mean + (f" (of {score['n']})" if score["n"] != row.n_scored else "")


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
