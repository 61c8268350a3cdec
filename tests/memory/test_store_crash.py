"""A process killed while it writes loses no entry that it was told is stored."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from agemem_eval.baselines.store import MemoryStore

DIM = 16
WRITER = f"""
import sys
import numpy as np
from pathlib import Path
from agemem_eval.baselines.store import MemoryStore

store = MemoryStore(Path(sys.argv[1]), embedder={{}}, dim={DIM})
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


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_kill_loses_no_committed_entry(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    kept: dict[str, str] = {}  # id -> content, as the writer was told
    rng = random.Random(7)
    for _ in range(5):
        log = tmp_path / "log"  # not a pipe: a full one would stop the writer
        with log.open("w") as out:
            writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=out)
        while not log.stat().st_size:
            assert writer.poll() is None
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.15))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        told = log.read_text()
        lines = told[: told.rindex("\n")].splitlines()
        maybe_gone = ""
        for op, id_, *n in map(str.split, lines):
            if op == "add":
                kept[id_] = f"fact {n[0]}"
            elif op == "deleting":
                maybe_gone = id_
            else:
                del kept[id_]
        store = MemoryStore(path, embedder={}, dim=DIM)
        store.open("s")
        held = {entry.id: entry.content for entry in store.entries()}
        if maybe_gone not in held:
            kept.pop(maybe_gone, None)
        assert {id_: held.get(id_) for id_ in kept} == kept
        assert len(held) <= len(kept) + 1  # one more was committed but not yet told
        query = np.zeros(DIM, dtype=np.float32)
        query[0] = 1
        assert len(store.search(query, 10**6)) == len(held)
        store.close()
        kept = held
    assert len(kept) > 20
