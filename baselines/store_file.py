"""The file of a SQLite store: its tables, made whole or not at all, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..harness.errors import DataError

LOCK_TIMEOUT_S = 30.0  # how long a change waits for another process's
_VERSION = 1
_CHANGES = """
CREATE TABLE IF NOT EXISTS changes (      -- the latest ones; a revision without a row is unknown
    scope TEXT NOT NULL,
    revision INTEGER NOT NULL,
    id TEXT NOT NULL,                     -- of the entry that was added, updated or deleted
    PRIMARY KEY (scope, revision)
) WITHOUT ROWID;
"""
SCHEMA = f"""
CREATE TABLE scopes (
    scope TEXT PRIMARY KEY,
    added INTEGER NOT NULL DEFAULT 0,     -- entries ever added: ids are never given twice
    revision INTEGER NOT NULL DEFAULT 0,  -- grows with every change, by whichever process
    embedder TEXT NOT NULL
);
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created TEXT NOT NULL,
    updated TEXT NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (scope, id)
);
{_CHANGES}
"""
ADVICE = {  # by the first part of SQLite's name of the error
    "FULL": "the disk is full: nothing of this change was kept; free space, then resume",
    "BUSY": "another process keeps it locked: end that process, then resume",
    "LOCKED": "another process keeps it locked: end that process, then resume",
    "READONLY": "it cannot be written: give this user the right to, then resume",
    "CANTOPEN": "it cannot be opened: check that its folder exists and may be written",
    "IOERR": "the disk fails or is full: nothing of this change was kept; mend it, then resume",
    "NOTADB": "not a memory store, or a corrupt one: put a copy in its place, or move it away",
    "CORRUPT": "the file is corrupt: put a copy in its place, or move it away",
}


@contextmanager
def errors(where: str) -> Iterator[None]:
    """Whatever SQLite or the disk refuses is one line with the path and what to do."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # our own mistake
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "").removeprefix("SQLITE_").split("_")[0]
        advice = ADVICE.get(name, "not a usable memory store")
        raise DataError(f"{where}: {advice} ({error})") from error
    except OSError as error:
        raise DataError(f"{where}: not a usable memory store: {error}") from error


def connect(path: Path | None) -> sqlite3.Connection:
    """The database of that file, which is made if there is none; None is one in memory.

    Raises:
        DataError: if there is a file and it is no whole store; nothing is written to it then.
    """
    if path is None:
        db = _connect(":memory:")
        db.executescript(SCHEMA)
        return db
    if not path.exists():
        _create(path)
    db = _connect(str(path))
    try:
        _check(db, str(path))
    except BaseException:  # whatever it was, the file is not left open
        db.close()
        raise
    return db


def _connect(where: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        where, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA wal_autocheckpoint=4000")  # 16 MB: a checkpoint waits for the disk
    return db


def _check(db: sqlite3.Connection, where: str) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    if version == 0 or not {"scopes", "entries"} <= tables:
        raise DataError(f"{where}: {ADVICE['NOTADB']}")
    if version != _VERSION:
        raise DataError(f"{where}: made by another version of the memory store")
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        problem = " ".join(problem.split())
        raise DataError(f"{where}: {ADVICE['CORRUPT']} ({problem})")
    if "changes" not in tables:  # a file from before there was a list of them
        db.executescript(f"{_CHANGES} DROP INDEX IF EXISTS arrival;")


def _create(path: Path) -> None:
    """Make an empty store elsewhere and link it to its place: the file is never half made.

    So a file without the tables is one that lost them, and is refused.
    """
    journal = path.with_name(f"{path.name}-wal")
    if journal.exists() and not path.exists():  # asked last: another process may be faster
        raise DataError(f"{path}: lost, but {journal.name} is there: put a copy in its place")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        made = Path(folder) / "new"
        db = _connect(str(made))
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(f"{SCHEMA} PRAGMA user_version={_VERSION};")
        finally:
            db.close()
        try:
            os.link(made, path)
        except FileExistsError:
            return  # another process was faster: its file is as good
        except OSError:  # a file system without links
            with _alone(path):
                if not path.exists():
                    os.replace(made, path)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time, or the file of one would replace another's that is in use."""
    lock = path.with_name(f".{path.name}.lock")
    end = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            lock.open("x").close()
            break
        except FileExistsError:
            if time.monotonic() > end:
                problem = f"{lock.name} is there: if no process is making the store, remove it"
                raise DataError(f"{path}: {problem}") from None
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.unlink()
