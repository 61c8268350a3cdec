"""What `agemem-eval runs …` does; imported when it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .commands import standard_output
from .errors import AgememError, UsageError, unknown_name
from .ledger import RoleUsage
from .observe.text import escape
from .records import Episode
from .store import RunStore
from .store.check import Finding, verify
from .store.compact import Freed, compact
from .store.header import run_directory
from .store.summary import CellDetail, Detail, detail, summaries
from .trace import Event
from .types import Status

STATUSES: tuple[str, ...] = get_args(Status)


def list_runs(runs_dir: Path, as_json: bool) -> None:
    """`runs list`: one line a run; a broken one says so."""
    found = list(summaries(runs_dir))
    if as_json:
        print(json.dumps({"runs_dir": str(runs_dir), "runs": list(map(asdict, found))}))
        return
    names = ("name", "state", "", "model", "cells", "owed", "MB", "last write")
    rows = [
        [r.name, r.state, r.detail, _or_dash(r.model), _or_dash(r.cells), _or_dash(r.owed),
         _megabytes(r.size), _or_dash(r.last_write)]
        for r in found
    ]  # fmt: skip
    if rows:
        _table(standard_output(), names, rows)
    else:
        _say(standard_output(), f"no run is in {runs_dir}")


def show_run(
    run: str,
    runs_dir: Path,
    *,
    episodes: bool = False,
    status: str | None = None,
    cell: str | None = None,
    episode: str | None = None,
    as_json: bool = False,
) -> None:
    """`runs show`: the run; with `--episodes` its episodes; with `--episode` one and its trace.

    Raises:
        UsageError: for an unknown run, status or episode.
        DataError: for damage.
    """
    if status is not None and status not in STATUSES:
        raise unknown_name("status", status, STATUSES)
    store = RunStore.open(run_directory(run, runs_dir))
    console = standard_output()
    if episode is not None:
        _show_episode(store, episode, console, as_json)
    elif episodes or status is not None or cell is not None:
        _show_episodes(_chosen(store, status, cell), console, as_json)
    elif as_json:
        print(json.dumps(asdict(detail(store)), ensure_ascii=False))
    else:
        _show_run(detail(store), console)


def compact_run(run: str, runs_dir: Path, as_json: bool) -> None:
    """`runs compact`.

    Raises:
        UsageError: for an unknown run, or one that is being written.
        DataError: for damage, or a disk that refuses.
    """
    freed = compact(RunStore.open(run_directory(run, runs_dir)))
    if as_json:
        print(json.dumps({"run": run, **asdict(freed)}))
    else:
        _say(standard_output(), f"{run}: {_said(freed)}")


def verify_runs(runs: list[str], runs_dir: Path, every: bool, as_json: bool) -> int:
    """`runs verify`: 1 if anything is damaged.

    Raises:
        UsageError: for an unknown run, or if none is named.
    """
    if every == bool(runs):
        raise UsageError("name the runs to verify, or --all")
    if every:
        directories = [runs_dir / s.name for s in summaries(runs_dir) if s.state != "not begun"]
    else:
        directories = [run_directory(run, runs_dir) for run in runs]
    damaged, console, all_found = False, standard_output(), {}
    for directory in directories:
        found: list[Finding] = []
        for finding in verify(RunStore(directory)):
            found.append(finding)
            if not as_json:
                mark = "note: " if finding.harmless else ""
                _say(console, f"{mark}{finding.where}: {finding.what}")
        problems = sum(not finding.harmless for finding in found)
        damaged = damaged or problems > 0
        all_found[directory.name] = [asdict(finding) for finding in found]
        if not as_json:
            said = f"{problems} problem{'s' * (problems != 1)}" if problems else "sound"
            _say(console, f"{directory.name}: {said}")
    if as_json:
        print(json.dumps({"runs": all_found}, ensure_ascii=False))
    return 1 if damaged else 0


# --- one run ----------------------------------------------------------------------------------


def _show_run(found: Detail, console: Console) -> None:
    about = found.summary
    _say(console, f"{about.name}: {about.state}, {about.detail}; {_megabytes(about.size)} MB")
    if found.first is not None:
        _say(console, f"first episode began {found.first}, last one ended {found.last}")
    _say(console, "")
    _say(console, yaml.safe_dump(found.config, sort_keys=False, allow_unicode=True).rstrip())
    _say(console, "")
    names = ("env", "split", "memory", "model", "scored", "statuses", "retries", "episode s",
             "tokens", "lost")  # fmt: skip
    _table(console, names, map(_cell, found.cells))
    if found.errors:
        _say(console, "")
        rows = [[kind, str(e["count"]), str(e["example"])] for kind, e in found.errors.items()]
        _table(console, ("error", "n", "one of them"), sorted(rows))


def _cell(cell: CellDetail) -> list[str]:
    statuses = ", ".join(f"{n} {status}" for status, n in sorted(cell.statuses.items()))
    return [
        cell.env, cell.split, cell.memory, cell.model, f"{cell.scored}/{cell.planned}", statuses,
        str(cell.retries), f"{cell.episode_s:.1f}", _tokens(cell.tokens), _tokens(cell.tokens_lost),
    ]  # fmt: skip


def _tokens(by_role: dict[str, RoleUsage]) -> str:
    """Prompt and completion tokens by role."""
    said = (f"{r} {u.prompt_tokens:,}+{u.completion_tokens:,}" for r, u in sorted(by_role.items()))
    return ", ".join(said) or "–"


# --- episodes ---------------------------------------------------------------------------------


def _chosen(store: RunStore, status: str | None, cell: str | None) -> Iterator[Episode]:
    for episode in store.records():
        of_cell = cell is None or cell in "/".join(episode.key.cell)
        if of_cell and status in (None, episode.status):
            yield episode


def _show_episodes(episodes: Iterator[Episode], console: Console, as_json: bool) -> None:
    if as_json:
        rows = [{"id": episode.key.id, **asdict(episode)} for episode in episodes]
        print(json.dumps({"episodes": rows}, ensure_ascii=False))
        return
    names = ("id", "cell", "task", "repeat", "status", "success", "steps", "turns", "s", "reason")
    _table(console, names, map(_episode, episodes))


def _episode(episode: Episode) -> list[str]:
    key = episode.key
    order = "" if key.order_seed is None else f" order {key.order_seed}"
    success = "–" if episode.success is None else "yes" if episode.success else "no"
    return [
        key.id, "/".join(key.cell), key.task, f"{key.repeat}{order}", episode.status, success,
        str(episode.steps), str(episode.turns), f"{episode.wall_s:.2f}", episode.reason,
    ]  # fmt: skip


def _show_episode(store: RunStore, id_: str, console: Console, as_json: bool) -> None:
    found = [episode for episode in store.records() if episode.key.id.startswith(id_)]
    if len(found) != 1 or not id_:
        what = f"{len(found)} episodes begin with {id_!r}" if found else f"no episode is {id_!r}"
        raise UsageError(f"{what}: `runs show {store.directory.name} --episodes` lists them")
    (episode,) = found
    try:
        events, problem = list(store.read_trace(episode.key.id)), None
    except AgememError as error:
        events, problem = [], str(error)
    if as_json:
        record = {"id": episode.key.id, **asdict(episode)}
        shown = {"record": record, "events": events, "problem": problem}
        print(json.dumps(shown, ensure_ascii=False).encode(errors="replace").decode())
        return
    text = yaml.safe_dump(asdict(episode), sort_keys=False, allow_unicode=True).rstrip()
    _say(console, f"id: {episode.key.id}\n{text}\n")
    for event in events:
        _say(console, _event(event))
    if problem is not None:
        _say(console, problem)


def _event(event: Event) -> str:
    """One event: its place, its type and its fields; long texts on lines of their own."""
    rest = {k: v for k, v in event.items() if k not in ("step", "turn", "type")}
    short, blocks = [], []
    for name, value in rest.items():
        if isinstance(value, str) and ("\n" in value or len(value) > 60):
            blocks.append("\n".join(f"    | {line}" for line in value.split("\n")))
            blocks[-1] = f"  {name}:\n{blocks[-1]}"
        elif value not in (None, "", [], {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            short.append(f"{name}={text}")
    head = f"step {event.get('step')} turn {event.get('turn')} {event.get('type')}"
    return "\n".join([" ".join([head, *short]), *blocks])


# --- saying it --------------------------------------------------------------------------------


def _say(console: Console, text: str) -> None:
    """Print text as it is: no markup, and nothing in it steers the terminal."""
    console.print(Text(escape(text, lines=True)), soft_wrap=True)


def _table(console: Console, names: tuple[str, ...], rows: Any) -> None:
    table = Table(*names, box=None)
    for row in rows:
        table.add_row(*(Text(escape(cell)) for cell in row))
    console.print(table)


def _said(freed: Freed) -> str:
    parts = {
        "outdated records and torn lines": freed.records,
        "traces without a record": freed.traces,
        "old snapshots": freed.snapshots,
        "half-written files": freed.temporary,
    }
    gone = ", ".join(f"{n} {what}" for what, n in parts.items() if n) or "nothing to take away"
    files = f"; {freed.files} files of records became one" if freed.files > 1 else ""
    return f"{gone}{files}; {_megabytes(freed.before)} MB before, {_megabytes(freed.after)} MB now"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)
