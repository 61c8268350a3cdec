"""The paper's rows beside a leaderboard's columns; never ranked, since measured otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...results import paper
from ..errors import unknown_name
from .board import AVERAGE, Column

NAMES = ("paper",)
TITLE = f"{paper.SET_APART} ({paper.SOURCE})"


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """A row of the paper: shares by column, and what else of it has a place here."""

    memory: str  # the name of the memory here
    method: str  # and there
    model: str
    scores: dict[str, float]  # by the ids of columns; `average` too
    prompt_tokens: float | None


def reference_lines(
    name: str | None, columns: Sequence[Column], quality: Sequence[Column]
) -> list[ReferenceLine]:
    """The rows of a reference that have something to show in these columns.

    Args:
        name: `paper`, or None for none.
        columns: Of the table.
        quality: Those of the memory.

    Raises:
        UsageError: for another name.
    """
    if name is None:
        return []
    if name not in NAMES:
        raise unknown_name("reference", name, NAMES)
    found: dict[tuple[str, str], ReferenceLine] = {}

    def line(row: dict[str, str]) -> ReferenceLine:
        key = row["model"], row["method"]
        memory = paper.MEMORIES[row["method"]]
        return found.setdefault(key, ReferenceLine(memory, key[1], key[0], {}, None))

    by_score = {(column.env, column.score): column.id for column in columns}
    whole = set(by_score) == set(paper.ENVIRONMENTS.values())
    for row in paper.table("table2"):
        scores = line(row).scores
        for head, score in paper.ENVIRONMENTS.items():
            if score in by_score:
                scores[by_score[score]] = float(row[head]) / 100
        if whole:
            scores[AVERAGE] = float(row["Avg"]) / 100
    mq = next((column.id for column in quality if column.env == "hotpotqa"), None)
    if mq is not None:
        for row in paper.table("figure2"):
            line(row).scores[mq] = float(row["MQ"])
    tokens = {
        (row["model"], row["method"]): float(row["prompt_tokens"])
        for row in paper.table("figure3")
    }  # fmt: skip
    for row in paper.table("figure3"):
        line(row)
    lines = [
        ReferenceLine(one.memory, one.method, one.model, one.scores, tokens.get(key))
        for key, one in found.items()
    ]
    return [one for one in lines if one.scores or one.prompt_tokens is not None]


def what_does_not_match(columns: Sequence[Column]) -> list[str]:
    """Why columns are empty in the paper's rows."""
    reported = dict(paper.ENVIRONMENTS.values())
    odd = [c for c in columns if c.env in reported and reported[c.env] != c.score]
    said = [
        f"the paper reports {Column(c.env, reported[c.env], True, True).name}, not {c.name}"
        for c in odd
    ]
    others = [c.env for c in columns if c.env not in reported]
    return said + ([f"the paper has no {' and no '.join(others)}"] if others else [])
