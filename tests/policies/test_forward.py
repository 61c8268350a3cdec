"""Log-probabilities of trained tokens, beside transformers' own logits of everything."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_groups import some_groups, step, tiny_config, tiny_network

from agemem_eval.harness.errors import UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.train

from agemem_eval.policies import forward  # noqa: E402
from agemem_eval.policies.forward import (  # noqa: E402
    Packed,
    TokenScorer,
    check_understood,
    logprobs,
    pack,
    pack_plain,
    trained_offsets,
)

KINDS = [
    ("qwen2", {}), ("qwen3", {}), ("llama", {}), ("qwen2", {"tie_word_embeddings": True}),
    ("mistral", {"sliding_window": 4}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}),
]  # fmt: skip
STEPS = [s for g in some_groups([[0, 1, 2], [1, 2]]) for t in g.trajectories for s in t.steps]


def by_transformers(model: Any, temperature: float) -> Any:
    """Of all completion tokens in order, each step in a forward of its own."""
    found = []
    for s in STEPS:
        with torch.no_grad():
            logits = model(torch.tensor([s.prompt_ids + s.completion_ids])).logits[0]
        rows = (logits / temperature).log_softmax(-1)
        first = len(s.prompt_ids) - 1
        found += [rows[first + i, token] for i, token in enumerate(s.completion_ids)]
    return torch.stack(found)


def of_packs(model: Any, packs: list[Packed], temperature: float) -> Any:
    size = sum(len(s.completion_ids) for s in STEPS)
    found = torch.full((size,), float("nan"))
    for packed in packs:
        assert found[packed.order].isnan().all(), "a token stands in two packs"
        found[packed.order] = logprobs(model, packed, temperature).detach()
    return found


@pytest.mark.parametrize(("kind", "others"), KINDS)
@pytest.mark.parametrize("share", [False, True])
def test_log_probabilities_are_those_of_transformers(
    kind: str, others: dict[str, Any], share: bool
) -> None:
    model = tiny_network(tiny_config(kind, **others))
    wanted = by_transformers(model, 0.7)
    found = of_packs(model, pack(STEPS, 64, share), 0.7)
    trained = torch.tensor([one for s in STEPS for one in s.mask])
    assert found[trained].sub(wanted[trained]).abs().max() < 1e-5
    assert found[~trained].isnan().all()
    assert not trained.all()


def test_a_pack_has_no_more_tokens_than_it_may_unless_one_row_alone_has() -> None:
    packs = pack_plain(STEPS, 40)
    assert len(packs) > 2
    assert all(p.ids.numel() <= 40 or len(p.ids) == 1 for p in packs)
    assert [len(p.ids) for p in pack_plain(STEPS, 1)] == [1] * len(STEPS)


def test_a_pack_counts_its_tokens_without_padding_and_without_what_predicts_nothing() -> None:
    steps = [step([5, 6, 7], [8, 9]), step([5], [6, 7, 8], "x.."), step([5, 6], [7], ".")]
    (packed,) = pack_plain(steps, 100)
    assert packed.ids.tolist() == [[5, 6, 7, 8], [5, 0, 0, 0]]
    assert packed.computed == 5
    assert packed.sources.tolist() == [2, 3, 4]
    assert packed.targets.tolist() == [8, 9, 6]
    assert packed.order.tolist() == [0, 1, 2]


def test_tokens_that_are_not_trained_count_in_the_order() -> None:
    steps = [step([5], [6, 7], ".."), step([5], [6, 7, 8], ".x.")]
    assert [(first, offsets) for _, first, offsets in trained_offsets(steps)] == [(2, [1])]


def test_a_trained_step_without_a_prompt_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty prompt"):
        pack_plain([step([], [5])], 100)


def test_logits_in_parts_give_the_same_numbers_and_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_network(tiny_config("qwen3"))
    (packed,) = pack_plain(STEPS, 10_000)
    seen = []
    for most in (2**25, 5 * model.config.vocab_size):
        monkeypatch.setattr(forward, "_LOGITS", most)
        model.zero_grad()
        found, entropies = TokenScorer(model)(packed, 0.9, True)
        (found * torch.arange(len(found))).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        seen.append((found.detach(), entropies, gradient))
    for one, other in zip(*seen, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_entropies_are_those_of_the_distributions_at_the_temperature() -> None:
    model = tiny_network(tiny_config("qwen2"))
    one = step([5, 6, 7], [8])
    _, entropies = TokenScorer(model)(pack_plain([one], 100)[0], 0.5, True)
    logits = model(torch.tensor([[5, 6, 7]])).logits[0, -1] / 0.5
    assert entropies.item() == pytest.approx(
        torch.distributions.Categorical(logits=logits).entropy().item(), abs=1e-5
    )


def test_a_pack_of_nothing_has_a_loss_of_0_and_a_gradient_of_0() -> None:
    model = tiny_network(tiny_config("llama"))
    found, _ = TokenScorer(model)(Packed.nothing(), 1.0, True)
    found.sum().backward()
    assert found.shape == (0,)
    assert not any(p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("kind", "others", "reason"),
    [
        ("granite", {"logits_scaling": 8.0}, "output embedding"),
        ("cohere", {"logit_scale": 0.0625}, "output embedding"),
        ("gemma2", {}, "eager"),
    ],
)
def test_a_model_whose_forward_is_another_is_refused_in_one_line(
    kind: str, others: dict[str, Any], reason: str
) -> None:
    model = tiny_network(tiny_config(kind, **others))
    for precise in (model, model.bfloat16()):
        with pytest.raises(UsageError, match=reason) as error:
            check_understood(precise)
    assert "\n" not in str(error.value)


def test_logits_that_are_capped_are_refused() -> None:
    model = tiny_network(tiny_config("gemma3_text", final_logit_softcapping=2.0))
    with pytest.raises(UsageError, match="logits are capped"):
        check_understood(model)


@pytest.mark.parametrize(("kind", "others"), KINDS)
def test_models_whose_forward_is_known_are_let_through(kind: str, others: dict[str, Any]) -> None:
    check_understood(tiny_network(tiny_config(kind, **others)))
    check_understood(tiny_network(tiny_config(kind, **others)).bfloat16())
