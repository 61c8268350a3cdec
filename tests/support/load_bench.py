"""What the benchmarks of load, faults, kills and memory share: endpoint, books, processes, tables.

Utilisation, as all of them mean it: of the time from the first call's arrival at the endpoint to
its last reply, `calls × latency / concurrency` is what an ideal harness would have needed, and
the quotient is the utilisation. That the endpoint itself is late is counted against the harness.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent
MARK = "AGEMEM_BENCH_MARK"  # in the environment of every process that a benchmark starts
FULL = 0.95  # share of the slots in use from which the endpoint counts as full


@dataclass(frozen=True, slots=True)
class Usage:
    """How well one run used the endpoint."""

    calls: int
    utilisation: float  # of ideal, from the first arrival to the last reply
    in_flight: float  # mean calls in flight / concurrency over the same time
    ramp_s: float  # from the first arrival until the endpoint was full
    tail_s: float  # from when it was last full to the last reply
    window_s: float
    endpoint_cpu: float  # CPU seconds of the endpoint a second


def usage(times: Sequence[Any], concurrency: int, latency_s: float) -> Usage:
    """The usage that the endpoint's books show."""
    arrived, left, cpu_s = times
    begin, end = min(arrived), max(left)
    window = end - begin
    flying, full = 0, []
    for moment, change in sorted([(t, 1) for t in arrived] + [(t, -1) for t in left]):
        flying += change
        if flying >= FULL * concurrency:
            full.append(moment)
    return Usage(
        calls=len(left),
        utilisation=len(left) * latency_s / concurrency / window,
        in_flight=(sum(left) - sum(arrived)) / concurrency / window,
        ramp_s=(full[0] if full else end) - begin,
        tail_s=end - (full[-1] if full else begin),
        window_s=window,
        endpoint_cpu=cpu_s / window,
    )


class LoadEndpoint:
    """The endpoint of `load_endpoint.py` in a process of its own."""

    def __init__(self, port: int, latency_s: float) -> None:
        self.port, self.latency_s = port, latency_s
        self.url = f"http://127.0.0.1:{port}/v1"

    def reset(self) -> None:
        """Begin its books anew."""
        self._ask("/reset", b"")

    def usage(self, concurrency: int) -> Usage:
        """How it was used since `reset`."""
        return usage(json.loads(self._ask("/times", None)), concurrency, self.latency_s)

    def _ask(self, path: str, data: bytes | None) -> bytes:
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, data, timeout=30) as reply:
            body: bytes = reply.read()
        return body


@contextmanager
def endpoint(latency_s: float = 0.5, turns: int = 10) -> Iterator[LoadEndpoint]:
    """The endpoint while the context lasts."""
    command = [sys.executable, str(SUPPORT / "load_endpoint.py")]
    command += ["--latency-s", str(latency_s), "--turns", str(turns)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield LoadEndpoint(int(process.stdout.readline()), latency_s)
        finally:
            process.kill()


def child_environment(mark: str = "") -> dict[str, str]:
    """The environment of a process that imports what lies beside this file."""
    paths = [str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), MARK: mark}


def play(harness: str, at: LoadEndpoint, concurrency: int, episodes: int) -> dict[str, Any]:
    """Let a harness play in a process of its own: what it cost, and how it used the endpoint."""
    mark = new_mark()
    with tempfile.TemporaryDirectory() as folder:
        script = [sys.executable, str(SUPPORT / "load_players.py"), harness, at.url]
        script += [str(concurrency), str(episodes), folder]
        at.reset()
        done = subprocess.run(
            script, env=child_environment(mark), stdout=subprocess.PIPE, text=True, check=True
        )
    cost: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    used = at.usage(concurrency)
    if cost["scored"] != episodes or cost["success"] != 1.0:
        raise RuntimeError(f"{harness} did not play all episodes to their end: {cost}")
    cpu_s = cost["cpu_s"] + cost["children_cpu_s"]
    return {**cost, "usage": used, "ms_turn": 1000 * cpu_s / used.calls, "orphans": wait_gone(mark)}


# --- processes ------------------------------------------------------------------------------


def new_mark() -> str:
    """A mark that no other process carries."""
    return uuid.uuid4().hex


def marked(mark: str) -> set[int]:
    """The live processes that carry a mark, wherever they hang in the tree of processes."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            carries = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes()
        except OSError:  # not ours to read, or gone
            continue
        if carries:
            found.add(int(folder.name))
    return found


def wait_gone(mark: str, deadline_s: float = 10.0) -> int:
    """How many marked processes are left after a while: orphans, if their parent has ended."""
    deadline = time.monotonic() + deadline_s
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(marked(mark))


# --- tables ---------------------------------------------------------------------------------


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median and range: `0.971 (0.964–0.975)`."""
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid:.{digits}f} ({low:.{digits}f}–{high:.{digits}f})"


def machine() -> str:
    """What the numbers were measured on."""
    name = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {name}; Python {platform.python_version()}; load {load:.1f}"
