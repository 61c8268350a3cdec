"""Measures the stores at scale, beside mem0ai where it is installed. Asserts nothing.

python tests/performance/bench_vectors.py [million|kills]

Each size is measured in a process of its own, so that its memory is its own. Vectors are drawn
around a thousand centres, as those of texts are; the embedder costs nothing, since they are ready.
`million` measures 1e6 entries (some ten minutes, 6 GB); `kills` kills fifty writers.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from agemem_eval.baselines.entries import Entry, entry_id
from agemem_eval.baselines.store import _INSERT
from agemem_eval.baselines.stores import open_store

DIM = 384
MEASURED = 100  # operations of a kind
BLOCK = 10_000
Times = list[float]


def vectors(count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Unit vectors around a thousand centres."""
    centres = np.random.default_rng(42).standard_normal((1000, DIM)).astype(np.float32)
    rng = np.random.default_rng(seed)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        noise = rng.standard_normal((size, DIM), dtype=np.float32)
        block = centres[rng.integers(0, len(centres), size)] + noise
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        yield from block


def timed(work: Callable[[int], object], repeats: int = MEASURED) -> Times:
    times = []
    for i in range(repeats):
        start = time.perf_counter()
        work(i)
        times.append(time.perf_counter() - start)
    return times


def once(work: Callable[[], object]) -> Times:
    return timed(lambda _: work(), 1)


def resident() -> dict[str, float]:
    """Megabytes in memory, now and at most; empty where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return {}
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return {key: int(fields[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM")}


# --- what is measured, in a process of its own --------------------------------------------------


def measure_store(kind: str, size: int, folder: Path) -> dict[str, Any]:
    store: Any = open_store(kind, folder, embedder={}, dim=DIM)
    report: dict[str, Any] = {"before": resident()}
    report["fill"] = once(lambda: _fill(store, kind, size))[0] / size
    ids = [entry.id for entry in store.entries()]
    queries = list(vectors(4 * MEASURED, seed=1))
    times: dict[str, Times] = {}
    if kind == "sqlite+usearch":
        times["first search: builds the graph"] = once(lambda: store.search(queries[0], 5))
    searches = MEASURED if size <= 100_000 else 30
    ops: dict[str, Callable[[int], object]] = {
        "add": lambda i: store.add("new", queries[i], {"n": 1}, "t"),
        "search": lambda i: store.search(queries[i], 5),
        "search, one in ten pass": lambda i: store.search(queries[i], 5, {"n": 3}),
        "search, none pass": lambda i: store.search(queries[i], 5, {"n": -1}),
        "update": lambda i: store.update(ids[i], "new", queries[-i], {"n": 2}, "t"),
        "delete": lambda i: store.delete(ids[i]),
    }
    for name, work in ops.items():
        few = 5 if "none" in name else searches
        work(few) if "search" in name else None
        times[name] = timed(work, few if "search" in name else MEASURED)
    report["memory"] = resident()
    if kind == "sqlite+usearch":
        report["recall@10"] = recall(store, queries)
    times["close"] = once(store.close)
    times.update(_reopened(kind, size, folder, queries[0]))
    return {**report, "times": times}


def _fill(store: Any, kind: str, size: int) -> None:
    if size <= 100_000:
        _sync(store, False)
        above = kind == "sqlite+usearch"  # by one, the threshold of the graph
        for i, v in enumerate(vectors(size + above)):
            store.add(f"fact {i}", v, {"n": i % 10}, "t")
        _sync(store, True)
    elif not len(store):  # a million files are shared by the kinds of store
        _fill_at_once(store, size)


def _fill_at_once(store: Any, size: int) -> None:
    """All entries in one transaction, as `restore` does it, but without a snapshot."""
    with store._change(adds=size):
        for i, v in enumerate(vectors(size)):
            entry = Entry(entry_id(0, "", i), f"fact {i}", {"n": i % 10}, "t", "t")
            store._db.execute(_INSERT, store._row(entry, v))


def _reopened(kind: str, size: int, folder: Path, query: np.ndarray) -> dict[str, Times]:
    opened: list[Any] = []
    make = lambda: opened.append(open_store(kind, folder, embedder={}, dim=DIM))  # noqa: E731
    times = {"reopen": once(make)}
    times["first search after"] = once(lambda: opened[0].search(query, 5))
    if size <= (1_000 if kind == "qdrant" else 100_000):  # a point, a wait for the disk
        kept: list[bytes] = []
        times["snapshot"] = once(lambda: kept.append(opened[0].snapshot()))
        times["restore"] = once(lambda: opened[0].restore(kept[0]))
    opened[0].close()
    return times


def recall(store: Any, queries: list[np.ndarray]) -> float:
    from agemem_eval.baselines.vectors import VectorIndex

    hits = 0
    for query in queries[:100]:
        exact = {entry.id for entry, _ in VectorIndex.search(store._index, query, 10, {})}
        hits += len(exact & {entry.id for entry, _ in store.search(query, 10)})
    return hits / 1000


def _sync(store: Any, on: bool) -> None:
    """Qdrant's local mode waits for the disk at every point: not while the store is filled."""
    client = getattr(getattr(store, "_collection", None), "_client", None)
    for collection in getattr(getattr(client, "_client", None), "collections", {}).values():
        if collection.storage is not None:
            collection.storage.storage.execute(f"PRAGMA synchronous={'FULL' if on else 'OFF'}")


