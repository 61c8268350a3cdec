"""Kills a process while it writes to a store, again and again, and looks for what it was told."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agemem_eval.baselines.stores import open_store

DIM = 16
WRITER = f"""
import sys
import numpy as np
from pathlib import Path
from agemem_eval.baselines.stores import open_store

store = open_store(sys.argv[1], Path(sys.argv[2]), embedder={{}}, dim={DIM})
store.open("s")
held = [entry.id for entry in store.entries()]
n = 0
while True:
    vector = np.zeros({DIM}, dtype=np.float32)
    vector[n % {DIM}] = 1
    id_ = store.add(f"fact {{n}}", vector, {{"n": n}}, "t")
    print("add", id_, n, flush=True)
    held.append(id_)
    if n % 3 == 2:
        print("deleting", held[0], flush=True)
        store.delete(held[0])
        print("delete", held.pop(0), flush=True)
    n += 1
"""


@dataclass(slots=True)
class Kills:
    """What was found after each kill."""

    told: int = 0  # additions that the writers were told are stored
    lost: int = 0  # entries told of that were gone or had another content
    invented: int = 0  # entries that nobody was told of, beyond the one under way at the kill
    held: int = 0  # entries at the end


def kill_writers(kind: str, directory: Path, kills: int, longest_s: float = 0.15) -> Kills:
    """Kill that many writers on one store, each at a random moment."""
    found = Kills()
    kept: dict[str, str] = {}  # id -> content, as the writers were told
    rng = random.Random(7)
    for _ in range(kills):
        maybe_gone = _write(kind, directory, rng.uniform(0, longest_s), kept, found)
        store = open_store(kind, directory, embedder={}, dim=DIM)
        store.open("s")
        held = {entry.id: entry.content for entry in store.entries()}
        if maybe_gone not in held:
            kept.pop(maybe_gone, None)
        found.lost += sum(held.get(id_) != content for id_, content in kept.items())
        found.invented += max(0, len(held) - len(kept) - 1)
        query = np.zeros(DIM, dtype=np.float32)
        query[0] = 1
        found.lost += len(held) - len(store.search(query, 10**6))
        store.close()
        kept = held
    found.held = len(kept)
    return found


def _write(kind: str, directory: Path, wait_s: float, kept: dict[str, str], found: Kills) -> str:
    """Let a writer write and kill it; the id that it may or may not have deleted."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory.with_name("log")  # not a pipe: a full one would stop the writer
    command = [sys.executable, "-c", WRITER, kind, str(directory)]
    with log.open("w") as out:
        writer = subprocess.Popen(command, stdout=out)
    while not log.stat().st_size:
        assert writer.poll() is None
        time.sleep(0.005)
    time.sleep(wait_s)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    told = log.read_text()
    maybe_gone = ""
    for op, id_, *n in map(str.split, told[: told.rindex("\n")].splitlines()):
        if op == "add":
            kept[id_] = f"fact {n[0]}"
            found.told += 1
        elif op == "deleting":
            maybe_gone = id_
        else:
            del kept[id_]
    return maybe_gone
