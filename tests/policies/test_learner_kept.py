"""What of a learner outlives an update: checkpoints, and the sampler that shares its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_groups import some_groups, tiny_folder

from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.types import ChatMessage, Completion, Model, ModelInfo, Request, Sampling
from agemem_eval.policies.recipe import Lora
from agemem_eval.policies.trajectory import Step

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytestmark = pytest.mark.train

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_learner import BOTH, RATE, SMALL, changed, grpo, open_learner, weights  # noqa: E402

from agemem_eval.harness.models.hf import HfModel  # noqa: E402
from agemem_eval.harness.models.hf.live import LiveModel  # noqa: E402
from agemem_eval.harness.models.inprocess.chat import Chat  # noqa: E402
from agemem_eval.policies.grpo import steps_of  # noqa: E402
from agemem_eval.policies.learner import Learner  # noqa: E402

GROUPS = some_groups([[0.0, 1.0, 0.4], [1.0, 0.0, 0.0]], seed=3)
STEPS = steps_of(GROUPS)


def live(learner: Learner) -> LiveModel:
    """The sampler on a learner's weights."""
    return LiveModel(
        learner.loaded, ModelInfo("tiny"), Chat(learner.loaded.tokenizer, None, {}, "tiny")
    )


async def ask(model: Model, temperature: float = 0.0) -> list[Completion]:
    """Replies to a few prompts."""
    said = ("put a mug on the desk", "open the fridge", "go to shelf 1, then take an apple")
    sampling = Sampling(max_tokens=12, temperature=temperature, seed=3)
    return [
        await model.generate(Request([ChatMessage("user", text)], sampling, want_tokens=True))
        for text in said
    ]


def as_step(reply: Completion) -> Step:
    assert reply.prompt_ids
    assert reply.token_ids
    return Step(
        reply.prompt_ids, reply.token_ids, reply.logprobs, (True,) * len(reply.token_ids), 3
    )


def tokens(replies: list[Completion]) -> list[Any]:
    return [reply.token_ids for reply in replies]


# --- the sampler ------------------------------------------------------------------------------


@BOTH
async def test_the_sampler_draws_with_the_weights_as_they_are_after_each_update(
    folder: Path, lora: Lora | None
) -> None:
    one = open_learner(folder, lora=lora, gradient_checkpointing=True)
    sampler, before = live(one), []
    for _ in range(3):
        replies = await ask(sampler, temperature=1.0)
        before.append(tokens(replies))
        drawn = [as_step(reply) for reply in replies]
        told = torch.tensor([p for r in replies for p in r.logprobs or ()])
        assert one.logprobs(drawn).sub(told).abs().max() < 1e-4
        await sampler.forget()
        one.sft_update(STEPS, RATE, 1.0)
    assert before[0] != before[2]
    await sampler.close()


# --- checkpoints ------------------------------------------------------------------------------


@BOTH
async def test_a_saved_model_answers_as_the_one_that_was_trained(
    folder: Path, tmp_path: Path, lora: Lora | None
) -> None:
    one = open_learner(folder, lora=lora)
    untrained = live(open_learner(folder))
    for _ in range(5):
        one.sft_update(STEPS, RATE, 1.0)
    one.save(tmp_path / "saved")
    if lora is None:
        saved = HfModel(str(tmp_path / "saved"), device="cpu")
    else:
        saved = HfModel(str(folder), lora=str(tmp_path / "saved"), device="cpu")
    sampler = live(one)
    wanted = tokens(await ask(sampler))
    assert tokens(await ask(saved)) == wanted
    assert tokens(await ask(untrained)) != wanted
    for model in (saved, sampler, untrained):
        await model.close()


@BOTH
def test_a_checkpoint_holds_no_pickle_and_no_path_of_this_machine(
    folder: Path, tmp_path: Path, lora: Lora | None
) -> None:
    one = open_learner(folder, lora=lora)
    one.hold_reference()
    one.sft_update(STEPS, RATE, 1.0)
    one.hold_reference()
    one.save(tmp_path / "saved")
    files = {file.name for file in (tmp_path / "saved").rglob("*") if file.is_file()}
    weight = "adapter_model.safetensors" if lora is not None else "model.safetensors"
    config = "adapter_config.json" if lora is not None else "config.json"
    assert {weight, config, "tokenizer.json", "chat_template.jinja"} <= files
    assert {Path(name).suffix for name in files} <= {".safetensors", ".json", ".jinja"}
    for file in files - {weight}:
        assert str(folder.parent) not in (tmp_path / "saved" / file).read_text()
    if lora is not None:
        assert json.loads((tmp_path / "saved" / config).read_text())["r"] == 4
        assert not any("reference" in name for name in load_file(tmp_path / "saved" / weight))


