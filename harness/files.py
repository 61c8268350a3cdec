"""Files that are written whole or not at all, the lock of a directory, and what a disk refuses."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import DataError, UsageError

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk is full: the quota is used up",
    errno.EFBIG: "the disk is full: the limit on the size of a file is reached",
}


def disk_error(what: str, error: OSError) -> DataError:
    """What to tell when the disk refuses a write.

    Args:
        what: What is written, e.g. `the run runs/a`.
        error: What the system said.
    """
    if error.errno in _FULL:
        problem = f"{_FULL[error.errno]}, so {what} cannot go on"
        return DataError(f"{problem} ({error}): free space, then the same command resumes")
    if error.errno == errno.EIO:
        return DataError(
            f"cannot write {what}: the disk fails ({error}): mend it, then the same command resumes"
        )
    return DataError(f"cannot write {what}: {error}")


def read_json(path: Path) -> Any:
    """The JSON value of a file.

    Raises:
        DataError: if it cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value for people to read too."""
    write_whole(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[int]:
    """A descriptor to write a file with, which takes its place at the end, or not at all.

    The folder is left for the caller to sync.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:  # also when stopped: no half of it stays
        remove(temporary)
        raise


def write_whole(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file whole or not at all, even if the power fails; no part of it stays behind.

    Args:
        path: The file; its folder is made.
        content: What it shall hold.
        sync: False leaves `sync_folder` to the caller, who has more to put into that folder.

    Raises:
        OSError: if the disk refuses.
    """
    make_folder(path.parent)
    with whole_file(path) as descriptor:
        write_all(descriptor, content)
    if sync:
        sync_folder(path.parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it: a system may take a part at a time.

    Raises:
        OSError: if the disk refuses.
    """
    left = memoryview(content)
    while left:
        taken = os.write(descriptor, left)
        if not taken:
            raise OSError(errno.ENOSPC, "the disk took only part of it")
        left = left[taken:]


class LineFile:
    """A file that lines are appended to; what a full disk cut short is taken back.

    Raises:
        OSError: if the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, line: bytes) -> None:
        """Append a line, whole or not at all.

        Raises:
            OSError: if the disk refuses.
        """
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            write_all(self._descriptor, line)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, end)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def remove(*paths: Path) -> None:
    """Remove files that nothing needs; one that is gone, or cannot be removed, does no harm."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, so that it survives a power failure.

    Raises:
        OSError: if the disk refuses.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def writable(folder: Path) -> None:
    """Make a folder, and see that files can be put there.

    Raises:
        DataError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"cannot keep files in {folder}: {error}") from error


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def take_lock(directory: Path, what: str, instead: str = "") -> int:
    """Hold `lock` until this process ends, however it ends: the system releases it.

    Args:
        directory: An existing folder.
        what: What is written there, for the error.
        instead: What else one can do but wait.

    Raises:
        UsageError: if another process holds it.
        OSError: if the disk refuses.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(descriptor)
        os.ftruncate(descriptor, 0)
        write_all(descriptor, f"{os.getpid()}\n".encode())
    except BlockingIOError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        raise UsageError(
            f"{what} is being written by process {holder}: wait for it{instead}"
        ) from error
    except BaseException:  # the lock must not outlive a failure
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, tries: int = 5) -> None:
    """Take the lock; `lock_holder` of another process holds it for a moment, no more."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not left:
                raise
            time.sleep(0.01)
        else:
            return


def lock_holder(directory: Path) -> str | None:
    """The process that holds the lock of a directory; None if it is free."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(descriptor)
    return None


def _holder(descriptor: int) -> str:
    return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
