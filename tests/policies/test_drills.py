"""Drills: what is asked can be known, and a small model learns it where without them it has not."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
import train_runs
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.hotpotqa import generator
from agemem_eval.envs.hotpotqa.names import N_WORDS, PER_QUESTION, Names
from agemem_eval.harness.errors import UsageError
from agemem_eval.policies.recipe import DrillRecipe, Fresh, ModelRecipe

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from agemem_eval.policies import comparisons as comparing  # noqa: E402
from agemem_eval.policies import drills  # noqa: E402
from agemem_eval.policies.comparisons import comparisons  # noqa: E402
from agemem_eval.policies.drills import CURRICULUM, Drill, drill, texts  # noqa: E402
from agemem_eval.policies.fresh import make_fresh  # noqa: E402
from agemem_eval.policies.learner import Learner  # noqa: E402
from agemem_eval.policies.trajectory import Step  # noqa: E402

COPYING = [one for one in CURRICULUM if isinstance(one, Drill)]
SYMBOLS = list(range(1000, 1000 + 600))


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    fresh = Fresh(
        vocabulary=512, hidden=64, layers=2, heads=4, kv_heads=2, inner=64, positions=1024,
        deviation=0.05, looks_back=True,
    )  # fmt: skip
    torch.set_num_threads(1)
    folder = make_fresh(tmp_path / "fresh", fresh, ["a text"], 0)
    return Learner.open(ModelRecipe(path=str(folder)), folder, 0)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(COPYING), st.integers(0, 99))
def test_what_is_asked_goes_on_as_something_before_did(one: Drill, seed: int) -> None:
    made = list(texts(one, SYMBOLS, 2000, random.Random(seed)))
    assert sum(step.length for step in made) >= 2000
    for step in made:
        ids = step.prompt_ids + step.completion_ids
        assert set(ids) <= set(SYMBOLS[: one.symbols or len(SYMBOLS)])
        assert any(step.mask)
        before: set[tuple[int, int]] = set()
        for at in range(1, len(ids)):
            pair = ids[at - 1], ids[at]
            assert not step.mask[at - 1] or pair in before, "it can be known by copying"
            before.add(pair)


def test_the_same_seed_draws_the_same_texts() -> None:
    def drawn(seed: int) -> list[Step]:
        return [s for one in COPYING for s in texts(one, SYMBOLS, 500, random.Random(seed))]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize(("rate", "muon"), [(4e-3, 0.0), (2e-3, 2.5)])
def test_a_small_model_learns_to_copy_what_it_has_never_seen(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, rate: float, muon: float
) -> None:
    """Of 16 symbols a guess is right once in 16 times, and any guess by frequency is no better."""
    monkeypatch.setattr(drills, "CURRICULUM", (Drill(16, 4, 8, 0, 0.5),))
    told: list[dict[str, float]] = []
    recipe = DrillRecipe(tokens=600_000, batch_tokens=1024, learning_rate=rate)
    assert drill(recipe, learner, 0, lambda _, numbers: told.append(numbers), muon)
    assert told[0]["accuracy"] < 0.1
    assert told[-1]["accuracy"] >= 0.5
    assert {line["drill"] for line in told} == {1}


def test_drills_end_where_their_tokens_are_used_up(learner: Learner) -> None:
    told: list[int] = []
    recipe = DrillRecipe(tokens=3000, batch_tokens=1024)
    assert not drill(recipe, learner, 0, lambda done, _: told.append(done))
    assert told == [1, 2, 3]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_drills_before_are_rehearsed(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Told by their symbols: those of the second drill are twice as many as those of the first."""
    first, second = Drill(16, 4, 8, 0, 0.0), Drill(400, 8, 32, 0, 0.9)
    monkeypatch.setattr(drills, "CURRICULUM", (replace(first, enough=1e-9), second))
    few = set(drills._symbols(learner, random.Random("drills 3"))[:16])
    updates: list[list[Step]] = []
    told: list[float] = []

    def note(steps: list[Step], *_: object, **__: object) -> dict[str, float]:
        updates.append(steps)
        return {}

    monkeypatch.setattr(learner, "sft_update", note)
    recipe = DrillRecipe(tokens=12_000, batch_tokens=1024, rehearsed=share)
    drill(recipe, learner, 3, lambda _, numbers: told.append(numbers["drill"]))
    assert set(told) == {1, 2}
    for number, steps in zip(told, updates, strict=True):
        tokens = {True: 0, False: 0}
        for step in steps:
            tokens[set(step.prompt_ids + step.completion_ids) <= few] += step.length
        assert 1024 <= sum(tokens.values()) < 1024 + 128
        assert tokens[True] >= 1024 * (share if number == 2 else 1)
        assert tokens[False] >= 1024 * (1 - share) * (number == 2)


