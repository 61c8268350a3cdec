"""`tox -e bench`: runs the benchmarks named, or all of them, and prints their tables.

A benchmark that has parts takes the part after a colon: `vectors:million`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

NEEDS_MORE = ("inspect", "ray", "exports", "viewer", "grpo")  # have a tox environment of their own
BENCHES = (
    "cli", "loop", "store", "memory", "vectors", "backends",
    "engine", "pddl", "scienceworld", "babyai", "hotpotqa",
    "load", "faults", "kills", "rss", "observe", "stalls", "statistics", "compare",
    "report", "rewards", "nano",
)  # fmt: skip


def main() -> None:
    wanted = [name.partition(":") for name in sys.argv[1:] or BENCHES]
    for name, _, _ in wanted:
        if name not in BENCHES + NEEDS_MORE:
            sys.exit(f"unknown benchmark {name!r}; known: {', '.join(BENCHES + NEEDS_MORE)}")
    here = Path(__file__).resolve().parent
    sys.path[:0] = [str(here), str(here.parent / "support")]
    for name, _, part in wanted:
        bench = importlib.import_module(f"bench_{name}").main
        bench(part) if part else bench()


if __name__ == "__main__":
    main()
