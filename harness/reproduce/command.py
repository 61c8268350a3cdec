"""What `agemem-eval reproduce` does; imported when it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...results import paper
from ..analysis import CellFrame, load_frames
from ..errors import DataError, MissingExtraError, UsageError, unknown_name
from ..files import disk_error, writable, write_whole
from ..observe.text import say
from .jobs import Jobs, make_jobs
from .measure import read_entries
from .playing import play_jobs, told
from .protocol import protocol_lines
from .settings import Settings, Spec, read_spec, read_trained
from .tables import RECIPES, Table, make_table
from .write import Part, Result, as_csv, as_json, as_markdown


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
    code = play_jobs(jobs.each())
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


# --- telling ----------------------------------------------------------------------------------


def _told(
    jobs: Jobs, tables: Sequence[Table], checkpoints: Sequence[Mapping[str, Spec]]
) -> list[str]:
    """What would be played, and how much that is at most."""
    n_cells = len({(number, play) for number, play in jobs.of})
    lines = told(jobs.each(), n_cells)
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
