"""Which judges pass: one that is right, and none that is constant, credulous or counts words."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from quality_bench import judging
from scipy.stats import spearmanr

from agemem_eval.harness.errors import ModelError, UsageError
from agemem_eval.harness.quality.calibration import calibrate, part
from agemem_eval.harness.quality.command import judge_check_command
from agemem_eval.harness.quality.judge_items import (
    ANSWERS,
    CONTROLS,
    MEMORIES,
    MEMORY_CONTROLS,
    corrupted,
)
from agemem_eval.harness.testserver import ChatServer

Policy = Callable[[dict[str, Any]], str]
LABELS = {(i.question, i.gold, i.given): i.label for i in (*ANSWERS, *corrupted())}
OF_MEMORIES = {(i.question, i.entries): i.label for i in MEMORIES}


def quoted(body: dict[str, Any]) -> dict[str, str]:
    """The texts that a request quotes, by name."""
    pairs = (line.split(": ", 1) for line in body["messages"][1]["content"].splitlines())
    return {name: json.loads(text) for name, text in pairs}


def label(body: dict[str, Any]) -> float:
    said = quoted(body)
    if "GIVEN ANSWER" in said:
        return LABELS[said["QUESTION"], said["CORRECT ANSWER"], said["GIVEN ANSWER"]]
    entries = tuple(text for name, text in said.items() if name.startswith("ENTRY"))
    return OF_MEMORIES[said["QUESTION"], entries]


class Exact:
    """Gives each answer its label, but for kinds that it gives something else."""

    def __init__(self, given: dict[str, float]) -> None:
        self._scores = {
            (i.question, i.gold, i.given): given.get(i.kind, i.label)
            for i in (*ANSWERS, *corrupted())
        }

    async def answer(self, question: str, gold: str, given: str) -> float:
        return self._scores[question, gold, given] if given.strip() else 0.0

    async def memory(
        self, question: str, facts: tuple[str, ...], entries: tuple[str, ...]
    ) -> float:
        return OF_MEMORIES[question, entries]


def careful(body: dict[str, Any]) -> str:
    """The label, give or take a tenth."""
    draw = random.Random(body["messages"][1]["content"])
    return f"{min(1.0, max(0.0, label(body) + draw.uniform(-0.1, 0.1))):.2f}"


def obedient(body: dict[str, Any]) -> str:
    """Careful, but does what the judged text asks for."""
    given = " ".join(text for name, text in quoted(body).items() if name[0] in "GE").lower()
    demands = ("score", "1.0", "verified", "changed to", "same as", "give 1")
    return "1.0" if any(demand in given for demand in demands) else careful(body)


def counts_words(body: dict[str, Any]) -> str:
    """Token F1, as question answering has it."""
    said = quoted(body)
    wanted = " ".join(t for n, t in said.items() if n.startswith(("CORRECT", "FACT")))
    given = " ".join(t for n, t in said.items() if n.startswith(("GIVEN", "ENTRY")))
    one, two = Counter(wanted.lower().split()), Counter(given.lower().split())
    return f"{2 * sum((one & two).values()) / (one.total() + two.total()):.3f}"


def test_the_items_are_many_and_of_every_kind() -> None:
    assert len(ANSWERS) >= 60
    assert len(MEMORIES) >= 20
    assert len({(i.question, i.gold, i.given) for i in ANSWERS}) == len(ANSWERS)
    kinds = {item.kind for item in ANSWERS}
    assert kinds >= {
        "exact", "paraphrase", "partial", "wrong entity", "wrong number", "refusal",
        "verbose with right", "verbose with wrong", "injected", "empty",
    }  # fmt: skip
    assert kinds | {item.kind for item in corrupted()} >= CONTROLS
    assert {item.kind for item in MEMORIES} >= MEMORY_CONTROLS
    for item in (*ANSWERS, *corrupted()):
        assert 0 <= item.label <= 1
        assert item.label <= 0.1 or item.kind not in CONTROLS


def test_spoiled_answers_differ_from_what_they_spoil() -> None:
    assert len(corrupted()) > 30
    assert sum(item.kind == "changed number" for item in corrupted()) >= 5
    for item in corrupted():
        assert not item.given.lower().startswith(item.gold.lower())


async def test_a_judge_that_is_nearly_right_is_calibrated_and_pays_for_every_call() -> None:
    async with judging(careful) as (server, judge, ledger, _):
        report = await calibrate(judge)
    assert report.calibrated
    assert report.answers.failures == report.memories.failures == []
    assert report.answers.agreement == 1
    assert ledger.roles["judge"].calls == server.served.calls
    assert ledger.roles["judge"].prompt_tokens == server.served.prompt_tokens


@pytest.mark.parametrize(
    ("policy", "failing"),
    [
        (lambda _: "1", "false accepts"),
        (lambda _: "0", "Spearman"),
        (lambda _: "0.5", "Spearman"),
        (lambda body: f"{1 - label(body)}", "agreement"),
        (lambda body: f"{random.Random(str(body)).random():.2f}", "agreement"),
        (obedient, "false accepts"),
        (counts_words, "false rejects"),
        (lambda body: f"{min(label(body), 0.4)}", "false rejects"),
        (lambda body: careful(body) if "who" in str(body).lower() else "prose", "without a score"),
    ],
    ids=["1", "0", "half", "upside down", "random", "obedient", "words", "harsh", "often prose"],
)
async def test_no_other_judge_is(policy: Policy, failing: str) -> None:
    async with judging(policy) as (_, judge, _, _):
        report = await calibrate(judge)
    assert not report.calibrated
    assert any(failing in failure for failure in report.answers.failures)


@pytest.mark.parametrize("kind", sorted(CONTROLS))
async def test_a_judge_that_is_blind_to_one_kind_of_wrong_answer_is_not_calibrated(
    kind: str,
) -> None:
    report = await calibrate(Exact({kind: 1.0}))
    assert any(failure.startswith(f"{kind}: ") for failure in report.answers.failures)
    assert not report.calibrated


@pytest.mark.parametrize("kind", ["partial", "paraphrase", "verbose with right"])
async def test_a_judge_that_gives_one_kind_no_credit_is_not_calibrated(kind: str) -> None:
    report = await calibrate(Exact({kind: 0.0}))
    assert any(failure.startswith(f"{kind}: ") for failure in report.answers.failures)


async def test_a_judge_that_gives_no_number_is_not_calibrated() -> None:
    async with judging(lambda _: "amen") as (_, judge, _, trace):
        report = await calibrate(judge)
    assert report.answers.spearman is report.memories.spearman is None
    assert report.answers.unscored > 0.9  # only what needs no call has a score
    assert not report.calibrated
    assert len(trace.of("judge_fault")) > 60


def test_the_statistics_are_those_of_their_definitions() -> None:
    rows = [("exact", 1.0), ("exact", 1.0), ("partial", 0.5), ("refusal", 0.0), ("refusal", 0.0)]
    scores = [0.9, 0.3, None, 0.5, 0.25]
    found = part(rows, scores, frozenset({"refusal"}))
    assert (found.n, found.unscored) == (5, pytest.approx(0.2))
    assert found.agreement == pytest.approx(2 / 4)
    assert found.error == pytest.approx((0.1 + 0.7 + 0.5 + 0.25) / 4)
    assert (found.false_accepts, found.false_rejects) == (0.5, 0.5)
    assert found.spearman == pytest.approx(spearmanr([1, 1, 0, 0], [0.9, 0.3, 0.5, 0.25])[0])
    exact = found.kinds[0]
    assert (exact.kind, exact.n, exact.score, exact.wrong) == ("exact", 2, 0.6, 0.5)
    assert found.kinds[2].wrong == 0.5  # a refusal that was accepted, and one that was not
    assert exact.error == pytest.approx(0.4)


# --- the command ----------------------------------------------------------------------------------


def run(policy: Policy, **options: Any) -> int:
    with ChatServer(policy).in_thread() as server:
        return judge_check_command("openai:m", ["max_retries=0"], base_url=server.url, **options)


def test_the_command_says_calibrated_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(careful) == 0
    said = capsys.readouterr().out
    assert "openai:m: calibrated" in said
    assert "verbose with wrong" in said


def test_the_command_says_what_is_wrong_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda _: "1") == 1
    said = capsys.readouterr().out
    assert "NOT calibrated" in said
    assert "answers: false accepts is 0.9" in said


def test_the_command_s_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(obedient, as_json=True) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["calibrated"] is False
    assert any("false accepts" in failure for failure in said["failures"]["answers"])
    assert {kind["kind"] for kind in said["answers"]["kinds"]} >= CONTROLS
    assert said["tokens"]["judge"]["calls"] > 80


@pytest.mark.parametrize(
    ("spec", "pairs", "base_url"),
    [
        ("opnai:m", [], None),
        ("openai:m", ["nonsense"], "http://127.0.0.1:1/v1"),
        ("openai:m", ["no_such_option=1"], "http://127.0.0.1:1/v1"),
        ("scripted", [], "http://127.0.0.1:1/v1"),
        ("random", [], None),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    spec: str, pairs: list[str], base_url: str | None
) -> None:
    with pytest.raises(UsageError) as error:
        judge_check_command(spec, pairs, base_url=base_url)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


def test_a_dead_endpoint_is_an_error_of_the_infrastructure() -> None:
    with pytest.raises(ModelError):
        judge_check_command("openai:m", ["max_retries=0"], base_url="http://127.0.0.1:1/v1")
