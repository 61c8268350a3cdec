"""A step of training beside TRL's GRPOTrainer, and what sharing beginnings saves. Asserts nothing.

python tests/performance/bench_grpo.py [--rounds N] [--device cuda] [--parts step,groups,memory]
    [--kinds ours,trl] [--styles compact] [--tasks N]

`step`: 4 prompts × 8 completions × (512 prompt + 64 new tokens), with a KL term: generation,
reference, forward, backward and AdamW. Both have the same model of 2.8M weights, the same dtype
and the same allocator, in one process; their steps alternate. `groups`: 4 tasks × 8 rollouts of
generated three-stage HotpotQA, played by the harness; one update of them, and their generation,
with and without what beginnings share. `memory`: the peak of each in a process of its own.
Threads are torch's own number (OMP_NUM_THREADS); medians, and in brackets the smallest and the
largest. Each measurement is told as it is made.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import grpo_bench as bench
import torch
import transformers
from rich.console import Console
from rich.table import Table

from agemem_eval.policies.forward import pack
from agemem_eval.policies.recipe import GrpoRecipe

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
STYLES = ("compact", "chatml")  # of the prompts: without and with the system message
HAS_TRL = importlib.util.find_spec("trl") is not None
NO_TRL = "TRL is not installed here: its rows are left out"
console = Console(width=110)


def shown(values: Sequence[float]) -> str:
    """Median and range, seconds."""
    if not values:
        return "–"
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def told(what: str, seconds: float) -> float:
    """Say at once what the table will say at the end: a run that is cut off keeps what it has."""
    console.print(f"{what}: {seconds:.2f} s", style="dim")
    return seconds


def ratio(values: Sequence[float], base: Sequence[float]) -> str:
    return f"{statistics.median(values) / statistics.median(base):.2f}" if base else "–"


def step_part(rounds: int, device: str, folder: Path, dtypes: dict[str, str]) -> None:
    """Seconds a step, by who makes it."""
    model = bench.write_model(folder / "plain", bench.plain_tokenizer(), bench.VOCABULARY)
    table = Table("dtype", "trainer", "s a step", "of TRL's", "generation, s", title="A step")
    for name, dtype in dtypes.items():
        ours = {
            "ours": bench.OurStep(model, dtype, device, share=True),
            "ours, nothing shared": bench.OurStep(model, dtype, device, share=False),
        }
        theirs: Iterator[float] = iter(())
        if HAS_TRL:
            theirs = bench.trl_steps(model, folder / "trl", dtype, device, rounds + 1)
        times: dict[str, list[float]] = {"TRL": [], **{key: [] for key in ours}}
        parts: dict[str, list[float]] = {key: [] for key in ours}
        for turn in range(rounds + 1):  # the first of each is a rehearsal
            measured = {"TRL": next(theirs, None)}
            for key, step in ours.items():
                measured[key] = bench.timed(device, step)
                parts[key] += [step.generated] if turn else []
            for key, seconds in measured.items():
                if turn and seconds is not None:
                    times[key].append(told(f"a step, {name}, {key}", seconds))
        next(theirs, None)
        for key, values in times.items():
            spent = shown(parts.get(key, []))
            table.add_row(name, key, shown(values), ratio(values, times["TRL"]), spent)
    console.print(table)


def groups_part(
    rounds: int, device: str, folder: Path, tasks: int, style: str, dtypes: dict[str, str]
) -> None:
    """Generation and update of three-stage groups, with prompts of one style."""
    drawn = Table(
        "template", "generation", "prompt tokens", "computed", "drawn", "s", "of none", title="Play"
    )
    learned = Table("template", "dtype", "packs", "tokens", "s an update", "faster", title="Update")
    recipe, model = bench.three_stage(folder / style, style)
    learner = bench.open_learner(model, "float32", device)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    played: dict[bool, bench.Played] = {}
    for _ in range(rounds):
        for reuse in (False, True):
            played[reuse] = bench.Played(recipe, learner.loaded, tasks, reuse=reuse)
            seconds[reuse].append(told(f"play, {style}, reuse {reuse}", played[reuse].seconds))
    for reuse, label in ((False, "nothing reused"), (True, "reused")):
        one = played[reuse]
        drawn.add_row(
            style, label, f"{one.prompted:,}", f"{one.prefilled:,}", f"{one.drawn:,}",
            shown(seconds[reuse]), ratio(seconds[reuse], seconds[False]),
        )  # fmt: skip
    console.print(drawn)
    for name, dtype in dtypes.items():
        _updates(learned, (style, name), played[True], (model, dtype, device), rounds)
    console.print(learned)


def _updates(
    table: Table, labels: tuple[str, str], played: bench.Played, opened: tuple[Path, str, str],
    rounds: int,
) -> None:  # fmt: skip
    """Updates by plain rows of the best size, and by trees."""
    learner = bench.open_learner(*opened)
    ways = {
        f"{word} {tokens:,}": GrpoRecipe(batch_tokens=tokens, prefix_sharing=share, beta=bench.BETA)
        for word, share in (("plain rows", False), ("trees", True)) for tokens in (4096, 16_384)
    }  # fmt: skip
    seconds: dict[str, list[float]] = {key: [] for key in ways}
    for _ in range(rounds):
        for key, grpo in ways.items():
            update = _update(learner, played, grpo)
            seconds[key].append(
                told(f"update, {', '.join(labels)}, {key}", bench.timed(opened[2], update))
            )
    plain = min((v for k, v in seconds.items() if k.startswith("plain")), key=statistics.median)
    for key, grpo in ways.items():
        packs = pack(played.steps, grpo.batch_tokens, grpo.prefix_sharing)
        tokens = sum(packed.computed for packed in packs)
        faster = statistics.median(plain) / statistics.median(seconds[key])
        table.add_row(*labels, key, f"{tokens:,}", shown(seconds[key]), f"{faster:.2f}")


def _update(learner: Any, played: bench.Played, grpo: GrpoRecipe) -> Callable[[], Any]:
    return lambda: learner.grpo_update(played.groups, grpo, bench.RATE)


# --- memory, each in a process of its own -------------------------------------------------------


PEAK = "peak MB: "
WHAT = {
    "imports": "nothing but the libraries and the model",
    "ours": "a step of ours", "trl": "a step of TRL's",
    "tree": "an update of three-stage groups, trees", "plain": "the same, plain rows",
}  # fmt: skip


def memory_part(device: str, tasks: int, dtypes: dict[str, str], kinds: Sequence[str]) -> None:
    """Peaks, told one by one, since each takes a while; the libraries are in all of them."""
    table = Table("what", "dtype", "peak, MB", title="Memory")
    for name, dtype in dtypes.items():
        for kind in kinds:
            if kind == "trl" and not HAS_TRL:
                continue
            asked = ["--one", kind, "--dtype", dtype, "--device", device, "--tasks", str(tasks)]
            done = subprocess.run(
                [sys.executable, __file__, *asked], capture_output=True, text=True, check=False
            )
            said = [x for x in done.stdout.splitlines() if x.startswith(PEAK)]  # TRL talks, too
            peak = f"{float(said[0].removeprefix(PEAK)):,.0f}" if said else "failed"
            if not said:
                console.print(f"{kind}: {done.stderr.strip().splitlines()[-1:]}")
            console.print(f"{WHAT[kind]}, {name}: {peak} MB")
            table.add_row(WHAT[kind], name, peak)
    console.print(table)


def one(kind: str, dtype: str, device: str, folder: Path, tasks: int) -> None:
    """Do one thing, and tell the peak in MB."""
    if kind in ("plain", "tree"):
        recipe, model = bench.three_stage(folder / "compact", "compact")
        learner = bench.open_learner(model, dtype, device)
        played = bench.Played(recipe, learner.loaded, tasks, reuse=True)
        _forget_peak(device)
        grpo = GrpoRecipe(batch_tokens=4096, prefix_sharing=kind == "tree", beta=bench.BETA)
        learner.grpo_update(played.groups, grpo, bench.RATE)
    else:
        model = bench.write_model(folder / "plain", bench.plain_tokenizer(), bench.VOCABULARY)
        if kind == "trl":
            for _ in bench.trl_steps(model, folder / "trl", dtype, device, 2):
                pass
        elif kind == "ours":
            step = bench.OurStep(model, dtype, device, share=True)
            step()
            step()
        else:
            bench.open_learner(model, dtype, device)
    print(f"{PEAK}{_peak_mb(device)}")


def _forget_peak(device: str) -> None:
    """From here on, where the system can: Linux sets the mark back to what is held now."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main(given: str | None = None) -> None:
    """Print the tables of the parts asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--parts", default=given or "step,groups,memory")
    parser.add_argument("--tasks", type=int, default=bench.PROMPTS)
    parser.add_argument(
        "--dtypes", default="fp32,bf16", help="bf16 is slow without its instructions"
    )
    parser.add_argument("--styles", default=",".join(STYLES))
    parser.add_argument("--kinds", default=",".join(WHAT), help="of memory")
    parser.add_argument("--one", default="", help="of these kinds, in this process: its peak")
    parser.add_argument("--dtype", default="float32")
    asked = parser.parse_args([] if given is not None else None)
    dtypes = {name: DTYPES[name] for name in asked.dtypes.split(",")}
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if asked.one:
            one(asked.one, asked.dtype, asked.device, folder, asked.tasks)
            return
        load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
        console.print(
            f"{asked.device}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
            f"load {load}, allocator {os.environ.get('LD_PRELOAD') or 'malloc'}, "
            f"{asked.rounds} rounds" + ("" if HAS_TRL else f"; {NO_TRL}")
        )
        parts = asked.parts.split(",")
        if "step" in parts:
            step_part(asked.rounds, asked.device, folder, dtypes)
        if "groups" in parts:
            for style in asked.styles.split(","):
                groups_part(asked.rounds, asked.device, folder, asked.tasks, style, dtypes)
    if "memory" in parts:
        memory_part(asked.device, asked.tasks, dtypes, asked.kinds.split(","))


if __name__ == "__main__":
    main()
