"""What an update computes, what it is held to, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_groups import group, some_groups, step

from agemem_eval.harness.errors import UsageError
from agemem_eval.policies.recipe import Lora

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")
pytestmark = pytest.mark.train

from tiny_learner import BOTH, RATE, SMALL, changed, grpo, open_learner, weights  # noqa: E402

from agemem_eval.policies import forward  # noqa: E402
from agemem_eval.policies.distributed import Engine  # noqa: E402
from agemem_eval.policies.grpo import steps_of  # noqa: E402

GROUPS = some_groups([[0.0, 1.0, 0.4], [0.3, 0.3, 0.3], [1.0, 0.0, 0.0]], seed=3)
STEPS = steps_of(GROUPS)


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The gradient of each update, before it is clipped."""
    seen: list[Any] = []
    clip = Engine.clip

    def spy(self: Engine, parameters: Any, most: float) -> float:
        some = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        seen.append(torch.cat([g.flatten() for g in some]))
        return clip(self, parameters, most)

    monkeypatch.setattr(Engine, "clip", spy)
    return seen


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each forward that was made, whether it was one for gradients."""
    seen: list[bool] = []
    inner = forward.TokenScorer.forward

    def spy(self: Any, *given: Any, **named: Any) -> Any:
        seen.append(torch.is_grad_enabled())
        return inner(self, *given, **named)

    monkeypatch.setattr(forward.TokenScorer, "forward", spy)
    return seen


# --- gradients --------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("aggregate", ["token-mean", "sequence-mean", "trajectory-mean"])
def test_forwards_of_few_tokens_add_up_to_the_gradient_of_the_whole(
    folder: Path, gradients: list[Any], lora: Lora | None, aggregate: str
) -> None:
    found = []
    for batch_tokens, share in ((100_000, False), (64, False), (100_000, True), (64, True)):
        one = open_learner(folder, lora=lora)
        one.hold_reference()
        one.sft_update(STEPS[:6], RATE, 1.0)  # away from the reference
        recipe = grpo(aggregate=aggregate, batch_tokens=batch_tokens, prefix_sharing=share)
        computed = one.grpo_update(GROUPS, recipe, RATE)["tokens_computed"]
        found.append((gradients[-1], computed))
    whole = found[0][0]
    assert whole.abs().max() > 1e-3
    for part, _ in found[1:]:
        assert (part - whole).abs().max() < 1e-6
    assert found[2][1] < found[0][1]


def test_checkpointing_and_bfloat16_change_a_gradient_little_and_not_at_all(
    folder: Path, gradients: list[Any]
) -> None:
    for values in ({}, {"gradient_checkpointing": True}, {"dtype": "bfloat16"}):
        one = open_learner(folder, **values)
        one.sft_update(STEPS, RATE, 1.0)
    plain, again, half = gradients
    assert torch.equal(plain, again)
    assert not torch.equal(plain, half)
    assert torch.nn.functional.cosine_similarity(plain, half, dim=0) > 0.999


def test_supervised_loss_is_the_cross_entropy_of_transformers(folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    total, count = 0.0, 0
    for s in STEPS:
        ids = torch.tensor([s.prompt_ids + s.completion_ids])
        trained = [False] * len(s.prompt_ids) + list(s.mask)
        labels = ids.masked_fill(~torch.tensor([trained]), -100)
        if any(trained):
            total += model(ids, labels=labels).loss.item() * sum(trained)
            count += sum(trained)
    found = open_learner(folder).sft_update(STEPS, RATE, 1.0, batch_tokens=50)
    assert found["loss"] == pytest.approx(total / count, abs=1e-5)
    assert found["tokens"] == count


# --- old log-probabilities --------------------------------------------------------------------


def test_one_epoch_makes_one_forward_and_has_a_ratio_of_exactly_1(
    folder: Path, forwards: list[bool]
) -> None:
    one = open_learner(folder)
    forwards.clear()
    found = one.grpo_update(GROUPS, grpo(beta=0, clip=0.2), RATE)
    assert forwards == [True]
    assert found["ratio"] == found["ratio_max"] == 1.0
    assert found["clipped"] == 0.0


def test_a_second_epoch_is_measured_from_the_weights_that_drew(folder: Path) -> None:
    one = open_learner(folder)
    recipe = grpo(beta=0, epochs=2, temperature=0.7)
    trained = torch.tensor([t for g in GROUPS if not g.flat for s in steps_of([g]) for t in s.mask])
    sloped = [s for g in GROUPS if not g.flat for s in steps_of([g])]
    before = one.logprobs(sloped, temperature=0.7)[trained]
    twin = open_learner(folder)
    twin.grpo_update(GROUPS, recipe.model_copy(update={"epochs": 1}), RATE)
    between = twin.logprobs(sloped, temperature=0.7)[trained]
    found = one.grpo_update(GROUPS, recipe, RATE)
    ratio = (between - before).exp()
    assert found["ratio_max"] == pytest.approx(max(1.0, ratio.max().item()), rel=1e-4)
    assert found["ratio"] == pytest.approx((1 + ratio.mean().item()) / 2, rel=1e-4)


def test_sampled_log_probabilities_are_those_the_ratio_is_measured_from(folder: Path) -> None:
    one = open_learner(folder)
    steps = [step([5, 6], [7, 8]), step([5, 6], [9, 7])]
    now = one.logprobs(steps).tolist()
    told = [now[0] - 0.1, now[1], now[2] + 0.3, now[3]]
    sampled = [step([5, 6], [7, 8], logprobs=tuple(told[:2])),
               step([5, 6], [9, 7], logprobs=tuple(told[2:]))]  # fmt: skip
    groups = [group("t", (1.0, sampled[:1]), (0.0, sampled[1:]))]
    found = one.grpo_update(groups, grpo(beta=0, old_logprobs="sampled"), RATE)
    assert found["ratio_max"] == pytest.approx(2.718281828**0.1, rel=1e-4)
    assert found["mismatch"] == pytest.approx(0.1, rel=1e-3)
    assert found["mismatch_max"] == pytest.approx(0.3, rel=1e-3)


# --- the reference ----------------------------------------------------------------------------


@BOTH
def test_the_reference_stays_what_it_was_while_the_policy_moves(
    folder: Path, lora: Lora | None
) -> None:
    one, base = open_learner(folder, lora=lora), open_learner(folder)
    one.hold_reference()
    for number in range(2):
        found = one.grpo_update(GROUPS, grpo(), RATE)
        assert (found["kl"] == pytest.approx(0, abs=1e-9)) == (number == 0)
    theirs, wanted = one.logprobs(STEPS, reference=True), base.logprobs(STEPS)
    assert torch.equal(theirs.nan_to_num(), wanted.nan_to_num())
    assert not torch.equal(one.logprobs(STEPS).nan_to_num(), wanted.nan_to_num())


@BOTH
def test_what_was_learned_before_belongs_to_the_reference(folder: Path, lora: Lora | None) -> None:
    one = open_learner(folder, lora=lora)
    one.sft_update(STEPS, RATE, 1.0)
    one.hold_reference()
    held = one.logprobs(STEPS)
    assert one.grpo_update(GROUPS, grpo(), RATE)["kl"] == pytest.approx(0, abs=1e-9)
    assert torch.equal(one.logprobs(STEPS, reference=True).nan_to_num(), held.nan_to_num())
    one.hold_reference()  # again, of what it is by now
    assert one.grpo_update(GROUPS, grpo(), RATE)["kl"] == pytest.approx(0, abs=1e-9)


def test_an_adapters_reference_needs_no_second_model(folder: Path) -> None:
    one = open_learner(folder, lora=SMALL)
    before = sum(p.numel() for p in one.loaded.model.parameters())
    one.hold_reference()
    assert sum(p.numel() for p in one.loaded.model.parameters()) == before
    one.grpo_update(GROUPS, grpo(), RATE)
    trained = {n for n, p in one.loaded.model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)


def test_a_kl_term_without_a_reference_is_refused(folder: Path) -> None:
    for lora in (None, SMALL):
        with pytest.raises(UsageError, match="no reference is held"):
            open_learner(folder, lora=lora).grpo_update(GROUPS, grpo(), RATE)


# --- what there is nothing to learn from --------------------------------------------------------


def test_flat_groups_alone_change_nothing_without_a_kl_term(
    folder: Path, forwards: list[bool]
) -> None:
    one = open_learner(folder)
    one.sft_update(STEPS, RATE, 1.0)  # moments that would move the weights on
    before = weights(one)
    forwards.clear()
    found = one.grpo_update(GROUPS[1:2], grpo(beta=0), RATE)
    assert forwards == []
    assert not changed(before, weights(one))
    assert (found["flat_groups"], found["grad_norm"], found["refused"]) == (1, 0, 0)


def test_flat_groups_are_pulled_back_to_the_reference(folder: Path) -> None:
    one = open_learner(folder)
    one.hold_reference()
    one.sft_update(STEPS, RATE, 1.0)
    one.reset_optimizer()
    kls = [one.grpo_update(GROUPS[1:2], grpo(beta=1.0), 1e-3)["kl"] for _ in range(8)]
    assert kls[-1] < 0.7 * kls[0]


def test_only_the_layers_matrices_learn_where_the_recipe_says_so(folder: Path) -> None:
    all_of, some = open_learner(folder), open_learner(folder)
    before = weights(some)
    all_of.grpo_update(GROUPS, grpo(beta=0.0), RATE)
    some.grpo_update(GROUPS, grpo(beta=0.0, inner=True), RATE)
    inner = {n for n, w in before.items() if ".layers." in n and w.ndim == 2}
    assert changed(before, weights(some)) == inner
    assert changed(before, weights(all_of)) > inner
    for name in inner:
        assert weights(some)[name].equal(weights(all_of)[name])
    some.sft_update(STEPS, RATE, 1.0)
    assert changed(before, weights(some)) > inner, "as long as it says so"


def test_a_gradient_that_is_no_number_is_refused_and_changes_nothing(folder: Path) -> None:
    one = open_learner(folder)
    one.sft_update(STEPS, RATE, 1.0)
    before, kept = weights(one), one.state()
    head = one.loaded.model.lm_head.weight
    for spoilt in (float("nan"), float("inf")):
        hook = head.register_hook(lambda g, by=spoilt: g + by)
        for found in (
            one.grpo_update(GROUPS, grpo(beta=0, epochs=2), RATE),
            one.sft_update(STEPS, RATE, 1.0),
        ):
            assert found["refused"] == 1
            assert not found["grad_norm"] < float("inf")
        hook.remove()
    assert not changed(before, weights(one))
    assert not changed(kept, one.state())
    assert one.sft_update(STEPS, RATE, 1.0)["refused"] == 0
    assert changed(before, weights(one))


def test_a_long_gradient_is_scaled_down_and_told_as_it_was(folder: Path) -> None:
    one = open_learner(folder)
    found = one.sft_update(STEPS, RATE, 0.01)
    moments = [v for name, v in one.state().items() if name.startswith("exp_avg.")]
    norm = torch.cat([v.flatten() for v in moments]).norm().item() / 0.1  # of 1 - beta_1
    assert norm == pytest.approx(0.01, rel=1e-3)
    assert found["grad_norm"] > 1


def test_a_step_longer_than_the_model_is_refused(folder: Path, tmp_path: Path) -> None:
    one = open_learner(folder)
    with pytest.raises(UsageError, match=r"32769 tokens, and the model 32768 positions"):
        one.sft_update([step([5] * 32768, [6])], RATE, 1.0)


# --- dropout and modes ------------------------------------------------------------------------


def test_dropout_of_an_adapter_is_of_supervised_training_alone_and_repeats_by_seed(
    folder: Path,
) -> None:
    dropping = Lora(rank=4, alpha=8, dropout=0.5)
    runs = []
    for seed in (0, 0, 1):
        one = open_learner(folder, seed=seed, lora=dropping)
        losses = [one.sft_update(STEPS, RATE, 1.0)["loss"] for _ in range(3)]
        torch.rand(3)  # whatever else draws random numbers
        runs.append((losses, one))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    one = runs[0][1]
    wanted = -one.logprobs(STEPS).nanmean().item()
    assert one.sft_update(STEPS, 0.0, 1.0)["loss"] != pytest.approx(wanted, rel=1e-4)
    one.hold_reference()
    found = one.grpo_update(GROUPS, grpo(), 0.0)
    assert found["kl"] == pytest.approx(0, abs=1e-9)  # policy and reference without dropout


def test_between_updates_the_model_is_in_evaluation_mode(folder: Path) -> None:
    one = open_learner(folder, lora=SMALL, gradient_checkpointing=True)
    assert not any(module.training for module in one.loaded.model.modules())
    one.sft_update(STEPS, RATE, 1.0)
    assert not any(module.training for module in one.loaded.model.modules())
    assert all(p.grad is None for p in one.loaded.model.parameters())


# --- a bandit ---------------------------------------------------------------------------------


def test_a_policy_learns_which_answers_pay(folder: Path) -> None:
    one = open_learner(folder)
    vocabulary = one.loaded.model.config.vocab_size
    paying = set(range(0, vocabulary, 2))
    draws, prompt = torch.Generator().manual_seed(0), [5, 6, 7]

    def probabilities() -> Any:
        with torch.no_grad():
            return one.loaded.model(torch.tensor([prompt])).logits[0, -1].softmax(-1)

    def paid() -> float:
        return probabilities()[sorted(paying)].sum().item()

    assert paid() < 0.6
    for _ in range(30):
        groups = []
        for task in range(4):
            drawn = torch.multinomial(probabilities(), 8, True, generator=draws).tolist()
            groups.append(
                group(f"{task}", *((float(t in paying), [step(prompt, [t])]) for t in drawn))
            )
        one.grpo_update(groups, grpo(beta=0, weight_decay=0), RATE)
    assert paid() > 0.95
