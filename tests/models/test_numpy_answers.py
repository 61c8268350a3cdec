"""Answers limited to a list: what a token may be, by definition and by hand; then whole replies."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answering import make_answering
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.harness.models.inprocess.answers import Answers, Reply, Spelling
from agemem_eval.harness.models.inprocess.chat import Chat
from agemem_eval.harness.models.inprocess.decoding import Generated, Prompt
from agemem_eval.harness.models.numpy.decoder import Decoder
from agemem_eval.harness.models.numpy.network import load_network
from agemem_eval.harness.models.numpy.tokenizer import FileTokenizer
from agemem_eval.harness.protocol import parse_text

LETTERS = [bytes([byte]) for byte in range(256)]
MORE = [
    b"", b"<answer>", b"</answer>", b"go", b"go 1", b"1", b">g", b">x", b"<answer>no", b"<ANSWER>q",
    b"1</", b"</answer>\n", b"0</answer><answer>g", b"0</answer><answer>x", b"o</answer>!>",
    b"<answer>no</answer>", b"</", b"answer", b"go", b"\xc3\xb6f", b"f\xc3",
]  # fmt: skip
PIECES = LETTERS + MORE
SPELLING = Spelling(PIECES)


def allowed(answers: Answers, so_far: Sequence[bytes]) -> set[bytes]:
    """What may follow some tokens, those of one letter only where they may not all."""
    reply = Reply(answers)
    for piece in so_far:
        reply.add(PIECES.index(piece))
    barred = reply.barred(len(PIECES) + 5)
    if barred is None:
        return set(PIECES)
    assert len(barred) == len(PIECES) + 5
    return {piece for piece, bad in zip(PIECES, barred, strict=False) if not bad}


# --- by hand ------------------------------------------------------------------------------------


def test_what_may_follow_in_an_answer_is_what_can_be_worked_out_by_hand() -> None:
    answers = Answers(SPELLING, ["go 1", "go 10", "no"])
    begin = b"<answer>"
    assert allowed(answers, [begin]) == {b"g", b"n", b"go", b"go 1"}
    assert allowed(answers, [begin, b"go"]) == {b" "}
    assert allowed(answers, [begin, b"go", b" "]) == {b"1", b"1</"}
    # the shorter may end here, the longer goes on, and both may with what comes after
    ends = {b"<", b"</", b"</answer>", b"</answer>\n"}
    on = {b"0", b"0</answer><answer>g"}
    assert allowed(answers, [begin, b"go 1"]) == ends | on
    assert allowed(answers, [begin, b"go 1", b"0"]) == ends
    assert allowed(answers, [begin, b"go", b" ", b"1</"]) == {b"a", b"answer"}
    assert allowed(answers, [begin, b"n"]) == {b"o", b"o</answer>!>"}


def test_outside_of_answers_only_tokens_that_begin_a_wrong_one_are_barred() -> None:
    answers = Answers(SPELLING, ["go 1", "no"])
    whole = set(PIECES)
    wrong = {b"<ANSWER>q", b"0</answer><answer>x"}
    assert allowed(answers, []) == whole - wrong
    assert allowed(answers, [b"<answer>no</answer>"]) == whole - wrong
    into = [b"<", *(bytes([letter]) for letter in b"AnSwer")]
    assert allowed(answers, into[:3]) == whole - wrong
    # what was `>x` before is now the end of a tag and the beginning of an answer
    assert allowed(answers, into) == whole - wrong - {b">x"}
    assert b">g" in allowed(answers, into)
    other = {b"<answer>no", b"<answer>no</answer>", b"0</answer><answer>g"}
    assert allowed(Answers(SPELLING, ["yes"]), []) == whole - wrong - other


def test_a_special_token_may_not_come_within_an_answer_and_a_larger_network_has_no_other() -> None:
    reply = Reply(Answers(SPELLING, ["go"]))
    size = len(PIECES) + 5
    assert reply.barred(size) is not None  # of "<ANSWER>q" alone
    reply.add(size - 1)  # free: what no tokenizer knows says nothing
    reply.add(PIECES.index(b"<answer>"))
    barred = reply.barred(size)
    assert barred is not None
    assert barred[PIECES.index(b"")]
    assert barred[len(PIECES) :].all()
    assert {PIECES[token] for token in np.flatnonzero(~barred)} == {b"g", b"go"}


@pytest.mark.parametrize(
    "left_out", [" go", "go ", "a</answer>b", "a</think>b", "x\ud800", "a</ANSWER>", "\u3000"]
)
def test_what_no_reply_could_hold_is_left_out(left_out: str) -> None:
    assert not Answers(SPELLING, [left_out])
    assert allowed(Answers(SPELLING, [left_out, "up"]), [b"<answer>"]) == {b"u"}


def test_what_the_tokenizer_has_no_letters_for_is_left_out_and_tags_are_needed() -> None:
    some = Spelling([bytes([letter]) for letter in b"</answer>go"])
    assert Answers(some, ["go"])
    assert not Answers(some, ["up", "g\u00f6"])
    with pytest.raises(ValueError, match="</answer>"):
        Spelling([b"<answer>", b"</answer>", b"g", b"o"])


# --- by definition ------------------------------------------------------------------------------


def may_stand(text: bytes, listed: set[bytes]) -> bool:
    """Whether a text holds answers of the list alone, the last perhaps in part."""
    rest = text
    while found := re.search(rb"<answer>", rest, re.IGNORECASE):
        body, closed, rest = rest[found.end() :].partition(b"</answer>")
        if not closed:
            return any((answer + b"</answer>").startswith(body) for answer in listed)
        if body not in listed:
            return False
    return True


WORDS = st.text(alphabet="go 10\u00f6n>a", min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(WORDS, min_size=1, max_size=5))
def test_tokens_are_barred_where_the_text_would_hold_another_answer_and_nowhere_else(
    data: st.DataObject, words: list[str]
) -> None:
    more = data.draw(st.lists(st.binary(min_size=1, max_size=4), max_size=6))
    cut = [f"x><answer>{word}</answer><answer>{word}".encode() for word in words]
    spans = [c[i : i + data.draw(st.integers(1, 20))] for c in cut for i in range(0, len(c), 3)]
    pieces = [*LETTERS, b"", b"<answer>", b"</answer>", *more, *spans]
    answers = Answers(Spelling(pieces), words)
    listed = {word.encode() for word in words if word == word.strip()}
    if not answers:
        assert not listed
        return
    reply, text = Reply(answers), b""
    for _ in range(10):
        barred = reply.barred(len(pieces))
        for token, piece in enumerate(pieces):
            inside = text.lower().rfind(b"<answer>") > text.rfind(b"</answer>")
            free = may_stand(text + piece, listed) and not (inside and not piece)
            assert free == (barred is None or not barred[token])
        open_ = [token for token in range(len(pieces)) if barred is None or not barred[token]]
        telling = [token for token in open_ if b"<" in pieces[token] or len(pieces[token]) > 1]
        token = data.draw(st.sampled_from(telling or open_))
        reply.add(token)
        text += pieces[token]


# --- logits made by hand ------------------------------------------------------------------------


class Slots:
    """A cache of nothing."""

    slots = capacity = 0

    def resize(self, slots: int, capacity: int, keep: Sequence[int], length: int) -> None:
        self.slots, self.capacity = slots, capacity

    def copy(self, source: int, target: int, length: int) -> None:
        pass

    def clear(self) -> None:
        self.slots = self.capacity = 0


class ByHand(Decoder):
    """Its logits are given by what a row has said."""

    guesses = 0

    def __init__(self, logits: Callable[[list[int]], np.ndarray]) -> None:
        super(Decoder, self).__init__(
            Slots(), (0,), max_rows=8, max_tokens=9999, prefill_tokens=99, reuse=True
        )
        self.given = logits

    def _forward(self, rows: list[Any], new: list[list[int]], last: list[int]) -> Any:
        return np.stack([self.given(row.tokens) for row in rows]).astype(np.float32)


HAND = [b"", b"<answer>", b"</answer>", b"a", b"b", b"c", *(bytes([n]) for n in b"</answer>")]


def by_hand(said: list[int]) -> np.ndarray:
    """`<answer>`, then c, b, a in the order of their logits, then the end."""
    logits = np.zeros(len(HAND))
    if not said:
        logits[1] = 50.0
    elif said[-1] == 1:
        logits[3:6] = [1.0, 2.0, 3.0]
        logits[0] = 4.0  # likeliest of all would be to say no more
    else:
        logits[2 if said[-1] in (3, 4, 5) else 0] = 50.0
    return logits


def test_the_likeliest_of_the_list_is_taken_and_its_probability_is_the_models_own() -> None:
    answers = Answers(Spelling(HAND), ["a", "b", "ab"])
    asked = Prompt((7,), 9, want_logprobs=True)
    free, held = ByHand(by_hand).generate([asked, replace(asked, answers=answers)])
    assert free.tokens == (1, 0)
    assert held.tokens == (1, 4, 2, 0)
    raw = by_hand([1])
    expected = raw[4] - np.log(np.exp(raw).sum())
    assert held.logprobs is not None
    assert held.logprobs[1] == pytest.approx(expected, abs=1e-6)
    assert held.logprobs[1] < -1.9  # of four that are likely, the third


def test_draws_are_of_the_list_at_its_own_odds() -> None:
    answers = Answers(Spelling(HAND), ["b", "c"])
    count, temperature = 1000, 0.7
    replies = [
        ByHand(by_hand).generate([Prompt((7,), 9, temperature, 1.0, seed, answers=answers)])[0]
        for seed in range(count)
    ]
    second = sum(reply.tokens[1] == 5 for reply in replies) / count
    expected = 1 / (1 + np.exp(-1.0 / temperature))
    assert abs(second - expected) < 4 * np.sqrt(expected * (1 - expected) / count)
    assert {reply.tokens[1] for reply in replies} == {4, 5}
    narrow = [Prompt((7,), 9, temperature, 0.5, seed, answers=answers) for seed in range(50)]
    for prompt in narrow:  # the nucleus, too, is one of the list
        (reply,) = ByHand(by_hand).generate([prompt])
        assert reply.tokens[1] == 5


def test_a_reply_that_is_cut_in_an_answer_ends_as_ever() -> None:
    answers = Answers(Spelling(HAND), ["ab"])
    (reply,) = ByHand(by_hand).generate([Prompt((7,), 2, answers=answers)])
    assert reply == Generated((1, 3), "length")


# --- random weights -----------------------------------------------------------------------------


class Tiny:
    """A tiny model that always answers, with what it decodes by."""

    def __init__(self, folder: Path, seed: int) -> None:
        make_answering(folder, seed)
        self.network, self.tokenizer = load_network(folder), FileTokenizer(folder)
        self.spelling = Chat(self.tokenizer, None, {}, "tiny").spelling((2,))
        self.newline = self.tokenizer.encode("\n", add_special_tokens=False)

    def decoder(self, **options: Any) -> Decoder:
        return Decoder(self.network, (2,), **options)

    def prompt(self, text: str, answers: Sequence[str] | None, **more: Any) -> Prompt:
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        given = None if answers is None else Answers(self.spelling, answers)
        settings_ = {"max_tokens": 90, "temperature": 0.0, **more}
        return Prompt((*ids, *self.newline), answers=given, **settings_)

    def text(self, reply: Generated) -> str:
        return self.tokenizer.decode(
            reply.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


@pytest.fixture(scope="module")
def tinies(tmp_path_factory: pytest.TempPathFactory) -> list[Tiny]:
    folder = tmp_path_factory.mktemp("answering")
    return [Tiny(folder / str(seed), seed) for seed in range(3)]


def test_what_tokens_spell_is_what_the_tokenizer_decodes(tinies: list[Tiny]) -> None:
    (tiny, *_) = tinies
    pieces, draws = tiny.spelling.pieces, np.random.default_rng(0)
    assert pieces[2] == b""  # it ends a reply
    for _ in range(200):
        ids = draws.integers(len(pieces), size=30)
        spelt = b"".join(pieces[token] for token in ids).decode(errors="replace")
        assert spelt == tiny.text(Generated(tuple(ids.tolist()), "length"))
    text = "\u00f6ffne <think>T\u00fcr 1</answer> <tool_call>\u6f22"
    ids = tiny.tokenizer.encode(text, add_special_tokens=False)
    assert b"".join(pieces[token] for token in ids) == text.encode()


ACTIONS = st.one_of(
    st.integers(1, 12).map("open drawer {}".format),
    st.sampled_from(["go", "go to", "look", "inventory", "\u00f6ffne T\u00fcr 1", "\u6f22\u5b57"]),
    st.text(min_size=1, max_size=8),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(ACTIONS, max_size=8), st.integers(0, 2), st.integers(0, 2**32), st.text(max_size=9))
def test_whatever_the_weights_the_answer_is_one_of_the_list(
    tinies: list[Tiny], actions: list[str], which: int, seed: int, said: str
) -> None:
    tiny = tinies[which]
    how: list[dict[str, Any]] = [{}, {"temperature": 1.0}, {"temperature": 2.0, "top_p": 0.9}]
    prompts = [tiny.prompt(f"Act now: {said}", actions, seed=seed, **more) for more in how]
    held = {a for a in actions if Answers(tiny.spelling, [a])}
    assert held >= {a for a in actions if a.isascii() and a.isprintable() and "<" not in a} - {
        a for a in actions if a != a.strip()
    }
    free = tiny.prompt(f"Act now: {said}", None, seed=seed, temperature=1.0)
    replies = tiny.decoder().generate([*prompts, free])
    for reply in replies[:-1]:
        text = tiny.text(reply)
        assert text.startswith("<answer>")
        assert not held or parse_text(text).answer in held
    if not held:  # then it is as free as any
        assert replies[1].tokens == replies[-1].tokens


def test_limited_and_free_rows_share_a_batch_and_what_is_computed(tinies: list[Tiny]) -> None:
    (tiny, *_) = tinies
    said = "You are in the middle of a room. Looking quickly around you, you see a drawer 1. "
    lists = [["open drawer 1", "open drawer 10"], None, ["look"], [], None, ["go", "go to shelf 1"]]
    prompts = [
        tiny.prompt(
            said + "Go. " * (n % 3), answers, temperature=n % 2 * 1.0, seed=n, max_tokens=40
        )
        for n, answers in enumerate(lists)
    ]
    alone = [tiny.decoder(reuse=False).generate([prompt])[0] for prompt in prompts]
    decoder = tiny.decoder()
    assert decoder.generate(prompts) == alone
    assert decoder.generate(prompts) == alone  # now from what is there already
    held = [parse_text(tiny.text(reply)).answer for reply in alone]
    assert held[2] == "look"
    assert all(parse_text(tiny.text(r)).answer in a for r, a in zip(alone, lists, strict=True) if a)


def test_limited_answers_are_those_without_guesses(tinies: list[Tiny]) -> None:
    actions = [f"put mug {n} in drawer {n}" for n in range(12)]
    for tiny in tinies:
        asked = [
            tiny.prompt(f"Put mug {n} in drawer {n}. " * 3, actions, temperature=t, seed=n)
            for n, t in enumerate((0.0, 0.3, 1.0))
        ]
        alone = tiny.decoder()
        alone.guesses = 0
        assert tiny.decoder().generate(asked) == alone.generate(asked)


def test_a_greedy_answer_is_the_best_by_every_step_of_the_raw_logits(tinies: list[Tiny]) -> None:
    """Each token is the likeliest of those that a definition allows, by a plain forward."""
    from agemem_eval.harness.models.numpy.cache import SlotCache

    tiny = tinies[1]
    actions = ["open drawer 1", "open drawer 10", "look", "\u00f6ffnen"]
    prompt = tiny.prompt("Act.", actions, max_tokens=60, want_logprobs=True)
    (reply,) = tiny.decoder().generate([prompt])
    listed = {action.encode() for action in actions}
    text = b""
    assert reply.logprobs is not None
    for count, token in enumerate(reply.tokens):
        cache = SlotCache(tiny.network.sizes)
        cache.resize(1, 256, [], 0)
        ids = [*prompt.tokens, *reply.tokens[:count]]
        (logits,) = tiny.network.forward(cache, [0], [0], [ids])
        inside = text.rfind(b"<answer>") > text.rfind(b"</answer>")
        free = [
            may_stand(text + piece, listed) and bool(piece or not inside)
            for piece in tiny.spelling.pieces
        ]
        assert token == np.where(free, logits, -np.inf).argmax()
        exact = logits.astype(np.float64)
        expected = exact[token] - exact.max() - np.log(np.exp(exact - exact.max()).sum())
        assert reply.logprobs[count] == pytest.approx(expected, abs=1e-3)
        text += tiny.spelling.pieces[token]
