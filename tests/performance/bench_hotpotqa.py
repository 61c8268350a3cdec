"""What HotpotQA costs: steps, resets, a whole official file; what is read; how experts do."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.generator import generate
from agemem_eval.envs.hotpotqa.library import Library
from agemem_eval.harness.types import Task

N_DEV = 7405
N_TASKS = 60
ROUNDS = 15
CHARS_A_TOKEN = 4
_HERE = Path(__file__).resolve()


def main() -> None:
    """Measure, and print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 132)
    sample = _sample()
    console.print(_steps(sample))
    console.print(_costs())
    console.print(_texts(sample))
    console.print(_experts(sample))


def _sample() -> str | None:
    """The real questions, where the test data are."""
    folder = Path(os.environ.get("AGEMEM_TEST_DATA") or _HERE.parents[3] / "shared" / "data")
    file = folder / "hotpotqa" / "hotpot_sample.json"
    return str(file) if file.is_file() else None


# --- steps ------------------------------------------------------------------------------------


def _steps(sample: str | None) -> Table:
    table = Table(title="Steps a second: the adapter beside the bare paragraph look-up (median)")
    for column in ("what", "questions", "adapter", "bare", "ratio", "added"):
        table.add_column(column, justify="left" if column in ("what", "questions") else "right")
    for split in ("generated", *(["file"] if sample else [])):
        environment = HotpotqaEnvironment(data=sample)
        for what in ("exact title", "words"):
            pairs = [
                _pair(environment, task, what == "words")
                for task in environment.tasks(split)[:N_TASKS] * ROUNDS
            ]
            adapter, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
            table.add_row(
                f"search by {what}",
                split,
                f"{1 / adapter:,.0f}/s",
                f"{1 / bare:,.0f}/s",
                f"{bare / adapter:.2f}",
                f"{1e6 * (adapter - bare):.0f} µs",
            )
    return table


def _pair(environment: HotpotqaEnvironment, task: Task, by_words: bool) -> tuple[float, float]:
    """Seconds a search, through the adapter and without it."""
    environment.reset(task, 0)
    question = environment._read(task)
    library = Library(question.context)
    queries = [p.name for p in question.context]
    if by_words:
        queries = [" ".join(p.sentences[-1].split()[:5]) for p in question.context if p.sentences]
    actions = [f"search[{query}]" for query in queries]
    _searched(library, queries[0] + " x")  # the first search makes the index
    environment.step(f"search[{queries[0]} x]")
    adapter = _timed(lambda: [*map(environment.step, actions)])
    bare = _timed(lambda: [_searched(library, query) for query in queries])
    return adapter / len(queries), bare / len(queries)


def _searched(library: Library, query: str) -> str:
    """What a search has to do at least: find the paragraph and write it out."""
    number = library.titled(query)
    if number is not None:
        return library.show(number)
    ranking = library.search(query)
    return library.show(ranking[0]) + str(library.similar(ranking)) if ranking else ""


# --- resets, generation, a whole file -----------------------------------------------------------


