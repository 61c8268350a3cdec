"""The workflow for Trinity-RFT, beside Trinity's own classes: what it reads, runs and trains on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("trinity", reason="no Trinity-RFT here: tox -e trinity")
torch = pytest.importorskip("torch")

from engine_fakes import SPLIT, TASK, ragged_group, write_recipe  # noqa: E402
from tiny_model import make_model  # noqa: E402
from trinity.algorithm.advantage_fn.multi_step_grpo_advantage import (  # noqa: E402
    StepWiseGRPOAdvantageFn,
)
from trinity.common.config import GenerationConfig  # noqa: E402
from trinity.common.experience import Experience  # noqa: E402
from trinity.common.workflows import WORKFLOWS, Task, Workflow  # noqa: E402

from agemem_eval.harness.errors import ModelError, UsageError  # noqa: E402
from agemem_eval.harness.models.hf import HfModel  # noqa: E402
from agemem_eval.harness.types import ChatMessage, Request, Sampling  # noqa: E402
from agemem_eval.policies.engines import trinity as plugin  # noqa: E402
from agemem_eval.policies.grpo import advantages  # noqa: E402

pytestmark = pytest.mark.trinity
NAME = "agemem_eval.policies.engines.trinity.AgeMemWorkflow"


class Wrapper:
    """Answers as Trinity's `ModelWrapper` does, whose module cannot be imported without vLLM."""

    def __init__(self, folder, model=None, **limits) -> None:
        self.model_path, self._model = str(folder), model
        limits = {"max_prompt_tokens": 8000, "max_response_tokens": 8, **limits}
        self.model_config = SimpleNamespace(**limits)
        self.asked: list[dict] = []
        self.truncate = None

    async def chat_async(self, messages, *, n, temperature, max_tokens, logprobs, top_p=None):
        self.asked.append({"messages": messages, "temperature": temperature, "top_p": top_p})
        said = [ChatMessage(message["role"], message["content"]) for message in messages]
        sampling = Sampling(max_tokens, temperature, top_p, seed=len(self.asked))
        reply = await self._model.generate(Request(said, sampling, want_tokens=True))
        return [
            Experience(
                tokens=torch.tensor(reply.prompt_ids + reply.token_ids, dtype=torch.int32),
                logprobs=torch.tensor(reply.logprobs),
                prompt_length=len(reply.prompt_ids),
                response_text=reply.text,
                truncate_status=self.truncate,
            )
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("trinity") / "model")


@pytest.fixture(scope="module")
def recipe(folder):
    return write_recipe(folder.parent, folder)


@pytest.fixture
async def wrapper(folder):
    model = HfModel(str(folder))
    yield Wrapper(folder, model)
    await model.close()


def task_of(recipe, **raw) -> Task:
    raw = {"recipe": str(recipe), "split": SPLIT, "task": TASK, **raw}
    return Task(
        workflow=WORKFLOWS.get(NAME),
        raw_task=raw,
        rollout_args=GenerationConfig(temperature=0.7, top_p=0.9),
    )


def test_trinity_finds_it_by_its_dotted_name_and_by_its_own():
    found = WORKFLOWS.get(NAME)
    assert found is plugin.AgeMemWorkflow is WORKFLOWS.get("agemem")
    assert issubclass(found, Workflow)
    assert found.is_async
    assert not found.can_repeat  # Trinity repeats and numbers the runs


async def test_an_episode_becomes_one_experience_a_model_call(recipe, wrapper):
    workflow = task_of(recipe).to_workflow(wrapper)
    found = await workflow.run_async()
    assert len(found) == len(wrapper.asked) > 3
    assert {call["temperature"] for call in wrapper.asked} == {0.7}
    assert {call["top_p"] for call in wrapper.asked} == {0.9}
    assert [one.eid.step for one in found] == list(range(len(found)))
    assert len({one.reward for one in found}) == 1
    assert [one.info["stage"] for one in found] == sorted(one.info["stage"] for one in found)
    assert {one.info["stage"] for one in found} == {1, 2, 3}
    for one in found:
        drawn = len(one.tokens) - one.prompt_length
        assert drawn == len(one.logprobs) == len(one.action_mask) > 0
        assert one.metrics["actual_env_steps"] == len(found)
        assert one.metrics["reward/task"] <= 1
    again = Experience.deserialize_many(Experience.serialize_many(found))
    assert [one.info for one in again] == [one.info for one in found]
    assert all(torch.equal(a.action_mask, b.action_mask) for a, b in zip(again, found, strict=True))


