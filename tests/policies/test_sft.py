"""What is learned are the tokens that generation would see and draw, update by update."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agemem_eval.harness.types import ChatMessage, Request, Sampling
from agemem_eval.policies.demonstrations import Demonstration
from agemem_eval.policies.recipe import Fresh, Recipe, SftRecipe, make_recipe

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytestmark = pytest.mark.train

from safetensors.torch import save_file  # noqa: E402

from agemem_eval.harness.errors import UsageError  # noqa: E402
from agemem_eval.harness.models.inprocess.chat import Chat  # noqa: E402
from agemem_eval.policies.fresh import make_fresh  # noqa: E402
from agemem_eval.policies.learner import Learner  # noqa: E402
from agemem_eval.policies.sft import (  # noqa: E402
    Lesson,
    batches_of,
    learning_rate,
    lessons_of,
    sft,
    with_prompt,
)
from agemem_eval.policies.trajectory import Step  # noqa: E402

CALL = (
    "<think>See Ada.</think>"
    '<tool_call>[{"name": "Add_memory", "arguments": {"content": "Ada: a poet"}}]</tool_call>'
)
OK = "<think>Done.</think><answer>ok</answer>"


def episode(name: str, word: str) -> list[Demonstration]:
    """Two calls after each other, and one in a context that begins anew."""
    start = [ChatMessage("system", "Rules."), ChatMessage("user", f"This is {word}.")]
    more = [*start, ChatMessage("assistant", CALL), ChatMessage("tool", "Stored.")]
    fresh = [ChatMessage("system", "Rules."), ChatMessage("user", f"And {word}?")]
    said = [(start, CALL, 1), (more, OK, 1), (fresh, OK, 2)]
    return [Demonstration(name, tuple(m), text, stage) for m, text, stage in said]


GRPO: list[dict[str, Any]] = [{"inner": False}, {"inner": True}]
SHOWN = [one for i in range(40) for one in episode(f"e{i}", "abcdefgh"[i % 8] * (1 + i // 8))]
FRESH = Fresh(vocabulary=400, hidden=16, layers=1, heads=2, kv_heads=1, inner=16, positions=512)


def recipe(**sft_: Any) -> Recipe:
    return make_recipe({
        "name": "learn",
        "model": {"fresh": FRESH.model_dump(), "device": "cpu"},
        "agent": {"context_tokens": 256, "max_tokens": 64},
        "sft": {"batch_tokens": 600, "epochs": 2, "learning_rate": 0.01, **sft_},
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    texts = [text for one in SHOWN for text in one.texts]
    return make_fresh(tmp_path_factory.mktemp("fresh"), FRESH, texts, seed=0)


@pytest.fixture
def learner(folder: Path) -> Learner:
    return Learner.open(recipe().model, folder, 0)


def test_prompts_are_those_of_generation_and_replies_end_with_the_stop_token(
    learner: Learner,
) -> None:
    lesson = lessons_of(SHOWN[:3], learner.loaded, "fresh")[0]
    chat = Chat(learner.loaded.tokenizer, None, {}, "fresh")
    tokenizer, stop = learner.loaded.tokenizer, learner.loaded.stop[0]
    assert len(lesson.steps) == 2  # the second call goes on where the first ended
    joined, anew = lesson.steps
    assert joined.prompt_ids == chat.encode(Request(SHOWN[0].messages, Sampling()))
    assert anew.prompt_ids == chat.encode(Request(SHOWN[2].messages, Sampling()))
    whole = (*joined.prompt_ids, *joined.completion_ids)
    second = chat.encode(Request(SHOWN[1].messages, Sampling()))
    reply = (*tokenizer.encode(OK, add_special_tokens=False), stop)
    assert whole == (*second, *reply)
    trained = [t for t, kept in zip(joined.completion_ids, joined.mask, strict=True) if kept]
    first = (*tokenizer.encode(CALL, add_special_tokens=False), stop)
    assert trained == [*first, *reply]
    assert all(anew.mask)


def test_a_tokenizer_that_marks_where_a_text_begins_reads_prompts_as_a_whole(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = learner.loaded.tokenizer
    encode, render = tokenizer.encode, tokenizer.apply_chat_template

    def marked(text: str, **_: Any) -> list[int]:
        return [7, *encode(text, add_special_tokens=False)]

    def rendered(*args: Any, tokenize: bool, **given: Any) -> Any:
        text = render(*args, tokenize=False, **given)
        return marked(text) if tokenize else text

    plain = lessons_of(SHOWN[:3], learner.loaded, "fresh")[0].steps[1].prompt_ids
    monkeypatch.setattr(tokenizer, "encode", marked)
    monkeypatch.setattr(tokenizer, "apply_chat_template", rendered)
    steps = lessons_of(SHOWN[:3], learner.loaded, "fresh")[0].steps
    assert steps[-1].prompt_ids == (7, *plain)


def test_joined_steps_have_the_loss_of_the_steps_they_are_made_of(
    learner: Learner, folder: Path
) -> None:
    joined = lessons_of(SHOWN[:3], learner.loaded, "fresh")[0]
    apart = [lessons_of([one], learner.loaded, "fresh")[0].steps[0] for one in SHOWN[:3]]
    one = learner.sft_update(joined.steps, 0.01, 1.0)
    other = Learner.open(recipe().model, folder, 0).sft_update(apart, 0.01, 1.0)
    assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
    assert one["grad_norm"] == pytest.approx(other["grad_norm"], abs=1e-4)
    assert one["tokens"] == other["tokens"]
    assert one["tokens_computed"] < other["tokens_computed"]


def test_exercises_are_learned_beside_the_demonstrations(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same updates of the demonstrations, each with as many tokens of exercises."""

    def updates(begin: int, **kept: float) -> list[list[Step]]:
        made: list[list[Step]] = []
        monkeypatch.setattr(learner, "sft_update", lambda steps, *_, **__: made.append(steps) or {})
        monkeypatch.setattr("agemem_eval.policies.sft.accuracy", lambda *_: {})
        sft(recipe(drills=kept), learner, SHOWN, lambda *_: None, start=begin)
        return made

    plain, with_them = updates(0), updates(0, kept=0.25)
    assert len(plain) == len(with_them) > 2
    for alone, both in zip(plain, with_them, strict=True):
        assert both[: len(alone)] == alone
        assert 150 <= sum(step.length for step in both[len(alone) :]) < 150 + 512
    assert with_them[0][len(plain[0]) :] != with_them[1][len(plain[1]) :]
    assert updates(2, kept=0.25) == with_them[2:]  # also when it is resumed


