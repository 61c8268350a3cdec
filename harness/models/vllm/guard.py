"""Runs a server, and ends it with all its children when whoever asked for it is gone.

Started as a script, `python guard.py LIFELINE GRACE_S COMMAND…`, so that it imports nothing but
the standard library. The lifeline is the reading end of a pipe on which nothing is ever written:
that its other end closes, by choice or because its process died in any way, is the server's end.

The server leads a session of its own, so a Ctrl-C meant for the parent does not reach it, and its
children can be ended with it. What it prints goes to standard error. On standard output stands one
line `pid N` when it runs, and one line `exit CODE` when it has ended (negative: by that signal).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SWEEP_S = 5.0  # for children to end in good order after their server has
POLL_S = 0.05
_PROC = Path("/proc")
_TOLD = (_PROC / "self/stat").exists()  # the system lists processes there


def main(arguments: list[str]) -> int:
    """Run the command until it ends, or until the lifeline closes."""
    lifeline, grace_s, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    for number in (signal.SIGTERM, signal.SIGHUP):
        # A scheduler sends these to every process at once. The server hears them too, and is to
        # have its time. Not SIG_IGN, which the server would inherit, unless that is wanted (nohup).
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    os.set_inheritable(lifeline, False)  # or the server would keep its own pipe open
    try:
        server = subprocess.Popen(  # noqa: S603 - what the parent asks for
            command, stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
        )
    except OSError as error:
        print(f"cannot start {command[0]}: {error}", file=sys.stderr, flush=True)
        _say("exit 127")
        return 127
    _say(f"pid {server.pid}")
    watcher = threading.Thread(target=_end_with, args=(lifeline, server, grace_s), daemon=True)
    watcher.start()
    code = server.wait()
    _sweep(server.pid)
    _say(f"exit {code}")
    return 0


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # where nobody is left to read it
        os.write(1, f"{line}\n".encode())


def _end_with(lifeline: int, server: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ask the server to end when the lifeline closes, and see to it after the grace period."""
    poll = select.poll()
    poll.register(lifeline, 0)  # no events asked for: only a hang-up is reported
    poll.poll()
    server.terminate()
    deadline = time.monotonic() + grace_s
    while server.returncode is None:
        if time.monotonic() > deadline:
            kill_group(server.pid)
        time.sleep(POLL_S)


def _sweep(group: int) -> None:
    """End what is left of the server's children, so that none outlives it."""
    steps = (lambda: signal_group(group, signal.SIGTERM), lambda: kill_group(group))
    for end in steps:
        end()
        deadline = time.monotonic() + SWEEP_S
        while lives(group) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    signal_group(group, signal.SIGKILL)


def kill_group(group: int) -> None:
    """Kill a process group but for Python's resource trackers, where they can be told apart.

    A tracker ends by itself after the processes it serves, and frees their shared memory then.
    """
    if not _TOLD:
        signal_group(group, signal.SIGKILL)
    for entry in _members(group):
        with contextlib.suppress(OSError):
            if b"multiprocessing.resource_tracker" not in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)


def lives(group: int) -> bool:
    """Whether a process group has a process that runs.

    A zombie is none: the first process of many containers never waits for its orphans.
    """
    return any(_members(group)) if _TOLD else signal_group(group, 0)


def _members(group: int) -> Iterator[Path]:
    for entry in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] not in "ZX":
                yield entry


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; whether there was one. Signal 0 only asks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
