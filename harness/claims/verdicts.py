"""What became of each claim: an estimate, its interval, and a verdict by a rule stated beforehand.

A part is a difference, new minus base: of each task the mean over its repeats and over the seeds of
the training, of several bases their mean, over task sets of the same weight the mean. Tasks are
paired. The interval is of 95%, by `stats.levels`. The rule: `confirmed` if the interval excludes 0
in the claim's direction, `refuted` if in the other, else `undecided`. A claim is confirmed if all
its parts are, refuted if one is, else undecided. Holm's correction over all parts of all claims
stands beside; it changes no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ..analysis import MIN_COVERAGE
from ..stats import Block, Estimate, estimate, holm, macro_average, mean, two_levels
from ..stats.levels import Levels
from .episodes import A_CALL, About, CellData, Data
from .experiment import SCORE, CellId, Claim, Experiment, Part, reported_values

ALPHA = 0.05
Verdict = Literal["confirmed", "refuted", "undecided"]
RULE = (
    "confirmed: the 95% interval of the difference excludes 0 in the claim's direction; refuted: "
    "in the other; undecided: neither. A claim of several parts is confirmed if all of them are, "
    "and refuted if one is."
)
HOLM = (
    "Holm's correction is over all parts of all claims that were measured; it stands beside the "
    "verdicts and changes none. What stands beside a claim (exploratory) is not among them."
)
SIGNS: dict[Verdict, tuple[str, str]] = {  # of what is not tested: by its direction
    "confirmed": ("above 0", "below 0"),
    "refuted": ("below 0", "above 0"),
    "undecided": ("", ""),
}
CHECK = "an expert acts: a check of the path, no measure"
_COUNTS = ("tool_calls.", "tool_failed.", "tokens.", "memory_entries")  # 0 and 1 are no rate here


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one part."""

    id: str  # of the claim and the part's number: `d2`; beside it: `d+1`
    part: Part
    verdict: Verdict
    why: str = ""  # why it is undecided, where that is not for the interval
    difference: Estimate | None = None
    p: float = math.nan
    p_holm: float = math.nan
    new: float = math.nan  # the means that are compared
    base: float = math.nan
    by_task: Mapping[str, Estimate] | None = None  # the difference in each task set
    by_seed: Mapping[str, tuple[float, ...]] | None = None  # new's mean of each seed, and base's
    paper: Mapping[str, float] | None = None  # theirs, by their model
    seeds: Mapping[str, int] | None = None  # checkpoints of each player

    @property
    def holds(self) -> bool:
        """Whether it would still be decided under Holm's correction."""
        return self.p_holm <= ALPHA

    @property
    def sign(self) -> str:
        """On which side of 0 the interval is; empty if it holds 0, or there is none."""
        return SIGNS[self.verdict][self.part.direction == "down"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim and what came of it."""

    name: str
    claim: Claim
    verdict: Verdict
    why: str
    parts: tuple[Found, ...]
    beside: tuple[Found, ...]

    @property
    def holds(self) -> bool | None:
        """Whether the verdict would be the same under Holm's correction; None of no verdict."""
        if self.verdict == "undecided":
            return None
        of = [part.holds for part in self.parts if part.verdict == self.verdict]
        return all(of) if self.verdict == "confirmed" else any(of)


def judge(experiment: Experiment, data: Data) -> list[Judged]:
    """The verdict of every claim.

    Args:
        experiment: The claims.
        data: The episodes; a cell that is not in it was not measured.
    """
    found = {
        name: (
            [_found(experiment, data, f"{name}{i}", p) for i, p in enumerate(claim.parts, 1)],
            [_found(experiment, data, f"{name}+{i}", p) for i, p in enumerate(claim.beside, 1)],
        )
        for name, claim in experiment.claims.items()
    }
    parts = [part for own, _ in found.values() for part in own]
    corrected = dict(zip([p.id for p in parts], holm([p.p for p in parts]), strict=True))
    judged = []
    for name, (own, beside) in found.items():
        own = [replace(part, p_holm=corrected[part.id]) for part in own]
        verdict, why = _of_claim(own)
        claim = experiment.claims[name]
        judged.append(Judged(name, claim, verdict, why, tuple(own), tuple(beside)))
    return judged


def _of_claim(parts: Sequence[Found]) -> tuple[Verdict, str]:
    by_why: dict[str, list[str]] = {}
    for part in parts:
        if part.why:
            by_why.setdefault(part.why, []).append(part.id)
    whys = "; ".join(f"{', '.join(ids)}: {why}" for why, ids in by_why.items())
    verdicts = {part.verdict for part in parts}
    if "refuted" in verdicts:
        return "refuted", ""
    return ("confirmed", "") if verdicts == {"confirmed"} else ("undecided", whys)


# --- one part ---------------------------------------------------------------------------------


def _found(experiment: Experiment, data: Data, id_: str, part: Part) -> Found:
    paper = reported_values(part.paper) if part.paper is not None else None
    nothing = Found(id_, part, "undecided", paper=paper)
    if lacking := _lacking(experiment, data, part):
        return replace(nothing, why=lacking)
    groups = {task: _group(experiment, data, part, task) for task in part.over}
    if lacking := _short(experiment, part, groups):
        return replace(nothing, why=lacking)
    weight = 1 / len(groups)
    levels = two_levels([_weighted(blocks, weight) for blocks in groups.values()])
    by_task = {task: two_levels([blocks]).estimate for task, blocks in groups.items()}
    new, base = (
        math.fsum(_side(blocks, first) for blocks in groups.values()) * weight
        for first in (True, False)
    )
    known = replace(
        nothing, difference=levels.estimate, p=levels.p, new=new, base=base, by_task=by_task,
        by_seed=_by_seed(part, groups), seeds=_seeds(part, groups),
    )  # fmt: skip
    cells = [data[c] for task in part.over for c in _cells(experiment, task, part.players)]
    if any(cell.about.oracle for cell in cells):
        return replace(known, why=CHECK)
    verdict, why = _verdict(levels, part)
    return replace(known, verdict=verdict, why=why)


def _verdict(levels: Levels, part: Part) -> tuple[Verdict, str]:
    """By the rule; too few tasks never decide, however alike they are."""
    found = levels.estimate
    if math.isnan(levels.p) or 2.0 ** (1 - found.n_tasks) > ALPHA:
        return "undecided", f"too few tasks: {found.n_tasks}"
    up = part.direction == "up"
    if found.low > 0:
        return ("confirmed" if up else "refuted"), ""
    if found.high < 0:
        return ("refuted" if up else "confirmed"), ""
    return "undecided", "the interval holds 0"


def _cells(experiment: Experiment, task: str, players: Sequence[str]) -> Iterator[CellId]:
    for player in players:
        n = len(experiment.models[experiment.players[player].model].specs)
        yield from (CellId(task, player, seed) for seed in range(n))


def _lacking(experiment: Experiment, data: Data, part: Part) -> str:
    """What of a part was not measured; empty if nothing."""
    problems, replaced = [], _replaced(data)
    for task in part.over:
        played = []
        for cell in _cells(experiment, task, part.players):
            there = data.get(cell)
            if there is None:
                problems.append(f"not measured: {cell.task}/{cell.player}/{cell.seed}")
            elif there.about.problem:
                problems.append(there.about.problem)
            elif there.about.spec in replaced:
                problems.append(f"{there.about.spec} is another checkpoint in other cells")
            else:
                played.append(there.about)
        problems += _unlike(task, played)
    more = f" and {len(problems) - 1} more cells" if len(problems) > 1 else ""
    return problems[0] + more if problems else ""


def _short(experiment: Experiment, part: Part, groups: Mapping[str, Sequence[Block]]) -> str:
    """Task sets of which too few tasks have a value of all that are compared; empty if none has.

    What each cell lacks may be other tasks, and those that break are seldom the easy ones.
    """
    for task, blocks in groups.items():
        paired, of = blocks[0].values.shape[1], experiment.tasks[task].episodes
        if not paired:
            return f"not measured: {part.measure} of {task}"
        if paired < MIN_COVERAGE * of:
            return f"{part.measure} of {task}: {paired} of {of} tasks have a value of all compared"
    return ""


def _replaced(data: Data) -> set[str]:
    """The checkpoints that were not the same one in all cells of theirs."""
    hashes: dict[tuple[str, str], set[str]] = {}
    for cell in data.values():
        if cell.about.scored:
            known = hashes.setdefault((cell.about.spec, cell.about.named), set())
            known.add(cell.about.model_hash)
    return {spec for (spec, _), known in hashes.items() if len(known) > 1}


def _unlike(task: str, played: Sequence[About]) -> Iterator[str]:
    """Cells of one task set are of one protocol and memory, and seeds of a training differ."""
    protocols = {(a.env, a.env_version, a.split, a.data_hash, a.protocol_hash) for a in played}
    if len(protocols) > 1:
        yield f"{task} was played under different protocols"
    memories: dict[str, str] = {}
    for about in played:
        if memories.setdefault(about.memory, about.memory_hash) != about.memory_hash:
            yield f"{task} was played by different versions of {about.memory}"
    models: dict[tuple[str, str], str] = {}
    for about in played:
        other = models.setdefault((about.memory + about.model, about.model_hash), about.cell)
        if other != about.cell and not about.oracle:
            yield f"{other} and {about.cell} are of the same checkpoint"


def measure_of(experiment: Experiment, measure: str, task: str) -> str:
    """The column that a measure is in a task set."""
    return experiment.tasks[task].score if measure == SCORE else measure


def _group(experiment: Experiment, data: Data, part: Part, task: str) -> list[Block]:
    """New and the bases on the tasks that all of them have a value for."""
    column = measure_of(experiment, part.measure, task)
    of_player = {
        player: [data[cell].by_task(column) for cell in _cells(experiment, task, (player,))]
        for player in part.players
    }
    everywhere = set.intersection(*(set(of) for seeds in of_player.values() for of in seeds))
    names = sorted(everywhere)
    weights = [1.0, *(-1 / len(part.base) for _ in part.base)]
    return [
        Block(
            np.array([[of[name] for name in names] for of in of_player[player]]),
            experiment.players[player].model,
            weight,
        )
        for player, weight in zip(part.players, weights, strict=True)
    ]


def _weighted(blocks: Sequence[Block], weight: float) -> list[Block]:
    return [replace(block, weight=block.weight * weight) for block in blocks]


def _side(blocks: Sequence[Block], first: bool) -> float:
    """The mean of new, or of the bases."""
    own = blocks[:1] if first else blocks[1:]
    return math.fsum(float(block.values.mean()) for block in own) / len(own)


def _by_seed(part: Part, groups: Mapping[str, Sequence[Block]]) -> dict[str, tuple[float, ...]]:
    """The mean over all task sets of each seed, by player, where there are several."""
    found = {}
    for i, player in enumerate(part.players):
        means = np.mean([blocks[i].values.mean(axis=1) for blocks in groups.values()], axis=0)
        if len(means) > 1:
            found[player] = tuple(means.tolist())
    return found


def _seeds(part: Part, groups: Mapping[str, Sequence[Block]]) -> dict[str, int]:
    """How many checkpoints of each player."""
    blocks = next(iter(groups.values()))
    counts = (block.values.shape[0] for block in blocks)
    return dict(zip(part.players, counts, strict=True))


# --- cells ------------------------------------------------------------------------------------


def cell_estimate(
    experiment: Experiment, data: Data, player: str, tasks: Sequence[str], measure: str
) -> Estimate | None:
    """The mean of a player over task sets of the same weight; None where something is lacking."""
    groups = []
    for task in tasks:
        seeds = [data.get(cell) for cell in _cells(experiment, task, (player,))]
        column = measure_of(experiment, measure, task)
        if any(cell is None or not cell.ids for cell in seeds):
            return None
        groups.append([(cell, column) for cell in seeds if cell is not None])
    parts = [found for group in groups if (found := _by_tasks(group)) is not None]
    blocks = [_block(experiment.players[player].model, group) for group in groups]
    if len(parts) < len(groups) or any(not block.values.size for block in blocks):
        return None
    known = parts[0] if len(parts) == 1 else macro_average(parts)
    if len(groups[0]) == 1:
        return known
    # Of all seeds alike the second level tells nothing, and that of rates knows 0 and 1.
    levels = two_levels([_weighted([block], 1 / len(blocks)) for block in blocks]).estimate
    low, high = min(known.low, levels.low), max(known.high, levels.high)
    return replace(levels, low=low, high=high)


def _by_tasks(group: Sequence[tuple[CellData, str]]) -> Estimate | None:
    """The checkpoints of a player on one task set, as all tables have it: by task."""
    column = group[0][1]
    values = np.concatenate([cell.values(column) for cell, _ in group])
    ids = [task for cell, _ in group for task in cell.ids]
    there = ~np.isnan(values)
    tasks = [task for task, counts in zip(ids, there, strict=True) if counts]
    interval = mean if column.startswith(_COUNTS) or column == A_CALL else estimate
    return interval(values[there], tasks)


def _block(model: str, group: Sequence[tuple[CellData, str]]) -> Block:
    seeds = [cell.by_task(column) for cell, column in group]
    names = sorted(set.intersection(*(set(of) for of in seeds)))
    return Block(np.array([[of[name] for name in names] for of in seeds]), model)
