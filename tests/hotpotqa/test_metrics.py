"""Scores against the official script's, and what must hold of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agemem_eval.envs.hotpotqa.answers import write_answer
from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.metrics import METRICS, normalise, score

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import make_golden  # noqa: E402
from perturb import perturbed  # noqa: E402

GOLDEN = json.loads(make_golden.GOLDEN.read_text(encoding="utf-8"))
NO_TALK = {"interactive": {}, "three-stage": {"distractors": "0"}}
TEXTS = st.text(alphabet="abtheyno 0.,'-é", max_size=12)
FACTS = st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 3)), max_size=5)


@pytest.fixture(scope="module")
def records(data_dir: Path) -> list[dict[str, Any]]:
    path = data_dir / "hotpotqa" / "hotpot_sample.json"
    return json.loads(path.read_text(encoding="utf-8"))


def scored(record: dict[str, Any], answer: str | None, facts: Any) -> dict[str, float | None]:
    cited = None if facts is None else [tuple(fact) for fact in facts]
    return score(answer, cited, record["answer"], [tuple(f) for f in record["supporting_facts"]])


def test_every_score_of_every_prediction_is_the_official_one(records) -> None:
    assert len(GOLDEN["each"]) == len(records) == 152
    for record in records:
        for seed, official in zip(GOLDEN["seeds"], GOLDEN["each"][record["_id"]], strict=True):
            ours = scored(record, *perturbed(record, seed))
            assert [ours[name] for name in GOLDEN["names"]] == official, (record["_id"], seed)


def test_the_means_are_the_official_ones_even_where_predictions_are_missing(records) -> None:
    for seed, official in enumerate(GOLDEN["means"]):
        sums = dict.fromkeys(GOLDEN["names"], 0.0)
        for position, record in enumerate(records):
            answer, facts = make_golden.given(record, position, seed)
            ours = scored(record, answer, facts)
            if answer is not None or facts is None:  # the script counts what is missing as 0
                gold = record["answer"], [tuple(fact) for fact in record["supporting_facts"]]
                cited = None if facts is None else [tuple(fact) for fact in facts]
                strict = score(answer, cited, *gold, required=True)
                assert strict == {name: value or 0.0 for name, value in ours.items()}
            if answer is None and facts is not None:  # the script scores facts by themselves
                ours |= {k: v for k, v in scored(record, "", facts).items() if k[:2] == "sp"}
            for name in sums:
                sums[name] += ours[name] or 0.0  # the script counts what is missing as 0
        assert [sums[name] / len(records) for name in GOLDEN["names"]] == official, seed


def test_an_answer_given_in_an_episode_scores_what_the_script_gives_it(records, data_dir) -> None:
    path = str(data_dir / "hotpotqa" / "hotpot_sample.json")
    for form in ("interactive", "three-stage"):
        environment = HotpotqaEnvironment(data=path, form=form, **NO_TALK[form])
        for record, task in zip(records, environment.tasks("file"), strict=True):
            for seed in range(0, 12, 3):
                answer, _ = perturbed(record, seed)
                environment.reset(task, 0)
                for _ in range(form == "three-stage"):
                    environment.step("ok")
                result = environment.step(write_answer(answer))
                official = dict(zip(GOLDEN["names"], GOLDEN["each"][task.id][seed], strict=True))
                assert result.terminated
                for name in ("em", "f1", "prec", "recall"):
                    assert result.metrics[name] == official[name], (answer, record["answer"])


def test_the_golden_predictions_are_wrong_in_many_ways() -> None:
    rows = [row for rows in GOLDEN["each"].values() for row in rows]
    for at, name in enumerate(GOLDEN["names"]):
        values = [row[at] for row in rows]
        assert values.count(0.0) > 100, name
        assert values.count(1.0) > 100, name
        if not name.endswith("em"):
            assert sum(0 < value < 1 for value in values) > 100, name


def test_the_golden_file_holds_no_text_of_the_questions(records) -> None:
    text = make_golden.GOLDEN.read_text(encoding="utf-8")
    for record in records:
        assert record["question"] not in text
        assert record["answer"] in ("yes", "no") or f'"{record["answer"]}"' not in text


@settings(max_examples=100, deadline=None)
@given(TEXTS)
@example("The the")
def test_an_answer_matches_itself_whatever_its_case_articles_and_punctuation(answer: str) -> None:
    for variant in (answer, answer.upper(), f"the {answer}", f"{answer}!", f"  {answer} "):
        assert score(variant, None, answer, ())["em"] == 1.0
    assert normalise(normalise(answer)) == normalise(answer)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, FACTS, FACTS)
def test_scores_are_shares_that_agree_with_each_other(one, other, facts, gold) -> None:
    scores = score(one, facts, other, gold)
    assert set(scores) == set(METRICS)
    assert all(value is not None and 0 <= value <= 1 for value in scores.values())
    for prefix in ("", "sp_", "joint_"):
        em, f1, prec, recall = (scores[f"{prefix}{n}"] for n in ("em", "f1", "prec", "recall"))
        assert min(prec, recall) - 1e-9 <= f1 <= max(prec, recall) + 1e-9
        assert (f1 == 0) == (prec * recall == 0)
        if em and f1:  # (an exact match of nothing has no words to share)
            assert f1 == prec == recall == 1
    assert scores["joint_f1"] <= min(scores["f1"], scores["sp_f1"]) + 1e-9


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, FACTS, FACTS)
def test_prediction_and_gold_swap_precision_and_recall(one, other, facts, gold) -> None:
    there, back = score(one, facts, other, gold), score(other, gold, one, facts)
    for prefix in ("", "sp_", "joint_"):
        assert there[f"{prefix}prec"] == back[f"{prefix}recall"]
        assert there[f"{prefix}f1"] == pytest.approx(back[f"{prefix}f1"])
        assert there[f"{prefix}em"] == back[f"{prefix}em"]


@settings(max_examples=100, deadline=None)
@given(TEXTS, FACTS, FACTS)
def test_facts_are_a_set(answer: str, facts, gold) -> None:
    assert score(answer, facts, answer, gold) == score(answer, facts[::-1] * 2, answer, gold)


def test_yes_is_not_partly_yes_sir() -> None:
    for given_, gold in (("yes", "yes sir"), ("yes sir", "yes"), ("no", "yes"), ("noanswer", "no")):
        assert score(given_, None, gold, ())["f1"] == 0.0
    assert score("Yes.", None, "yes", ())["f1"] == 1.0


def test_what_is_not_given_is_not_scored() -> None:
    assert score(None, None, "x", [("A", 0)]) == {
        name: 0.0 if name in ("em", "f1", "prec", "recall") else None for name in METRICS
    }
    uncited = score("x", None, "x", [("A", 0)])
    assert uncited["em"] == 1.0
    assert uncited["sp_f1"] is uncited["joint_em"] is None
    assert score("x", [], "x", [("A", 0)])["sp_f1"] == 0.0  # cited, namely nothing
