"""How long a person waits: a cold `--help`, and the main job on a machine that has it installed."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

ROUNDS = 5
COMMANDS = {
    "--help": ["--help"],
    "run --help": ["run", "--help"],
    "list": ["list"],
    "main job, 20 episodes": ["run", "--env", "alfworld", "--memory", "agemem", "--episodes", "20"],
}


def main() -> None:
    """Measure, and print a table."""
    table = Table("command", "median s", "min s", "max s", title="Command line, wall time")
    bare = [_seconds([sys.executable, "-c", "pass"]) for _ in range(ROUNDS)]
    table.add_row("python -c pass", *_numbers(bare))
    for name, arguments in COMMANDS.items():
        command = [sys.executable, "-m", "agemem_eval", *arguments]
        table.add_row(name, *_numbers([_seconds(command) for _ in range(ROUNDS)]))
    Console(width=100).print(table)


def _seconds(command: list[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:  # a fresh one, so that nothing is resumed
        clock = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - clock


def _numbers(values: list[float]) -> tuple[str, str, str]:
    return tuple(f"{f(values):.3f}" for f in (statistics.median, min, max))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
