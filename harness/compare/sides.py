"""What is compared: two runs or baselines, and which cell is held against which."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..analysis import CellFrame, load_frames, protocol_differences, run_directory
from ..errors import UsageError, unknown_name
from ..plan import Cell
from ..records import EpisodeKey
from .baseline import load_baseline

Short = tuple[str, int, int, int | None]  # of a key within a cell: task, seed, repeat, order


@dataclass(frozen=True, slots=True)
class Side:
    """A run, or a pinned baseline."""

    name: str
    frames: list[CellFrame]
    pinned: bool


@dataclass(frozen=True, slots=True)
class CellPair:
    """A cell of BASE and the one of NEW that is held against it."""

    base: CellFrame
    new: CellFrame
    both: frozenset[Short]  # the episodes that both were to play
    notes: tuple[str, ...]  # what else differs between them, in one line each

    @property
    def env(self) -> str:
        """`alfworld/generated`."""
        return f"{self.base.base.env}/{self.base.base.split}"

    @property
    def memory(self) -> str:
        """The memory; both where they differ."""
        return _both(self.base.base.memory, self.new.base.memory)

    @property
    def model(self) -> str:
        """The model; both where they differ."""
        return _both(self.base.base.model, self.new.base.model)


@dataclass(slots=True)
class Pairing:
    """Which cell is held against which, and what has no counterpart."""

    pairs: list[CellPair] = field(default_factory=list)
    missing: list[CellFrame] = field(default_factory=list)  # of BASE, that NEW has not
    extra: list[CellFrame] = field(default_factory=list)  # of NEW, that BASE has not


def short(key: EpisodeKey) -> Short:
    """What tells an episode from the others of its cell."""
    return key.task, key.seed, key.repeat, key.order_seed


def _planned(cell: Cell) -> Iterator[Short]:
    """The episodes of a cell; without its keys, which take most of the time of a comparison."""
    for order in cell.order_seeds or (None,):
        for repeat in range(cell.repeats):
            yield from ((task.id, cell.base.seed, repeat, order) for task in cell.tasks)


def open_side(given: str, runs_dir: Path, baselines: Path) -> Side:
    """A run by name or path, or a baseline by name or path.

    Raises:
        UsageError: if there is neither, or both are of that name.
        DataError: for what is no run or baseline, damaged, or of a newer version.
    """
    path = Path(given)
    if os.path.isfile(path):
        return Side(path.stem, load_baseline(path), pinned=True)
    pinned = baselines / f"{given}.json"
    is_run = os.path.isdir(path) or os.path.isdir(runs_dir / given)
    if os.path.isfile(pinned):
        if is_run:
            raise UsageError(
                f"{given!r} names a run and a baseline: write {pinned} for the baseline, or the "
                "run's path"
            )
        return Side(given, load_baseline(pinned), pinned=True)
    if not is_run:
        runs = [p.name for p in runs_dir.iterdir() if p.is_dir()] if runs_dir.is_dir() else []
        known = [p.stem for p in baselines.glob("*.json")] if baselines.is_dir() else []
        raise unknown_name("run or baseline", given, {*runs, *known})
    directory = run_directory(given, runs_dir)
    return Side(directory.resolve().name, load_frames(directory), pinned=False)


def pair_cells(
    base: Side,
    new: Side,
    *,
    base_memory: str | None = None,
    new_memory: str | None = None,
    allow_mixed: bool = False,
) -> Pairing:
    """Hold each cell of BASE against one of NEW, environment by environment.

    Cells of the same memory are held against each other; where each side has one memory in an
    environment, these are, whatever they are called.

    Args:
        base: To hold against.
        new: To judge.
        base_memory: Take this memory of BASE alone, by its label or registered name.
        new_memory: Take this memory of NEW alone.
        allow_mixed: Hold cells of different protocols against each other too.

    Raises:
        UsageError: where it is not clear which are to be, nothing is left to compare, or
            protocols differ.
    """
    of_base = _of_memory(base, base_memory, "--base-memory")
    of_new = _of_memory(new, new_memory, "--new-memory")
    pairing = Pairing()
    for env in dict.fromkeys(frame.base.env for frame in (*of_base, *of_new)):
        ours = [frame for frame in of_base if frame.base.env == env]
        theirs = [frame for frame in of_new if frame.base.env == env]
        found, ours, theirs = _matched(ours, theirs)
        if ours and theirs:
            raise _unclear(env, ours, theirs)
        pairing.pairs += [_pair(a, b, allow_mixed) for a, b in found]
        pairing.missing += ours
        pairing.extra += theirs
    if not pairing.pairs:
        raise UsageError(
            f"{base.name} and {new.name} have no environment in common: "
            f"{_envs(of_base)} and {_envs(of_new)}"
        )
    return pairing


def _of_memory(side: Side, memory: str | None, flag: str) -> list[CellFrame]:
    if memory is None:
        return side.frames
    found = [f for f in side.frames if memory in (f.base.memory, f.cell.memory_name)]
    if not found:
        known = {f.base.memory for f in side.frames}
        raise unknown_name(f"{flag} of {side.name}", memory, known)
    return found


def _matched(
    ours: list[CellFrame], theirs: list[CellFrame]
) -> tuple[list[tuple[CellFrame, CellFrame]], list[CellFrame], list[CellFrame]]:
    """Pairs, the most alike first, and what is left of each side."""
    all_ours, alone = ours, len(ours) == len(theirs) == 1
    pairs: list[tuple[CellFrame, CellFrame]] = []
    kinds: list[Callable[[CellFrame], Hashable]] = [
        lambda f: (f.base.memory, f.cell.memory_name),
        lambda f: f.base.memory,
        lambda f: f.cell.memory_name,  # e.g. agemem, whose label tells whether it is trained
    ]
    if alone:
        kinds.append(lambda f: f.base.env)
    for kind in kinds:
        for name in dict.fromkeys(map(kind, ours)):
            a = [frame for frame in ours if kind(frame) == name]
            b = [frame for frame in theirs if kind(frame) == name]
            if len(a) == len(b) == 1:
                pairs.append((a[0], b[0]))
                ours = [frame for frame in ours if frame is not a[0]]
                theirs = [frame for frame in theirs if frame is not b[0]]
    order = {id(frame): place for place, frame in enumerate(all_ours)}
    return sorted(pairs, key=lambda pair: order[id(pair[0])]), ours, theirs


def _unclear(env: str, ours: list[CellFrame], theirs: list[CellFrame]) -> UsageError:
    a, b = (", ".join(frame.base.memory for frame in frames) for frames in (ours, theirs))
    return UsageError(
        f"{env}: BASE has {a} and NEW has {b} without a counterpart: choose one of each with "
        f"--base-memory {ours[0].base.memory} --new-memory {theirs[0].base.memory}"
    )


def _pair(a: CellFrame, b: CellFrame, allow_mixed: bool) -> CellPair:
    """Two cells, and what differs between them; first of all their protocols.

    Raises:
        UsageError: if those differ and may not, or no episode is planned in both.
    """
    notes: list[str] = []
    if a.protocol.id != b.protocol.id:
        why = "; ".join(protocol_differences(a.protocol, b.protocol)) or "the protocol"
        if not allow_mixed:
            raise UsageError(
                f"{a.base.env}: BASE and NEW were not played alike ({why}): play NEW as BASE was, "
                "or --allow-mixed compares the episodes that they have in common"
            )
        notes.append(f"NOT PLAYED ALIKE: {why}; only episodes in common are compared")
    both = frozenset(_planned(a.cell)) & frozenset(_planned(b.cell))
    if not both:
        raise UsageError(f"{a.base.env}: BASE and NEW have no episode in common{_why(a, b)}")
    return CellPair(a, b, both, (*notes, *_of_plan(a, b), *_of_parts(a, b)))


def _why(a: CellFrame, b: CellFrame) -> str:
    if a.base.seed != b.base.seed:
        return f": seeds {a.base.seed} and {b.base.seed}; play NEW with --seed {a.base.seed}"
    if a.cell.order_seeds != b.cell.order_seeds:
        return f": orders {list(a.cell.order_seeds)} and {list(b.cell.order_seeds)}"
    return ": none of the tasks is the same"


def _of_plan(a: CellFrame, b: CellFrame) -> list[str]:
    notes = []
    if a.cell.repeats != b.cell.repeats:
        notes.append(f"repeats: {a.cell.repeats} in BASE, {b.cell.repeats} in NEW; those in common")
    if a.cell.order_seeds != b.cell.order_seeds:
        orders = [", ".join(map(str, f.cell.order_seeds)) or "the split's own" for f in (a, b)]
        notes.append(f"orders: {orders[0]} in BASE, {orders[1]} in NEW; those in common")
    if a.cell.lifelong or b.cell.lifelong:
        notes.append("memory kept over streams: p and intervals take tasks of one for independent")
    return notes


def _of_parts(a: CellFrame, b: CellFrame) -> list[str]:
    notes = []
    for what, one, other in (
        ("memory", (a.base.memory, a.base.memory_hash), (b.base.memory, b.base.memory_hash)),
        ("model", (a.base.model, a.base.model_hash), (b.base.model, b.base.model_hash)),
    ):
        if one[0] != other[0]:
            notes.append(f"{what}: {one[0]} in BASE is held against {other[0]} in NEW")
        elif one[1] != other[1]:
            notes.append(f"{what}: {one[0]} in both, not with the same options or version")
    for label in sorted({*a.labels, *b.labels} if a.labels and b.labels else ()):
        one_, other_ = a.labels.get(label, "none"), b.labels.get(label, "none")
        if one_ != other_:
            notes.append(f"{label}: {one_} in BASE, {other_} in NEW")
    return notes


def _envs(frames: Sequence[CellFrame]) -> str:
    return ", ".join(dict.fromkeys(frame.base.env for frame in frames)) or "none"


def _both(one: str, other: str) -> str:
    return one if one == other else f"{one} → {other}"
