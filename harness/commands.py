"""What the commands of `cli` do; imported when one runs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from . import doctor, registry, report
from .config import Execution, RunConfig
from .errors import AgememError, UsageError, unknown_name
from .observe import watchers_for
from .options import accepted, read_pair, resolve
from .runner import RunResult, Stop, run
from .watch import Watcher

GROUPS: tuple[registry.Group, ...] = ("envs", "memories", "models", "embedders")
INTERRUPTED, TERMINATED = "Ctrl-C", "SIGTERM"  # why a run is stopped
STOPPED = {INTERRUPTED: 130, TERMINATED: 143}  # the shell's exit codes
# Objects after which Python looks for cyclic garbage. A run makes little of it, and has many live
# objects to look through: by default that takes a seventh of its time.
COLLECTIONS = (50_000, 20, 20)
# Seconds after which a busy event loop lets a thread on that waits: commits and scoring are many
# short pieces of work, and by default each of them would wait for ten times as long.
SWITCH_S = 0.0005
TERM_S, DRAIN_S = 10.0, 6.0  # after SIGTERM all is over; episodes in play are cut off before

log = logging.getLogger("agemem_eval.run")
_DRAINING = {"fields": {"event": "drain"}}


class CutOffError(AgememError):
    """The run was stopped before its episodes in play were finished."""

    def __init__(self, why: str) -> None:
        super().__init__("stopped; the same command resumes")
        self.exit_code = STOPPED[why]


def run_command(given: dict[str, Any]) -> int:
    """`run`: exit code 0 if every planned episode was scored, else 1."""
    as_json = given.pop("as_json")
    config, execution = resolve(given)
    result = play(config, execution, quiet=as_json)
    if as_json:
        about = {
            "run": result.directory.name,
            "complete": result.complete,
            "stopped": result.stopped,
            "wall_s": result.wall_s,
        }
        print(json.dumps(report.as_json(result.rows, **about), ensure_ascii=False))
    else:
        report.print_table(result.rows, standard_output())
        _say_how_it_went(result)
    if result.stopped in STOPPED and not result.complete:
        return STOPPED[result.stopped]
    return 0 if result.complete else 1


def play(config: RunConfig, execution: Execution, *, quiet: bool = False) -> RunResult:
    """Carry out a run, watched on the terminal; signals end it as `_stoppable` tells.

    Raises:
        CutOffError: if it was stopped before its episodes in play were finished.
    """
    watchers = watchers_for(execution, quiet, config)
    stop = Stop()
    try:
        with _tuned():
            return asyncio.run(_stoppable(config, execution, watchers, stop))
    except (asyncio.CancelledError, KeyboardInterrupt) as error:
        raise CutOffError(stop.reason or INTERRUPTED) from error


@contextlib.contextmanager
def _tuned() -> Iterator[None]:
    """Python's garbage collection and thread switching as a run of many episodes needs them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        with rare_collections():
            yield
    finally:
        sys.setswitchinterval(before)


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Python's garbage collection as many records need it: few of them are ever garbage."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def list_command(what: str | None, as_json: bool) -> None:
    """`list`: everything that is registered."""
    if what is not None and what not in GROUPS:
        raise unknown_name("list", what, GROUPS)
    groups = [group for group in GROUPS if what in (None, group)]
    found = {group: [_about(group, p) for p in registry.plugins(group)] for group in groups}
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    console = standard_output()
    for group, items in found.items():
        table = Table("name", "what it is", "options", title=group, title_justify="left", box=None)
        for item in items:
            table.add_row(item["name"], item["about"], ", ".join(item["options"]))
        console.print(table)
        console.print()


def doctor_command(as_json: bool) -> int:
    """`doctor`: exit code 3 if something that every run needs is missing."""
    checks = doctor.checks(Path("runs"))
    if as_json:
        rows = [{"what": c.what, "ok": c.ok, "detail": c.detail} for c in checks]
        print(json.dumps({"checks": rows}, ensure_ascii=False))
    else:
        table = Table("", "what", "found, or what to do", box=None)
        for check in checks:
            mark = "[green]ok[/]" if check.ok else "[red]no[/]" if check.required else "–"
            table.add_row(mark, check.what, check.detail.replace("[", r"\["))
        standard_output().print(table)
    return 0 if all(check.ok or not check.required for check in checks) else 3


