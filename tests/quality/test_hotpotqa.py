"""The matcher on the facts of 152 real questions: found as told, and not in another's place."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.forms import exposure
from agemem_eval.envs.hotpotqa.gold import gold_of
from agemem_eval.envs.hotpotqa.records import Question, read_record
from agemem_eval.harness.quality.matching import Matcher
from agemem_eval.harness.quality.score import Evidence, score
from agemem_eval.harness.types import Json


@pytest.fixture(scope="module")
def questions(data_dir: Path) -> list[Question]:
    path = data_dir / "hotpotqa" / "hotpot_sample.json"
    if not path.is_file():
        pytest.skip("no real questions: hotpotqa/hotpot_sample.json is not in the test data")
    return [read_record(record) for record in json.loads(path.read_text())]


def test_facts_stored_as_they_are_have_recall_and_precision_1(
    matcher: Matcher, questions: list[Question]
) -> None:
    for question in questions[:: sampled(matcher)]:
        facts = gold_of(question).facts
        found = matcher.find(facts, facts)
        assert all(found.facts)
        assert found.matching == found.total


def test_another_question_s_facts_recall_nothing(
    matcher: Matcher, questions: list[Question]
) -> None:
    facts = [gold_of(question).facts for question in questions[:: sampled(matcher)]]
    recalls = []
    for place, wanted in enumerate(facts):
        said = matcher.find(facts[(place + 1) % len(facts)], wanted).facts
        recalls.append(sum(said) / len(said))
    print(f"mean recall of another question's facts: {fmean(recalls):.4f}")
    assert fmean(recalls) <= 0.01


def test_facts_are_found_in_the_message_that_tells_all_paragraphs(
    hashing: Matcher, questions: list[Question]
) -> None:
    recalls = []
    for question in questions[::24]:
        facts = gold_of(question).facts
        said = hashing.find(exposure(question, each=False), facts).facts
        recalls.append(sum(said) / len(said))
    assert fmean(recalls) >= 0.98


def test_other_sentences_of_the_same_paragraphs_are_seldom_taken_for_the_facts(
    hashing: Matcher, questions: list[Question]
) -> None:
    recalls = []
    for question in questions[::20]:
        gold, used = gold_of(question).facts, set(question.facts)
        told = {line for p in question.context for line in p.lines if line in " ".join(gold)}
        others = [
            f"{p.name}: {line}"
            for p in question.context
            for at, line in enumerate(p.lines)
            if (p.title, at) not in used and line not in told
        ]
        said = hashing.find(others, gold).facts
        recalls.append(sum(said) / len(said))
    print(f"mean recall of facts from the other sentences: {fmean(recalls):.4f}")
    assert fmean(recalls) <= 0.1


async def test_facts_that_change_are_told_from_what_they_were(hashing: Matcher) -> None:
    env = HotpotqaEnvironment(form="three-stage", changes="2")
    for task in env.tasks("generated")[:24]:
        gold = env.gold(task)
        right, wrong = [
            (await score(Evidence(gold, {}, entries(texts), [], True, None), hashing, None)).scores
            for texts in (tuple(dict.fromkeys((*gold.facts, *gold.corrected))), gold.stale)
        ]
        assert (right["fact_recall"], right["stale"]) == (1, 0)
        assert right["updated"] == 1
        assert (wrong["stale"], wrong["updated"]) == (1, 0)


def sampled(matcher: Matcher) -> int:
    """Every third question for an embedder that is fast, every sixteenth for one that is not."""
    return 3 if "hashing" in str(matcher.identity["embedder"]) else 16


def entries(contents: tuple[str, ...]) -> list[Json]:
    return [{"id": str(n), "content": text, "metadata": {}} for n, text in enumerate(contents)]