def test_a_recipe_that_rehearses_nothing_is_the_one_of_before() -> None:
    assert recipe(drills={}).hash == recipe(drills={"kept": 0.0, "rehearsed": 0.0}).hash
    others = [recipe(), recipe(drills={"kept": 0.1}), recipe(drills={"rehearsed": 0.1})]
    assert len({recipe(drills={}).hash, *(other.hash for other in others)}) == 4
    assert "kept" not in recipe(drills={}).identity["sft"]["drills"]
    plain, inner = (make_recipe({"name": "x", "model": {"path": "none"}, "grpo": g}) for g in GRPO)
    assert plain.hash != inner.hash
    assert "inner" not in plain.identity["grpo"]


def test_every_trained_token_is_of_a_kind(learner: Learner) -> None:
    lesson = lessons_of(SHOWN[:1], learner.loaded, "fresh")[0]
    tokenizer = learner.loaded.tokenizer
    ids = lesson.steps[0].completion_ids
    said: dict[str, str] = {}
    for token, kind in zip(ids, lesson.kinds, strict=True):
        said[kind] = said.get(kind, "") + tokenizer.decode([token])
    assert said["think"] == "See Ada."
    assert said["tool"] == "Add_memory"
    assert "Ada: a poet" in said["arguments"]
    assert said["format"].startswith("<think></think><tool_call>")


def test_the_loss_falls_and_held_out_accuracy_rises(learner: Learner) -> None:
    seen: list[dict[str, float]] = []
    sft(recipe(epochs=12), learner, SHOWN, lambda _, __, numbers: seen.append(numbers))
    looks = [numbers for numbers in seen if "accuracy" in numbers]
    assert seen[-1]["loss"] < seen[0]["loss"] / 3
    assert looks[-1]["accuracy_tool"] > 4 * looks[0]["accuracy_tool"]
    assert looks[-1]["accuracy"] > looks[0]["accuracy"]


def test_what_is_shown_is_learned_too_by_its_share() -> None:
    step = Step((1, 2, 3), (4, 5, 6), None, (True, False, True), 2)
    whole = with_prompt(step, 1.0, Random(0))
    assert (whole.prompt_ids, whole.completion_ids) == ((1,), (2, 3, 4, 5, 6))
    assert whole.mask == (True,) * 5
    assert with_prompt(step, 0.0, Random(0)).mask == (False, False, True, False, True)
    long = Step(tuple(range(4001)), (1,), None, (True,), 1)
    assert 1100 < sum(with_prompt(long, 0.3, Random(0)).mask) < 1300


