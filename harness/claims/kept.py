"""Cells whose episodes are kept as data: an experiment may be played in parts, here and there.

`claims play --kept DIR` leaves out what DIR has whole, `claims write --out DIR` adds the runs at
hand to what DIR has. A cell counts as a whole, from where more of it was scored: its episodes are
never put together from two plays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError, UsageError
from ..reproduce.jobs import Job
from .cells import CellRun
from .episodes import About, Data, kept_cells, name_of, read_data
from .experiment import Experiment

# What a cell was played as, in the words of `cells.tsv` and for people.
_PLAYED_AS = {
    "data_hash": "data",
    "memory_hash": "memory",
    "model_hash": "checkpoint",
    "protocol_hash": "settings",
    "env_version": "version of the environment",
}


def left_to_play(jobs: Sequence[Job], runs: Sequence[CellRun], folder: Path) -> list[Job]:
    """The jobs of which a cell is not kept whole in a folder.

    Args:
        jobs: Planned runs.
        runs: The cells they are of; several may be of one run.
        folder: What `claims write` wrote.

    Raises:
        DataError: if the folder keeps no episodes, or is broken.
        UsageError: if it keeps a cell that was played as another one than is planned.
    """
    if not (kept := kept_cells(folder)):
        raise DataError(f"no episodes are kept in {folder}: leave --kept out, or name another")
    planned, left = {job.name: job for job in jobs}, set[str]()
    for run in runs:
        about = kept.get(name_of(run.id))
        if (job := planned.get(run.name)) is None:
            continue  # its environment is not installed
        if about is None or about.scored < job.planned:
            left.add(run.name)
        else:
            _check_same(about, job, folder)
    return [job for job in jobs if job.name in left]


def _check_same(about: About, job: Job, folder: Path) -> None:
    base = job.cell.base
    for name, what in _PLAYED_AS.items():
        if getattr(about, name) != getattr(base, name):
            raise UsageError(
                f"{folder} keeps {about.cell} as it was played with another {what} than now: leave "
                "--kept out to play it again"
            )


def with_kept(data: Data, experiment: Experiment, folder: Path) -> Data:
    """What was gathered from runs, and in its place what a folder keeps more episodes of.

    Args:
        data: All cells of the experiment, played or not.
        experiment: Its definition.
        folder: What `claims write` wrote; nothing may be there.

    Raises:
        DataError: for a folder that is broken, or keeps what the definition says otherwise.
        UsageError: if it keeps a cell of which there are other episodes, or that is none any more.
    """
    kept = {name: about for name, about in kept_cells(folder).items() if about.scored}
    if gone := sorted(set(kept) - {cell.about.cell for cell in data.values()}):
        more = f" and {len(gone) - 1} more cells" if len(gone) > 1 else ""
        raise UsageError(
            f"{folder} keeps episodes of {gone[0]}{more}, which the experiment does not have: give "
            "--replace to lose them, or another --out"
        )
    short = []
    for id_, cell in data.items():
        about = kept.get(cell.about.cell)
        if about is None or about.scored <= cell.about.scored:
            continue
        if cell.about.scored:
            _check_alike(about, cell.about, folder)
        short.append(id_)
    return data | read_data(folder, experiment, short) if short else data


def _check_alike(kept: About, found: About, folder: Path) -> None:
    for name, what in _PLAYED_AS.items():
        if getattr(kept, name) != getattr(found, name):
            raise UsageError(
                f"{folder} keeps more episodes of {kept.cell} than these runs have, played with "
                f"another {what}: play it to its end, or give --replace to lose them"
            )
