"""Messages one by one, parts dealt into messages, and the task that is told before a task."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.envs.staged.messages import Script, Telling, dealt
from agemem_eval.envs.staged.scenes import earlier
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.types import Task

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fake_inner import Counting

TEXTS = st.lists(st.text("ab", min_size=1, max_size=30), min_size=1, max_size=30)


@given(TEXTS, st.integers(1, 8))
def test_parts_are_dealt_in_order_and_none_is_lost(parts: list[str], count: int) -> None:
    messages = dealt(parts, count, "|")
    assert len(messages) == min(count, len(parts))
    assert "|".join(messages).split("|") == parts


@given(st.integers(1, 60), st.integers(1, 8))
def test_parts_of_one_length_are_dealt_evenly(n_parts: int, count: int) -> None:
    lengths = [len(message.split("|")) for message in dealt(["x"] * n_parts, count, "|")]
    assert max(lengths) - min(lengths) <= 1


@given(st.integers(1, 6), st.integers(0, 9), st.lists(st.sampled_from(("ok", "", "\0"))))
def test_each_message_is_heard_once(n_told: int, n_talk: int, answers: list[str]) -> None:
    told = [f"told {n}" for n in range(n_told)]
    talk = [f"talk {n}" for n in range(n_talk)]
    telling = Telling(Script(tuple(told), tuple(talk)))
    said, anew, notes = [telling.first], [], []
    answers = (answers + ["ok"] * (n_told + n_talk))[: n_told + n_talk]
    for answer in answers:
        assert not telling.over
        heard = telling.answer(answer)
        said.append(heard.message)
        anew.append(heard.anew)
        notes.append((heard.valid, heard.note == ""))
    assert telling.over
    assert said == [*told, *talk, None]
    assert [n for n, flag in enumerate(anew, 1) if flag] == [n_told]
    assert notes == [(answer == "ok",) * 2 for answer in answers]


class Rooms(Counting):
    """Tasks of three rooms; one room has one task only."""

    def scene(self, task: Task) -> str:
        return {"t0": "hall", "t3": "hall", "t1": "attic"}.get(task.id, "cellar")


def test_an_earlier_task_shares_the_room_or_else_the_type_or_else_the_split() -> None:
    rooms = Rooms()
    tasks = rooms.tasks("all")
    # t0 and t3 share the hall; t2, t4, t5 the cellar; t1 is alone there, t3 is of its type.
    assert [t.id for t in earlier(rooms, tasks)] == ["t3", "t3", "t4", "t0", "t5", "t2"]
    assert [t.id for t in earlier(Counting(), tasks)] == ["t2", "t3", "t4", "t5", "t0", "t1"]
    odd = [*tasks[:1], tasks[1]]
    assert [t.id for t in earlier(Counting(), odd)] == ["t1", "t0"]
    with pytest.raises(UsageError, match="choose exposure=world or exposure=description"):
        earlier(Counting(), tasks[:1])
