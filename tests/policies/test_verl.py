"""The agent loop for verl, beside verl's own classes: what it reads, runs and trains on."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("verl", reason="no verl here: tox -e verl")
torch = pytest.importorskip("torch")

import numpy as np  # noqa: E402
from engine_fakes import SPLIT, TASK, ragged_group, write_recipe  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from tiny_model import make_model  # noqa: E402
from verl.experimental.agent_loop import agent_loop as of_verl  # noqa: E402
from verl.protocol import DataProto  # noqa: E402
from verl.trainer.ppo.v1 import agent_loop_tq, utils  # noqa: E402
from verl.workers.rollout.replica import TokenOutput  # noqa: E402

from agemem_eval.harness.errors import ModelError, UsageError  # noqa: E402
from agemem_eval.harness.types import ChatMessage, Request, Sampling  # noqa: E402
from agemem_eval.policies.engines import verl as plugin  # noqa: E402
from agemem_eval.policies.grpo import advantages  # noqa: E402

pytestmark = pytest.mark.verl


class Servers:
    """Draws as verl's `LLMServerClient` does, with a model of transformers."""

    def __init__(self, model) -> None:
        self.model, self.asked = model, []
        self.stop_reason = "completed"

    async def generate(self, request_id, *, prompt_ids, sampling_params, priority=0):
        self.asked.append({"id": request_id, "priority": priority, **sampling_params})
        ids, logprobs = list(prompt_ids), []
        generator = torch.Generator().manual_seed(len(self.asked))
        for _ in range(sampling_params["max_tokens"]):
            with torch.no_grad():
                told = self.model(torch.tensor([ids])).logits[0, -1]
            scaled = (told / sampling_params["temperature"]).softmax(-1)
            ids.append(int(torch.multinomial(scaled, 1, generator=generator)))
            logprobs.append(float(told.log_softmax(-1)[ids[-1]]))
        return TokenOutput(
            token_ids=ids[len(prompt_ids) :],
            log_probs=logprobs,
            stop_reason=self.stop_reason,
            extra_fields={"global_steps": 7, "min_global_steps": 7, "max_global_steps": 7},
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("verl") / "model")


@pytest.fixture(scope="module")
def recipe(folder):
    return write_recipe(folder.parent, folder, max_tokens=2)


@pytest.fixture(scope="module")
def tokenizer(folder):
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def policy(folder):
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def make_loop(servers, tokenizer, **limits):
    """The agent loop as verl's worker makes it, from the registry."""
    limits = {"prompt_length": 8000, "response_length": 8, **limits}
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": limits}, "data": {}})
    return instantiate(
        config=of_verl._agent_loop_registry["agemem"],
        trainer_config=of_verl.DictConfigWrap(config=config),
        server_manager=servers,
        tokenizer=tokenizer,
        processor=None,
        hf_model_type="qwen2",
        dataset_cls=None,
        data_config=of_verl.DictConfigWrap(config.data),
        tools=of_verl.ToolListWrap([]),
    )


def row_of(recipe, **told) -> dict:
    told = {"index": 0, "recipe": str(recipe), "split": SPLIT, "task": TASK, **told}
    return {"extra_info": told, "raw_prompt": [], "session_id": 1, "priority": np.int64(3)}


DRAWING = {"temperature": 0.7, "top_p": 0.9, "top_k": -1, "repetition_penalty": 1.0}


async def test_an_episode_becomes_one_output_a_model_call(recipe, policy, tokenizer):
    servers = Servers(policy)
    found = await make_loop(servers, tokenizer).run(dict(DRAWING), **row_of(recipe))
    assert all(isinstance(one, of_verl.AgentLoopOutput) for one in found)
    assert len(found) == len(servers.asked) > 3
    assert len({call["id"] for call in servers.asked}) == 1
    for call in servers.asked:
        drawing = (call["temperature"], call["top_p"], call["max_tokens"], call["priority"])
        assert drawing == (0.7, 0.9, 2, 3)
    assert {one.extra_fields["stage"] for one in found} == {1, 2, 3}
    assert len({one.reward_score for one in found}) == 1
    for one in (found[0], found[-1]):
        ids = torch.tensor([one.prompt_ids + one.response_ids])
        with torch.no_grad():
            told = policy(ids).logits[0, len(one.prompt_ids) - 1 : -1].log_softmax(-1)
        drawn = told.gather(1, ids[0, len(one.prompt_ids) :, None])[:, 0]
        assert torch.allclose(drawn, torch.tensor(one.response_logprobs), atol=1e-4)
        assert one.extra_fields["min_global_steps"] == one.extra_fields["max_global_steps"] == 7


