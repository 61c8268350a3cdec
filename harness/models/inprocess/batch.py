"""The batch of a decoder: rows join, step together and leave; what computes them is a subclass.

The batch is continuous: a prompt joins between two steps, is read once (*prefill*), and from then
on gets a token a step with all others (*decode*); a finished row leaves at once. A row owns a slot
of the cache of keys and values, and a token's place in its slot is its position; what a finished
row leaves there is taken over by a prompt that begins alike, which turns of an episode do. Each
row is drawn by its own generator, so what it gets does not depend on the rows beside it, but for
the last bits of floating-point sums, which differ with the shape of a batch on every backend.

A decoder may guess tokens ahead (`guesses`, `lookup`): they are computed together with the token
that is due, and a row then draws on as long as what it draws is what was guessed. Nothing else
changes: each token is drawn from the same logits by the same random number as it would be alone
(after Leviathan et al., arXiv 2211.17192, whose test accepts just these of a certain guess).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .answers import Reply
from .decoding import Generated, Prompt
from .lookup import lookup

SHARED = 16  # tokens from which on a common beginning is worth waiting for or copying
_ROUND = 128  # capacities are multiples of it, so that they seldom change

Tokens = NDArray[np.int64]
Barred = NDArray[np.bool_]  # [rows, vocabulary]


class Interrupted(Exception):
    """The decoder was told to end amid a forward."""


class Cache(Protocol):
    """Keys and values by slot and position."""

    slots: int
    capacity: int  # tokens of a slot

    def resize(self, slots: int, capacity: int, keep: Sequence[int], length: int) -> None:
        """Make it anew; the first `length` positions of old slot `keep[i]` become slot i's."""

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first positions of a slot to another."""

    def clear(self) -> None:
        """Give the memory back."""


@dataclass(slots=True, eq=False)
class Row:
    """A prompt being continued."""

    prompt: Prompt
    ids: Tokens  # of the prompt
    slot: int
    cached: int  # tokens, from the first, whose keys and values are in the slot
    generator: Any  # of random numbers, its own
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    done: Generated | None = None
    reply: Reply | None = None  # where its answers are limited

    @property
    def owed(self) -> int:
        """Tokens of the prompt that are to be computed yet."""
        return len(self.ids) - self.cached


class BatchDecoder(ABC):
    """The batch. Used by one thread.

    Args:
        cache: Of the rows; empty so far.
        stop: Token ids that end a continuation.
        max_rows: Prompts at once.
        max_tokens: Tokens that the cache may hold, all slots together.
        prefill_tokens: Tokens of prompts in one forward, padding included.
        reuse: Whether a prompt takes over keys and values of another that begins alike.
    """

    guesses = 0  # tokens that are guessed ahead, at most
    spare = 1  # slots for each row that there may be; those idle hold what may be taken over

    def __init__(
        self,
        cache: Cache,
        stop: Iterable[int],
        *,
        max_rows: int,
        max_tokens: int,
        prefill_tokens: int,
        reuse: bool,
    ) -> None:
        self.stop = frozenset(stop)
        self.max_rows, self.max_tokens = max_rows, max_tokens
        self.prefill_tokens, self.reuse = prefill_tokens, reuse
        self.rows: list[Row] = []  # those not done
        self.prefilled = 0  # tokens of prompts that were computed, not taken over
        self.interrupted = False  # set by another thread: a forward ends before its next layer
        self._slots = cache
        self._held: dict[int, Tokens] = {}  # what each slot holds; the longest unused first

    @abstractmethod
    def _forward(self, rows: list[Row], new: list[list[int]], last: list[int]) -> Any:
        """Compute new tokens of rows; logits after the last ones, [sum of last, vocabulary].

        `last` says how many of each row's; 1 where nothing is guessed. Calls `_go_on` before
        each layer.

        Raises:
            ArithmeticError: if the model gives no numbers.
        """

    @abstractmethod
    def _choose(
        self, logits: Any, barred: Barred | None, rows: list[Row]
    ) -> tuple[list[int], list[float]]:
        """The next token of each row, none of those barred; None: none is.

        Also its log-probability under the logits as they are; 0 where no row asks for them.
        """

    @abstractmethod
    def _seeded(self, seed: int) -> Any:
        """A generator of random numbers."""

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
        """Draw one more token for every row, or more where they were guessed."""
        rows = sorted(self.rows, key=lambda row: row.slot)
        if rows:
            self._advance(rows, [row.tokens[-1:] for row in rows], [self._guess(r) for r in rows])

    def _guess(self, row: Row) -> list[int]:
        """What may come after the token that is due; never more than the row may still say."""
        most = min(self.guesses, row.prompt.max_tokens - len(row.tokens) - 1)
        return lookup(np.append(row.ids, row.tokens), most) if most > 0 else []

    def leave(self, row: Row) -> None:
        """Take a row out, done or not; its slot keeps what it holds until another needs it."""
        if row in self.rows:
            self.rows.remove(row)
            del self._held[row.slot]  # and then it is the one used last
            self._held[row.slot] = np.append(row.ids, row.tokens)[: row.cached].astype(np.int64)

    def reset(self) -> None:
        """Forget all rows and give the cache's memory back; also after weights have changed."""
        self.rows.clear()
        self._held.clear()
        self._slots.clear()

    # --- where a row is kept ----------------------------------------------------------------

    def _make_room(self, prompt: Prompt) -> bool:
        """Have a slot free that is long enough; False if there can be none now."""
        totals = [prompt.total, *(row.prompt.total for row in self.rows)]
        used, need = len(totals), max(totals)
        if used > self.max_rows or used * need > self.max_tokens:
            return False
        room = self.max_tokens // used
        slots, capacity = self._slots.slots, self._slots.capacity
        if not need <= capacity <= room:
            more = capacity * 3 // 2  # prompts grow turn by turn, and all that is held is copied
            wanted = more if capacity < need < more and slots * more <= self.max_tokens else need
            capacity = min(-(-wanted // _ROUND) * _ROUND, room)
        if len(self._held) == slots:  # rather one more than to lose what one of them holds
            slots = max(4, 2 * slots)
        slots = min(slots, self.spare * self.max_rows, self.max_tokens // capacity)
        if (slots, capacity) != (self._slots.slots, self._slots.capacity):
            self._resize(slots, capacity)
        return True

    def _resize(self, slots: int, capacity: int) -> None:
        """Keep the rows, and of the other slots those used last."""
        busy = [row.slot for row in self.rows]
        free = [slot for slot in reversed(self._held) if slot not in busy]
        order = (busy + free)[:slots]
        held = [row.cached for row in self.rows] + [len(self._held[slot]) for slot in free]
        length = min(max(held, default=0), capacity, self._slots.capacity)
        self._slots.resize(slots, capacity, order, length)
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
            empty = (s for s in range(self._slots.slots) if s not in self._held)
            slot = next(empty, -1)
            if slot < 0:
                slot = next(s for s in self._held if s not in busy)
            if source >= 0 and slot != source:
                self._slots.copy(source, slot, shared)
        self._held.pop(slot, None)
        self._held[slot] = ids
        cached = shared if source >= 0 else 0
        row = Row(prompt, ids, slot, cached, self._seeded(prompt.seed))
        row.reply = Reply(prompt.answers) if prompt.answers else None
        return row

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
            self._slots.copy(twin.slot, row.slot, shared)
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
            self._compute(rows, [row.ids[row.cached :][: self.prefill_tokens].tolist()], [[]])
        rows.sort(key=lambda row: row.slot)
        self._advance(rows, [row.ids[row.cached :].tolist() for row in rows], [[]] * len(rows))

    def _advance(self, rows: list[Row], new: list[list[int]], guesses: Sequence[list[int]]) -> None:
        """Compute new tokens of rows and draw the next one of each, and on while it was guessed."""
        logits = self._compute(rows, new, guesses)
        at = 0
        going: list[tuple[Row, int, list[int]]] = []  # a row, where its logits are, its guess
        for row, guess in zip(rows, guesses, strict=True):
            going.append((row, at, guess))
            at += 1 + len(guess)
        while going:
            some = [row for row, _, _ in going]
            offered = logits if len(logits) == len(some) else logits[[i for _, i, _ in going]]
            drawn = self._choose(offered, _barred(some, logits.shape[-1]), some)
            on = []
            for (row, at, guess), token, logprob in zip(going, *drawn, strict=True):
                self._add(row, token, logprob)
                if row.done is None and guess and guess[0] == token:
                    row.cached += 1
                    on.append((row, at + 1, guess[1:]))
            going = on

    def _add(self, row: Row, token: int, logprob: float) -> None:
        """Append a token to a row, which may be the last one."""
        row.tokens.append(token)
        if row.reply is not None:
            row.reply.add(token)
        if row.prompt.want_logprobs:
            row.logprobs.append(logprob)
        if token in self.stop or len(row.tokens) == row.prompt.max_tokens:
            finish: Literal["stop", "length"] = "stop" if token in self.stop else "length"
            given = tuple(row.logprobs) if row.prompt.want_logprobs else None
            row.done = Generated(tuple(row.tokens), finish, given)
            self.leave(row)

    def _go_on(self) -> None:
        if self.interrupted:
            raise Interrupted

    def _compute(self, rows: list[Row], new: list[list[int]], guesses: Sequence[list[int]]) -> Any:
        """Logits after the last new token and each guessed one, which do not count as computed."""
        wanted = [ids + guess for ids, guess in zip(new, guesses, strict=True)]
        logits = self._forward(rows, wanted, [1 + len(guess) for guess in guesses])
        for row, ids in zip(rows, new, strict=True):
            row.cached += len(ids)
            self.prefilled += 0 if row.tokens else len(ids)
        return logits


def _barred(rows: Sequence[Row], size: int) -> Barred | None:
    """What each row may not say next; None where all may say anything, as outside of answers."""
    found = [row.reply.barred(size) if row.reply is not None else None for row in rows]
    if all(barred is None for barred in found):
        return None
    free = np.zeros(size, np.bool_)
    return np.stack([free if barred is None else barred for barred in found])


def _alike(ids: Tokens, others: Tokens) -> int:
    """How many tokens two sequences have in common from the first."""
    length = min(len(ids), len(others))
    differ = ids[:length] != others[:length]
    first = int(differ.argmax()) if length else 0
    return first if length and differ[first] else length