def test_what_is_kept_is_of_all_drills_and_of_any_symbols(learner: Learner) -> None:
    def rehearsed(seed: int) -> list[Step]:
        return drills.rehearsal(learner, 20_000, random.Random(seed))

    steps = rehearsed(1)
    assert steps == rehearsed(1) != rehearsed(2)
    assert 20_000 <= sum(step.length for step in steps) < 20_600
    read = [learner.loaded.tokenizer.decode(s.prompt_ids + s.completion_ids) for s in steps]
    compared = [bool(re.match(r"(same|most|least): ", text)) for text in read]
    assert 0.3 < sum(compared) / len(compared) < 0.7
    copied = {s.length for s, other in zip(steps, compared, strict=True) if not other}
    assert {128, 256, 384, 512} <= copied
    assert min(copied) < 128
    often = [{*s.prompt_ids, *s.completion_ids} for s in steps + rehearsed(2) if s.length == 384]
    assert all(len(symbols) <= 12 for symbols in often)
    assert len(set.union(*often)) > 12, "another draw, other symbols"


def test_only_what_is_made_from_nothing_is_drilled() -> None:
    with pytest.raises(UsageError, match=r"sft\.drills"):
        train_runs.recipe(sft__drills={}, model={"path": "somewhere"})


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_drill_is_never_all_rehearsal(share: float) -> None:
    with pytest.raises(UsageError, match=r"sft\.drills\.rehearsed"):
        train_runs.recipe(sft__drills={"rehearsed": share})


def test_a_training_begins_with_its_drills_and_tells_of_them(tmp_path: Path) -> None:
    short = {"tokens": 2000, "batch_tokens": 512}
    recipe = train_runs.recipe(
        sft__drills=short, sft__demonstrations__episodes=8, sft__epochs=0.2, grpo=None
    )
    trained = train_runs.finish(train_runs.plan(recipe, tmp_path / "a"))
    lines = train_runs.lines(tmp_path / "a" / "drills.jsonl")
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert all(0 <= line["accuracy"] <= 1 for line in lines)
    assert (tmp_path / "a" / "drilled" / "model.safetensors").is_file()
    assert trained.final is not None
    again = train_runs.finish(train_runs.plan(recipe, tmp_path / "b"))
    assert again.final is not None
    weights = [(one.final / "model.safetensors").read_bytes() for one in (trained, again)]
    assert weights[0] == weights[1]


# --- comparing --------------------------------------------------------------------------------


def test_what_decides_a_comparison_is_what_is_asked(learner: Learner) -> None:
    """Read again from its text: the answer is right, and the token is the first that tells it."""
    tokenizer = learner.loaded.tokenizer
    asked = 0
    for step in comparisons(tokenizer, 200, 20_000, random.Random(0)):
        ids = step.prompt_ids + step.completion_ids
        places = [at for at, kept in enumerate(step.mask, 1) if kept]
        for at in places:
            before, after = tokenizer.decode(ids[:at]), tokenizer.decode(ids[at:])
            said = re.split(r"(?=(?:same|most|least): )", before)[-1]
            if said.startswith("same"):
                found = re.fullmatch(r"same: (.+), (.+)\. Answer: ?", said)
                assert found is not None
                assert after.strip().startswith("yes" if found[1] == found[2] else "no")
            else:
                found = re.fullmatch(
                    r"(most|least): ([\d,]+) (.+), ([\d,]+) (.+)\. So ([\d,]*)", said
                )
                assert found is not None
                first, second = (int(found[n].replace(",", "")) for n in (2, 4))
                wins = (first > second) == (found[1] == "most")
                value, name = (found[2], found[3]) if wins else (found[4], found[5])
                assert f"{found[6]}{after.lstrip()}".startswith(f"{value} {name}. ")
                alike = len(found[6])
                assert found[2][:alike] == found[4][:alike] == found[6]
                assert found[2][alike] != found[4][alike]
            asked += 1
    assert asked > 200


def test_no_name_of_a_comparison_is_one_of_a_question() -> None:
    numbers = comparing._NAMES
    assert numbers[0] == sum(generator.SIZES.values())
    assert (numbers[-1] + 1) * PER_QUESTION <= N_WORDS
    words = [
        {made.word() for _ in range(PER_QUESTION - 4)}
        for number in (numbers[0] - 1, numbers[0])
        for made in [Names(number, training=True, rng=random.Random(0))]
    ]
    assert not words[0] & words[1]
