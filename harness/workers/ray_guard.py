"""Ends what a killed runner leaves of a Ray cluster of its own.

Most of Ray's processes end with the one that started them, but its agents first try for a minute
to tell of it a head that is gone too (Ray 2.60). Started as a module of its own, which reads from
standard input the names of processes, one a line as `PID START`; when that closes, those of them
that are still there are killed. Linux only, since it reads proc(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys


class Guard:
    """The guarding process; made before the cluster is, and told of it afterwards."""

    def __init__(self) -> None:
        self._others = set(_descendants(os.getpid()))
        self._process = subprocess.Popen(  # noqa: S603 - this module
            [sys.executable, "-P", "-m", f"{__package__}.ray_guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # out of reach of the terminal's Ctrl-C
        )

    def watch(self) -> None:
        """Answer for what this process has started since."""
        new = set(_descendants(os.getpid())) - self._others - {self._process.pid}
        told = [f"{pid} {_started(pid)}\n" for pid in new]
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write("".join(told).encode())
            self._process.stdin.flush()

    def close(self) -> None:
        """Let it end what is left, and wait for it."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=5)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                children = [int(child) for child in file.read().split()]
            for child in children:
                found += [child, *_descendants(child)]
    return found


def _started(pid: int) -> str:
    """When a process was started, which tells it from a later one of the same number."""
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[19]
    return "gone"


def main() -> None:
    """Wait for the end of standard input, then end what it named."""
    for line in sys.stdin.read().splitlines():
        pid, _, start = line.partition(" ")
        if start != "gone" and _started(int(pid)) == start:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)


if __name__ == "__main__":
    main()
