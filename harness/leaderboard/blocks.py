"""Which cells may stand in one table: runs of one protocol, and each cell once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..analysis import CellFrame, merge_frames, protocol_differences
from ..errors import UsageError

LineId = tuple[str, str, str, str]  # memory, its hash, model, its hash


@dataclass(frozen=True, slots=True)
class Entry:
    """What is ranked: a memory with a model, in the environments it was measured in."""

    memory: str
    model: str
    frames: dict[str, CellFrame]  # by environment

    @property
    def runs(self) -> list[str]:
        """The names of the runs that it is from."""
        return list(dict.fromkeys(r for f in self.frames.values() for r in f.run.split("+")))


def blocks_of(runs: Sequence[Sequence[CellFrame]], allow_mixed: bool) -> list[list[Entry]]:
    """The entries of each table.

    Args:
        runs: The cells of each run.
        allow_mixed: Whether runs of different protocols make tables apart.

    Raises:
        UsageError: if runs differ in their protocol, or hold the same episodes.
    """
    blocks: list[list[CellFrame]] = []
    for frames in runs:
        refusals = []
        for block in blocks:
            refusal = _difference(block, frames)
            if refusal is None:
                block.extend(frames)
                break
            refusals.append(refusal)
        else:
            if refusals and not allow_mixed:
                raise UsageError(f"{refusals[0]}; --allow-mixed sets them in tables apart")
            blocks.append(list(frames))
    return [_entries(block) for block in blocks]


def _difference(block: Sequence[CellFrame], frames: Sequence[CellFrame]) -> str | None:
    """What keeps a run out of a block; None: nothing."""
    protocols = {frame.protocol.env: frame for frame in block}
    for frame in frames:
        known = protocols.get(frame.protocol.env)
        if known is not None and known.protocol.id != frame.protocol.id:
            found = "; ".join(protocol_differences(known.protocol, frame.protocol))
            return (
                f"the runs {known.run} and {frame.run} cannot be ranked together, since in "
                f"{frame.protocol.env} they differ in {found or 'the protocol'}"
            )
    return None


def _entries(frames: Sequence[CellFrame]) -> list[Entry]:
    found: dict[LineId, dict[str, list[CellFrame]]] = {}
    for frame in frames:
        base = frame.base
        line = (base.memory, base.memory_hash, base.model, base.model_hash)
        found.setdefault(line, {}).setdefault(base.env, []).append(frame)
    return [
        Entry(memory, model, {env: _pooled(cells) for env, cells in by_env.items()})
        for (memory, _, model, _), by_env in found.items()
    ]


def _pooled(cells: Sequence[CellFrame]) -> CellFrame:
    """One cell of those of several runs, whose tasks are the same.

    Raises:
        UsageError: if an episode is planned in two of them: it would count twice.
    """
    seen: dict[tuple[int, int, int | None], str] = {}
    for frame in cells:
        cell = frame.cell
        for repeat in range(cell.repeats):
            for order in cell.order_seeds or (None,):
                key = (frame.base.seed, repeat, order)
                if key in seen:
                    where = f"{frame.base.env}, {frame.base.memory}, {frame.base.model}"
                    raise UsageError(
                        f"the runs {seen[key]} and {frame.run} hold the same episodes of {where} "
                        f"(seed {key[0]}, repeat {repeat}), and none counts twice: leave one run "
                        "out, or play it with another --seed"
                    )
                seen[key] = frame.run
    return merge_frames(cells)