@BOTH
@pytest.mark.filterwarnings("error::UserWarning")  # peft warns where it could not reach the hub
def test_a_resumed_training_goes_on_bit_by_bit(
    folder: Path, tmp_path: Path, lora: Lora | None
) -> None:
    dropping = lora.model_copy(update={"dropout": 0.2}) if lora is not None else None
    start = open_learner(folder, lora=dropping)
    start.sft_update(STEPS, RATE, 1.0)
    start.save(tmp_path / "start")

    def begun(at: Path, **more: Any) -> Learner:
        if lora is None:
            return open_learner(at, reference=tmp_path / "start", **more)
        return open_learner(folder, lora=dropping, adapter=at, reference=tmp_path / "start", **more)

    def go(learner: Learner) -> list[float]:
        learner.sft_update(STEPS, RATE, 1.0)  # with dropout
        found = learner.grpo_update(GROUPS, grpo(epochs=2), RATE)
        return [found["loss"], found["kl"]]

    whole = begun(tmp_path / "start")
    go(whole)
    whole.save(tmp_path / "half")
    save_file(whole.state(), tmp_path / "optimizer.safetensors")
    wanted = go(whole)

    resumed = begun(tmp_path / "half")
    resumed.restore(tmp_path / "optimizer.safetensors")
    assert resumed.updates == 3
    assert go(resumed) == wanted
    assert not changed(weights(whole), weights(resumed))
    assert not changed(whole.state(), resumed.state())

    forgot = begun(tmp_path / "half")
    forgot.updates = 3
    assert go(forgot) != wanted  # the moments matter


@BOTH
def test_the_reference_of_a_resumed_run_is_the_model_before_it_began(
    folder: Path, tmp_path: Path, lora: Lora | None
) -> None:
    one = open_learner(folder, lora=lora)
    for _ in range(3):
        one.sft_update(STEPS, RATE, 1.0)
    one.save(tmp_path / "later")
    if lora is None:
        resumed = open_learner(tmp_path / "later", reference=folder)
    else:
        resumed = open_learner(folder, lora=lora, adapter=tmp_path / "later", reference=folder)
    held = resumed.logprobs(STEPS, reference=True)
    wanted = open_learner(folder).logprobs(STEPS)
    assert torch.equal(held.nan_to_num(), wanted.nan_to_num())
    now = resumed.logprobs(STEPS)
    assert torch.equal(now.nan_to_num(), one.logprobs(STEPS).nan_to_num())


def test_the_state_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    one, other = open_learner(folder), open_learner(folder, lora=SMALL)
    one.sft_update(STEPS, RATE, 1.0)
    other.sft_update(STEPS, RATE, 1.0)
    state = one.state()

    def restore(learner: Learner, given: dict[str, Any]) -> None:
        save_file(given, tmp_path / "state.safetensors")
        learner.restore(tmp_path / "state.safetensors")

    lacking = {k: v for k, v in state.items() if not k.startswith("exp_avg.")}
    squares = {k: v for k, v in state.items() if k != "exp_avg_sq.model.embed_tokens.weight"}
    assert len(squares) < len(state)
    wrong = {**state, "exp_avg.lm_head.weight": torch.zeros(2)}
    for bad, problem in (
        (other.state(), "it has"),
        (lacking, "lacks"),
        (squares, "lacks"),
        (wrong, "another shape"),
    ):
        with pytest.raises(DataError, match=problem):
            restore(one, bad)
    with pytest.raises(DataError, match="lacks 'updates'"):
        restore(one, {})


def test_an_adapter_of_another_rank_is_refused(folder: Path, tmp_path: Path) -> None:
    open_learner(folder, lora=SMALL).save(tmp_path / "saved")
    with pytest.raises(DataError, match="r is 4, in the recipe 8"):
        open_learner(folder, lora=Lora(rank=8, alpha=8), adapter=tmp_path / "saved")


def test_targets_that_the_model_lacks_are_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.lora\.targets"):
        open_learner(folder, lora=Lora(targets=("no_such_layer",)))


# --- architectures ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_the_papers_settings_run_on_a_tiny_model_of_the_same_architecture(
    tmp_path: Path, kind: str
) -> None:
    model = tiny_folder(tmp_path, kind, tie_word_embeddings=kind == "qwen3")
    one = open_learner(
        model, lora=Lora(rank=32, alpha=32), dtype="bfloat16", gradient_checkpointing=True
    )
    types = {n: p.dtype for n, p in one.loaded.model.named_parameters()}
    assert {t for n, t in types.items() if "lora_" in n} == {torch.float32}
    assert {t for n, t in types.items() if "lora_" not in n} == {torch.bfloat16}
    adapted = {n.split(".")[-4] for n in types if "lora_A" in n}
    assert adapted >= {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    one.hold_reference()
    before = weights(one)
    first = one.grpo_update(GROUPS, grpo(epochs=2, clip=0.2, kl="k2", beta=0.001), 1e-3)
    second = one.grpo_update(GROUPS, grpo(epochs=1, clip=0.2, kl="k2", beta=0.001), 1e-3)
    assert first["refused"] == second["refused"] == 0
    assert second["kl"] > 0
    after = changed(before, weights(one))
    assert after
    assert all("lora_" in name for name in after)
