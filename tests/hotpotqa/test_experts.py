"""The oracle solves everything; the reader reads only what is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.envs.hotpotqa.reader import Reader
from agemem_eval.envs.hotpotqa.reading import find, mentions

FORMS = [{}, {"form": "three-stage"}, {"form": "three-stage", "exposure": "each"}]


def results(environment: HotpotqaEnvironment, split: str, expert: str, step: int = 1):
    for task in environment.tasks(split)[::step]:
        environment.reset(task, 0)
        n_steps = 0
        while (action := environment.expert_action(expert)) is not None:
            assert n_steps < (task.max_steps or environment.spec.max_steps)
            result = environment.step(action)
            assert result.valid
            n_steps += 1
        assert result.terminated
        yield task, n_steps, result


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


@pytest.mark.parametrize("options", FORMS)
def test_the_oracle_solves_every_question_in_the_steps_it_claims(data_dir: Path, options) -> None:
    path = str(data_dir / "hotpotqa" / "hotpot_sample.json")
    environment = HotpotqaEnvironment(data=path, **options)
    for split, step in (("generated", 5), ("generated-train", 100), ("file", 1)):
        for task, n_steps, result in results(environment, split, "oracle", step):
            assert n_steps == task.oracle_steps
            assert set(result.metrics.values()) == {1.0}, task.id


def test_the_oracle_goes_on_after_anybody_elses_actions() -> None:
    environment = HotpotqaEnvironment()
    environment.reset(environment.tasks("generated")[0], 0)
    first = environment.expert_action()
    for action in ("nonsense", "search[zebra]", first):
        environment.step(action)
    second = environment.expert_action()
    assert second != first
    environment.step(second)
    assert environment.step(environment.expert_action()).success


@pytest.mark.parametrize("options", FORMS)
def test_the_reader_answers_most_generated_questions(options) -> None:
    environment = HotpotqaEnvironment(**options)
    found = list(results(environment, "generated", "reader", 3))
    assert mean(r.metrics["em"] for _, _, r in found) >= 0.9
    assert mean(r.metrics["sp_f1"] for _, _, r in found) >= 0.9
    for kind in ("bridge", "comparison"):
        assert mean(r.metrics["em"] for t, _, r in found if t.type == kind) >= 0.9


def test_the_reader_plays_real_questions(data_dir: Path) -> None:
    path = str(data_dir / "hotpotqa" / "hotpot_sample.json")
    found = list(results(HotpotqaEnvironment(data=path), "file", "reader", 2))
    assert 0.1 < mean(r.metrics["em"] for _, _, r in found) < 0.9


def test_the_reader_has_no_way_to_what_was_not_shown() -> None:
    reader = Reader("answer the question: Who wrote Rain over Xyz?", "There are 10 paragraphs.")
    assert reader.notes == {}
    action = reader.next_action()
    assert action == "search[Rain over Xyz]"
    reader.observe(action, "Rain over Xyz\n[0] A novel.\n[1] It was written by Ada Fenn.")
    assert reader.notes == {"Rain over Xyz": ("A novel.", "It was written by Ada Fenn.")}
    reader.observe("search[Ada Fenn]", "No paragraph is titled “Ada Fenn”, and none has any of …")
    assert reader.next_action() == "finish[Ada Fenn] facts[Rain over Xyz # 1]"


def test_the_reader_has_read_what_happened_before_it_was_asked() -> None:
    environment = HotpotqaEnvironment(form="three-stage")
    environment.reset(environment.tasks("generated")[0], 0)
    for _ in range(6):
        environment.step("yes")
    assert environment.step(environment.expert_action("reader")).success


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("In what year was the author of The Grey Door born?", "1912"),
        ("Where was the author of The Grey Door born?", "Little Marsh"),
        ("Who wrote The Grey Door?", "Ada Fenn"),
        ("What is the profession of Ada Fenn?", "botanist"),
        ("Who was born first, Ada Fenn or Tom Reed?", "Tom Reed"),
        ("Who is younger, Ada Fenn or Tom Reed?", "Ada Fenn"),
        ("Were Ada Fenn and Tom Reed born in the same town?", "yes"),
        ("Were Ada Fenn and Jo Kent born in the same town?", "no"),
    ],
)
def test_rules_of_thumb(question: str, answer: str) -> None:
    notes = {
        "The Grey Door": ("The Grey Door is a novel.", "It was written by Ada Fenn."),
        "Ada Fenn": ("Ada Fenn (born 1912) is a botanist.", "She was born in Little Marsh."),
        "Tom Reed": ("Tom Reed (born 1899) is a weaver.", "He is a native of Little Marsh."),
        "Jo Kent": ("Jo Kent (born 1950) is a poet.", "He was born in Highwell."),
    }
    assert find(question, notes).answer == answer


def test_mentions_are_the_names_in_a_question() -> None:
    assert mentions("Which is older, House of Vex or Brill & Sons?") == [
        "House of Vex",
        "Brill & Sons",
    ]
    assert mentions('Who sang "Speed of Sound" in Paris?')[0] == "Speed of Sound"
    assert mentions("") == mentions("who?") == []
