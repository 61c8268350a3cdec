"""The turn protocol: what well-formed, sloppy and broken outputs are read as."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.protocol import parse_completion, parse_text, render_calls
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import Completion

USAGE = Usage(1, 1)


def test_a_thought_and_an_answer() -> None:
    turn = parse_text("<think>mug is there</think><answer>go to desk 1</answer>")
    assert (turn.think, turn.answer, turn.calls, turn.problems) == (
        "mug is there",
        "go to desk 1",
        (),
        (),
    )


def test_several_calls_in_an_array() -> None:
    turn = parse_text(
        '<think>x</think><tool_call>[{"name": "Add_memory", "arguments": {"content": "a"}},'
        ' {"name": "Summary_context", "arguments": {"span": "all"}}]</tool_call>'
    )
    assert [call.name for call in turn.calls] == ["Add_memory", "Summary_context"]
    assert turn.calls[0].arguments == {"content": "a"}
    assert turn.answer is None
    assert turn.problems == ()


def test_tags_named_in_a_thought_are_not_calls() -> None:
    turn = parse_text("<think>I could <tool_call>[]</tool_call> now</think><answer>look</answer>")
    assert turn.calls == ()
    assert turn.answer == "look"
    assert turn.problems == ()


CALL = '{"name": "Retrieve_memory", "arguments": {"query": "mug"}}'


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (f"<tool_call>{CALL}</tool_call>", ["Retrieve_memory"]),  # an object, no array
        (f"<tool_call>[{CALL}]", ["Retrieve_memory"]),  # not closed
        (f"<tool_call>[{CALL}] and so on</tool_call>", ["Retrieve_memory"]),  # trailing text
        (f"<tool_call>{CALL}\n{CALL}</tool_call>", ["Retrieve_memory"] * 2),  # one a line
        (f"<tool_call>[{CALL}]</tool_call><answer>look</answer>", ["Retrieve_memory"]),  # both
        (f"<think>hm<tool_call>[{CALL}]</tool_call>", ["Retrieve_memory"]),  # open thought
    ],
)
def test_sloppy_calls_are_used_and_counted(text: str, names: list[str]) -> None:
    turn = parse_text(text)
    assert [call.name for call in turn.calls] == names
    assert turn.problems, "tolerated, but not silently"


def test_qwen_style_one_block_a_call_and_fences_are_fine() -> None:
    turn = parse_text(
        f"<tool_call>\n```json\n[{CALL}]\n```\n</tool_call><tool_call>[{CALL}]</tool_call>"
    )
    assert len(turn.calls) == 2
    assert turn.problems == ()


def test_arguments_written_as_a_json_string_are_decoded() -> None:
    turn = parse_text(
        '<tool_call>[{"name": "Add_memory", "arguments": "{\\"content\\": \\"a\\"}"}]</tool_call>'
    )
    assert turn.calls == (ToolCall("Add_memory", {"content": "a"}),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "go to desk 1",
        "<think>only a thought</think>",
        "<tool_call></tool_call>",
        "<tool_call>[]</tool_call>",
        "<tool_call>[{'name': 'x'}]</tool_call>",
        '<tool_call>["Add_memory"]</tool_call>',
        '<tool_call>[{"name": 3, "arguments": {}}]</tool_call>',
        '<tool_call>[{"name": "Add_memory", "arguments": [1]}]</tool_call>',
        '<tool_call>[{"name": "Add_memory", "arguments": NaN}]</tool_call>',
        '<tool_call>[{"name": "Add_memory", "arguments": {"a": 1e999}}]</tool_call>',
        '<tool_call>[{"name": "Add_memory", "arguments": {"a": '
        + "[" * 200
        + "]" * 200
        + "}}]</tool_call>",
        "<tool_call>" + "[" * 100_000 + "</tool_call>",
        "</answer>",
    ],
)
def test_unusable_outputs_say_why(text: str) -> None:
    turn = parse_text(text)
    assert not turn.usable
    assert len(turn.problems) == 1
    assert "\n" not in turn.problems[0]


def test_letters_that_change_length_in_lower_case_move_nothing() -> None:
    turn = parse_text("<think>" + "İ" * 12 + "</think><answer>İİgo to desk 1</answer>")
    assert (turn.answer, turn.problems) == ("İİgo to desk 1", ())


def test_a_thought_that_the_template_opened_is_a_thought() -> None:
    text = "I could <answer>open fridge 1</answer> but no.</think><answer>go to desk 1</answer>"
    turn = parse_text(text)
    assert (turn.answer, turn.problems) == ("go to desk 1", ())
    assert "open fridge 1" in turn.think


def test_an_unclosed_answer_is_an_answer() -> None:
    turn = parse_text("<think>a</think><answer>take mug 1 from desk 1\n")
    assert turn.answer == "take mug 1 from desk 1"
    assert len(turn.problems) == 1


def test_the_first_kind_wins_when_both_are_given() -> None:
    turn = parse_text(f"<answer>look</answer><tool_call>[{CALL}]</tool_call>")
    assert turn.answer == "look"
    assert turn.calls == ()
    assert "only the <answer>" in turn.problems[0]


def test_native_calls_and_native_plain_answers() -> None:
    call = ToolCall("Add_memory", {"content": "a"}, "c1")
    turn = parse_completion(Completion("noting", USAGE, (call,)), native=True)
    assert turn.calls == (call,)
    assert turn.think == "noting"
    plain = parse_completion(Completion("go to desk 1", USAGE), native=True)
    assert plain.answer == "go to desk 1"
    assert plain.problems == ()
    tagged = parse_completion(Completion("<answer>look</answer>", USAGE), native=True)
    assert tagged.answer == "look"
    broken = parse_completion(Completion("", USAGE, malformed=("bad json",)), native=True)
    assert broken.problems == ("bad json",)
    assert not broken.usable


@given(st.text())
def test_any_text_is_read_without_raising(text: str) -> None:
    turn = parse_text(text)
    assert turn.usable or turn.problems


@given(
    st.lists(
        st.sampled_from(
            ["<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>",
             CALL, "[", "]", "{", "}", '"', "look", "\n"]
        )
    )
)  # fmt: skip
def test_any_mix_of_tags_is_read_without_raising(parts: list[str]) -> None:
    turn = parse_text("".join(parts))
    assert not (turn.calls and turn.answer is not None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), JSON))
@example({"</THINK>": None})
def test_rendered_calls_are_read_back(arguments: dict[str, object]) -> None:
    text = render_calls((ToolCall("Add_memory", arguments),))
    written = json.dumps(arguments, ensure_ascii=False).lower()
    if "</tool_call>" in written:
        return  # the closing tag inside a string is the one thing the format cannot carry
    assert parse_text(f"<think>so</think>{text}").calls == (ToolCall("Add_memory", arguments),)
    if "</think>" not in written:  # without a thought this would be the end of one
        assert parse_text(text).calls == (ToolCall("Add_memory", arguments),)
