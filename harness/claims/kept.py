"""Cells whose episodes are kept as data: an experiment may be played in parts, here and there.

`claims play --kept DIR` leaves out what DIR has whole, `claims write --out DIR` adds the runs at
hand to what DIR has. A cell counts as a whole, from where more of it was scored: its episodes are
never put together from two plays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError, UsageError
from ..records import EpisodeKey
from ..reproduce.jobs import Job
from .cells import CellRun
from .episodes import About, Data, kept_cells, name_of, read_data
from .experiment import Experiment

# What a cell was played as, in the words of `cells.tsv` and for people.
_PLAYED_AS = {
    "data_hash": "other data",
    "memory_hash": "another memory",
    "model_hash": "another checkpoint",
    "protocol_hash": "other settings",
    "env_version": "another version of its environment",
}


def left_to_play(
    jobs: Sequence[Job], runs: Sequence[CellRun], experiment: Experiment, folder: Path
) -> list[Job]:
    """The jobs of which a cell is not kept whole in a folder.

    Args:
        jobs: Planned runs.
        runs: The cells they are of; several may be of one run.
        experiment: Whose cells.
        folder: What `claims write` wrote.

    Raises:
        DataError: if the folder keeps no episodes, or is broken.
        UsageError: if it keeps a cell that was played as another one than is planned.
    """
    if not (kept := kept_cells(folder)):
        raise DataError(f"no episodes are kept in {folder}: leave --kept out, or name another")
    planned, left, whole = {job.name: job for job in jobs}, set[str](), list[CellRun]()
    for run in runs:
        about = kept.get(name_of(run.id))
        if (job := planned.get(run.name)) is None:
            continue  # its environment is not installed
        if about is None or not about.scored:
            left.add(run.name)
        elif why := _other_run(about, run.name) or _unlike(about, job.cell.base):
            raise UsageError(
                f"{folder} keeps {about.cell} as it was played with {why} than now: leave --kept "
                "out to play it again"
            )
        elif about.scored < job.planned:
            left.add(run.name)
        else:
            whole.append(run)
    if whole:
        read_data(folder, experiment, [run.id for run in whole])  # for what is not to be played
    return [job for job in jobs if job.name in left]


def with_kept(data: Data, experiment: Experiment, folder: Path, *, replace: bool = False) -> Data:
    """What was gathered from runs, and in its place what a folder keeps more episodes of.

    Args:
        data: All cells of the experiment, played or not.
        experiment: Its definition.
        folder: What `claims write` wrote; nothing may be there.
        replace: Whether kept cells that do not fit the definition or the runs are lost.

    Raises:
        DataError: for a folder that is broken.
        UsageError: if it keeps a cell that does not fit, unless these are replaced.
    """
    kept = {name: about for name, about in kept_cells(folder).items() if about.scored}
    cells = {cell.about.cell: (id_, cell.about) for id_, cell in data.items()}
    hashes = {
        (about.spec, about.named): about.model_hash for _, about in cells.values() if about.scored
    }
    taken = []
    for name, about in kept.items():
        id_, now = cells.get(name, (None, None))
        if why := _misfit(about, now, hashes):
            if replace:
                continue
            raise UsageError(
                f"{folder} keeps episodes of {name}, {why}: give --replace to lose what does not "
                "fit, or another --out"
            )
        if id_ is not None and now is not None and about.scored > now.scored:
            taken.append(id_)
    return data | read_data(folder, experiment, taken) if taken else data


def _misfit(kept: About, now: About | None, hashes: dict[tuple[str, str], str]) -> str:
    """Why a kept cell is none of what is written now; empty if it is.

    Args:
        kept: The cell.
        now: The same by the definition and the runs.
        hashes: Of the checkpoints that the runs were played with, by spec and name.
    """
    if now is None:
        return "which the experiment does not have"
    why = _other_run(kept, now.run)
    if not why and now.scored:
        why = _unlike(kept, now)
    if not why and hashes.get((kept.spec, kept.named), kept.model_hash) != kept.model_hash:
        why = _PLAYED_AS["model_hash"]
    return f"played with {why} than now" if why else ""


def _other_run(kept: About, name: str) -> str:
    """A run's name tells all of its settings, and of its tasks which and how many."""
    return "other settings" if kept.run != name else ""


def _unlike(kept: About, now: About | EpisodeKey) -> str:
    for name, what in _PLAYED_AS.items():
        if getattr(kept, name) != getattr(now, name):
            return what
    return ""