def test_a_slip_is_shown_and_never_learned(learner: Learner) -> None:
    tokenizer, stop = learner.loaded.tokenizer, learner.loaded.stop[0]
    wrong = "<think>No.</think><answer>ok wrong</answer>"
    seen = (*SHOWN[0].messages, ChatMessage("assistant", CALL), ChatMessage("user", "Go on."))
    slipped = (*seen, ChatMessage("assistant", wrong), ChatMessage("user", "So?"))
    shown = [SHOWN[0], replace(SHOWN[0], messages=slipped, text=OK)]
    (lesson,) = lessons_of(shown, learner.loaded, "fresh")
    (step,), ((span,),) = lesson.steps, lesson.slips
    ids = (*step.prompt_ids, *step.completion_ids)
    said = (*tokenizer.encode(wrong, add_special_tokens=False), stop)
    assert ids[slice(*span)] == said
    (all_,) = lesson.shown(1.0, Random(0))
    left = [at for at, kept in enumerate(all_.mask, 1) if not kept]
    assert left == list(range(*span))
    (some,) = lesson.shown(0.0, Random(0))
    assert some == step
    apart = [replace(one, messages=one.messages[1:]) for one in shown[1:]]
    (again,) = lessons_of(apart, learner.loaded, "fresh")
    spans = [ids[slice(*one)] for one in again.slips[0] for ids in [again.steps[0].prompt_ids]]
    call = (*tokenizer.encode(CALL, add_special_tokens=False), stop)
    assert spans == [call, said]  # neither is a reply of this episode


def test_prompts_are_learned_less_and_less_until_half_of_the_updates(folder: Path) -> None:
    told: dict[float, list[float]] = {}
    for share in (0.0, 1.0):
        learner = Learner.open(recipe().model, folder, 0)
        lines: list[dict[str, float]] = []
        sft(
            recipe(prompts=share),
            learner,
            SHOWN,
            lambda _u, _n, line, lines=lines: lines.append(line),
        )
        told[share] = [line["tokens"] for line in lines]
    more = [one - none for none, one in zip(told[0.0], told[1.0], strict=True)]
    half = len(more) // 2
    assert min(more[: half - 1]) > 0
    assert more[0] > more[half - 1]
    assert set(more[half + 1 :]) == {0}


def test_a_recipe_that_learns_no_prompts_is_the_recipe_it_was() -> None:
    assert recipe().hash == recipe(prompts=0.0).hash != recipe(prompts=0.5).hash
    assert "prompts" not in recipe().identity["sft"]


@pytest.mark.parametrize("prompts", [0.0, 0.7])
def test_it_goes_on_from_an_update_as_if_it_had_never_stopped(
    folder: Path, tmp_path: Path, prompts: float
) -> None:
    wanted = recipe(epochs=4, prompts=prompts)
    whole: list[float] = []
    learner = Learner.open(wanted.model, folder, 0)

    def watch(update: int, _: int, numbers: dict[str, float]) -> None:
        whole.append(numbers["loss"])
        if update == 5:
            learner.save(tmp_path / "kept")
            save_file(learner.state(), tmp_path / "state.safetensors")

    sft(wanted, learner, SHOWN, watch)
    again = Learner.open(wanted.model, tmp_path / "kept", 0)
    again.restore(tmp_path / "state.safetensors")
    rest: list[float] = []
    sft(wanted, again, SHOWN, lambda _, __, numbers: rest.append(numbers["loss"]), start=5)
    assert rest == whole[5:]


def test_batches_are_whole_episodes_and_each_epoch_shuffles_anew() -> None:
    step = Step((1,), (2,) * 99, None, (True,) * 99, 1)
    lessons = [Lesson((step,), ("format",) * 99, 100)] * 10
    wanted = SftRecipe(epochs=3, batch_tokens=250)
    batches = list(batches_of(lessons, wanted, seed=1))
    order = [number for batch in batches for number in batch]
    assert batches == list(batches_of(lessons, wanted, seed=1))
    assert batches != list(batches_of(lessons, wanted, seed=2))
    assert [len(batch) for batch in batches] == [3] * 10
    epochs = [order[i : i + 10] for i in range(0, 30, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert all(one != other for one, other in pairwise(epochs))


def test_less_than_a_batch_in_all_is_one_batch() -> None:
    step = Step((1,), (2,), None, (True,), 1)
    lessons = [Lesson((step,), ("format",), 2)] * 3
    assert [len(b) for b in batches_of(lessons, SftRecipe(epochs=2), seed=0)] == [6]


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    cosine = SftRecipe(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(cosine, update, 100) for update in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == 1.0
    assert rates[54] == pytest.approx(0.5, abs=0.02)
    assert 0 <= rates[-1] < 0.001
    constant = SftRecipe(learning_rate=1.0, warmup=0.0, schedule="constant")
    assert learning_rate(constant, 99, 100) == 1.0


def test_what_exceeds_the_models_positions_is_left_out_and_nothing_left_is_refused(
    learner: Learner,
) -> None:
    long = Demonstration("long", (ChatMessage("user", "far " * 600),), OK, 1)
    kept = lessons_of([long, *SHOWN[:3]], learner.loaded, "fresh")
    assert len(kept) == 1
    with pytest.raises(UsageError, match="no demonstration fits the 512 positions"):
        lessons_of([long], learner.loaded, "fresh")