async def test_prompts_are_those_of_the_chat_template(policy, tokenizer):
    servers = Servers(policy)
    model = plugin.VerlModel(servers, tokenizer, dict(DRAWING))
    said = [ChatMessage("system", "You are an agent."), ChatMessage("user", "Where?")]
    reply = await model.generate(Request(said, Sampling(3, 1.0), want_tokens=True))
    expected = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in said],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert list(reply.prompt_ids) == expected
    assert reply.usage.completion_tokens == len(reply.token_ids) == len(reply.logprobs)
    assert reply.text == tokenizer.decode(reply.token_ids, skip_special_tokens=True)


def stored(group, monkeypatch) -> tuple[list[str], list[dict]]:
    """What verl's worker puts into its queue of a group's outputs: keys and fields."""
    keys, fields = [], []

    async def put(**given):
        keys.extend(given["keys"])
        fields.extend(given["fields"])

    monkeypatch.setattr(agent_loop_tq.tq, "async_kv_batch_put", put)
    monkeypatch.setattr(agent_loop_tq, "list_of_dict_to_tensordict", list)
    kind = agent_loop_tq.AgentLoopWorkerTQ.__ray_metadata__.modified_class
    worker = object.__new__(kind)
    worker.reward_loop_worker_handles, worker.distillation_enabled = None, False
    worker.processor = None
    for trajectory in group.trajectories:
        about = {"uid": "u", "session_id": trajectory.rollout, "global_steps": 7}
        outputs = plugin.outputs(trajectory, [7])
        asyncio.run(worker._agent_loop_postprocess(outputs, False, **about))
    return keys, fields


def test_verls_worker_takes_the_outputs_and_its_advantage_of_them_is_ours(monkeypatch):
    group = ragged_group()
    keys, fields = stored(group, monkeypatch)
    assert len(keys) == sum(len(t.steps) for t in group.trajectories)
    pad = torch.nn.utils.rnn.pad_sequence
    mask = pad([field["response_mask"] for field in fields], batch_first=True)
    rewards = pad([field["rm_scores"] for field in fields], batch_first=True)
    batch = TensorDict(
        {"response_mask": mask, "token_level_rewards": rewards}, batch_size=len(fields)
    )
    data = DataProto(batch=batch, non_tensor_batch={"uid": np.array(["u"] * len(fields))})
    scored = utils.compute_advantage_for_multi_trajectories(data, keys, "grpo")
    expected = advantages(group.rewards, "group")
    for key, field, row in zip(keys, fields, scored.batch["advantages"], strict=True):
        ours = field["response_mask"] * expected[int(key.split("_")[1])]
        assert torch.allclose(row[: len(ours)].double(), ours.double(), atol=1e-5)


def test_the_queue_is_given_stages_versions_and_components(monkeypatch):
    _, fields = stored(ragged_group(), monkeypatch)
    for field in fields:
        assert field["extra_fields"]["min_global_steps"] == 7
        told = field["extra_fields"]["reward_extra_info"]
        assert told["hack/repeated_calls"] == 0.5
        assert np.isnan(told["context"])  # it could not be scored, which is not 0


@pytest.mark.parametrize(
    ("limit", "key"), [("prompt_length", "context_tokens"), ("response_length", "max_tokens")]
)
async def test_shorter_limits_in_verl_are_refused_with_both_keys(
    recipe, policy, tokenizer, limit, key
):
    loop = make_loop(Servers(policy), tokenizer, **{limit: 1})
    with pytest.raises(UsageError, match=rf"rollout\.{limit} is 1, less than agent\.{key}"):
        await loop.run(dict(DRAWING), **row_of(recipe))


async def test_a_data_set_of_another_form_is_refused(policy, tokenizer):
    loop = make_loop(Servers(policy), tokenizer)
    with pytest.raises(UsageError, match="no field 'recipe'"):
        await loop.run(dict(DRAWING), extra_info={"index": 0}, raw_prompt=[])


async def test_a_reply_that_was_broken_off_is_the_infrastructures_fault(policy, tokenizer):
    servers = Servers(policy)
    servers.stop_reason = "aborted"
    model = plugin.VerlModel(servers, tokenizer, dict(DRAWING))
    with pytest.raises(ModelError, match="broke a reply off"):
        await model.generate(Request([ChatMessage("user", "?")], Sampling(2, 1.0)))
