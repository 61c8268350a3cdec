"""Tokens guessed ahead: the guess by a plain search, and replies beside those without any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.harness.models.inprocess.decoding import Generated, Prompt
from agemem_eval.harness.models.inprocess.lookup import lookup
from agemem_eval.harness.models.numpy.decoder import Decoder
from agemem_eval.harness.models.numpy.network import Network, load_network

STOP = (2, 9)


@pytest.fixture(scope="module")
def network(tiny: Path) -> Network:
    return load_network(tiny)


class Counting(Decoder):
    """Counts forwards and the tokens in them, which stay within what their rows may take."""

    forwards = tokens = 0

    def _forward(self, rows, new, last):
        self.forwards += 1
        self.tokens += sum(map(len, new))
        assert all(
            row.cached + len(ids) < row.prompt.total for row, ids in zip(rows, new, strict=True)
        )
        return super()._forward(rows, new, last)


def decoder(network: Network, *, guesses: int = 14, **settings) -> Counting:
    made = Counting(network, STOP, **settings)
    made.guesses = guesses
    return made


def prompts(network: Network, **settings) -> list[Prompt]:
    """Of several lengths; what each says, it says more than once, as the prompts of agents do."""
    draws = np.random.default_rng(5)
    made = []
    for number in range(9):
        said = draws.integers(10, network.sizes.vocabulary, 12 + 9 * number).tolist()
        ids = (said + said[: 7 + number] + said)[-150:]
        made.append(Prompt(tuple(ids), max_tokens=40, seed=number, **settings))
    return made


# --- the guess ---------------------------------------------------------------------------------


def plain(held: list[int], most: int) -> list[int]:
    """The same from its description: each ending, the longest first; each place, the last first."""
    for alike in range(8, 1, -1):
        for end in range(len(held) - 1, alike - 1, -1):
            if alike <= len(held) and held[end - alike : end] == held[-alike:]:
                return held[end : end + min(2 * (alike - 1), most)]
    return []


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(0, 20))
def test_a_guess_is_what_followed_the_longest_ending_that_stands_before(
    held: list[int], most: int
) -> None:
    assert lookup(np.array(held, dtype=np.int64), most) == plain(held, most)


@pytest.mark.parametrize(
    ("held", "guess"),
    [
        ([1, 2, 3, 4, 1, 2], [3, 4]),
        ([1, 2, 3, 4, 5, 1, 2, 3], [4, 5, 1, 2]),
        ([1, 2, 3, 1, 2, 4, 1, 2], [4, 1]),  # what followed last
        ([1, 2, 3, 2], []),  # one token alone tells nothing
        ([7, 7, 7, 7], [7]),
        ([1], []),
        ([], []),
    ],
)
def test_guesses_by_hand(held: list[int], guess: list[int]) -> None:
    assert lookup(np.array(held, dtype=np.int64), 14) == guess


# --- replies -----------------------------------------------------------------------------------


def assert_same(found: list[Generated], expected: list[Generated]) -> None:
    assert [(r.tokens, r.finish) for r in found] == [(r.tokens, r.finish) for r in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.logprobs is None) == (other.logprobs is None)
        assert one.logprobs is None or np.allclose(one.logprobs, other.logprobs, atol=2e-5)


@pytest.mark.parametrize("rows", [1, 4, 32])
@pytest.mark.parametrize("temperature", [0.0, 0.1, 1.0])
def test_replies_are_those_without_guesses(network: Network, rows: int, temperature: float) -> None:
    asked = prompts(network, temperature=temperature, want_logprobs=True)
    alone = decoder(network, guesses=0, max_rows=rows, prefill_tokens=64)
    ahead = decoder(network, max_rows=rows, prefill_tokens=64)
    assert_same(ahead.generate(asked), alone.generate(asked))
    assert ahead.tokens > alone.tokens  # some were guessed
    assert ahead.forwards <= alone.forwards
    assert ahead.prefilled == alone.prefilled


class Counter(Counting):
    """Says the number after the last one, of seven."""

    def _forward(self, rows, new, last):
        self.forwards += 1
        ends = [ids[len(ids) - count :] for ids, count in zip(new, last, strict=True)]
        return np.eye(7, dtype=np.float32)[[(token + 1) % 7 for ids in ends for token in ids]]


def test_what_is_guessed_rightly_takes_no_forward_of_its_own(network: Network) -> None:
    ahead = Counter(network, ())
    (reply,) = ahead.generate([Prompt(tuple(range(7)) * 3, max_tokens=46)])
    assert reply.tokens == tuple(i % 7 for i in range(46))
    assert ahead.forwards == 1 + 6  # the first token, then seven guessed and the one after them


@pytest.mark.parametrize(("stop", "most", "finish"), [((3,), 46, "stop"), ((), 4, "length")])
def test_a_reply_ends_amid_what_was_guessed_rightly(
    network: Network, stop: tuple[int, ...], most: int, finish: str
) -> None:
    ahead = Counter(network, stop)
    (row,) = ahead.join([Prompt(tuple(range(7)) * 3, max_tokens=most)])
    ahead.step()
    assert row.done == Generated((0, 1, 2, 3), finish)
    assert row.tokens == [0, 1, 2, 3]
    assert ahead.rows == []


def test_a_reply_is_cut_where_it_is_to_end(network: Network) -> None:
    """Never a token more than asked for, be it guessed, nor one after a stop token."""
    asked = prompts(network)
    for most in (1, 2, 3, 17):
        short = [Prompt(p.tokens, max_tokens=most, seed=0) for p in asked]
        found = decoder(network).generate(short)
        assert_same(found, decoder(network, guesses=0).generate(short))
        assert all(len(r.tokens) == most or r.tokens[-1] in STOP for r in found)
    (whole,) = decoder(network).generate(asked[-1:])
    said = whole.tokens[20]  # in the midst of what is repeated
    ended = Counting(network, (said,))
    (reply,) = ended.generate(asked[-1:])
    assert reply.tokens == whole.tokens[: whole.tokens.index(said) + 1]
    assert reply.finish == "stop"


def test_what_was_guessed_wrongly_is_forgotten(network: Network) -> None:
    """The next turn takes over only what was said: it is as one that is read anew."""
    ahead = decoder(network)
    asked, read = prompts(network, temperature=0.7), 0
    for _ in range(4):
        read += sum(len(p.tokens) for p in asked)
        found = ahead.generate(asked)
        assert_same(found, decoder(network, guesses=0, reuse=False).generate(asked))
        asked = [
            Prompt((*p.tokens, *r.tokens, *p.tokens[:5]), max_tokens=25, seed=p.seed,
                   temperature=0.7)
            for p, r in zip(asked, found, strict=True)
        ]  # fmt: skip
    assert ahead.prefilled < 0.5 * read  # the rest was taken over
