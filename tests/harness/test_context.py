"""The context: budget, pins, removal in groups, summaries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.harness.context import MESSAGE_OVERHEAD, Context, ContextOverflow
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.trace import Trace


def make(budget: int = 1000) -> Context:
    return Context(budget, lambda text: len(text.split()), Trace())


def texts(context: Context) -> list[str]:
    return [message.content for message in context.messages]


def test_tokens_are_the_sum_of_the_messages() -> None:
    context = make()
    context.add("system", "system", "a b c", pinned=True)
    context.add("user", "observation", "d e")
    assert context.tokens == 5 + 2 * MESSAGE_OVERHEAD
    context.reserved = 7
    assert context.tokens == 12 + 2 * MESSAGE_OVERHEAD


def test_overflow_drops_the_oldest_and_never_a_pinned_message() -> None:
    context = make(budget=20)
    context.add("system", "system", "s", pinned=True)
    for word in ("one", "two", "three", "four"):
        context.add("user", "observation", word)
    context.add("user", "observation", "now", pinned=True)
    dropped = context.fit()
    assert [m.content for m in dropped] == ["one", "two"]
    assert texts(context) == ["s", "three", "four", "now"]
    assert context.tokens <= 20


def test_pinned_messages_beyond_the_budget_are_an_error_not_a_cut() -> None:
    context = make(budget=5)
    context.add("system", "system", "a b c d e f", pinned=True)
    with pytest.raises(ContextOverflow, match="--context-tokens"):
        context.fit()
    assert texts(context) == ["a b c d e f"]


def test_remove_spares_pinned_messages() -> None:
    context = make()
    goal = context.add("user", "goal", "g", pinned=True)
    other = context.add("user", "observation", "o")
    removed = context.remove([goal.id, other.id], "filter")
    assert [m.content for m in removed] == ["o"]
    assert texts(context) == ["g"]


def test_a_summary_stands_where_the_earliest_message_stood() -> None:
    context = make()
    context.add("system", "system", "s", pinned=True)
    first = context.add("user", "observation", "a")
    context.add("assistant", "assistant", "b")
    last = context.add("user", "observation", "c")
    context.add("user", "observation", "d", pinned=True)
    summary = context.summarise([last.id, first.id], "a and c")
    assert summary is not None
    assert texts(context) == ["s", "a and c", "b", "d"]
    assert context.summarise([], "nothing") is None


def test_a_native_call_and_its_results_leave_together() -> None:
    context = make()
    calls = (ToolCall("Add_memory", {}, "c1"), ToolCall("Add_memory", {}, "c2"))
    asked = context.add("assistant", "assistant", "x", tool_calls=calls)
    context.add("tool", "tool_result", "r1", tool_call_id="c1")
    result = context.add("tool", "tool_result", "r2", tool_call_id="c2")
    context.add("user", "observation", "o")
    context.remove([result.id], "filter")
    assert texts(context) == ["o"]
    assert asked.id not in {m.id for m in context.messages}


def test_a_pinned_call_keeps_its_results() -> None:
    context = make()
    calls = (ToolCall("Add_memory", {}, "c1"),)
    asked = context.add("assistant", "assistant", "x", pinned=True, tool_calls=calls)
    result = context.add("tool", "tool_result", "r1", tool_call_id="c1")
    assert context.remove([result.id], "filter") == []
    context.unpin(asked.id)
    assert len(context.remove([result.id], "filter")) == 2


def test_clip_marks_what_it_cut() -> None:
    context = make()
    assert context.clip("a b c", 3) == "a b c"
    clipped = context.clip("word " * 100, 10)
    assert clipped.startswith("word word")
    assert "[… cut: 450 of 500 characters]" in clipped


@given(st.lists(st.tuples(st.text(max_size=20), st.booleans())), st.integers(1, 200))
def test_fit_keeps_the_order_and_all_pins(messages: list[tuple[str, bool]], budget: int) -> None:
    context = make(budget)
    for text, pinned in messages:
        context.add("user", "message", text, pinned=pinned)
    before = list(context.messages)
    try:
        context.fit()
    except ContextOverflow:
        assert all(m.pinned for m in context.messages)
    else:
        assert context.tokens <= budget
    kept = list(context.messages)
    assert kept == [m for m in before if m in kept]
    assert [m for m in kept if m.pinned] == [m for m in before if m.pinned]
    assert context.tokens == sum(m.tokens + MESSAGE_OVERHEAD for m in kept)


def test_below_one_what_is_kept_leaves_room_for_some_turns() -> None:
    def played(kept: float) -> list[int]:
        context = Context(100, lambda text: len(text.split()), Trace(), kept)
        context.add("system", "system", "s", pinned=True)
        drops = []
        for _ in range(60):
            context.add("user", "observation", "one two three four")
            drops.append(len(context.fit()))
            assert context.tokens <= 100
        return drops

    full = played(1.0)
    assert set(full[20:]) == {1}  # each turn another one, so no prompt begins as the one before
    seldom = played(0.5)
    assert sum(map(bool, seldom[20:])) < 10
    assert sum(seldom) >= sum(full)


def test_kept_pinned_messages_beyond_the_share_are_no_error() -> None:
    context = Context(20, lambda text: len(text.split()), Trace(), 0.5)
    context.add("system", "system", "a b c d e f g h i j", pinned=True)
    context.add("user", "observation", "one two three")
    assert len(context.fit()) == 1
    assert texts(context) == ["a b c d e f g h i j"]
