"""Fewer paragraphs of a generated question: the needed ones stay, and all else still fits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.hotpotqa.changes import MAX_CHANGES, revise
from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.generator import SIZES, generate, shortened
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.options import resolve
from agemem_eval.harness.plan import _protocol_hash
from agemem_eval.harness.types import Observation
from agemem_eval.harness.workers.pool import EnvDescription

sys.path.insert(0, str(Path(__file__).resolve().parent))
from solver import solutions

SPLITS = st.sampled_from(tuple(SIZES))


@settings(max_examples=150, deadline=None)
@given(SPLITS, st.integers(0, 499), st.integers(2, 10))
def test_needed_paragraphs_stay_in_order(split: str, index: int, n: int) -> None:
    whole = generate(split, index)
    game = shortened(whole, n)
    titles = [p.title for p in game.question.context]
    assert len(titles) == n
    assert {title for title, _ in whole.question.facts} <= set(titles)
    assert [p for p in whole.question.context if p.title in titles] == [*game.question.context]
    assert {fact[0] for fact in game.claims} == set(titles)
    assert game == shortened(whole, n)
    if n < 10:  # with one more, none of them goes
        assert set(titles) < {p.title for p in shortened(whole, n + 1).question.context}
    else:
        assert game == whole


@pytest.mark.parametrize("n", [2, 4])
def test_what_is_left_still_gives_the_one_answer(n: int) -> None:
    for index in range(0, 500, 7):
        game = shortened(generate("generated", index), n)
        claims = [claim for told in game.claims.values() for claim in told]
        assert solutions(game.query, claims) == {game.question.answer}


@settings(max_examples=60, deadline=None)
@given(
    SPLITS, st.integers(0, 499), st.integers(2, 10), st.integers(0, MAX_CHANGES),
    st.sampled_from(("together", "each")), st.integers(0, 7),
)  # fmt: skip
def test_steps_gold_and_corrections_fit_what_is_told(
    split: str, index: int, n: int, n_changes: int, exposure: str, n_talk: int
) -> None:
    n_changes = min(n_changes, 5) if n == 2 else n_changes
    env = HotpotqaEnvironment(
        form="three-stage", paragraphs=str(n), changes=str(n_changes), exposure=exposure,
        distractors=str(n_talk),
    )  # fmt: skip
    task = env.tasks(split)[index]
    first, results = played(env, task)
    told = 1 if exposure == "together" else n
    assert len(results) == task.max_steps == env.spec.max_steps == task.oracle_steps
    assert task.max_steps == told + n_talk + n_changes + 1
    assert [r.new_context for r in results].index(True) == told - 1
    assert results[-1].success
    said = [first.text, *(r.observation for r in results)]
    titles = [p.title for p in shortened(generate(split, index), n).question.context]
    heard = "\n".join(said[:told])
    assert [heard.count(f"“{title}”:\n") for title in titles] == [1] * n
    assert heard.count("”:\n") == n
    gold = env.gold(task)
    assert gold.answer == results[-1].answer
    assert len(gold.stale) == n_changes
    text = " ".join("\n".join(said).split())
    for fact in (*gold.facts, *gold.stale, *gold.corrected):
        assert fact.partition(": ")[2] in text or fact in text  # a name stands before some


def played(env: HotpotqaEnvironment, task: Any) -> tuple[Observation, list[Any]]:
    first, results = env.reset(task, 0), []
    while (action := env.expert_action("oracle")) is not None:
        results.append(env.step(action))
    return first, results


def test_corrections_are_of_what_was_told() -> None:
    for index in range(0, 500, 11):
        for n in (2, 3):
            titles = {p.title for p in shortened(generate("generated", index), n).question.context}
            changes = revise("generated", index, 0, 3, n).changes
            assert {change.fact[0] for change in changes} <= titles
    assert revise("generated", 5, 0, 4) == revise("generated", 5, 0, 4, 10)


def test_the_interactive_form_has_as_many_to_search() -> None:
    env = HotpotqaEnvironment(paragraphs="3")
    task = env.tasks("generated")[0]
    first, results = played(env, task)
    assert first.text == "There are 3 paragraphs to search."
    assert len(results) == task.oracle_steps == 3
    assert results[-1].success


def test_the_reader_does_well_with_few() -> None:
    env = HotpotqaEnvironment(form="three-stage", paragraphs="4", distractors="2")
    right = 0
    for task in env.tasks("generated-train")[:40]:
        env.reset(task, 0)
        while (action := env.expert_action("reader")) is not None:
            result = env.step(action)
        right += bool(result.success)
    assert right >= 39


def test_it_is_part_of_what_a_result_is() -> None:
    hashes = set()
    for n in (None, "10", "9", "4"):
        pairs = [] if n is None else [f"paragraphs={n}"]
        config, _ = resolve({"env": "hotpotqa", "memory": "none", "option": pairs})
        env = HotpotqaEnvironment()
        tasks = tuple(env.tasks("generated")[:1])
        found = EnvDescription(env.spec, tasks, "", has_gold=True)
        hashes.add(_protocol_hash(config, "hotpotqa", found))
    assert len(hashes) == 3  # the default written out is the default


@pytest.mark.parametrize("split", ["dev", "train", "file"])
def test_official_questions_keep_theirs(split: str, tmp_path: Path) -> None:
    env = HotpotqaEnvironment(data=str(tmp_path), paragraphs="4")
    with pytest.raises(UsageError, match=f"paragraphs are left out .*, not of split '{split}'"):
        env.tasks(split)


@pytest.mark.parametrize(("value", "message"), [
    ("1", "paragraphs must be at least 2, not 1"), ("0", "at least 2"),
    ("11", "paragraphs must be at most 10, not 11"), ("two", "paragraphs must be a number"),
    ("", "must be a number"), ("2.5", "must be a number"),
])  # fmt: skip
def test_other_numbers_are_refused(value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        HotpotqaEnvironment(paragraphs=value)


def test_two_paragraphs_hold_five_corrections_and_no_more() -> None:
    HotpotqaEnvironment(form="three-stage", paragraphs="2", changes="5")
    with pytest.raises(UsageError, match=r"changes=6 are too many .* choose changes=5 at most"):
        HotpotqaEnvironment(form="three-stage", paragraphs="2", changes="6")
    for split, size in SIZES.items():
        for index in range(0, size, 23):
            assert len(revise(split, index, 0, 5, 2).changes) == 5
            assert len(revise(split, index, 0, 6, 3).changes) == 6
