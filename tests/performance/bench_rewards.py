"""Times the reward of trajectories of real three-stage HotpotQA, group by group.

python tests/performance/run.py rewards

A step of training rewards some groups of rollouts of the same task, beside which nothing else
waits: the texts are read in a thread. Asserts nothing.
"""

from __future__ import annotations

import asyncio
import time

from reward_traces import play, recipe
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.plan import make_embedder
from agemem_eval.policies.rewards import Rewarder
from agemem_eval.policies.teacher import Teacher

GROUPS, ROLLOUTS = 8, 8
SETTINGS = {
    "agent": {"shots": 0, "context_tokens": 6000, "max_tokens": 1024},
    "tasks": {"options": {"hotpotqa": {"form": "three-stage", "changes": "1"}}},
}


async def _measure(profile: str) -> tuple[float, float, float, int]:
    """Seconds until the first reward, of all others, and of all again; events of a trajectory."""
    chosen = recipe(**SETTINGS)
    evidence = [
        await play(chosen, Teacher("reader", 0.3, seed), number=number)
        for number in range(GROUPS)
        for seed in range(ROLLOUTS)
    ]
    rewarder = Rewarder(
        recipe(**SETTINGS, reward={"profile": profile}).reward, make_embedder("hashing"), None
    )
    times = [time.perf_counter()]
    await rewarder(evidence[0])
    times.append(time.perf_counter())
    for one in evidence[1:]:
        await rewarder(one)
    times.append(time.perf_counter())
    for one in evidence:
        await rewarder(one)
    times.append(time.perf_counter())
    events = sum(len(one.events) for one in evidence) // len(evidence)
    return times[1] - times[0], times[2] - times[1], times[3] - times[2], events


def main() -> None:
    table = Table(title=f"rewards of {GROUPS} groups of {ROLLOUTS} trajectories, embedder hashing")
    for column in ("profile", "events each", "first (ms)", "each of the others (ms)", "again (ms)"):
        table.add_column(column, justify="right")
    n = GROUPS * ROLLOUTS
    for profile in ("paper", "release"):
        first, others, again, events = asyncio.run(_measure(profile))
        of_each = f"{1e3 * others / (n - 1):.1f}", f"{1e3 * again / n:.1f}"
        table.add_row(profile, str(events), f"{1e3 * first:.0f}", *of_each)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
