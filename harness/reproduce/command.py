"""What `agemem-eval reproduce` does; imported when it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...results import paper
from ..analysis import CellFrame, load_frames
from ..commands import STOPPED, CutOffError, play
from ..errors import AgememError, DataError, MissingExtraError, UsageError, unknown_name
from ..files import disk_error, writable, write_whole
from ..observe.text import escape, say
from ..runner import RunResult
from ..store import RunStore
from .jobs import Job, Jobs, make_jobs
from .measure import read_entries
from .protocol import protocol_lines
from .settings import Settings, Spec, read_spec, read_trained
from .tables import RECIPES, Table, make_table
from .write import Part, Result, as_csv, as_json, as_markdown

# Of an endpoint that answers nobody: whatever else asks there will fare alike.
_DEAD = frozenset({"connection", "tls", "refused", "rate_limit", "server", "endpoint"})
_INCOMPLETE = "{scored} of {planned} episodes scored; the same command resumes"


def reproduce_command(
    what: str,
    *,
    models: list[str] | None,
    trained: list[str] | None,
    config: Path | None,
    out: Path,
    dry_run: bool,
    skip_missing: bool,
    **given: Any,
) -> int:
    """`reproduce`: exit code 0 if all that was planned is scored, 1 if not, 130 or 143 if stopped.

    Args:
        what: One of `results.paper.TABLES`.
        models: `Spec`s of the untrained models.
        trained: `Spec`s of their checkpoints, perhaps with the recipe before.
        config: A YAML with further settings.
        out: The folder that gets a folder `what`.
        dry_run: Tell what would be played.
        skip_missing: Leave out environments that are not installed.
        given: Settings as `options.resolve` takes them; None where they were not given.

    Raises:
        AgememError: one line, before anything is played.
    """
    if what not in paper.TABLES:
        raise unknown_name("table or figure", what, paper.TABLES)
    specs, checkpoints = _read_models(models or [], trained or [])
    tables = [make_table(what, of_model) for of_model in checkpoints]
    settings = Settings({key: v for key, v in given.items() if v is not None}, config)
    jobs = asyncio.run(make_jobs(tables, specs, checkpoints, settings, skip_missing=skip_missing))
    _tell_unneeded(what, tables, checkpoints)
    if dry_run:
        print("\n".join(_told(jobs, tables, checkpoints)))
        return 0
    writable(out / what)
    code = _play(jobs.each())
    result = _result(what, jobs, tables, specs, checkpoints, out / what)
    print(as_markdown(result), end="")
    say(f"{out / what}: table.md, table.csv, table.json")
    if code:
        how = "incomplete" if code == 1 else "stopped"
        say(f"agemem-eval: {how}; the same command resumes")
    return code


def _read_models(
    models: Sequence[str], trained: Sequence[str]
) -> tuple[list[Spec], list[dict[str, Spec]]]:
    """The models and the checkpoints of each; none of them stands in two places."""
    if not models:
        raise UsageError(
            "reproduce needs a model: --model openai:NAME, vllm:MODEL or hf:DIR; --model scripted "
            "checks the whole path without one"
        )
    specs = [read_spec(model) for model in models]
    checkpoints = read_trained(trained, len(specs))
    seen: set[str] = set()
    for spec in [*specs, *(spec for of_model in checkpoints for spec in of_model.values())]:
        if str(spec) in seen:  # whatever its address: a result is known by name and options
            raise UsageError(f"the model {spec} is given twice")
        seen.add(str(spec))
    return specs, checkpoints


def _tell_unneeded(
    what: str, tables: Sequence[Table], checkpoints: Sequence[Mapping[str, Spec]]
) -> None:
    needed = {play.recipe for table in tables for play in table.plays()}
    for recipe in dict.fromkeys(r for of_model in checkpoints for r in of_model if r not in needed):
        say(f"agemem-eval: {what} has no row for {RECIPES[recipe]}: that --trained is not used")


# --- playing ----------------------------------------------------------------------------------


def _play(jobs: Sequence[Job]) -> int:
    """Play what is owed, a run after the other; one that fails does not keep others from theirs."""
    code = 0
    dead: dict[tuple[str, str | None], str] = {}  # who answered nobody, and in which run
    for number, job in enumerate(jobs, 1):
        asked = (job.config.model, job.execution.base_url)
        if asked in dead:
            job.problem = f"not played: {job.config.model} answered nobody in {dead[asked]}"
            code = 1
            continue
        result = _play_one(job, f"run {number} of {len(jobs)}, {job.name}")
        if isinstance(result, RunResult):
            if result.stopped in STOPPED and not (result.complete and number == len(jobs)):
                return STOPPED[result.stopped]
            if _nobody_answered(result):
                dead[asked] = job.name
        elif result is not None:
            return result
        code = 1 if job.problem is not None else code
    return code


def _play_one(job: Job, about: str) -> RunResult | int | None:
    """Play a run and note what became of it.

    Returns:
        What came of it; None where there was nothing to play, or it failed as a whole; the exit
        code where it was cut off.
    """
    result: RunResult | None = None
    try:
        if job.scored() == job.planned:
            say(f"{about}: there already")
            return None
        say(about)
        result = play(job.config, job.execution)
    except CutOffError as error:
        job.problem = "stopped; the same command resumes"
        return error.exit_code
    except AgememError as error:
        job.problem = str(error)
    else:
        if result.complete:
            return result
        job.problem = _INCOMPLETE.format(scored=result.scored, planned=result.planned)
        if result.stopped is not None:
            job.problem += f" ({result.stopped})"
    say(f"agemem-eval: {job.name}: {escape(job.problem)}")
    return result


def _nobody_answered(result: RunResult) -> bool:
    """Whether a run ended since its endpoint served nothing at all."""
    if result.scored or result.stopped is None or result.stopped in STOPPED:
        return False
    faults = {episode.fault for episode in RunStore.open(result.directory).records()}
    return bool(faults) and faults <= _DEAD


# --- telling ----------------------------------------------------------------------------------


def _told(
    jobs: Jobs, tables: Sequence[Table], checkpoints: Sequence[Mapping[str, Spec]]
) -> list[str]:
    """What would be played, and how much that is at most."""
    lines, owed, steps, calls, prompt, output = [], 0, 0, 0, 0, 0
    each = jobs.each()
    for job in each:
        key, scored = job.cell.base, job.scored()
        left = job.planned - scored
        lines.append(
            f"{job.name}: {key.env} {key.split}, {key.memory}, {key.model}: {job.planned} episodes "
            f"({len(job.cell.tasks)} of {job.n_split} tasks), {scored} scored already"
        )
        agent, own = job.config.agent, job.steps * left // job.planned
        owed, steps, calls = owed + left, steps + own, calls + own * agent.max_turns_per_step
        prompt += own * agent.max_turns_per_step * agent.context_tokens
        output += own * agent.max_turns_per_step * agent.max_tokens
    n_cells = len({(number, play) for number, play in jobs.of})
    lines.append(f"{len(each)} runs for {n_cells} cells, {owed} episodes to play")
    lines.append(
        f"at most {steps:,} steps, {calls:,} calls of the agent, {prompt:,} prompt and {output:,} "
        "reply tokens: what the caps allow, known before; most episodes end far earlier"
    )
    lines.append(
        "calls of memories and of a judge come on top; how many is not known before: "
        "try --episodes 5 and multiply"
    )
    lines += [f"left out: {env}: {why}" for env, why in jobs.missing.items()]
    for table, has in zip(tables, checkpoints, strict=True):
        needed = {play.recipe for play in table.plays() if play.recipe} - set(has)
        lines += [
            f"left out: what needs {RECIPES[recipe]}: --trained "
            + ("SPEC" if recipe == "agemem" else f"{recipe}=SPEC")
            for recipe in RECIPES
            if recipe in needed
        ]
    return list(dict.fromkeys(lines))


# --- writing ----------------------------------------------------------------------------------


def _result(
    what: str,
    jobs: Jobs,
    tables: Sequence[Table],
    specs: Sequence[Spec],
    checkpoints: Sequence[Mapping[str, Spec]],
    folder: Path,
) -> Result:
    """The table as far as it got, on disk and at hand."""
    parts = []
    for number, (table, spec, has) in enumerate(zip(tables, specs, checkpoints, strict=True)):
        entries = read_entries(table, jobs, number, spec.name)
        trained = {recipe: str(checkpoint) for recipe, checkpoint in has.items()}
        oracle = any(job.info.oracle for (of, _), job in jobs.of.items() if of == number)
        parts.append(Part(table, str(spec), trained, entries, oracle))
    each = jobs.each()
    result = Result(parts, each, protocol_lines(each))
    _write(result, folder)  # before a figure, which must not keep the numbers from their place
    if figures := _draw(what, jobs, folder):
        result = replace(result, figures=figures)
        _write(result, folder)
    return result


def _write(result: Result, folder: Path) -> None:
    try:
        for name, text in (
            ("table.md", as_markdown(result)),
            ("table.csv", as_csv(result)),
            ("table.json", as_json(result)),
        ):
            write_whole(folder / name, text.encode())
    except OSError as error:
        raise disk_error(f"the table {folder}", error) from error


def _draw(what: str, jobs: Jobs, folder: Path) -> list[str]:
    """The figure of that name, where there is one and matplotlib to draw it."""
    from .. import figures

    if what not in figures.ALIASES:
        return []
    frames: list[CellFrame] = []
    for job in jobs.each():
        directory = job.execution.runs_dir / job.name
        if (directory / "config.json").exists():
            frames += load_frames(directory)
    trained = {}
    for (number, play_), job in jobs.of.items():
        bases = [j for (n, p), j in jobs.of.items() if n == number and p.recipe is None]
        if play_.recipe is not None and bases:
            trained[job.info.name] = bases[0].info.name
    try:
        figure = figures.draw(frames, what, reference=True, trained=trained, allow_mixed=True)
        files = {f"{what}.svg": figures.svg(figure).encode(), f"{what}.png": figures.png(figure)}
        for name, content in files.items():
            write_whole(folder / name, content)
    except (MissingExtraError, DataError) as error:  # no matplotlib, or nothing to draw from
        say(f"agemem-eval: no figure: {error}")
        return []
    except OSError as error:
        raise disk_error(f"the figure in {folder}", error) from error
    return [f"{what}.svg"]