def _mem0(folder: Path, table: list[np.ndarray]) -> Any:
    """The library's memory, whose embedder takes a text for the number of a vector in a table."""
    os.environ.update(MEM0_TELEMETRY="False", MEM0_DIR=str(folder / "home"))
    from mem0 import Memory

    class Ready:
        def embed(self, text: str, memory_action: str = "") -> list[float]:
            return table[int(text)].tolist()

    nowhere = {"provider": "openai", "config": {"api_key": "none"}}
    place = {"path": str(folder / "qdrant"), "embedding_model_dims": DIM, "on_disk": True}
    memory: Any = Memory.from_config(
        {
            "vector_store": {"provider": "qdrant", "config": place},
            "llm": nowhere,
            "embedder": nowhere,
            "history_db_path": str(folder / "history.db"),
        }
    )
    memory.embedding_model = Ready()
    return memory


def measure_mem0(size: int, folder: Path) -> dict[str, Any]:
    """The library as it is used, without its LLM, and with vectors that are ready."""
    table: list[np.ndarray] = []
    memory = _mem0(folder, table)
    report: dict[str, Any] = {"before": resident()}
    table += [*vectors(size), *vectors(4 * MEASURED, seed=1)]
    connections = [
        c.storage.storage for c in memory.vector_store.client._client.collections.values()
    ]
    connections.append(memory.db.connection)
    for connection in connections:
        connection.execute("PRAGMA synchronous=OFF")
    start = time.perf_counter()
    for i in range(size):
        memory.add(str(i), user_id="s", metadata={"n": i % 10}, infer=False)
    report["fill"] = (time.perf_counter() - start) / size
    for connection in connections:
        connection.execute("PRAGMA synchronous=FULL")
    added: list[str] = []

    def add(i: int) -> None:
        result = memory.add(str(size + i), user_id="s", metadata={"n": 1}, infer=False)
        added.append(result["results"][0]["id"])

    def find(i: int, **filters: Any) -> object:
        more = {"filters": filters} if filters else {}
        return memory.search(str(size + i), user_id="s", limit=5, **more)

    times = {
        "add": timed(add),
        "search": timed(find),
        "search, one in ten pass": timed(lambda i: find(i, n=3), 50),
        "update": timed(lambda i: memory.update(added[i], str(size + MEASURED + i))),
        "delete": timed(lambda i: memory.delete(added[i])),
    }
    return {**report, "times": times, "memory": resident()}


