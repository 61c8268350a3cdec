"""What a run is and how far it is, without playing it: `runs list` and `runs show`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import AgememError
from ..files import lock_holder
from ..ledger import RoleUsage, add_usages
from ..plan import Cell
from ..records import Episode, EpisodeKey
from . import RunStore
from .compact import size_of
from .header import leftovers_only


@dataclass(frozen=True, slots=True)
class Summary:
    """One run in one line; what could not be read is None."""

    name: str
    state: str  # complete, partial, being written, not begun, damaged, foreign
    detail: str  # of the state: how far it is, who writes it, what is wrong
    model: str | None
    cells: int | None
    planned: int | None
    scored: int | None
    owed: int | None  # episodes that the infrastructure broke and that have no score yet
    size: int  # bytes
    last_write: str | None  # ISO 8601, UTC


def summaries(runs_dir: Path) -> Iterator[Summary]:
    """All runs of a folder by name; a broken one says so."""
    if not runs_dir.is_dir():
        return
    for path in sorted(runs_dir.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            yield summarise(path)


def summarise(directory: Path) -> Summary:
    """One run; whatever is wrong with it is its state."""
    found: dict[str, Any] = dict.fromkeys(("model", "cells", "planned", "scored", "owed"))
    writer = lock_holder(directory)
    try:
        state, detail = _look(directory, found)
    except (AgememError, OSError) as error:
        known = (directory / "config.json").exists() and found["model"] is not None
        state, detail = ("damaged" if known else "foreign"), str(error)
        if (directory / "recipe.json").is_file():
            state, detail = "training", "made by agemem-eval train"
        elif leftovers_only(directory):
            state, detail = "not begun", "nothing was written yet"
    if writer is not None and state != "damaged":
        state, detail = "being written", f"by process {writer}, {detail}"
    return Summary(
        directory.name, state, detail, size=size_of(directory), last_write=_last(directory), **found
    )


def _look(directory: Path, found: dict[str, Any]) -> tuple[str, str]:
    store = RunStore.open(directory)
    found["model"] = store.config().model
    cells = [Cell.from_json(value) for value in store.plan()]
    found["cells"] = len(cells)
    found["planned"] = sum(map(_planned, cells))
    found["scored"], found["owed"] = store.counts()
    state = "complete" if found["scored"] == found["planned"] else "partial"
    return state, f"{found['scored']}/{found['planned']}"


def _last(directory: Path) -> str | None:
    """When something was last written for good: a record, or the configuration."""
    paths = [*(directory / "episodes").glob("*.jsonl"), directory / "config.json"]
    times = []
    for path in paths:
        with contextlib.suppress(OSError):  # it was compacted just now
            times.append(path.stat().st_mtime)
    if not times:
        return None
    return datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds")


@dataclass(slots=True)
class CellDetail:
    """What a run has of one cell."""

    env: str
    split: str
    memory: str
    model: str
    planned: int
    scored: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, RoleUsage] = field(default_factory=dict)  # of scored episodes, by role
    tokens_lost: dict[str, RoleUsage] = field(default_factory=dict)  # of tries without a score
    retries: int = 0  # tries beyond the first
    episode_s: float = 0.0  # seconds that its episodes took, summed


@dataclass(slots=True)
class Detail:
    """A run in full."""

    summary: Summary
    config: dict[str, Any]
    cells: list[CellDetail]
    errors: dict[str, dict[str, Any]]  # kind -> count, and the reason of one
    first: str | None = None  # when its first episode began, ISO 8601, UTC
    last: str | None = None  # when its last one ended


def detail(store: RunStore) -> Detail:
    """Look through all records of a run.

    Raises:
        DataError: for damage; `runs verify` lists it.
    """
    by_base: dict[EpisodeKey, CellDetail] = {}
    for cell in map(Cell.from_json, store.plan()):
        key = cell.base
        about = (key.env, key.split, key.memory, key.model)
        by_base[_base(key)] = CellDetail(*about, planned=_planned(cell))
    found = Detail(
        summarise(store.directory), store.config().model_dump(mode="json"), [*by_base.values()], {}
    )
    for episode in store.records():
        _add(found, by_base.get(_base(episode.key)), episode)
    return found


def _add(found: Detail, cell: CellDetail | None, episode: Episode) -> None:
    if cell is not None:
        cell.statuses[episode.status] = cell.statuses.get(episode.status, 0) + 1
        cell.scored += episode.scored
        cell.retries += episode.attempt - 1
        cell.episode_s += episode.wall_s
        add_usages(cell.tokens_lost, episode.tokens_lost)
        add_usages(cell.tokens if episode.scored else cell.tokens_lost, episode.tokens)
    if not episode.scored or episode.status == "agent_error":
        kind = episode.fault or episode.status
        row = found.errors.setdefault(kind, {"count": 0, "example": episode.reason})
        row["count"] += 1
    ended = _ended(episode)
    found.first = min(filter(None, (found.first, episode.started_at)), default=None)
    found.last = max(filter(None, (found.last, ended)), default=None)


def _ended(episode: Episode) -> str:
    try:
        end = datetime.fromisoformat(episode.started_at) + timedelta(seconds=episode.wall_s)
    except (ValueError, OverflowError):
        return episode.started_at
    return end.isoformat(timespec="seconds")


def _planned(cell: Cell) -> int:
    return len(cell.tasks) * cell.repeats * max(1, len(cell.order_seeds))


def _base(key: EpisodeKey) -> EpisodeKey:
    """What all episodes of a cell have in common."""
    return replace(key, task="", repeat=0, order_seed=None)
