"""Where an export goes: a folder or file that appears whole, and never in place of a stranger's."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ... import __version__
from ..errors import DataError, UsageError
from ..files import disk_error, make_folder, read_json, write_json, write_whole
from ..store import check_name

MARK = ".agemem-export.json"  # in a folder of ours; hidden, since other tools read the folder
HERE = Path("exports")


def default_path(runs: Sequence[str], format_: str) -> Path:
    """Where an export goes that was given no place: `exports/RUN/FORMAT`."""
    name = "+".join(runs)
    return HERE / check_name(name if len(name) < 100 else f"{runs[0]}+{len(runs) - 1}") / format_


@contextlib.contextmanager
def whole_folder(path: Path, format_: str, runs: Sequence[str]) -> Iterator[Path]:
    """A folder to fill, which takes its place at the end, or not at all.

    An earlier export of the same runs in the same format is replaced.

    Raises:
        UsageError: if something else is there.
        DataError: if the disk refuses.
    """
    check_free(path, format_, runs)
    temporary = None
    try:
        make_folder(path.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        temporary.chmod(0o755)
        yield temporary
        _mark(temporary, format_, runs)
        _swap(temporary, path)
    except OSError as error:
        raise disk_error(f"the export {path}", error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def folder_in_place(path: Path, format_: str, runs: Sequence[str]) -> Iterator[Path]:
    """Like `whole_folder`, for a library whose files say where they lie: filled where it stays.

    An earlier export is put aside meanwhile, and back if this one fails.
    """
    old = path.with_name(f".{path.name}.old") if check_free(path, format_, runs) else None
    try:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
            path.replace(old)
        make_folder(path)
        try:
            yield path.resolve()
            _mark(path, format_, runs)
        except BaseException:  # also when stopped: no half of it stays
            shutil.rmtree(path, ignore_errors=True)
            if old is not None:
                old.replace(path)
            raise
    except OSError as error:
        raise disk_error(f"the export {path}", error) from error
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _mark(folder: Path, format_: str, runs: Sequence[str]) -> None:
    write_json(folder / MARK, {"format": format_, "runs": list(runs), "version": __version__})


def _swap(made: Path, path: Path) -> None:
    """Put a folder in the place of an older one, which is gone only when that has succeeded."""
    if not path.exists():
        made.replace(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
    path.replace(old)  # an empty folder can be replaced by another
    try:
        made.replace(path)
    except OSError:
        old.replace(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_free(path: Path, format_: str, runs: Sequence[str]) -> bool:
    """See that a folder may be written.

    Returns:
        Whether it replaces an earlier export.

    Raises:
        UsageError: if there is what is no such export of these runs.
    """
    if path.is_dir() and not path.is_symlink():
        if not any(path.iterdir()):
            return False
        with contextlib.suppress(DataError, AttributeError):
            mark = read_json(path / MARK)
            if (mark.get("format"), mark.get("runs")) == (format_, list(runs)):
                return True
            raise UsageError(
                f"{path} holds an export of {', '.join(map(str, mark.get('runs', [])))} as "
                f"{mark.get('format')}: choose another --out, or remove it"
            )
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists and is no export of these runs: choose another --out")
    return False


def write_new(path: Path, content: str, ours: str) -> None:
    """Write a text file whole.

    Args:
        path: The file.
        content: Its text.
        ours: What a file begins with, or holds, that may be replaced.

    Raises:
        UsageError: if another file is there.
        DataError: if the disk refuses.
    """
    try:
        if path.is_dir() or (path.exists() and ours not in path.read_text(errors="replace")):
            raise UsageError(f"{path} exists and is no export of these runs: choose another --out")
        write_whole(path, content.encode())
    except OSError as error:
        raise disk_error(f"the export {path}", error) from error
