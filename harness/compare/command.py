"""What `agemem-eval compare` and `agemem-eval pin` do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..analysis import load_frames, run_directory
from ..commands import standard_output
from ..errors import UsageError
from ..files import disk_error, write_whole
from ..store import check_name
from .baseline import baseline_bytes
from .junit import junit
from .render import as_json, markdown, print_outcome
from .sides import open_side
from .verdict import Settings, compare_sides


def compare_command(
    base: str,
    new: str,
    runs_dir: Path,
    settings: Settings,
    *,
    baselines: Path,
    junit_file: Path | None = None,
    markdown_file: Path | None = None,
    json_: bool = False,
) -> int:
    """`compare`: exit code 1 on a regression or lost coverage.

    Raises:
        UsageError: for runs that cannot be compared, and settings that make no sense.
        DataError: for a run or baseline that cannot be read, a file that cannot be written.
    """
    old, now = (open_side(given, runs_dir, baselines) for given in (base, new))
    outcome = compare_sides(old, now, settings)
    if junit_file is not None:
        _write(junit_file, junit(outcome))
    if markdown_file is not None:
        _write(markdown_file, markdown(outcome).encode())
    if json_:
        print(json.dumps(as_json(outcome), ensure_ascii=False))
    else:
        print_outcome(outcome, standard_output())
    return outcome.code


def pin_command(
    run: str,
    runs_dir: Path,
    *,
    name: str | None,
    out: Path,
    force: bool = False,
    allow_partial: bool = False,
) -> Path:
    """`pin`: keep the scores of a run as a baseline.

    Raises:
        UsageError: for a run that is not finished, or a name that is taken or cannot be one.
        DataError: for a run that cannot be read, or a file that cannot be written.
    """
    directory = run_directory(run, runs_dir)
    name = check_name(directory.resolve().name if name is None else name)
    path = pin(directory, out / f"{name}.json", force=force, allow_partial=allow_partial)
    print(f"{path}: {path.stat().st_size:,} bytes")
    return path


def pin(directory: Path, path: Path, *, force: bool = False, allow_partial: bool = False) -> Path:
    """Write the baseline of a run.

    Raises:
        UsageError: for a run that is not finished, or a file that exists.
        DataError: for a run that cannot be read, or a file that cannot be written.
    """
    frames = load_frames(directory)
    owed = sum(frame.n_planned - frame.n_scored for frame in frames)
    if owed and not allow_partial:
        planned = sum(frame.n_planned for frame in frames)
        raise UsageError(
            f"{directory.name} is not finished ({owed} of {planned} episodes have no score): "
            "resume it first, or --allow-partial pins what there is"
        )
    if path.exists() and not force:
        raise UsageError(f"{path} exists: --force replaces it, --name chooses another name")
    _write(path, baseline_bytes(frames))
    return path


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise disk_error(str(path), error) from error


def columns_given(given: Sequence[str] | None) -> tuple[str, ...] | None:
    """What `--metric` says, also several at once: `success=0.05,tokens.agent.prompt=5%`."""
    parts = [part.strip() for text in given or () for part in text.split(",")]
    return tuple(part for part in parts if part) or None