def check_command(target: str, pairs: list[str], as_json: bool) -> int:
    """`check`: exit code 1 if the environment or memory does not hold to its suite."""
    from .conformance.check import suite_for

    outcomes = []
    for outcome in suite_for(target, dict(map(read_pair, pairs))).run():
        outcomes.append(outcome)
        if not as_json:
            mark = {"passed": "ok  ", "failed": "FAIL", "not applicable": "  – "}[outcome.result]
            print(f"{mark} {outcome.check}" + (f": {outcome.detail}" if outcome.detail else ""))
    counts = Counter(outcome.result for outcome in outcomes)
    if as_json:
        checks = [asdict(outcome) for outcome in outcomes]
        print(json.dumps({"target": target, "checks": checks, **counts}, ensure_ascii=False))
    else:
        said = ", ".join(f"{n} {result}" for result, n in sorted(counts.items(), reverse=True))
        print(f"{target}: {said}")
    return 1 if counts["failed"] else 0


def _about(group: registry.Group, plugin: registry.Plugin) -> dict[str, Any]:
    """A plug-in in one line; a broken one says so instead of breaking the list."""
    try:
        target = registry.load(group, plugin.name)
        about = (target.__doc__ or "").strip().partition("\n")[0]
        if group == "envs" and target.spec.splits:  # one that wraps others has theirs
            spec = target.spec
            splits = (
                f"{s.name} ({'any' if s.n_tasks is None else s.n_tasks})" for s in spec.splits
            )
            about = f"splits {', '.join(splits)}; {spec.max_steps} steps"
        if group == "models" and not getattr(target, "shipped", lambda: True)():
            about += " (not in this installation)"
        options = [] if group == "embedders" else list(accepted(group, plugin.name))
    except AgememError as error:
        about, options = str(error), []
    return {
        "name": plugin.name,
        "about": about,
        "options": options,
        "distribution": plugin.distribution,
    }


async def _stoppable(
    config: RunConfig, execution: Execution, watchers: Sequence[Watcher], stop: Stop
) -> RunResult:
    """The run; it ends when asked to, and what is finished is kept.

    The first Ctrl-C lets the episodes in play finish, the second one stops them. SIGTERM does
    both, within the seconds that schedulers leave before they kill.
    """
    task = asyncio.current_task()
    if task is None:
        raise UsageError("a run needs an event loop")
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if stop.playing and stop.reason is None:
            stop.drain(INTERRUPTED)
            log.warning(
                "stopping after the episodes in play; Ctrl-C again stops now", extra=_DRAINING
            )
        else:
            loop.remove_signal_handler(signal.SIGINT)  # a third one is Python's own
            task.cancel()

    def terminated() -> None:
        stop.drain(TERMINATED)
        log.warning(
            f"SIGTERM: stopping within {TERM_S:g} s; what is finished is kept", extra=_DRAINING
        )
        loop.call_later(DRAIN_S if stop.playing else 0, task.cancel)

    if os.name == "posix":
        loop.add_signal_handler(signal.SIGINT, interrupted)
        loop.add_signal_handler(signal.SIGTERM, terminated)
    return await run(config, execution, watchers, stop)


def _say_how_it_went(result: RunResult) -> None:
    where = f"{result.directory}: {result.scored} of {result.planned} episodes scored"
    if result.resumed:
        where += f", {result.resumed} of them earlier (another --name starts afresh)"
    print(f"{where}; {result.wall_s:.1f} s", file=sys.stderr)
    if result.stopped is not None:
        print(f"agemem-eval: stopped early: {result.stopped}", file=sys.stderr)
    for note in result.notes:
        print(f"agemem-eval: {note}", file=sys.stderr)
    if not result.complete:
        print("agemem-eval: incomplete; the same command resumes", file=sys.stderr)


def standard_output() -> Console:
    """The console of standard output; as wide as needed where it is no terminal."""
    return (
        Console(emoji=False)
        if sys.stdout.isatty()
        else Console(width=220, no_color=True, emoji=False)
    )
