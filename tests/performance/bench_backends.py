"""What each memory costs: model calls and tokens of one operation, with the offline memory model.

The oracle plays, so every memory reads the same; the rules answer in the form a model would, so
calls and prompts are those of the backend, and only the length of the replies is the rules' own.

    python tests/performance/run.py backends[:EPISODES]
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from rich.console import Console

from agemem_eval.harness.config import Execution, make_config
from agemem_eval.harness.report import grids
from agemem_eval.harness.runner import run

MEMORIES = ["rag", "mem0", "mem0g", "amem", "langmem", "agemem", "agemem-rag", "store-all"]
CELLS = {
    "hotpotqa, three-stage": {
        "envs": ["hotpotqa"],
        "options": {"hotpotqa": {"form": "three-stage"}},
    },
    "alfworld": {"envs": ["alfworld"], "options": {}},
}


def bench(episodes: int, console: Console) -> None:
    for profile in ("paper", "oss-1.0"):
        for title, cell in CELLS.items():
            memories = MEMORIES if profile == "paper" else ["mem0"]
            options = {**cell["options"], "mem0": {"profile": profile}}
            config = make_config(
                {
                    "envs": cell["envs"],
                    "memories": memories,
                    "episodes": episodes,
                    "memory_model": "heuristic",
                    "options": options,
                }
            )
            with tempfile.TemporaryDirectory() as folder:
                result = asyncio.run(run(config, Execution(runs_dir=Path(folder))))
            console.print(f"{title}, {episodes} episodes, mem0 as `{profile}`")
            for grid in grids(result.rows):
                if grid.title.startswith(("Cost", "Memory")):
                    console.print("| " + " | ".join(grid.names) + " |", markup=False)
                    marks = ("---" if i < grid.n_left else "---:" for i in range(len(grid.names)))
                    console.print("|" + "|".join(marks) + "|", markup=False)
                    for cells in grid.rows:
                        console.print("| " + " | ".join(cells) + " |", markup=False)
                    console.print()


def main(episodes: str = "20") -> None:
    bench(int(episodes), Console(width=250, soft_wrap=True, highlight=False, emoji=False))


if __name__ == "__main__":
    main()