def _costs() -> Table:
    table = Table(title="Resets, generation, and an official file of 7,405 questions")
    table.add_column("what")
    table.add_column("median (quartiles)", justify="right")
    table.add_row("generate a question", _spread([_timed(lambda i=i: generate("generated", i))
                                                  for i in range(500)]))  # fmt: skip
    for options in ({}, {"form": "three-stage"}):
        environment = HotpotqaEnvironment(**options)
        tasks = environment.tasks("generated")[:300]
        seconds = [_timed(lambda t=t, e=environment: e.reset(t, 0)) for t in tasks]
        table.add_row(f"reset, generated, {options.get('form', 'interactive')}", _spread(seconds))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hotpot_dev_distractor_v1.json"
        records = (_official_like(index) for index in range(N_DEV))
        with path.open("w", encoding="utf-8") as file:
            file.write("[")
            for number, record in enumerate(records):
                file.write((", " if number else "") + json.dumps(record))
            file.write("]")
        size = path.stat().st_size / 2**20
        for what in ("list", "load whole"):
            seconds, before, after = _in_a_process(what, path)
            cost = f"{seconds:.2f} s, {after - before:.0f} MiB above {before:.0f}"
            table.add_row(f"{what} a file of {size:.0f} MiB", cost)
        environment = HotpotqaEnvironment(data=str(path))
        tasks = environment.tasks("dev")[:: N_DEV // 300]
        worker = HotpotqaEnvironment(data=str(path))
        seconds = [_timed(lambda t=t: worker.reset(t, 0)) for t in tasks]
        table.add_row("reset from that file, in a worker", _spread(seconds))
    return table


def _official_like(index: int) -> dict[str, object]:
    """A generated question as long as a real one: some 6,000 characters."""
    record = generate("generated-train", index % 5000).question.record()
    record["_id"] = f"{index:024x}"
    record["context"] = [[title, sentences * 3] for title, sentences in record["context"]]
    return record


def _in_a_process(what: str, path: Path) -> tuple[float, float, float]:
    """Seconds, and the process's resident MiB before and after."""
    script = "import runpy, sys; runpy.run_path(sys.argv[1])['_measure'](*sys.argv[2:])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(_HERE), what, str(path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, before, after = map(float, done.stdout.split())
    return seconds, before, after


def _measure(what: str, path: str) -> None:
    before, start = _rss(), time.perf_counter()
    if what == "list":
        environment = HotpotqaEnvironment(data=path)
        environment.tasks("dev")
        environment.data_hash("dev")
    else:
        kept = json.loads(Path(path).read_text(encoding="utf-8"))
        assert len(kept) == N_DEV
    print(time.perf_counter() - start, before, _rss())


def _rss() -> float:
    """Resident memory in MiB, now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


# --- texts and experts ------------------------------------------------------------------------


def _texts(sample: str | None) -> Table:
    table = Table(title=f"Characters of what the agent reads (about {CHARS_A_TOKEN} a token)")
    for column in ("what", "questions", "median", "largest", "≈ tokens"):
        table.add_column(column, justify="left" if column in ("what", "questions") else "right")
    for split in ("generated", *(["file"] if sample else [])):
        staged = HotpotqaEnvironment(data=sample, form="three-stage")
        plain = HotpotqaEnvironment(data=sample)
        told, talk, opened = [], [], []
        for task in staged.tasks(split)[:152]:
            told.append(len(staged.reset(task, 0).text))
            talk += [len(staged.step("ok").observation) for _ in range(5)]
        for task in plain.tasks(split)[:152]:
            plain.reset(task, 0)
            while (action := plain.expert_action()) is not None and action.startswith("search"):
                opened.append(len(plain.step(action).observation))
        for what, sizes in (("all paragraphs told", told), ("a distractor", talk),
                            ("a paragraph opened", opened)):  # fmt: skip
            median, most = statistics.median(sizes), max(sizes)
            tokens = f"{median / CHARS_A_TOKEN:,.0f} to {most / CHARS_A_TOKEN:,.0f}"
            table.add_row(what, split, f"{median:,.0f}", f"{most:,}", tokens)
    return table


def _experts(sample: str | None) -> Table:
    table = Table(title="Experts")
    for column in ("expert", "questions", "form", "em", "f1", "sp_f1", "joint_f1", "steps"):
        table.add_column(column, justify="left" if column in ("expert", "form") else "right")
    for form in ("interactive", "three-stage"):
        environment = HotpotqaEnvironment(data=sample, form=form)
        for split in ("generated", "generated-train", *(["file"] if sample else [])):
            tasks = environment.tasks(split)[:500]
            for expert in environment.spec.experts:
                rows = []
                for task in tasks:
                    environment.reset(task, 0)
                    n_steps = 0
                    while (action := environment.expert_action(expert)) is not None:
                        result = environment.step(action)
                        n_steps += 1
                    rows.append({**result.metrics, "steps": float(n_steps)})
                means = [statistics.fmean(row[name] or 0.0 for row in rows)
                         for name in ("em", "f1", "sp_f1", "joint_f1", "steps")]  # fmt: skip
                table.add_row(expert, f"{split} ({len(tasks)})", form,
                              *(f"{m:.3f}" for m in means[:4]), f"{means[4]:.1f}")  # fmt: skip
    return table


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _spread(seconds: list[float]) -> str:
    low, mid, high = (1e3 * quartile for quartile in statistics.quantiles(seconds, n=4))
    return f"{mid:.2f} ms ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
