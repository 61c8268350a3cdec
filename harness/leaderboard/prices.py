"""What tokens cost: a file of prices, and the bill of a row by role.

The file is YAML: dollars a million tokens, by the names that tables show.

    openai:gpt-4o-mini: {prompt: 0.15, completion: 0.60}
    minilm: {prompt: 0}        # runs here: say so, a missing price is never taken for 0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..analysis import CellFrame
from ..errors import DataError, unknown_name
from ..ledger import Role
from ..yaml_files import read_yaml

KINDS = ("prompt", "completion")
# Which model answers in a role: the agent's own, or the one that a label of the run names.
_SERVED_BY = {
    Role.MEMORY_WRITE: "memory_model",
    Role.MEMORY_READ: "memory_model",
    Role.EMBEDDING: "embedder",
    Role.JUDGE: "judge",
}
Prices = dict[str, dict[str, float]]  # dollars a million tokens, by model and kind


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars an episode, mean over environments; None where a price is missing."""

    roles: dict[str, float | None]
    total: float | None  # of all roles but the judge, which is no part of a memory
    spent: float | None  # of all scored episodes, the judge's share too; dollars in all
    unpriced: tuple[str, ...]  # what there is no price for, e.g. `prompt tokens of minilm`


def read_prices(path: Path) -> Prices:
    """The prices of a file; see the module.

    Raises:
        DataError: if it cannot be read, or is not of this form.
        UsageError: for an unknown kind of token.
    """
    whole = read_yaml(path, "the prices")
    if not isinstance(whole, dict) or not whole:
        raise DataError(f"{path} holds no prices: write e.g. `gpt: {{prompt: 1, completion: 2}}`")
    return {str(model): _of_model(path, str(model), given) for model, given in whole.items()}


def _of_model(path: Path, model: str, given: object) -> dict[str, float]:
    if not isinstance(given, dict) or not given:
        raise DataError(
            f"{path}: {model}: write dollars a million tokens, {{prompt: 1, completion: 2}}"
        )
    for kind, dollars in given.items():
        if kind not in KINDS:
            raise unknown_name("kind of tokens", str(kind), KINDS)
        number = isinstance(dollars, int | float) and not isinstance(dollars, bool)
        if not number or not math.isfinite(dollars) or dollars < 0:
            raise DataError(f"{path}: {model}.{kind}: {dollars!r} is no price in dollars")
    return {str(kind): float(dollars) for kind, dollars in given.items()}


def cost_of(frames: Sequence[CellFrame], prices: Prices) -> Cost:
    """The bill of a row.

    Args:
        frames: Its cells, each with scored episodes.
        prices: By model.
    """
    bills: list[dict[str, float | None]] = []  # dollars of all episodes of a cell, by role
    missing: dict[str, None] = {}
    for frame in frames:
        roles_used = [role for role in Role if any(_used(frame, role).values())]
        bills.append({r.value: _of_role(frame, r, prices, missing) for r in roles_used})
    roles = {
        role: _mean([
            _share(bill.get(role, 0.0), frame.n_scored)
            for bill, frame in zip(bills, frames, strict=True)
        ])
        for role in dict.fromkeys(role for bill in bills for role in bill)
    }  # fmt: skip
    total = _sum([dollars for role, dollars in roles.items() if role != Role.JUDGE])
    spent = _sum([dollars for bill in bills for dollars in bill.values()])
    return Cost(roles, total if frames else None, spent if frames else None, tuple(missing))


def _used(frame: CellFrame, role: Role) -> dict[str, float]:
    """Tokens that a role took in all episodes of a cell, by kind."""
    columns = {kind: f"tokens.{role}.{kind}" for kind in KINDS}
    return {
        kind: float(frame.values(column).sum())
        for kind, column in columns.items()
        if column in frame.columns
    }


def _of_role(
    frame: CellFrame, role: Role, prices: Prices, missing: dict[str, None]
) -> float | None:
    model = frame.base.model if role is Role.AGENT else frame.labels.get(_SERVED_BY[role])
    dollars: float | None = 0.0
    for kind, tokens in _used(frame, role).items():
        price = prices.get(model or "", {}).get(kind)
        if not tokens:
            continue
        if price is None:
            missing[f"{kind} tokens of {model or f'the model of {role}'}"] = None
            dollars = None
        elif dollars is not None:
            dollars += tokens * price / 1e6
    return dollars


def _share(dollars: float | None, n: int) -> float | None:
    return None if dollars is None else dollars / n


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return math.fsum(known) if len(known) == len(parts) else None


def _mean(parts: Sequence[float | None]) -> float | None:
    total = _sum(parts)
    return None if total is None else total / len(parts)
