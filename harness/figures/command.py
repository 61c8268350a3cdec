"""What `agemem-eval figures` does; imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..analysis import CellFrame, load_frames, run_directory
from ..errors import UsageError, unknown_name
from ..files import disk_error, write_whole
from . import NAMES, NothingToDrawError, canonical, draw
from .training import TrainingLog, has_logs, load_logs

FORMATS = ("svg", "png", "pdf")
REFERENCES = ("paper",)


def figures_command(
    runs: Sequence[str],
    runs_dir: Path,
    *,
    out: Path,
    only: str | None = None,
    formats: str = "svg,png",
    reference: str | None = None,
    trained: Sequence[str] = (),
    allow_mixed: bool = False,
) -> None:
    """`figures`: draw what there are numbers for; one line for each file, and for each left out.

    Raises:
        UsageError: for unknown names, and cells that must not stand beside each other.
        NothingToDrawError: if nothing can be drawn.
        MissingExtraError: without matplotlib.
        DataError: for broken runs and logs, or if the disk refuses.
    """
    names = list(dict.fromkeys(map(canonical, _listed(only)))) if only else list(NAMES)
    kinds = _listed(formats)
    for kind in kinds:
        if kind not in FORMATS:
            raise unknown_name("format", kind, FORMATS)
    if reference is not None and reference not in REFERENCES:
        raise unknown_name("reference", reference, REFERENCES)
    pairs = _pairs(trained)
    frames, logs = _read(runs, runs_dir)
    left_out: list[str] = []
    for name in names:
        try:
            figure = draw(
                frames, name, logs=logs, reference=reference is not None, trained=pairs,
                allow_mixed=allow_mixed,
            )  # fmt: skip
        except NothingToDrawError as error:
            left_out.append(str(error))
            continue
        _write(figure, out, name, kinds)
    if len(left_out) == len(names):
        raise NothingToDrawError("nothing to draw: " + "; ".join(left_out))
    for line in left_out:
        print(f"left out: {line}")


def _listed(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError(f"{text!r} names nothing: write names, comma-separated")
    return list(dict.fromkeys(names))


def _pairs(trained: Sequence[str]) -> dict[str, str]:
    """From `BASE=TRAINED` to the base by the trained one."""
    found = {}
    for text in trained:
        base, sign, model = text.partition("=")
        if not sign or not base or not model:
            raise UsageError(f"--trained {text}: write BASE=TRAINED, names as in the table of runs")
        found[model] = base
    return found


def _read(runs: Sequence[str], runs_dir: Path) -> tuple[list[CellFrame], list[TrainingLog]]:
    """The cells and training logs of directories; one may hold either, or both."""
    frames: list[CellFrame] = []
    logs: list[TrainingLog] = []
    directories = [run_directory(run, runs_dir) for run in runs]
    for directory in dict.fromkeys(path.resolve() for path in directories):
        trained = has_logs(directory)
        if trained:
            logs += load_logs(directory)
        if not trained or (directory / "config.json").is_file():
            frames += load_frames(directory)
    return frames, logs


def _write(figure: object, out: Path, name: str, kinds: Sequence[str]) -> None:
    from matplotlib.figure import Figure

    from .style import as_bytes

    assert isinstance(figure, Figure)
    for kind in kinds:
        path = out / f"{name}.{kind}"
        try:
            write_whole(path, as_bytes(figure, kind))
        except OSError as error:
            raise disk_error(f"the figure {path}", error) from error
        print(path)
