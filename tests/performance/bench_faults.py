"""A tenth of all calls fails: what that costs, and whether any of it shows in the results.

    python tests/performance/run.py faults[:EPISODES]

Every mix of faults plays the same episodes as the clean run, round after round, so the pairs are
interleaved. The model's reply is drawn by a hash of the prompt: what a failure changed anywhere
would change all records after it. `differing` counts records, traces and rows that do.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from fault_bench import Played, play
from load_bench import machine, spread
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.testserver import at_random, no_faults

ROUNDS = 5
RATE = 0.1
TIMEOUT_S = 2.0  # of one try, where replies never come; elsewhere no busy machine reaches it
LIMITS = {"timeout_s": "60", "max_retries": "8", "backoff_s": "0.05"}
MIXES = {
    "none": (),
    "429, 500": ("429", "500"),
    "429, 500, timeouts": ("429", "500", "hang"),
    "disconnects, cut replies": ("disconnect", "disconnect_mid_body", "long_length"),
    "HTML, no JSON, error bodies": ("html", "not_json", "truncated", "error_body"),
    "429, 500, timeouts; no second try of a call": ("429", "500", "hang"),
}


def main(episodes: str = "100") -> None:
    """Measure, and print a table."""
    found: dict[str, list[Played]] = {name: [] for name in MIXES}
    for index in range(ROUNDS):
        for name in MIXES:
            found[name].append(_played(name, index, int(episodes)))
    table = Table(
        "faults", "episodes", "calls", "failed", "played again", "differing", "agent errors",
        "tokens unaccounted", "wall ratio",
        title=f"{RATE:.0%} of the calls fail: {ROUNDS} rounds beside a clean run each",
        caption=machine(),
    )  # fmt: skip
    for name, runs in found.items():
        pairs = list(zip(runs, found["none"], strict=True))
        table.add_row(
            name,
            str(sum(len(run.records) for run in runs)),
            str(sum(run.requests for run in runs)),
            str(sum(run.failed for run in runs)),
            str(sum(run.replayed for run in runs)),
            str(sum(_differing(run, clean) for run, clean in pairs)),
            str(sum(_agent_errors(run) - _agent_errors(clean) for run, clean in pairs)),
            str(sum(abs(run.booked - run.served) for run in runs)),
            spread([run.wall_s / clean.wall_s for run, clean in pairs], 2),
        )
    console = Console(width=150)
    console.print(table)
    clean_s = statistics.median(run.wall_s for run in found["none"])
    console.print(
        f"The clean run takes {clean_s:.1f} s; the endpoint has no latency of its own, so the "
        f"ratio is the waits': {TIMEOUT_S:g} s for each call that never answers."
    )


def _played(name: str, index: int, episodes: int) -> Played:
    faults = at_random(RATE, MIXES[name], seed=index) if MIXES[name] else no_faults
    once = "no second try" in name
    limits = {**LIMITS, "max_retries": "0"} if once else {**LIMITS}
    if "hang" in MIXES[name]:
        limits["timeout_s"] = str(TIMEOUT_S)
    with tempfile.TemporaryDirectory() as folder:
        return play(
            Path(folder),
            faults,
            limits=limits,
            retries=200 if once else 2,
            concurrency=32,
            envs=["alfworld"],
            memories=["none", "agemem"],
            episodes=episodes // 2,
            seed=index,
            agent={"max_steps": 6, "context_tokens": 4096},
        )


def _differing(run: Played, clean: Played) -> int:
    different = sum(run.records.get(id_) != record for id_, record in clean.records.items())
    different += sum(run.traces.get(id_) != trace for id_, trace in clean.traces.items())
    return different + (run.rows != clean.rows) + (not run.complete)


def _agent_errors(run: Played) -> int:
    return sum(record["status"] == "agent_error" for record in run.records.values())


if __name__ == "__main__":
    main()
