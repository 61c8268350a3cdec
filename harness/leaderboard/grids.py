"""The leaderboard as tables: how its numbers are worded, and notes that say how to read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..stats import Estimate
from ..tables import Bar, Grid, Mark
from .board import AVERAGE, Block, Board, Column, Line, Score
from .ranking import Verdict
from .reference import TITLE, ReferenceLine, reference_lines, what_does_not_match

DASH = "–"


def grids_of(board: Board, reference: str | None) -> list[Grid]:
    """All tables: for each block the leaderboard, tokens, tool calls, and cost if there are prices.

    Args:
        board: The leaderboard.
        reference: `paper` for the paper's rows; None for none.

    Raises:
        UsageError: for another reference.
    """
    found: list[Grid] = []
    for index, block in enumerate(board.blocks):
        lines = reference_lines(reference, block.columns, block.quality)
        of = f" of {', '.join(block.runs)}" if len(board.blocks) > 1 else ""
        grids = [_scores(board, block, lines, of), _tokens(block, lines, of), _tools(block, of)]
        if board.prices is not None:
            grids.append(_costs(block, of))
        if index:
            grids[0].notes.append("another protocol than the table before: not to be compared")
        found += [grid for grid in grids if len(grid.names) > 2]
    return found


def names_of(block: Block) -> list[tuple[str, str]]:
    """Memory and model of each line; those of one name are told apart by their runs."""
    names = [(line.entry.memory, line.entry.model) for line in block.lines]
    return [
        (f"{name[0]} ({'+'.join(line.entry.runs)})", name[1]) if names.count(name) > 1 else name
        for name, line in zip(names, block.lines, strict=True)
    ]


# --- the leaderboard --------------------------------------------------------------------------


def _scores(board: Board, block: Block, reference: list[ReferenceLine], of: str) -> Grid:
    columns = [column.id for column in block.columns]
    heads = [_head(column) for column in block.columns]
    if block.averaged:
        columns.append(AVERAGE)
        heads.append("average ± SE, %")
    columns += [column.id for column in block.quality]
    heads += [column.name for column in block.quality]
    by_id = {column.id: column for column in (*block.columns, *block.quality)}
    rows = [
        (*names, *(_score_cell(line, by_id.get(column)) for column in columns))
        for names, line in zip(names_of(block), block.lines, strict=True)
    ]
    marks: dict[tuple[int, int], Mark] = {}
    for place, line in enumerate(block.lines):
        for at, column in enumerate(columns):
            mark = block.marks.get((place, column))
            if _is_weak(board, line, column):
                mark = "weak"
            if mark is not None:
                marks[place, at + 2] = mark
    reference = [one for one in reference if one.scores]
    sections = {len(rows): TITLE} if reference else {}
    rows += [
        (f"{one.memory} ({one.method})", one.model, *(_told(one, by_id.get(c), c) for c in columns))
        for one in reference
    ]
    notes = _notes(board, block)
    if reference:
        notes += what_does_not_match(block.columns)
    names = ("memory", "model", *heads)
    bars = _bars(block, [by_id.get(column) for column in columns], reference, columns)
    return Grid(f"Leaderboard{of}", names, rows, 2, notes, marks, sections, bars)


def _bars(
    block: Block, columns: Sequence[Column | None], reference: list[ReferenceLine], ids: list[str]
) -> dict[tuple[int, int], Bar]:
    """What is drawn: the shares, those of the reference without an interval."""
    found: dict[tuple[int, int], Bar] = {}
    for place, line in enumerate(block.lines):
        for at, column in enumerate(columns, 2):
            score = None if column is None else line.scores.get(column.id)
            if column is None and line.average is not None:
                found[place, at] = (line.average.value, None, None)
            elif column is not None and column.share and score is not None:
                found[place, at] = _bar(score.estimate)
    for place, one in enumerate(reference, len(block.lines)):
        for at, id_ in enumerate(ids, 2):
            if id_ in one.scores:
                found[place, at] = (one.scores[id_], None, None)
    return found


def _bar(found: Estimate) -> Bar:
    if math.isnan(found.low):
        return found.value, None, None
    return found.value, found.low, found.high


def _head(column: Column) -> str:
    return f"{column.name}, %" if column.share else column.name


def number(value: float, column: Column | None) -> str:
    """A score as its column shows it: shares of success in percent, quality as a share."""
    if column is not None and (not column.share or column.score == "quality.mq"):
        return f"{value:.3f}"
    return f"{100 * value:.1f}"


def _score_cell(line: Line, column: Column | None) -> str:
    if column is None:  # the average
        if line.average is None:
            return DASH
        se = line.average.se
        return number(line.average.value, None) + (f" ± {100 * se:.1f}" if se is not None else "")
    score = line.scores.get(column.id)
    if score is None:
        scored, planned = line.planned.get(column.env, (0, 0))
        return f"{DASH} ({scored}/{planned})" if planned and scored < planned else DASH
    found = score.estimate
    text = number(found.value, column)
    if not math.isnan(found.low):
        text += f" [{number(found.low, column)}, {number(found.high, column)}]"
    return text + (f" ({found.n}/{score.n_planned})" if found.n < score.n_planned else "")


def _told(one: ReferenceLine, column: Column | None, id_: str) -> str:
    value = one.scores.get(id_)
    return DASH if value is None else number(value, column)


def _notes(board: Board, block: Block) -> list[str]:
    said = ["[…]: 95% interval; (n/N): scored of planned episodes, where not all are"]
    if block.averaged:
        said.append("average: of the environments, each of the same weight, ± its standard error")
    said += _rule(board, block)
    if any(_weak(board, score) for line in block.lines for score in line.scores.values()):
        said.append(
            f"? scored below {100 * board.min_coverage:g}% of the planned episodes: never ranked"
        )
    return said + block.notes + _protocols(block)


def _weak(board: Board, score: Score) -> bool:
    return score.coverage < board.min_coverage


def _is_weak(board: Board, line: Line, column: str) -> bool:
    """Whether too few of its episodes were scored for a cell to be ranked."""
    if column == AVERAGE:
        return line.average is not None and not line.average_ranked
    return column in line.scores and _weak(board, line.scores[column])


def _rule(board: Board, block: Block) -> list[str]:
    if not block.verdicts:
        return ["nothing is marked: it takes two rows that can be ranked"]
    level = f"{board.alpha:g}"
    said = [
        "★ (bold) best, ☆ (underlined) second best, ≈ two at the top that cannot be told apart: "
        "only where the "
        f"difference to every row below is significant at {level}, paired over shared episodes, "
        f"Holm-corrected over the {len(block.verdicts)} claims of this table"
        + ("" if block.marks else "; here none is")
    ]
    said += [_strength(block, verdict) for verdict in block.verdicts if verdict.claim == "first"]
    said.append(
        "MDE: the least difference that such a test finds with 80% power, at the level that Holm "
        "asks of the least p"
    )
    return said


def _strength(block: Block, verdict: Verdict) -> str:
    """What the test could have found: the least detectable effect, and the power for 10 points."""
    test, names = verdict.closest, names_of(block)
    first, other = names[verdict.leaders[0]], names[verdict.against]
    who = [one[0] if first[1] == other[1] else ", ".join(one) for one in (first, other)]
    said = f"{_name(block, verdict.column)}: {who[0]} against {who[1]}: "
    if not test.n_pairs:
        return said + "they share no episodes"
    said += (
        f"{100 * test.change:+.1f} points, p = {verdict.p_holm:.2g} (Holm), {test.n_pairs} pairs"
    )
    if not math.isnan(test.mde):
        said += f"; MDE {100 * test.mde:.1f} points"
    if test.power is not None:
        said += f", power for {100 * test.effect:.0f} points {test.power:.2f}"
    return said


def _name(block: Block, column: str) -> str:
    names = {c.id: c.name for c in (*block.columns, *block.quality)}
    return names.get(column, column)


def _protocols(block: Block) -> list[str]:
    """Lines that say what was played, one an environment."""
    said = []
    for column in block.columns:
        frame = next(
            e.frames[column.env] for line in block.lines if column.env in (e := line.entry).frames
        )
        protocol = frame.protocol
        said.append(
            f"{protocol.env} {protocol.env_version}: {protocol.n_tasks} tasks of "
            f"{protocol.split}, data {protocol.data_hash}, protocol {protocol.protocol_hash}"
        )
    return said


# --- tokens, tools, cost ----------------------------------------------------------------------


def _tokens(block: Block, reference: list[ReferenceLine], of: str) -> Grid:
    roles = list(dict.fromkeys(role for line in block.lines for role in line.tokens))
    kinds = [
        (role, kind)
        for role in roles
        for kind in ("prompt", "completion")
        if any(getattr(line.tokens[role], kind) for line in block.lines if role in line.tokens)
    ]
    heads = [f"{role} {kind}".replace("completion", "output") for role, kind in kinds]
    rows = []
    for names, line in zip(names_of(block), block.lines, strict=True):
        values = [getattr(line.tokens[r], k) if r in line.tokens else 0 for r, k in kinds]
        rows.append((*names, *(_count(line, value) for value in values)))
    told = [one for one in reference if one.prompt_tokens is not None]
    sections = {len(rows): TITLE} if told and ("agent", "prompt") in kinds else {}
    if sections:
        rows += [
            (
                f"{one.memory} ({one.method})",
                one.model,
                *(f"{one.prompt_tokens:,.0f}" if k == ("agent", "prompt") else DASH for k in kinds),
            )
            for one in told
        ]
    notes = ["means of a scored episode; over several environments, each of the same weight"]
    if any(line.estimated for line in block.lines):
        notes.append("~ estimated: the model reports none")
    return Grid(f"Tokens an episode{of}", ("memory", "model", *heads), rows, 2, notes, {}, sections)


def _count(line: Line, value: float) -> str:
    if not line.tokens:
        return DASH
    return f"{'~' if line.estimated and value else ''}{value:,.0f}"


def _tools(block: Block, of: str) -> Grid:
    tools = sorted({tool for line in block.lines for tool in line.tool_calls})
    rows = []
    for names, line in zip(names_of(block), block.lines, strict=True):
        cells = []
        for tool in tools:
            calls, failed = line.tool_calls.get(tool, (0.0, 0.0))
            cells.append(f"{calls:.2f}" + (f" ({failed:.2f} failed)" if failed else ""))
        if line.tool_calls:
            rows.append((*names, *cells))
    return Grid(f"Tool calls an episode{of}", ("memory", "model", *tools), rows)


def _costs(block: Block, of: str) -> Grid:
    costs = [line.cost for line in block.lines]
    roles = list(dict.fromkeys(role for cost in costs if cost for role in cost.roles))
    rows = []
    for names, cost in zip(names_of(block), costs, strict=True):
        by_role = cost.roles if cost else {}
        cells = [_dollars(by_role.get(role, 0.0 if by_role else None)) for role in roles]
        total, spent = (cost.total, cost.spent) if cost else (None, None)
        rows.append((*names, *cells, _dollars(total), _dollars(spent)))
    heads = (*roles, "total", "spent in all")
    notes = ["dollars a scored episode; total: all roles but the judge; spent: all episodes"]
    missing = dict.fromkeys(what for cost in costs if cost for what in cost.unpriced)
    notes += [f"{DASH}: no price for {', '.join(missing)}"] if missing else []
    return Grid(f"Cost, dollars an episode{of}", ("memory", "model", *heads), rows, 2, notes)


def _dollars(value: float | None) -> str:
    """Four significant digits, without an exponent."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    return f"{value:.{max(2, 3 - math.floor(math.log10(value)))}f}"
