"""agemem-eval: does this memory make my agent better, at what cost, and is the memory any good?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .harness.exports.frames import LoadedRun

__version__ = "0.1.0"
__all__ = ["__version__", "load_run"]


def load_run(path: str | Path) -> LoadedRun:
    """A run as pandas data frames: `load_run("runs/a").episodes`, `.turns`; see `LoadedRun`.

    Args:
        path: Its directory, or its name under `runs`.

    Raises:
        UsageError: if there is none; it names the nearest.
        DataError: if it is empty, foreign, broken, or of a newer version.
        MissingExtraError: for the frames, without the extra `frames`.
    """
    from .harness.exports.frames import load_run as load

    return load(path)
