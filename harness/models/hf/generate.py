"""Decoding with a causal language model of transformers, many prompts at once, exactly.

The batch is continuous: a prompt joins between two steps, is read once (*prefill*), and from then
on gets a token a step with all others (*decode*); a finished row leaves at once. Each row is drawn
by its own generator, so what it gets does not depend on the rows beside it, but for the last bits
of floating-point sums, which differ with the shape of a batch on every backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .cache import SlotCache, attention_windows, call_keywords
from .draw import Generated, Prompt, draw

SHARED = 16  # tokens from which on a common beginning is worth waiting for or copying
_ROUND = 128  # capacities are multiples of it, so that they seldom change

Tokens = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Row:
    """A prompt being continued."""

    prompt: Prompt
    ids: Tokens  # of the prompt
    slot: int
    cached: int  # tokens, from the first, whose keys and values are in the slot
    generator: torch.Generator
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    done: Generated | None = None

    @property
    def owed(self) -> int:
        """Tokens of the prompt that are to be computed yet."""
        return len(self.ids) - self.cached


class Decoder:
    """The batch: rows join, step together, and leave. Used by one thread.

    Args:
        model: A causal language model of transformers, in evaluation mode.
        stop: Token ids that end a continuation.
        max_rows: Prompts at once.
        max_tokens: Tokens that the cache may hold, all rows together.
        prefill_tokens: Tokens of prompts in one forward, padding included.
        reuse: Whether a prompt takes over keys and values of another that begins alike.

    Raises:
        UsageError: for a model that cannot be run so.
    """

    def __init__(
        self,
        model: Any,
        stop: Iterable[int],
        *,
        max_rows: int = 32,
        max_tokens: int = 65_536,
        prefill_tokens: int = 2048,
        reuse: bool = True,
    ) -> None:
        self.model, self.stop = model, frozenset(stop)
        self.max_rows, self.max_tokens = max_rows, max_tokens
        self.prefill_tokens, self.reuse = prefill_tokens, reuse
        self.rows: list[Row] = []  # those not done
        self.prefilled = 0  # tokens of prompts that were computed, not taken over
        self._cache = SlotCache(model.device)
        self._keywords = call_keywords(model, self._cache)
        self._windows = attention_windows(model.config)
        self._held: dict[int, Tokens] = {}  # what each slot holds; the longest unused first

    def generate(self, prompts: Sequence[Prompt]) -> list[Generated]:
        """Continue all prompts; in their order.

        Raises:
            ValueError: for a prompt that alone is larger than the cache may be.
        """
        rows: list[Row] = []
        while len(rows) < len(prompts) or self.rows:
            joined = self.join(prompts[len(rows) :])
            if not joined and not self.rows:
                raise ValueError(f"a prompt and its continuation may take {self.max_tokens} tokens")
            rows += joined
            self.step()
        return [row.done for row in rows if row.done is not None]

    def join(self, prompts: Iterable[Prompt]) -> list[Row]:
        """Take in the first prompts that fit, and draw the first token of each.

        Returns:
            Their rows, in order; a row may be done already.
        """
        joined: list[Row] = []
        with torch.inference_mode():
            for prompt in prompts:
                if not self._make_room(prompt):
                    break
                joined.append(self._place(prompt, joined))
                self.rows.append(joined[-1])
            unread = joined
            while unread:
                unread = self._prefill(unread)
        return joined

    def step(self) -> None:
        """Draw one more token for every row."""
        rows = sorted(self.rows, key=lambda row: row.slot)
        if rows:
            with torch.inference_mode():
                self._advance(rows, [row.tokens[-1:] for row in rows])

    def leave(self, row: Row) -> None:
        """Take a row out, done or not; its slot keeps what it holds until another needs it."""
        if row in self.rows:
            self.rows.remove(row)
            del self._held[row.slot]  # and then it is the one used last
            self._held[row.slot] = np.append(row.ids, row.tokens)[: row.cached]

    def reset(self) -> None:
        """Forget all rows and give the cache's memory back; also after weights have changed."""
        self.rows.clear()
        self._held.clear()
        self._cache.clear()

    # --- where a row is kept ----------------------------------------------------------------

    def _make_room(self, prompt: Prompt) -> bool:
        """Have a slot free that is long enough; False if there can be none now."""
        totals = [prompt.total, *(row.prompt.total for row in self.rows)]
        used, need = len(totals), max(totals)
        if used > self.max_rows or used * need > self.max_tokens:
            return False
        room = self.max_tokens // used
        slots, capacity = self._cache.slots, self._cache.capacity
        if not need <= capacity <= room:
            capacity = min(-(-need // _ROUND) * _ROUND, room)
        if len(self._held) == slots:  # rather one more than to lose what one of them holds
            slots = max(4, 2 * slots)
        slots = min(slots, self.max_rows, self.max_tokens // capacity)
        if (slots, capacity) != (self._cache.slots, self._cache.capacity):
            self._resize(slots, capacity)
        return True

    def _resize(self, slots: int, capacity: int) -> None:
        """Keep the rows, and of the other slots those used last."""
        busy = [row.slot for row in self.rows]
        free = [slot for slot in reversed(self._held) if slot not in busy]
        order = (busy + free)[:slots]
        self._cache.resize(slots, capacity, order)
        moved = {old: new for new, old in enumerate(order)}
        for row in self.rows:
            row.slot = moved[row.slot]
        self._held = {moved[o]: ids[:capacity] for o, ids in self._held.items() if o in moved}

    def _place(self, prompt: Prompt, unread: Sequence[Row]) -> Row:
        """Give a prompt a slot, and what is known of its beginning."""
        ids = np.asarray(prompt.tokens, dtype=np.int64)
        busy = {row.slot for row in self.rows}
        new = {row.slot for row in unread}  # these hold nothing yet
        source, shared = -1, SHARED - 1
        for slot, held in self._held.items() if self.reuse else ():
            alike = _alike(ids[:-1], held)  # not the last token: its logits are needed
            if alike > shared and slot not in new:
                source, shared = slot, alike
        slot = source
        if source < 0 or source in busy or 2 * shared < len(self._held[source]):
            # Nothing is known, or the slot is in use, or holds mostly what others may want.
            empty = (s for s in range(self._cache.slots) if s not in self._held)
            slot = next(empty, -1)
            if slot < 0:
                slot = next(s for s in self._held if s not in busy)
            if source >= 0 and slot != source:
                self._cache.copy(source, slot, shared)
        self._held.pop(slot, None)
        self._held[slot] = ids
        cached = shared if source >= 0 else 0
        return Row(prompt, ids, slot, cached, torch.Generator().manual_seed(prompt.seed))

    # --- forwards ---------------------------------------------------------------------------

    def _prefill(self, unread: list[Row]) -> list[Row]:
        """Compute prompts; returns the rows that were left.

        Rows of about the same length go together. One that begins like another of them waits,
        and takes that one's keys and values over once they are there.
        """
        now: list[Row] = []
        later: list[tuple[Row, Row, int]] = []
        for row in unread:
            alike = [_alike(row.ids[:-1], other.ids) for other in now] if self.reuse else []
            most = max(alike, default=0)
            if most >= row.cached + SHARED:
                later.append((row, now[alike.index(most)], most))
            else:
                now.append(row)
        now.sort(key=lambda row: row.owed)
        for group in self._groups(now):
            self._read(group)
        for row, twin, shared in later:
            self._cache.copy(twin.slot, row.slot, shared)
            row.cached = shared
        return [row for row, _, _ in later]

    def _groups(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        """Rows for one forward each, from rows by length: padding is at most about a half."""
        group: list[Row] = []
        for row in rows:
            wide = row.owed * (len(group) + 1) > self.prefill_tokens
            if group and (wide or row.owed > 2 * group[0].owed + SHARED):
                yield group
                group = []
            group.append(row)
        if group:
            yield group

    def _read(self, rows: list[Row]) -> None:
        """Compute the prompts of rows, and draw the first token of each."""
        while rows[0].owed > self.prefill_tokens:  # it is alone, and is read in parts
            (row,) = rows
            self._forward(rows, [row.ids[row.cached :][: self.prefill_tokens].tolist()])
        rows.sort(key=lambda row: row.slot)
        self._advance(rows, [row.ids[row.cached :].tolist() for row in rows])

    def _advance(self, rows: list[Row], new: list[list[int]]) -> None:
        """Compute new tokens of rows and draw the next one of each."""
        logits = self._forward(rows, new)
        tokens, logprobs = draw(
            logits, [row.prompt for row in rows], [row.generator for row in rows]
        )
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            row.tokens.append(token)
            if row.prompt.want_logprobs:
                row.logprobs.append(logprob)
            if token in self.stop or len(row.tokens) == row.prompt.max_tokens:
                finish: Literal["stop", "length"] = "stop" if token in self.stop else "length"
                given = tuple(row.logprobs) if row.prompt.want_logprobs else None
                row.done = Generated(tuple(row.tokens), finish, given)
                self.leave(row)

    def _forward(self, rows: list[Row], new: list[list[int]]) -> Tensor:
        """Logits [rows, vocabulary] in float32, after the last new token of each row.

        Raises:
            ArithmeticError: if the model gives no numbers.
        """
        counts = [len(ids) for ids in new]
        width = max(counts)
        positions = self._cache.aim([r.slot for r in rows], [r.cached for r in rows], counts)
        padded = torch.tensor([ids[:1] * (width - len(ids)) + ids for ids in new])
        logits: Tensor = self.model(
            input_ids=padded.to(self.model.device),
            attention_mask=self._masks(positions),
            position_ids=positions,
            **self._keywords,
        ).logits[:, -1]
        for row, count in zip(rows, counts, strict=True):
            row.cached += count
            self.prefilled += 0 if row.tokens else count
        if bool(logits.isnan().any()):
            raise ArithmeticError("the model's logits are not numbers (NaN): try dtype=float32")
        return logits.float()

    def _masks(self, positions: Tensor) -> Any:
        """What is added to attention scores, [rows, 1, columns, positions read].

        A token sees its own and earlier positions of its slot, in a sliding layer the nearest.
        One for all layers, or one by type of layer where the model has two.
        """
        place = torch.arange(self._cache.length, device=positions.device)
        own = positions[:, None, :, None]
        later, dtype = place > own, self.model.dtype

        def mask(window: int | None) -> Tensor:
            hidden = later if window is None else later | (place <= own - window)
            scores = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
            return scores.masked_fill_(hidden, torch.finfo(dtype).min)

        if isinstance(self._windows, dict):
            return {kind: mask(window) for kind, window in self._windows.items()}
        return mask(self._windows)


def _alike(ids: Tokens, others: Tokens) -> int:
    """How many tokens two sequences have in common from the first."""
    length = min(len(ids), len(others))
    differ = ids[:length] != others[:length]
    first = int(differ.argmax()) if length else 0
    return first if length and differ[first] else length
