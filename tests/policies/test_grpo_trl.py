"""Loss and gradient beside TRL's GRPOTrainer, where that is installed; it knows single steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_groups import group, step, tiny_folder

torch = pytest.importorskip("torch")
pytest.importorskip("trl")
pytestmark = pytest.mark.train

from agemem_eval.policies.distributed import Engine  # noqa: E402
from agemem_eval.policies.forward import TokenScorer, pack_plain  # noqa: E402
from agemem_eval.policies.grpo import Objective  # noqa: E402
from agemem_eval.policies.recipe import GrpoRecipe  # noqa: E402

PROMPT, WIDTH = 7, 5
REWARDS = (0.0, 1.0, 0.25, 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tiny_folder(tmp_path_factory.mktemp("trl"), "qwen2")


@pytest.fixture
def tokens() -> Any:
    draws = torch.Generator().manual_seed(0)
    return torch.randint(3, 60, (len(REWARDS), PROMPT + WIDTH), generator=draws)


def by_trl(folder: Path, out: Path, tokens: Any, given: dict[str, Any], kept: Any) -> Any:
    """TRL's loss and gradient of the same tokens."""
    import datasets
    import transformers
    import trl

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    arguments = trl.GRPOConfig(
        output_dir=str(out), per_device_train_batch_size=len(REWARDS), use_cpu=True,
        num_generations=len(REWARDS), report_to=[], bf16=False, disable_dropout=True,
        use_bias_correction_kl=False,
        beta=given["beta"], epsilon=given["clip"], temperature=given["temperature"],
        loss_type={"sequence-mean": "grpo", "token-mean": "bnpo"}[given["aggregate"]],
    )  # fmt: skip
    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=arguments,
        train_dataset=datasets.Dataset.from_list([{"prompt": "a"}] * 4),
        processing_class=transformers.AutoTokenizer.from_pretrained(folder),
    )
    trainer.current_gradient_accumulation_steps = 1
    advantages, old, reference, mask = kept
    model.train()
    loss = trainer._compute_loss(
        model,
        {
            "prompt_ids": tokens[:, :PROMPT], "prompt_mask": torch.ones(4, PROMPT).long(),
            "completion_ids": tokens[:, PROMPT:], "completion_mask": mask.long(),
            "advantages": advantages, "old_per_token_logps": old,
            "ref_per_token_logps": reference, "num_items_in_batch": mask.sum(),
        },
    )  # fmt: skip
    loss.backward()
    return loss.item(), {n: p.grad for n, p in model.named_parameters()}


@pytest.mark.parametrize("aggregate", ["sequence-mean", "token-mean"])
@pytest.mark.parametrize("beta", [0.0, 0.2])
def test_loss_and_gradient_are_those_of_trl(
    folder: Path, tmp_path: Path, tokens: Any, aggregate: str, beta: float
) -> None:
    import transformers

    given = {"beta": beta, "clip": 0.2, "temperature": 0.9, "aggregate": aggregate}
    lengths = (5, 3, 5, 1)
    mask = torch.arange(WIDTH)[None] < torch.tensor(lengths)[:, None]
    steps = [
        step(r[:PROMPT], r[PROMPT : PROMPT + n])
        for r, n in zip(tokens.tolist(), lengths, strict=True)
    ]
    groups = [group("t", *((r, [s]) for r, s in zip(REWARDS, steps, strict=True)))]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    objective = Objective(groups, GrpoRecipe.model_validate(given), Engine(), torch.device("cpu"))
    scorer, packs = TokenScorer(model), pack_plain(objective.steps, 30)
    now = torch.empty(objective.size)
    with torch.no_grad():
        for packed in packs:
            now[packed.order] = scorer(packed, 0.9)[0]
    draws = torch.Generator().manual_seed(1)
    old, reference = (now + 0.2 * torch.randn(len(now), generator=draws) for _ in range(2))

    def padded(values: Any) -> Any:
        return torch.zeros(4, WIDTH).masked_scatter(mask, values)

    advantage = objective._advantage[mask.sum(1).cumsum(0) - 1]
    kept = (advantage, padded(old), padded(reference), mask)
    wanted, gradient = by_trl(folder, tmp_path, tokens, given, kept)

    objective._old, objective.epoch = old, 1
    objective.reference = reference if beta else None
    loss = sum(objective(packed, *scorer(packed, 0.9, True)) for packed in packs)
    loss.backward()
    assert loss.item() == pytest.approx(wanted, abs=1e-6)
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter.grad, gradient[name], atol=1e-5), name