async def test_what_it_trains_on_has_the_probabilities_that_the_model_gives(recipe, wrapper):
    import transformers

    found = await task_of(recipe).to_workflow(wrapper).run_async()
    policy = transformers.AutoModelForCausalLM.from_pretrained(wrapper.model_path)
    for one in (found[0], found[-1]):
        with torch.no_grad():
            logits = policy(one.tokens[None].long()).logits[0, one.prompt_length - 1 : -1]
        drawn = one.tokens[one.prompt_length :, None].long()
        told = logits.log_softmax(-1).gather(1, drawn)[:, 0]
        assert torch.allclose(told, one.logprobs, atol=1e-4)


def test_trinitys_own_advantage_of_its_experiences_is_ours():
    group = ragged_group()
    found = [one for t in group.trajectories for one in plugin.experiences(t)]
    for one in found:
        one.eid.batch, one.eid.task = 0, 0  # as Trinity's runner sets them
    scored, told = StepWiseGRPOAdvantageFn()(found)
    expected = advantages(group.rewards, "group")
    assert told["experience_count"] == sum(len(t.steps) for t in group.trajectories)
    for one in scored:
        step = group.trajectories[one.eid.run].steps[one.eid.step]
        ours = torch.tensor(step.mask) * expected[one.eid.run]
        assert torch.allclose(one.advantages.double(), ours.double(), atol=1e-5)


def test_a_component_that_could_not_be_scored_is_left_out_rather_than_0():
    (one,) = plugin.experiences(ragged_group().trajectories[0])
    assert "reward/context" not in one.metrics
    assert one.metrics["hack/repeated_calls"] == 0.5


def test_tokens_that_are_not_trained_stay_so():
    for t in ragged_group().trajectories:
        for step, one in zip(t.steps, plugin.experiences(t), strict=True):
            assert one.action_mask.tolist() == list(step.mask)
            assert one.tokens[: one.prompt_length].tolist() == list(step.prompt_ids)
            assert one.tokens[one.prompt_length :].tolist() == list(step.completion_ids)


@pytest.mark.parametrize(
    ("limit", "key"),
    [("max_prompt_tokens", "context_tokens"), ("max_response_tokens", "max_tokens")],
)
async def test_shorter_limits_in_trinity_are_refused_with_both_keys(folder, recipe, limit, key):
    workflow = task_of(recipe).to_workflow(Wrapper(folder, **{limit: 4}))
    with pytest.raises(UsageError, match=rf"model\.{limit} is 4, less than agent\.{key}"):
        await workflow.run_async()


async def test_a_task_that_is_not_there_is_refused(recipe, wrapper):
    workflow = task_of(recipe, task="none").to_workflow(wrapper)
    with pytest.raises(UsageError, match="no task 'none'"):
        await workflow.run_async()


async def test_a_task_set_of_another_form_is_refused(recipe, wrapper):
    task = task_of(recipe)
    del task.raw_task["split"]
    with pytest.raises(UsageError, match="no field 'split'"):
        await task.to_workflow(wrapper).run_async()


async def test_a_prompt_that_trinity_cut_is_no_prompt_to_train_on(wrapper):
    wrapper.truncate = "prompt_truncated"
    model = plugin.TrinityModel(wrapper)
    with pytest.raises(ModelError, match="max_prompt_tokens"):
        await model.generate(Request([ChatMessage("user", "?")], Sampling(4, 1.0)))


async def test_a_failing_engine_is_the_infrastructures_fault_in_one_line(wrapper):
    async def fail(*_, **__):
        raise RuntimeError("actor\ndied")

    wrapper.chat_async = fail
    with pytest.raises(ModelError, match="RuntimeError: actor died"):
        await plugin.TrinityModel(wrapper).generate(Request([], Sampling(4)))
