"""A workflow for Trinity-RFT 0.6: episodes of a recipe, played with the model it explores with.

Configured by its dotted name, `agemem_eval.policies.engines.trinity.AgeMemWorkflow`, with the
algorithm `multi_step_grpo`, whose advantage is that of `grpo` with `advantage: group`: over the
terminal rewards of a task's runs, given to every step. docs/scaling.md has a whole configuration.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from ...harness.errors import MissingExtraError, ModelError, UsageError
from ...harness.ledger import Usage
from ...harness.models import ModelBase, chat
from ...harness.types import Completion, ModelInfo, Request
from ..trajectory import Step, Trajectory
from .episodes import AGENT, Episodes, check_lengths

try:
    from trinity.common.experience import EID, Experience
    from trinity.common.workflows import WORKFLOWS, Task, Workflow
except ImportError as error:
    raise MissingExtraError(f"Trinity-RFT ({error})", "trinity") from error

_KEYS = "model.max_prompt_tokens, model.max_response_tokens"


@WORKFLOWS.register_module(AGENT, force=True)
class AgeMemWorkflow(Workflow):  # type: ignore[misc]  # Any where Trinity is not installed
    """One rollout of a task, as one experience for each model call.

    Its `task.raw_task` has `recipe`, `split` and `task`, as `engines` writes them; a `recipe` of
    `task.workflow_args` goes before, where files lie elsewhere.

    Not derived from Trinity's `RewardPropagationWorkflow`, whose `step` is one turn of a loop of
    its own: here the harness's agent loop plays the whole episode. What it returns is the same:
    experiences numbered by step, each with the reward of the run.
    """

    can_reset = True
    is_async = True

    def __init__(self, *, task: Task, model: Any, auxiliary_models: Any = None) -> None:
        super().__init__(task=task, model=model, auxiliary_models=auxiliary_models)

    def reset(self, task: Task) -> None:
        """Play another task from now on."""
        self.task = task

    async def run_async(self) -> list[Experience]:
        """Play the episode.

        Raises:
            UsageError: for a task or recipe that is not there, or shorter limits in Trinity.
            InfraError: if it could not be played to its end; Trinity counts the run as failed.
        """
        raw, arguments = self.task.raw_task or {}, self.task.workflow_args or {}
        recipe, split, id_ = arguments.get("recipe") or raw.get("recipe"), *_named(raw)
        if not recipe:
            raise UsageError("the task names no recipe: workflow_args.recipe, or in the task set")
        episodes = Episodes.of(str(recipe), "trinity")
        settings, drawing = self.model.model_config, self.task.rollout_args
        check_lengths(
            episodes.recipe,
            prompt=settings.max_prompt_tokens,
            reply=settings.max_response_tokens,
            engine=_KEYS,
        )
        trajectory = await episodes.play(
            TrinityModel(self.model, top_p=drawing.top_p),
            split,
            id_,
            repeat=0,  # Trinity numbers the runs, once they are done
            temperature=1.0 if drawing.temperature is None else drawing.temperature,
        )
        return experiences(trajectory)


def _named(raw: dict[str, Any]) -> tuple[str, str]:
    try:
        return str(raw["split"]), str(raw["task"])
    except KeyError as error:
        raise UsageError(f"the task set has no field {error}: see docs/scaling.md") from error


def experiences(trajectory: Trajectory) -> list[Experience]:
    """A trajectory as Trinity trains on it, one experience a step.

    `eid.task` and `eid.batch` are left to Trinity, which numbers tasks within a batch, and so is
    `eid.run` in the end.
    """
    reward = trajectory.reward
    parts = {f"reward/{name}": v for name, v in reward.components.items() if v is not None}
    metrics = {
        **parts,
        **{f"hack/{name}": value for name, value in reward.hacks.items()},
        "actual_env_steps": float(len(trajectory.steps)),
    }
    return [
        Experience(
            eid=EID(run=trajectory.rollout, step=number),
            tokens=torch.tensor(step.prompt_ids + step.completion_ids, dtype=torch.int32),
            prompt_length=len(step.prompt_ids),
            logprobs=_logprobs(step),
            action_mask=torch.tensor(step.mask, dtype=torch.bool),
            reward=reward.total,
            metrics=dict(metrics),
            info={"stage": step.stage, "task": trajectory.task},
        )
        for number, step in enumerate(trajectory.steps)
    ]


def _logprobs(step: Step) -> torch.Tensor:
    if step.logprobs is None:
        raise ModelError(
            "Trinity's model told no log-probabilities: set logprobs: 0 in the task set's "
            "rollout_args",
            "refused",
        )
    return torch.tensor(step.logprobs, dtype=torch.float32)


class TrinityModel(ModelBase):
    """The model that Trinity explores with, as the agent loop asks models.

    Its chat template is Trinity's to apply, and so are the seeds of the draws.

    Args:
        wrapper: Trinity's `ModelWrapper`.
        top_p: Of the draws, where the recipe has none.
    """

    def __init__(self, wrapper: Any, *, top_p: float | None = None) -> None:
        self.info = ModelInfo("trinity:policy", training="agemem")
        self._wrapper, self._top_p = wrapper, top_p

    async def generate(self, request: Request) -> Completion:
        """Ask Trinity's inference engine.

        Raises:
            ModelError: if it failed, or cut the prompt.
            UsageError: for native tool calls, which it takes no schemas for.
        """
        if request.tools:
            raise UsageError("Trinity's model takes no tools: set agent.transport to prompt")
        messages = [chat.wire_message(message) for message in request.messages]
        sampling = request.sampling
        top_p = self._top_p if sampling.top_p is None else sampling.top_p
        drawing = {"temperature": sampling.temperature, "top_p": top_p}
        drawing = {key: value for key, value in drawing.items() if value is not None}
        try:
            (found,) = await self._wrapper.chat_async(
                messages, n=1, max_tokens=sampling.max_tokens, logprobs=0, **drawing
            )
        except Exception as error:  # the engine is a Ray actor: whatever went wrong there
            text = " ".join(str(error).split())[:300]
            raise ModelError(
                f"Trinity's model: {type(error).__name__}: {text}", "server"
            ) from error
        if found.truncate_status == "prompt_truncated":
            raise ModelError(
                f"Trinity cut a prompt at {found.prompt_length} tokens: raise "
                "model.max_prompt_tokens, or lower agent.context_tokens",
                "refused",
            )
        return _completion(found, sampling.max_tokens, self._stop)

    @property
    def _stop(self) -> int | None:
        stop: int | None = _tokenizer(self._wrapper.model_path).eos_token_id
        return stop

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's tokenizer."""
        return len(_tokenizer(self._wrapper.model_path).encode(text, add_special_tokens=False))


def _completion(found: Experience, most: int, stop: int | None) -> Completion:
    """What an experience says, token by token; Trinity does not tell whether it was cut."""
    ids = [int(id_) for id_ in found.tokens]
    prompt, said = ids[: found.prompt_length], ids[found.prompt_length :]
    logprobs, cut = found.logprobs, len(said) >= most and said[-1] != stop
    return Completion(
        found.response_text or "",
        Usage(len(prompt), len(said)),
        (),
        "length" if cut else "stop",
        (),
        tuple(said),
        None if logprobs is None else tuple(float(value) for value in logprobs),
        tuple(prompt),
    )


@lru_cache(maxsize=4)
def _tokenizer(path: str) -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=False)
