"""What `agemem-eval claims play` and `claims write` do; imported when one runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingExtraError
from ..files import disk_error, writable, write_whole
from ..observe.text import say
from ..reproduce.playing import play_jobs, told
from .cards import check_cards
from .cells import cell_runs, plan
from .draw import draw
from .episodes import Data, gather, read_data, write_data
from .experiment import Experiment, read_experiment
from .kept import left_to_play, with_kept
from .verdicts import Judged, judge
from .write import claims_json, claims_markdown, tables_markdown


def play_command(
    what: str,
    *,
    models: list[str],
    tables: list[str],
    players: list[str],
    episodes: int | None,
    kept: Path | None,
    dry_run: bool,
    skip_missing: bool,
    **given: Any,
) -> int:
    """`claims play`: exit code 0 if all that was planned is scored, 1 if not, 130 if stopped.

    Args:
        what: The experiment: its name or file.
        models: NAME=SPEC; see `read_experiment`.
        tables: Of these alone; none: of all.
        players: Likewise.
        episodes: Of each task set at most.
        kept: A folder of `claims write`: what it has whole is not played.
        dry_run: Tell what would be played.
        skip_missing: Leave out task sets whose environment is not installed.
        given: Settings of how runs are carried out; None where they were not given.

    Raises:
        AgememError: one line, before anything is played.
    """
    experiment = read_experiment(what, models, episodes)
    cells = list(experiment.cells(tuple(tables), tuple(players)))
    runs = cell_runs(experiment, cells, given)
    check_cards(experiment, {experiment.players[cell.player].model for cell in cells})
    jobs, missing = asyncio.run(plan(experiment, runs, skip_missing=skip_missing))
    left_out = [f"left out: {task}: {why}" for task, why in missing.items()]
    if kept is not None:
        n_planned, jobs = len(jobs), left_to_play(jobs, runs, experiment, kept)
        left_out.append(f"kept whole in {kept}: {n_planned - len(jobs)} of {n_planned} runs")
    if dry_run:
        names = {job.name for job in jobs}
        n_cells = sum(run.name in names for run in runs)
        print("\n".join([*told(jobs, n_cells), *left_out]))
        return 0
    for line in left_out:
        say(f"agemem-eval: {line}")
    code = play_jobs(jobs)
    if code:
        how = "incomplete" if code == 1 else "stopped"
        say(f"agemem-eval: {how}; the same command resumes")
    return code


def write_command(
    what: str,
    *,
    models: list[str],
    episodes: int | None,
    out: Path,
    from_data: bool,
    replace: bool,
    **given: Any,
) -> int:
    """`claims write`: data, tables, figures and claims, as far as the experiment was played.

    Args:
        what: The experiment: its name or file.
        models: NAME=SPEC; see `read_experiment`.
        episodes: Of each task set at most.
        out: The folder to write to.
        from_data: Read the episodes that are kept in `out`, and no run.
        replace: Lose what is kept in `out` and does not fit the definition and these runs.
        given: Where the runs are.

    Raises:
        AgememError: one line.
    """
    experiment = read_experiment(what, models, episodes)
    cells = list(experiment.cells())
    writable(out)
    if from_data:
        data = read_data(out, experiment)
    else:
        data = gather(experiment, cell_runs(experiment, cells, given))
        data = with_kept(data, experiment, out, replace=replace)
        write_data(data, out)
    judged = judge(experiment, data)
    files = {"claims.json": claims_json(experiment, data, judged).encode()}
    drawn = _drawn(experiment, data, judged)
    names = [*drawn]
    files |= {
        "claims.md": claims_markdown(experiment, judged, names).encode(),
        "tables.md": tables_markdown(experiment, data, names).encode(),
        **drawn,
    }
    _write(files, out)
    _say(judged, sum(cell.about.scored for cell in data.values()), out)
    return 0


def _drawn(experiment: Experiment, data: Data, judged: Sequence[Judged]) -> dict[str, bytes]:
    try:
        return draw(experiment, data, judged)
    except MissingExtraError as error:
        say(f"agemem-eval: no figures: {error}")
        return {}


def _write(files: dict[str, bytes], out: Path) -> None:
    try:
        for name, content in files.items():
            write_whole(out / name, content)
    except OSError as error:
        raise disk_error(f"the results in {out}", error) from error


def _say(judged: Sequence[Judged], n: int, out: Path) -> None:
    for one in judged:
        why = f" ({one.why})" if one.why else ""
        print(f"({one.name}) {one.verdict}: {one.claim.says}{why}")
    say(f"{out}: {n} episodes; claims.md, tables.md, claims.json, episodes.tsv.gz, cells.tsv")
