"""Muon beside torch's, beside the polar factor it approaches, and in the learner."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_groups import some_groups, tiny_folder

from agemem_eval.harness.errors import UsageError
from agemem_eval.policies.recipe import Recipe

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.train

from safetensors.torch import save_file  # noqa: E402
from tiny_learner import RATE, open_learner, weights  # noqa: E402

from agemem_eval.policies.grpo import steps_of  # noqa: E402
from agemem_eval.policies.learner import Learner  # noqa: E402
from agemem_eval.policies.muon import MuonAdamW, orthogonal  # noqa: E402

STEPS = steps_of(some_groups([[0.0, 1.0, 0.4], [1.0, 0.0, 0.0]], seed=3))
MUON = 2.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("muon") / "model", "llama")


@pytest.mark.parametrize("shape", [(24, 24), (48, 16), (16, 48)])
def test_singular_vectors_stay_and_singular_values_become_about_1(shape: tuple[int, int]) -> None:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left, _, right = torch.linalg.svd(drawn, full_matrices=False)
    matrix = left @ torch.diag(torch.logspace(1, -1, min(shape), dtype=torch.float64)) @ right
    found = left.T @ orthogonal(matrix) @ right.T
    on = torch.diagonal(found)
    assert torch.allclose(found, torch.diag(on), atol=1e-9)
    assert 0.6 < on.min() <= on.max() < 1.3


def test_updates_are_those_of_torch() -> None:
    theirs_of = getattr(torch.optim, "Muon", None)
    if theirs_of is None:
        pytest.skip("torch has Muon from 2.9 on")
    draws = torch.Generator().manual_seed(2)
    start = torch.randn(32, 12, generator=draws)
    one, other = (torch.nn.Parameter(start.clone()) for _ in range(2))
    ours = MuonAdamW([{"params": [one], "muon": 1.0}])
    for group in ours.param_groups:
        group |= {"lr": 0.02, "weight_decay": 0.1}
    theirs = theirs_of([other], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(6):
        one.grad = torch.randn(32, 12, generator=draws)
        other.grad = one.grad.clone()
        ours.step()
        theirs.step()
    moved = (other - start).norm()
    assert (one - other).norm() < 0.02 * moved  # theirs are computed in bfloat16


def test_only_inner_matrices_go_by_it(folder: Path) -> None:
    plain, other = open_learner(folder), open_learner(folder)
    before = weights(plain)
    plain.sft_update(STEPS, RATE, 1.0)
    other.sft_update(STEPS, RATE, 1.0, muon=MUON)
    after, by_muon = weights(plain), weights(other)
    for name, weight in before.items():
        inner = weight.ndim == 2 and "embed" not in name and "lm_head" not in name
        assert torch.equal(after[name], by_muon[name]) is not inner, name
        assert not torch.equal(weight, by_muon[name]) or torch.equal(weight, after[name]), name


def test_it_learns_what_is_shown(folder: Path) -> None:
    learner = open_learner(folder)
    losses = [learner.sft_update(STEPS, 1e-3, 1.0, muon=MUON)["loss"] for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_resumed_training_goes_on_to_the_last_bit(folder: Path, tmp_path: Path) -> None:
    def go(learner: Learner, updates: int) -> Learner:
        for _ in range(updates):
            learner.sft_update(STEPS, RATE, 1.0, weight_decay=0.1, muon=MUON)
        return learner

    wanted = weights(go(open_learner(folder), 5))
    begun = go(open_learner(folder), 3)
    begun.save(tmp_path / "model")
    save_file(begun.state(), tmp_path / "state.safetensors")
    resumed = open_learner(tmp_path / "model")
    resumed.restore(tmp_path / "state.safetensors")
    assert resumed.updates == 3
    for name, weight in weights(go(resumed, 2)).items():
        assert torch.equal(weight, wanted[name]), name


def test_split_matrices_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = open_learner(folder)
    monkeypatch.setattr(learner.engine, "splits", True, raising=False)
    with pytest.raises(UsageError, match=r"sft\.muon"):
        learner.sft_update(STEPS, RATE, 1.0, muon=MUON)


def test_a_recipe_names_it_only_where_it_is_used() -> None:
    def recipe(**sft: float) -> Recipe:
        return Recipe.model_validate({"name": "x", "model": {"path": "none"}, "sft": sft})

    assert recipe().hash == recipe(muon=0.0).hash != recipe(muon=MUON).hash
    with pytest.raises(ValueError, match=r"sft\.muon"):
        Recipe.model_validate(
            {"name": "x", "model": {"path": "none", "lora": {}}, "sft": {"muon": 1.0}}
        )
