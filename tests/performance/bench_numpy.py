"""`numpy:` beside transformers' `generate` on the CPU, in the same run. Asserts nothing.

python tests/performance/bench_numpy.py [rounds [1M|3M|limits]]

Llamas are made here, with random weights: only sizes count. All rows have a prompt of 600 tokens
and get 64 new ones, which no stop token cuts short; prompts differ from the first token on, so
that nothing is reused. What is compared is interleaved, on one core, and the time is the
processor's, so that a busy machine changes little: it still does, since other work takes the
caches and the memory's bandwidth.

A second table tells what it costs to limit answers to a list: for each token of an answer, what may
come is worked out; for each request, the list is made ready.
"""

# ruff: noqa: E402
from __future__ import annotations

import os
import sys

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy and torch are loaded: the same for both

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.models.inprocess.answers import Answers, Reply, Spelling
from agemem_eval.harness.models.inprocess.decoding import Prompt
from agemem_eval.harness.models.numpy.decoder import Decoder
from agemem_eval.harness.models.numpy.network import Network, load_network

VOCABULARY, LONG, NEW = 2048, 600, 64
SIZES = {"1M": (128, 384, 4, 4), "3M": (192, 512, 7, 6)}  # hidden, inner, layers, heads


def make_model(hidden: int, inner: int, layers: int, heads: int) -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    return transformers.LlamaForCausalLM(config).eval()


Ids = list[list[int]]
Way = Callable[[Ids], Ids]


def by_transformers(model: Any) -> Way:
    def generate(prompts: Ids) -> Ids:
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=NEW,
                do_sample=False,
                pad_token_id=0,
            )
        return out[:, LONG:].tolist()

    return generate


def by_numpy(network: Network) -> Way:
    def generate(prompts: Ids) -> Ids:
        decoder = Decoder(network, (), max_rows=len(prompts))
        replies = decoder.generate([Prompt(tuple(ids), NEW) for ids in prompts])
        return [list(reply.tokens) for reply in replies]

    return generate


def measure(rounds: int, chosen: str) -> Iterator[tuple[str, ...]]:
    for size, shape in SIZES.items():
        if chosen not in ("", size):
            continue
        model = make_model(*shape)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            ways = {
                "generate": by_transformers(model),
                "numpy": by_numpy(load_network(Path(folder))),
            }
        named = f"{size} ({sum(p.numel() for p in model.parameters()) / 1e6:.2f}M)"
        for rows in (1, 8, 32):
            rates: dict[str, list[float]] = {name: [] for name in ways}
            alike = 0
            for number in range(rounds):
                draws = np.random.default_rng(number)
                prompts = draws.integers(VOCABULARY, size=(rows, LONG)).tolist()
                replies = []
                for name, way in ways.items():
                    start = time.process_time()
                    replies.append(way(prompts))
                    rates[name].append(rows * NEW / (time.process_time() - start))
                alike += sum(map(list.__eq__, *replies))
            yield (named, str(rows), *_cells(rates), f"{alike} of {rows * rounds}")


VERBS = ("open", "close", "examine", "heat", "clean", "move", "go to", "take", "focus on", "pour")
THINGS = ("drawer", "fridge", "cabinet", "shelf", "tomato", "thermometer", "beaker", "countertop")


def limits() -> Iterator[tuple[str, ...]]:
    """Milliseconds by the length of a list, with a vocabulary of 2,048 tokens."""
    parts = [
        f" {word}"[start : start + n] for word in THINGS for start in (0, 1) for n in (3, 5, 9)
    ]
    words = [b"<answer>", b"</answer>", *(part.encode() for part in {*parts, *VERBS, *THINGS})]
    letters = [bytes([n]) for n in range(256)]
    filler = [f"{n:04d}".encode() for n in range(VOCABULARY - len(letters) - len(words))]
    spelling = Spelling([*letters, *words, *filler])
    for count in (40, 1000):
        actions = [
            f"{VERBS[n % 10]} {THINGS[n // 10 % 8]} {n // 80 % 4} with {THINGS[n // 320]} {n % 3}"
            for n in range(count)
        ]
        start = time.process_time()
        for _ in range(20):
            answers = Answers(spelling, actions)
        ready = (time.process_time() - start) / 20
        draws, tokens, start = np.random.default_rng(0), 0, time.process_time()
        for _ in range(200):
            reply = Reply(answers)
            reply.add(len(letters))  # <answer>
            while (barred := reply.barred(VOCABULARY)) is not None:
                reply.add(int(draws.choice(np.flatnonzero(~barred))))
                tokens += 1
        spent = (time.process_time() - start) / tokens
        yield str(count), f"{1000 * ready:.2f}", f"{1000 * spent:.3f}", f"{tokens / 200:.0f}"


def _cells(rates: dict[str, list[float]]) -> Iterator[str]:
    """Median and spread; the median of the rounds' ratios last."""
    for values in rates.values():
        yield f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"
    pairs = zip(rates["numpy"], rates["generate"], strict=True)
    yield f"x{statistics.median(ours / theirs for ours, theirs in pairs):.2f}"


def main(rounds: str = "5", size: str = "") -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if size != "limits":
        columns = ("model", "rows", "generate", "numpy", "numpy / generate", "replies alike")
        title = f"new tokens per CPU second, float32, one core, prompts {LONG}, new {NEW}"
        show(title, columns, measure(int(rounds), size))
    columns = ("actions in the list", "ms a request", "ms a token of an answer", "tokens an answer")
    show("limiting answers to a list, CPU milliseconds", columns, limits())


def show(title: str, columns: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    table = Table(*columns, title=title)
    for row in rows:
        print(" | ".join(row), flush=True)
        table.add_row(*row)
    Console(width=140).print(table)


if __name__ == "__main__":
    main(*sys.argv[1:3])