def measure_scopes(folder: Path) -> dict[str, Any]:
    """Sixty-four scopes of one file, a thread each, as many episodes at once."""
    ready = list(vectors(100))
    errors: list[BaseException] = []
    times: Times = []

    def work(number: int) -> None:
        try:
            store = open_store("sqlite", folder, embedder={}, dim=DIM)
            store.open(f"scope {number}")
            for v in ready:
                times.extend(timed(lambda _, v=v: store.add("fact", v, {}, "t"), 1))
                store.search(v, 5)
            found.append(len(store))
            store.close()
        except BaseException as error:  # noqa: BLE001 - it is counted
            errors.append(error)

    found: list[int] = []
    open_store("sqlite", folder, embedder={}, dim=DIM).close()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - start
    return {"adds": 6400, "seconds": taken, "held": sum(found), "errors": len(errors), "add": times}


# --- tables -------------------------------------------------------------------------------------


def child(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--measure", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{arguments}: {done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def show(size: int, kinds: list[str]) -> None:
    table = Table(
        "store", "operation", "p50 ms", "p95 ms", "mem0ai / it", title=f"{size:,} x {DIM}"
    )
    with tempfile.TemporaryDirectory() as folder:
        places = {k: folder if size > 100_000 else f"{folder}/{k}" for k in kinds}
        reports = {kind: child(kind, str(size), places[kind]) for kind in kinds}
    other = reports.get("mem0ai", {}).get("times", {})
    for kind, report in reports.items():
        for name, times in report["times"].items():
            p50, p95 = np.percentile(times, [50, 95]) * 1e3
            ratio = ""
            if kind != "mem0ai" and name in other:
                ratio = f"{np.median(other[name]) * 1e3 / p50:,.0f}"
            table.add_row(kind, name, f"{p50:,.3f}", f"{p95:,.3f}" if len(times) > 1 else "", ratio)
        table.add_row(kind, "fill, an entry (mean)", f"{report['fill'] * 1e3:,.3f}", "", "")
        if "recall@10" in report:
            table.add_row(kind, f"recall@10 = {report['recall@10']:.3f}", "", "", "")
        if report["memory"]:
            base, now = report["before"]["VmRSS"], report["memory"]
            text = f"RSS {now['VmRSS']:,.0f} MB, at most {now['VmHWM']:,.0f}; empty {base:,.0f}"
            table.add_row(kind, text, "", "", "", end_section=True)
    Console().print(table)


def main(argument: str = "") -> None:
    has = {name: importlib.util.find_spec(name) is not None for name in ("usearch", "mem0")}
    has["qdrant"] = importlib.util.find_spec("qdrant_client") is not None
    graph = ["sqlite+usearch"] if has["usearch"] else []
    if argument == "million":
        return show(1_000_000, ["sqlite", *graph])
    if argument == "kills":
        return kills()
    small = ["sqlite", *(["qdrant"] if has["qdrant"] else []), *(["mem0ai"] if has["mem0"] else [])]
    if not has["mem0"]:
        Console().print("mem0ai is not installed: tox -e bench-mem0 measures it beside")
    for size in (1_000, 10_000):
        show(size, small)
    show(100_000, ["sqlite", *graph])
    with tempfile.TemporaryDirectory() as folder:
        report = child("scopes", "0", folder)
    p50, p95 = np.percentile(report.pop("add"), [50, 95]) * 1e3
    Console().print(f"64 scopes at once: {report}, add p50 {p50:.3f} ms, p95 {p95:.3f} ms")
    return None


def kills(number: int = 50) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
    from store_kills import kill_writers

    with tempfile.TemporaryDirectory() as folder:
        found = kill_writers("sqlite", Path(folder) / "store", number)
    Console().print(f"kill -9 during writes, {number} times: {found}; lost={found.lost}")


def measure(kind: str, size: int, folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "mem0ai":
        return measure_mem0(size, folder)
    if kind == "scopes":
        return measure_scopes(folder)
    return measure_store(kind, size, folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))
    else:
        main(*sys.argv[1:2])
