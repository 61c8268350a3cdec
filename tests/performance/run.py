"""`tox -e bench`: runs the benchmarks named, or all of them, and prints their tables."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

BENCHES = (
    "cli", "loop", "store", "memory", "engine", "pddl", "scienceworld", "babyai", "hotpotqa",
)  # fmt: skip


def main() -> None:
    wanted = sys.argv[1:] or list(BENCHES)
    for name in wanted:
        if name not in BENCHES:
            sys.exit(f"unknown benchmark {name!r}; known: {', '.join(BENCHES)}")
    sys.path.insert(0, str(Path(__file__).parent))
    for name in wanted:
        importlib.import_module(f"bench_{name}").main()


if __name__ == "__main__":
    main()
