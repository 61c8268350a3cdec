"""The leaderboard for programs: one JSON value, or one line of CSV a row; nothing is rounded."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from ...results import paper
from ..observe.text import escape
from ..stats import Estimate
from .board import AVERAGE, Block, Board, Column, Line
from .grids import names_of
from .ranking import Verdict
from .reference import ReferenceLine, reference_lines

_FORMULA = tuple("=+-@＝＋－＠")


def as_json(board: Board, reference: str | None) -> dict[str, Any]:
    """The value under `leaderboard`; what is not known is null.

    Raises:
        UsageError: for an unknown reference.
    """
    found: dict[str, Any] = {
        "alpha": board.alpha,
        "min_coverage": board.min_coverage,
        "blocks": [_block(block) for block in board.blocks],
    }
    if reference is not None:
        found["reference"] = {
            "source": paper.SOURCE,
            "about": paper.SET_APART,
            "lines": [
                [asdict(one) for one in reference_lines(reference, b.columns, b.quality)]
                for b in board.blocks
            ],  # of each block
        }
    known: dict[str, Any] = _known(found)
    return known


def _block(block: Block) -> dict[str, Any]:
    protocols = {
        env: asdict(frame.protocol)
        for line in block.lines
        for env, frame in line.entry.frames.items()
    }
    return {
        "runs": block.runs,
        "protocols": protocols,
        "columns": [
            {"id": c.id, "name": c.name, "env": c.env, "score": c.score, "ranked": c.ranked}
            for c in (*block.columns, *block.quality)
        ],
        "rows": [
            _line(block, names, place, line)
            for place, (names, line) in enumerate(zip(names_of(block), block.lines, strict=True))
        ],
        "tests": [_verdict(block, verdict) for verdict in block.verdicts],
        "notes": block.notes,
    }


def _line(block: Block, names: tuple[str, str], place: int, line: Line) -> dict[str, Any]:
    base = next(iter(line.entry.frames.values())).base
    average = None
    if line.average is not None:
        average = {
            **asdict(line.average),
            "ranked": line.average_ranked,
            "mark": block.marks.get((place, AVERAGE)),
        }
    return {
        "name": names[0],
        "memory": line.entry.memory,
        "memory_hash": base.memory_hash,
        "model": line.entry.model,
        "model_hash": base.model_hash,
        "runs": line.entry.runs,
        "scores": {
            column: {
                **asdict(score.estimate),
                "n_planned": score.n_planned,
                "coverage": score.coverage,
                "ranked": score.ranked,
                "mark": block.marks.get((place, column)),
            }
            for column, score in line.scores.items()
        },
        "episodes": {
            env: {"scored": scored, "planned": planned}
            for env, (scored, planned) in line.planned.items()
        },
        "average": average,
        "tokens": {role: asdict(usage) for role, usage in line.tokens.items()},
        "tokens_estimated": line.estimated,
        "tool_calls": {
            tool: {"mean": calls, "failed": failed}
            for tool, (calls, failed) in line.tool_calls.items()
        },
        "cost": None if line.cost is None else asdict(line.cost),
        "labels": line.labels,
    }


def _verdict(block: Block, verdict: Verdict) -> dict[str, Any]:
    """A test, with the names of what it holds against each other."""
    names = names_of(block)
    return {
        "column": verdict.column,
        "claim": f"the {verdict.claim} above all others",
        "leaders": [names[line] for line in verdict.leaders],
        "against": names[verdict.against],
        "holds": verdict.holds,
        "comparison": asdict(verdict.closest),
    }


def _known(value: Any) -> Any:
    """The value with None for what is no finite number."""
    if isinstance(value, dict):
        return {str(key): _known(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- CSV --------------------------------------------------------------------------------------


def as_csv(board: Board, reference: str | None) -> str:
    """One line a row, the paper's among them with `source` paper; an empty field is not known.

    Raises:
        UsageError: for an unknown reference.
    """
    lines: list[dict[str, Any]] = []
    for number, block in enumerate(board.blocks, 1):
        for place, (names, line) in enumerate(zip(names_of(block), block.lines, strict=True)):
            about = {"table": number, "source": "run", "memory": names[0], "model": names[1]}
            lines.append({**about, "runs": "+".join(line.entry.runs), **_fields(block, place)})
        for one in reference_lines(reference, block.columns, block.quality):
            about = {"table": number, "source": "paper", "memory": one.memory, "model": one.model}
            lines.append({**about, **_told(block, one)})
    heads = list(dict.fromkeys(name for line in lines for name in line))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_safe, heads))
    writer.writerows([_safe(line.get(name)) for name in heads] for line in lines)
    return out.getvalue()


def _fields(block: Block, place: int) -> dict[str, Any]:
    line, found = block.lines[place], dict[str, Any]()
    for column in (*block.columns, *block.quality):
        score = line.scores.get(column.id)
        found |= _estimate(column.name, None if score is None else score.estimate)
        found[f"{column.name} coverage"] = None if score is None else score.coverage
        found[f"{column.name} mark"] = block.marks.get((place, column.id))
    if block.averaged:
        found |= _estimate(AVERAGE, line.average)
        found[f"{AVERAGE} se"] = None if line.average is None else line.average.se
        found[f"{AVERAGE} mark"] = block.marks.get((place, AVERAGE))
    for role, usage in line.tokens.items():
        for kind, value in asdict(usage).items():
            found[f"tokens {role} {kind}"] = value
    for tool, (calls, failed) in line.tool_calls.items():
        found |= {f"tool calls {tool}": calls, f"tool calls {tool} failed": failed}
    if line.cost is not None:
        found |= {f"dollars {role}": dollars for role, dollars in line.cost.roles.items()}
        found |= {"dollars total": line.cost.total, "dollars spent": line.cost.spent}
    return found


def _estimate(name: str, found: Estimate | None) -> dict[str, Any]:
    values = (None,) * 4 if found is None else (found.value, found.low, found.high, found.n)
    return dict(zip((name, f"{name} low", f"{name} high", f"{name} n"), values, strict=True))


def _told(block: Block, one: ReferenceLine) -> dict[str, Any]:
    columns: tuple[Column, ...] = (*block.columns, *block.quality)
    names = {column.id: column.name for column in columns}
    found: dict[str, Any] = {names.get(id_, id_): value for id_, value in one.scores.items()}
    return found | {"tokens agent prompt": one.prompt_tokens}


def _safe(value: Any) -> Any:
    """A field that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    if isinstance(value, str):
        text = escape(value)
        return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
    return None if isinstance(value, float) and not math.isfinite(value) else value
