"""Decoding in this process beside transformers' own `generate`, in the same run. Asserts nothing.

python tests/performance/bench_hf.py [rounds [2.7M|18M]]

Models are made here, with random weights: only sizes count. `turn` is one turn of an agent: all
rows have a prompt and get new tokens. `episode` is four turns in a row, each prompt the last one
with its reply and an observation after it, as an agent's context grows; there a prefix may be
reused. `ragged` has prompts of different lengths and replies that end at different times, which
`generate` pads and waits for; its useful tokens count. What is compared is interleaved, on one
core, and the time is the processor's, so that a busy machine changes little.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table

from agemem_eval.harness.models.hf.generate import Decoder
from agemem_eval.harness.models.inprocess.decoding import Prompt

VOCABULARY, NEW, LONG = 4096, 32, 256
SIZES = {"2.7M": (192, 4), "18M": (512, 4)}  # hidden size, layers
TURNS = 4
Ids = tuple[int, ...]


def make_model(hidden: int, layers: int) -> Any:
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 128),
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    return transformers.Qwen2ForCausalLM(config).eval()


def some(draws: random.Random, length: int) -> Ids:
    return tuple(draws.randrange(VOCABULARY) for _ in range(length))


# --- a batch by each --------------------------------------------------------------------------


def by_generate(model: Any, prompts: list[Prompt]) -> list[Ids]:
    """Left-padded, as one calls it; rows are cut to what was asked for."""
    width = max(len(p.tokens) for p in prompts)
    ids = torch.tensor([[0] * (width - len(p.tokens)) + list(p.tokens) for p in prompts])
    mask = torch.tensor(
        [[0] * (width - len(p.tokens)) + [1] * len(p.tokens) for p in prompts], dtype=torch.long
    )
    out = model.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=max(p.max_tokens for p in prompts),
        do_sample=False,
        pad_token_id=0,
    )
    return [tuple(r[: p.max_tokens]) for r, p in zip(out[:, width:].tolist(), prompts, strict=True)]


class Ours:
    """A decoder whose cache lives on from batch to batch, or not."""

    def __init__(self, rows: int, *, reuse: bool) -> None:
        self.rows, self.reuse = rows, reuse
        self.decoder: Decoder | None = None

    def __call__(self, model: Any, prompts: list[Prompt]) -> list[Ids]:
        if self.decoder is None:
            self.decoder = Decoder(
                model, (), max_rows=self.rows, max_tokens=2**20, reuse=self.reuse
            )
        return [reply.tokens for reply in self.decoder.generate(prompts)]


Way = Callable[[Any, list[Prompt]], list[Ids]]


# --- what is done -----------------------------------------------------------------------------


def turn(model: Any, way: Way, rows: int, draws: random.Random) -> int:
    return sum(map(len, way(model, [Prompt(some(draws, LONG), NEW) for _ in range(rows)])))


def ragged(model: Any, way: Way, rows: int, draws: random.Random) -> int:
    prompts = [
        Prompt(some(draws, draws.randrange(LONG // 8, LONG)), draws.randrange(NEW // 8, NEW))
        for _ in range(rows)
    ]
    return sum(map(len, way(model, prompts)))


def episode(model: Any, way: Way, rows: int, draws: random.Random) -> int:
    contexts, total = [some(draws, LONG) for _ in range(rows)], 0
    for _ in range(TURNS):
        replies = way(model, [Prompt(context, NEW // 2) for context in contexts])
        total += sum(map(len, replies))
        contexts = [
            context + reply + some(draws, 30)
            for context, reply in zip(contexts, replies, strict=True)
        ]
    return total


def measure(rounds: int, chosen: str) -> Iterator[tuple[str, ...]]:
    for size, (hidden, layers) in SIZES.items():
        if chosen and size != chosen:
            continue
        model = make_model(hidden, layers)
        for work in (turn, ragged, episode):
            for rows in (1, 8, 32):
                rates: dict[str, list[float]] = {"generate": [], "hf": [], "hf, prefix reuse": []}
                for number in range(rounds):
                    for name in rates:
                        way: Way = by_generate
                        if name != "generate":
                            way = Ours(rows, reuse=name != "hf")
                        start = time.process_time()
                        tokens = work(model, way, rows, random.Random(number))
                        rates[name].append(tokens / (time.process_time() - start))
                yield (size, work.__name__, str(rows), *_cells(rates))


def _cells(rates: dict[str, list[float]]) -> Iterator[str]:
    """Median and spread, and beside transformers the median of the rounds' ratios."""
    for name, values in rates.items():
        text = f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"
        if name != "generate":
            pairs = zip(values, rates["generate"], strict=True)
            text += f" x{statistics.median(ours / theirs for ours, theirs in pairs):.2f}"
        yield text


def main(rounds: str = "5", size: str = "") -> None:
    torch.set_num_threads(1)  # the same for all, and no waiting for busy cores
    transformers.utils.logging.set_verbosity_error()
    columns = ("model", "work", "rows", "generate", "hf", "hf, prefix reuse")
    table = Table(
        *columns, title=f"tokens per CPU second, float32, one core, prompts {LONG}, new {NEW}"
    )
    for row in measure(int(rounds), size):
        print(" | ".join(row), flush=True)
        table.add_row(*row)
    Console(width=140).print(table)


if __name__ == "__main__":
    main(*sys.argv[1:3])
