"""The three-stage form: what is told, in which order, and what an answer is taken for."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.harness.errors import DataError
from agemem_eval.harness.types import Task

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support_data import UNANSWERED, record, started, write


def shown(environment: HotpotqaEnvironment, task: Task, action: str) -> list[Any]:
    results: list[Any] = [environment.reset(task, 0)]
    for _ in range(task.max_steps or 0):
        results.append(environment.step(action))
    return results


@pytest.mark.parametrize(
    ("options", "n_exposure", "n_distractors"),
    [({}, 1, 5), ({"exposure": "each"}, 10, 5), ({"distractors": "0"}, 1, 0),
     ({"exposure": "each", "distractors": "2"}, 10, 2), ({"distractors": "50"}, 1, 50)],
)  # fmt: skip
def test_the_stages(options: dict[str, str], n_exposure: int, n_distractors: int) -> None:
    environment = HotpotqaEnvironment(form="three-stage", **options)
    task = environment.tasks("generated")[0]
    assert task.max_steps == task.oracle_steps == n_exposure + n_distractors + 1
    assert environment.spec.max_steps == task.max_steps
    first, *results = shown(environment, task, "ok")
    assert [r.new_context for r in results].index(True) == n_exposure - 1
    assert sum(r.new_context for r in results) == 1
    asked = [r.goal for r in results]
    assert [goal is not None for goal in asked] == [False] * (task.max_steps - 2) + [True, False]
    question = HotpotqaEnvironment().reset(task, 0).goal
    assert asked[-2] == question
    assert results[-2].observation.endswith(question.removeprefix("answer the question: "))
    assert question.removeprefix("answer the question: ") not in first.text + first.goal
    assert [r.terminated for r in results] == [False] * (task.max_steps - 1) + [True]
    assert all(r.valid for r in results)
    assert (results[-1].success, results[-1].metrics["em"]) == (False, 0.0)  # ok is no answer


def test_the_stages_are_not_told() -> None:
    environment = HotpotqaEnvironment(form="three-stage")
    for task in environment.tasks("generated")[:20]:
        first, *results = shown(environment, task, "ok")
        texts = [first.goal, first.text, *(r.observation for r in results)]
        assert not any("stage" in text.lower() or "distract" in text.lower() for text in texts)


def test_the_exposure_holds_every_sentence_and_no_number() -> None:
    environment, plain = HotpotqaEnvironment(form="three-stage"), HotpotqaEnvironment()
    for task in environment.tasks("generated")[:20]:
        text = environment.reset(task, 0).text
        plain.reset(task, 0)
        while (action := plain.expert_action()).startswith("search"):
            title, *lines = plain.step(action).observation.split("\n")
            assert f"“{title}”:\n" + "\n".join(line[4:] for line in lines) in text
        assert "[0]" not in text


def test_one_message_or_one_each_tell_the_same() -> None:
    environment = HotpotqaEnvironment(form="three-stage", exposure="each")
    task = environment.tasks("generated")[3]
    together = HotpotqaEnvironment(form="three-stage").reset(task, 0).text
    first, *results = shown(environment, task, "ok")
    each = [first.text, *(r.observation for r in results[:9])]
    assert "\n\n".join(each) == together


def test_every_rollout_hears_the_same_and_another_seed_of_the_data_something_else() -> None:
    environment = HotpotqaEnvironment(form="three-stage")
    task = environment.tasks("generated")[3]
    assert shown(environment, task, "ok") == shown(environment, task, "ok")
    reseeded = Task(**{**asdict(task), "data": {**task.data, "seed": 1}})
    one, other = (shown(environment, t, "ok") for t in (task, reseeded))
    assert one[0] == other[0]
    assert all(a.observation != b.observation for a, b in zip(one[1:6], other[1:6], strict=True))
    with pytest.raises(DataError, match="'seed' is not a whole number"):
        environment.reset(Task(**{**asdict(task), "data": {**task.data, "seed": "x"}}), 0)


@pytest.mark.parametrize("action", ["", "x" * 1_000_000, "\0", "\ud800"])
def test_a_lost_answer_moves_on_and_ends_at_the_question(action: str) -> None:
    environment = HotpotqaEnvironment(form="three-stage")
    _, *results = shown(environment, environment.tasks("generated")[0], action)
    assert not any(r.valid for r in results)
    _, *honest = shown(environment, environment.tasks("generated")[0], "ok")
    for lost, heard in zip(results[:-1], honest[:-1], strict=True):
        assert lost.observation == f"That was no readable answer.\n\n{heard.observation}"
        assert (lost.goal, lost.new_context) == (heard.goal, heard.new_context)
    assert [r.terminated for r in results] == [False] * 6 + [True]
    assert results[-1].metrics == UNANSWERED
    assert not results[-1].success


@pytest.mark.parametrize("wrap", [
    "{}", "finish[{}]", "FINISH: {}", "  {}.\n", "**finish[{}]**", "`finish[{}]`", '"finish[{}]"',
    "“finish[{}]”", "Action: finish[{}]", "**Answer:** {}", "`{}`", "I think finish[{}]",
    "search[x] finish({})", "It follows that **finish[{}]**, I am sure.",
])  # fmt: skip
def test_a_bare_answer_is_an_answer(wrap: str) -> None:
    environment = started(form="three-stage")
    for _ in range(6):
        environment.step("ok")
    gold = environment.expert_action().removeprefix("finish[").partition("]")[0]
    result = environment.step(wrap.format(gold))
    assert (result.success, result.terminated, result.metrics["sp_f1"]) == (True, True, None)


def test_a_very_long_context_is_told_in_several_messages(tmp_path: Path) -> None:
    context = [[f"Title {n}", ["x" * 3000, "y" * 3000]] for n in range(7)]
    path = write(tmp_path / "a.json", [record(0, context=context)])
    environment = HotpotqaEnvironment(data=str(path), form="three-stage")
    (task,) = environment.tasks("file")
    first, *results = shown(environment, task, "ok")
    assert task.max_steps == 4 + 5 + 1
    assert results[3].new_context
    assert all(len(t) <= 16_000 for t in (first.text, *(r.observation for r in results)))
    assert results[-2].goal is not None


def test_real_exposures_fit_the_context(data_dir: Path) -> None:
    path = str(data_dir / "hotpotqa" / "hotpot_sample.json")
    environment = HotpotqaEnvironment(data=path, form="three-stage")
    told = [environment.reset(task, 0).text for task in environment.tasks("file")]
    assert max(map(len, told)) < 4 * 4096  # half the default budget, at four characters a token
    assert sum(map(len, told)) / len(told) / 4 < 2000
