"""Facts that change midway: the corrected paragraphs give the new answer, the told ones the old."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from agemem_eval.envs.hotpotqa.changes import MAX_CHANGES, VERSION, Change, Revision, revise
from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.generator import Claim, Generated, generate
from agemem_eval.envs.hotpotqa.kinds import KINDS
from agemem_eval.envs.hotpotqa.reader import Reader
from agemem_eval.envs.hotpotqa.reading import find
from agemem_eval.envs.hotpotqa.records import Question
from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.types import StepResult, Task

sys.path.insert(0, str(Path(__file__).resolve().parent))
from solver import solutions
from test_distractors import shared

COUNTS = (1, 3, MAX_CHANGES)
OFFICIAL = ("dev", "train", "file")


@cache
def revised() -> list[tuple[Generated, Revision]]:
    """Some questions of either split, with few and many changes."""
    chosen = [("generated", i) for i in range(0, 500, 5)]
    chosen += [("generated-train", i) for i in range(0, 5000, 51)]
    return [
        (generate(split, index), revise(split, index, 0, COUNTS[number % 3]))
        for number, (split, index) in enumerate(chosen)
    ]


def corrected(game: Generated, changes: tuple[Change, ...]) -> Iterator[Claim]:
    for fact, told in game.claims.items():
        for claim in told:
            of_it = [c for c in changes if (c.fact, c.was) == (fact, claim)]
            yield replace(claim, value=of_it[0].value) if of_it else claim


def whole(text: str, value: str) -> bool:
    return re.search(rf"(?<![\w,]){re.escape(value)}(?!\w)", text, re.I) is not None


def text_of(question: Question) -> str:
    return "\n".join(question.texts())


# --- what is true in the end ------------------------------------------------------------------


def test_the_new_answer_follows_from_the_corrected_paragraphs_and_the_old_from_the_told() -> None:
    for game, revision in revised():
        assert solutions(game.query, corrected(game, ())) == {game.question.answer}
        right = solutions(game.query, corrected(game, revision.changes))
        assert right == {revision.question.answer} != {game.question.answer}


def test_one_change_turns_the_answer_and_the_others_leave_it() -> None:
    for game, revision in revised():
        told = {game.question.answer}
        turning = [
            change
            for change in revision.changes
            if solutions(game.query, corrected(game, (change,))) != told
        ]
        assert any(change.fact in game.question.facts for change in turning)
        for change in revision.changes:  # without the one that turns it, all others tell the old
            if change not in turning:
                others = tuple(c for c in revision.changes if c not in turning)
                assert solutions(game.query, corrected(game, others)) == told
    some = [(g, r) for g, r in revised() if g.query.form == "chain" and len(r.changes) > 1]
    assert len(some) > 50
    for game, revision in some:  # what a bridge question leads through stays
        of_facts = [c.fact for c in revision.changes if c.fact in game.question.facts]
        assert game.question.facts[1] in of_facts


def test_the_corrected_sentences_say_the_new_value_and_nothing_else_is_changed() -> None:
    for game, revision in revised():
        before = {p.title: p.sentences for p in game.question.context}
        after = {p.title: p.sentences for p in revision.question.context}
        changes = {change.fact: change for change in revision.changes}
        assert len(changes) == len(revision.changes)
        assert [*before] == [*after]
        for title, sentences in before.items():
            assert len(sentences) == len(after[title])
            for at, (old, new) in enumerate(zip(sentences, after[title], strict=True)):
                if (title, at) not in changes:
                    assert old == new
                    continue
                change = changes[title, at]
                assert (change.old, change.new) == (old, new)
                assert change.was in game.claims[title, at]
                assert whole(old, change.was.value)
                assert whole(new, change.value)
                assert not whole(new, change.was.value)
                kept = [c for c in game.claims[title, at] if c != change.was]
                assert all(whole(new, claim.value) for claim in kept)
                assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|[{}]|  ", new)
        same = replace(revision.question, answer=game.question.answer)
        assert replace(same, context=game.question.context) == game.question


def test_a_new_value_occurs_nowhere_else_in_the_question() -> None:
    agreeing = 0
    for game, revision in revised():
        seen = text_of(game.question)
        values = [change.value for change in revision.changes]
        assert len(set(values)) == len(values)
        for change in revision.changes:
            assert change.value != change.was.value
            if whole(seen, change.value):  # the one way in which two things come to agree
                assert (game.query.form, revision.question.answer) == ("same", "yes")
                assert change.fact in game.question.facts
                agreeing += 1
            else:
                rest = replace(revision.question, answer="")
                sentences = [s for p in rest.context for s in p.sentences]
                assert sum(whole(sentence, change.value) for sentence in sentences) == 1
    assert agreeing > 10


def test_a_new_answer_is_of_the_kind_of_the_old() -> None:
    answers = Counter()
    for game, revision in revised():
        old, new = game.question.answer, revision.question.answer
        if game.query.form == "chain":
            last = next(c for c in revision.changes if c.fact == game.question.facts[1])
            kind = KINDS[last.was.kind].properties[last.was.property].value
            assert (last.was.value, last.value) == (old, new)
            if kind in ("year", "count"):
                assert re.fullmatch(r"\d{4}" if kind == "year" else r"\d{1,2},\d{3}", new)
            else:
                assert new[0].isupper() == old[0].isupper()
                assert new.endswith(" River") == old.endswith(" River")
        elif game.query.form == "same":
            assert {old, new} == {"yes", "no"}
            answers[new] += 1
        else:
            assert {old, new} == {*game.query.things}
    assert 0.4 < answers["yes"] / answers.total() < 0.6


def test_all_kinds_of_facts_are_corrected_supporting_ones_and_others() -> None:
    changes = [(g, c) for g, r in revised() for c in r.changes]
    kinds = {(c.was.kind, c.was.property) for _, c in changes}
    assert kinds == {(kind, key) for kind, spec in KINDS.items() for key in spec.properties}
    further = [c.fact in g.question.facts for g, r in revised() for c in r.changes]
    assert sum(further) > len(revised())  # more than the one that each question has
    places = Counter(
        [c.fact in g.question.facts for c in r.changes].index(True)
        for g, r in revised()
        if len(r.changes) == 3
    )
    assert min(places[n] for n in range(3)) > 12  # the place of a correction tells nothing


def test_every_question_can_have_the_most_changes() -> None:
    for split, step in (("generated", 23), ("generated-train", 191)):
        for task in HotpotqaEnvironment().tasks(split)[::step]:
            revision = revise(split, task.data["index"], 5, MAX_CHANGES)
            assert len(revision.changes) == MAX_CHANGES


# --- how it is said ---------------------------------------------------------------------------


def test_a_correction_can_be_understood_alone() -> None:
    for _, revision in revised():
        for change in revision.changes:
            message = change.message
            assert message.count(f"“{change.was.subject}”") == message.count("“") == 1
            assert whole(message, change.value)
            assert whole(message, change.was.value)
            assert 60 < len(message) < 300
            assert "\n" not in message
            assert not re.search(r"\ba [aeiou]|[{}]|  |\.\.", message)
            assert all(s[0].isupper() for s in re.split(r"(?<=[.?!]) ", message))


def test_no_two_corrections_of_an_episode_are_worded_alike_nor_test_as_training() -> None:
    openings: dict[str, set[str]] = {"generated": set(), "generated-train": set()}
    for game, revision in revised():
        split = game.question.id.partition("/")[0]
        own = [
            change.message.replace(change.was.subject, "").partition(".")[0]
            for change in revision.changes
        ]
        assert len(set(own)) == len(own)
        openings[split].update(own)
    assert {len(texts) for texts in openings.values()} == {MAX_CHANGES}
    assert not openings["generated"] & openings["generated-train"]


def test_changes_are_fixed_by_task_and_seed() -> None:
    assert revise("generated", 4, 0, 3) == revise("generated", 4, 0, 3)
    assert revise("generated", 4, 0, 3) != revise("generated", 4, 1, 3)
    code = (
        "from agemem_eval.envs.hotpotqa.changes import revise\n"
        "for i in range(40): print(revise('generated', i, 0, 4).changes)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "4242")
    }
    assert len(outputs) == 1


def test_the_bytes_are_those_of_this_version() -> None:
    # Raise it, and the environment's, with any other correction of the same question.
    assert VERSION == "1"
    made = [revision for _, revision in revised()]
    hashes = [
        hashlib.sha256(repr(some[::7]).encode()).hexdigest()[:16]
        for some in (made[:100], made[100:])  # of either split
    ]
    assert hashes == ["8b3f2c15dd93ca71", "3f54163cbcee42fd"]


# --- the episode ------------------------------------------------------------------------------


def heard(environment: HotpotqaEnvironment, task: Task, expert: str) -> list[StepResult]:
    environment.reset(task, 0)
    results = []
    while (action := environment.expert_action(expert)) is not None:
        results.append(environment.step(action))
    return results


@pytest.mark.parametrize(
    ("options", "n_steps"),
    [({"changes": "1"}, 8), ({"changes": "3"}, 10), ({"changes": "2", "distractors": "0"}, 4),
     ({"changes": str(MAX_CHANGES), "exposure": "each"}, 10 + 5 + MAX_CHANGES + 1)],
)  # fmt: skip
def test_corrections_are_messages_among_the_small_talk(
    options: dict[str, str], n_steps: int
) -> None:
    environment = HotpotqaEnvironment(form="three-stage", **options)
    assert environment.spec.max_steps == n_steps
    plain = HotpotqaEnvironment(form="three-stage", exposure=options.get("exposure", "together"))
    n_told = n_steps - int(options["changes"]) - int(options.get("distractors", "5")) - 1
    places = Counter()
    for task in environment.tasks("generated")[:30]:
        assert task.max_steps == task.oracle_steps == n_steps
        told = environment.reset(task, 0).text
        assert told == plain.reset(task, 0).text  # what is told first is not yet corrected
        results = heard(environment, task, "oracle")
        assert len(results) == n_steps
        assert [r.new_context for r in results].index(True) == n_told - 1
        revision = revise("generated", task.data["index"], 0, int(options["changes"]))
        talk = [r.observation for r in results[n_told - 1 : n_steps - 2]]
        messages = [change.message for change in revision.changes]
        assert [text for text in talk if text in messages] == messages
        places.update(talk.index(message) for message in messages)
        assert not any(word in text for text in messages for word in ("stage", "distract"))
    assert len(places) == n_steps - n_told - 1  # anywhere among it


def test_small_talk_shares_no_word_with_question_answers_or_what_is_corrected() -> None:
    environment = HotpotqaEnvironment(form="three-stage", changes="3", distractors="8")
    for task in environment.tasks("generated")[::15]:
        revision = revise("generated", task.data["index"], 0, 3)
        messages = {change.message for change in revision.changes}
        talk = [r.observation for r in heard(environment, task, "oracle")[:-2]]
        small = [text for text in talk if text not in messages]
        assert len(small) == 8
        gold = environment.gold(task)
        told = generate("generated", task.data["index"]).question.answer
        values = [v for c in revision.changes for v in (c.value, c.was.value, c.was.subject)]
        texts = [gold.question, gold.answer, told, *values]
        assert shared(small, *texts) == set(), texts


def test_scores_count_the_new_answer_and_the_old_is_wrong() -> None:
    environment = HotpotqaEnvironment(form="three-stage", changes="2", cite="required")
    plain = HotpotqaEnvironment(form="three-stage", cite="required")
    for task in environment.tasks("generated")[:30]:
        last = heard(environment, task, "oracle")[-1]
        assert set(last.metrics.values()) == {1.0}
        assert last.answer == environment.gold(task).answer
        plain.reset(task, 0)
        environment.reset(task, 0)
        while (action := plain.expert_action() or "") == "ok":
            plain.step(action)
        for _ in range((task.max_steps or 0) - 1):
            environment.step("ok")
        old = environment.step(action)
        assert (old.metrics["em"], old.metrics["sp_f1"]) == (0.0, 1.0)  # facts: by their place


@pytest.mark.parametrize("changes", ["1", "4"])
def test_the_reader_reads_corrections(changes: str) -> None:
    environment = HotpotqaEnvironment(form="three-stage", changes=changes)
    last = [heard(environment, t, "reader")[-1] for t in environment.tasks("generated")[::9]]
    assert sum(r.success or False for r in last) / len(last) >= 0.95
    assert sum(r.metrics["sp_f1"] or 0 for r in last) / len(last) >= 0.95


def test_who_hears_no_correction_gives_the_old_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "_correct", lambda *_: None)
    environment = HotpotqaEnvironment(form="three-stage", changes="2")
    n_old = 0
    for task in environment.tasks("generated")[::10]:
        last = heard(environment, task, "reader")[-1]
        assert not last.success
        n_old += last.answer == generate("generated", task.data["index"]).question.answer
    assert n_old >= 48  # of 50


def test_the_reader_corrects_only_what_is_taken_back() -> None:
    reader = Reader(
        "keep in mind", "Hi.\n\nThis is about “Brill & Sons”:\nIt sells ink.\nIt is old."
    )
    reader.observe("ok", "I like “Brill & Sons”.")
    reader.observe("ok", "I was wrong about “Nobody”. It sells soap. Forget ink, please.")
    reader.observe("ok", "I was wrong about “Brill & Sons”. I said rope. It sells soap.")
    reader.observe("ok", "I was wrong about “Brill & Sons”. Forget ink, please.")
    reader.observe("ok", "I was wrong about it. It sells soap. Forget ink, please.")
    assert reader.notes == {"Brill & Sons": ("It sells ink.", "It is old.")}
    reader.observe("ok", "I was wrong about “Brill & Sons”. I said ink. The firm sells soap.")
    assert reader.notes == {"Brill & Sons": ("The firm sells soap.", "It is old.")}
    assert find("For what product was Brill & Sons known?", reader.notes).answer != "ink"


# --- the option -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"changes": "1"}, "changes are options of form=three-stage"),
        ({"form": "three-stage", "changes": "-1"}, "changes must be a number, not '-1'"),
        ({"form": "three-stage", "changes": "x"}, "changes must be a number, not 'x'"),
        ({"form": "three-stage", "changes": "7"}, "changes must be at most 6, not 7"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        HotpotqaEnvironment(**options)


@pytest.mark.parametrize("split", OFFICIAL)
def test_official_questions_are_not_changed(split: str, data_dir: Path) -> None:
    path = str(data_dir / "hotpotqa" / "hotpot_sample.json")
    environment = HotpotqaEnvironment(data=path, form="three-stage", changes="1")
    task = Task(id="x", split=split)
    for call in (
        lambda: environment.tasks(split), lambda: environment.data_hash(split),
        lambda: environment.reset(task, 0), lambda: environment.gold(task),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=f"in generated questions only, not in split '{split}"):
            call()
