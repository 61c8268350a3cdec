"""Measures the memory: embedders, tool calls. Prints a table; asserts nothing.

python tests/performance/bench_memory.py
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from agemem_eval.baselines.agemem import AgeMem
from agemem_eval.baselines.embed_minilm import MiniLMEmbedder, find_weights
from agemem_eval.harness.context import Context
from agemem_eval.harness.ledger import Ledger, Role
from agemem_eval.harness.metering import Meter, MeteredEmbedder, MeteredModel
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import Scope, Services

OBSERVATION = "You open the cabinet 1. The cabinet 1 is open. In it, you see a mug 2 and a plate 1."


def seconds(work: Callable[[int], object], repeats: int) -> float:
    """Median time of one call."""
    work(0)
    times = []
    for i in range(1, repeats + 1):
        start = time.perf_counter()
        work(i)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def bench_embedders(table: Table) -> None:
    hashing = make_embedder("hashing")
    row(table, "hashing", "short text", seconds(lambda _: hashing.embed([OBSERVATION]), 2000))
    start = time.perf_counter()
    fresh = [f"new{i}word other{i}text" for i in range(500)]
    hashing.embed(fresh)
    row(table, "hashing", "two words never seen", (time.perf_counter() - start) / len(fresh))
    if find_weights() is None:
        return
    row(table, "minilm", "load", seconds(lambda _: MiniLMEmbedder(), 3))
    minilm = make_embedder("minilm")
    for words in (5, 20, 60, 250):
        text = "word " * words
        taken = seconds(lambda _, text=text: minilm.embed([text]), 20)  # type: ignore[misc]
        name = f"{minilm.count_tokens(text)} tokens ({1 / taken:.0f} texts/s)"
        row(table, "minilm", name, taken)


async def bench_calls(table: Table) -> None:
    embedder = make_embedder("hashing")
    meter = Meter(Ledger(), Trace())
    services = Services(
        MeteredModel(None, meter, Role.AGENT),  # type: ignore[arg-type]
        MeteredEmbedder(embedder, meter),
        None,
    )
    memory = AgeMem(services)
    await memory.begin(Scope("s", "g", meter.trace))
    context = Context(8192, len, meter.trace)
    for i in range(50):
        context.add("user", "observation", f"{OBSERVATION} {i}")
    calls = {
        "Add_memory": lambda i: {"content": f"{OBSERVATION} {i}"},
        "Retrieve_memory": lambda i: {"query": f"where is mug {i}"},
        "Filter_context": lambda i: {"criteria": f"talk about the weather {i}"},
    }
    for tool, arguments in calls.items():
        times = []
        for i in range(200):
            start = time.perf_counter()
            await memory.call(ToolCall(tool, arguments(i)), context)
            times.append(time.perf_counter() - start)
        row(table, "agemem, hashing", tool, float(np.median(times)))


def row(table: Table, what: str, operation: str, taken: float) -> None:
    table.add_row(what, operation, f"{taken * 1e3:,.3f}")


def main() -> None:
    table = Table("what", "operation", "ms")
    bench_embedders(table)
    asyncio.run(bench_calls(table))
    Console().print(table)


if __name__ == "__main__":
    main()
