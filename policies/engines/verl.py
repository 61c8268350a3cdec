"""An agent loop for verl 0.9: episodes of a recipe, played with the servers that it draws from.

Registered as `agemem`. It returns one output for each model call, the *multi-trajectory* form,
which the trainer of `trainer.use_v1` (the default) takes; its `grpo` estimator then takes the
advantage over the sessions of a prompt, once each, and gives it to all outputs of a session.
docs/scaling.md has a whole configuration.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from ...harness.errors import MissingExtraError, ModelError, UsageError
from ...harness.models import ModelBase
from ...harness.models.inprocess.chat import Chat
from ...harness.models.inprocess.decoding import Generated
from ...harness.types import Completion, EpisodeView, Model, ModelInfo, Request
from ..trajectory import Trajectory
from .episodes import AGENT, Episodes, check_lengths

try:
    from verl.experimental.agent_loop.agent_loop import (
        AgentLoopBase,
        AgentLoopMetrics,
        AgentLoopOutput,
        register,
    )
except ImportError as error:
    raise MissingExtraError(f"verl ({error})", "verl") from error

_KEYS = "actor_rollout_ref.rollout.prompt_length, actor_rollout_ref.rollout.response_length"
_ABORTED = "aborted"


@register(AGENT)
class AgeMemAgentLoop(AgentLoopBase):  # type: ignore[misc]  # Any where verl is not installed
    """One rollout of a task, as one output for each model call, in order."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
        """Play the episode of a row of the data set.

        Args:
            sampling_params: Of the servers; temperature and top_p of the draws among them.
            **kwargs: The row's fields; `extra_info` names recipe, split and task, as `engines`
                writes them. `session_id` is the rollout's number among those of its prompt.

        Raises:
            UsageError: for a task or recipe that is not there, or shorter limits in verl.
            InfraError: if it could not be played to its end; verl drops the prompt's group.
        """
        named = _named(kwargs)
        episodes = Episodes.of(named["recipe"], "verl")
        limits = self.rollout_config
        check_lengths(
            episodes.recipe,
            prompt=limits.prompt_length,
            reply=limits.response_length,
            engine=_KEYS,
        )
        model = VerlModel(
            self.server_manager,
            self.tokenizer,
            sampling_params,
            template_arguments=dict(self.apply_chat_template_kwargs),
            priority=int(kwargs.get("priority", 0)),
        )
        trajectory = await episodes.play(
            model,
            named["split"],
            named["task"],
            repeat=int(kwargs.get("session_id", 0)),
            temperature=float(sampling_params.get("temperature", 1.0)),
        )
        return outputs(trajectory, model.versions)


def _named(row: dict[str, Any]) -> dict[str, str]:
    told = row.get("extra_info") or {}
    try:
        return {key: str(told[key]) for key in ("recipe", "split", "task")}
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"the data set's extra_info has no field {error}: see docs/scaling.md"
        ) from error


def outputs(trajectory: Trajectory, versions: list[int] | None = None) -> list[AgentLoopOutput]:
    """A trajectory as verl trains on it; the last output's reward is the session's.

    Args:
        trajectory: What was played.
        versions: Of the weights that drew it, as verl's servers number them.
    """
    reward = trajectory.reward
    # verl logs each of these by name, and wants the same names in every session.
    parts = {name: float("nan") if v is None else v for name, v in reward.components.items()}
    said = {**parts, **{f"hack/{name}": value for name, value in reward.hacks.items()}}
    weights = {
        "min_global_steps": min(versions) if versions else None,
        "max_global_steps": max(versions) if versions else None,
    }
    return [
        AgentLoopOutput(
            prompt_ids=list(step.prompt_ids),
            response_ids=list(step.completion_ids),
            response_mask=[int(trained) for trained in step.mask],
            response_logprobs=None if step.logprobs is None else list(step.logprobs),
            reward_score=reward.total,
            num_turns=len(trajectory.steps),
            metrics=AgentLoopMetrics(),
            extra_fields={
                "turn_scores": [],
                "tool_rewards": [],
                "stage": step.stage,
                "reward_extra_info": dict(said),
                **weights,
            },
        )
        for step in trajectory.steps
    ]


class VerlModel(ModelBase):
    """The servers of verl, as the agent loop asks models.

    Messages are made tokens here, and calls read from the text, as for models in this process.
    verl seeds its draws itself.

    Args:
        servers: verl's `LLMServerClient`.
        tokenizer: Of the policy.
        sampling: verl's sampling parameters, of which temperature and max_tokens are replaced by
            those of each request.
        template_arguments: Further variables of the chat template.
        priority: Of this rollout among those that wait.

    Attributes:
        versions: Of the weights, as the servers told them with each reply.
    """

    def __init__(
        self,
        servers: Any,
        tokenizer: Any,
        sampling: dict[str, Any],
        *,
        template_arguments: dict[str, Any] | None = None,
        priority: int = 0,
    ) -> None:
        self.info = ModelInfo("verl:policy", training="agemem")
        self.versions: list[int] = []
        self._servers, self._sampling, self._priority = servers, sampling, priority
        self._chat = Chat(tokenizer, None, template_arguments or {}, "the policy")
        self._stop = tokenizer.eos_token_id
        self._session = uuid4().hex  # replies of one episode go to one server, for its cache

    def bind(self, episode: EpisodeView) -> Model:
        """The model itself.

        Raises:
            UsageError: where functions are to be called natively and the template shows none.
        """
        if episode.native and episode.tools and not self._chat.knows_tools():
            raise UsageError("the policy's chat template shows no tools: use transport prompt")
        return self

    async def generate(self, request: Request) -> Completion:
        """Ask a server.

        Raises:
            ModelError: if it failed, or broke the reply off.
            UsageError: if the chat template refuses the messages.
        """
        prompt = self._chat.encode(request)
        asked = request.sampling
        sampling = {**self._sampling, "max_tokens": asked.max_tokens, "logprobs": True}
        given = {"temperature": asked.temperature, "top_p": asked.top_p}
        sampling |= {key: value for key, value in given.items() if value is not None}
        try:
            found = await self._servers.generate(
                request_id=self._session,
                prompt_ids=list(prompt),
                sampling_params=sampling,
                priority=self._priority,
            )
        except Exception as error:  # the server is a Ray actor: whatever went wrong there
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise ModelError(f"verl's server failed: {text}", "server") from error
        if found.stop_reason == _ABORTED or not found.token_ids:
            raise ModelError("verl's server broke a reply off", "server")
        self._note(found.extra_fields)
        return self._chat.read(request, prompt, self._generated(found, asked.max_tokens))

    def _generated(self, found: Any, most: int) -> Generated:
        tokens = tuple(int(id_) for id_ in found.token_ids)
        ended = tokens[-1] == self._stop or len(tokens) < most
        logprobs = tuple(map(float, found.log_probs)) if found.log_probs else None
        return Generated(tokens, "stop" if ended else "length", logprobs)

    def _note(self, told: dict[str, Any]) -> None:
        for key in ("min_global_steps", "max_global_steps"):
            if isinstance(told.get(key), int):
                self.versions.append(told[key])

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the policy's tokenizer."""
        return self._chat.count_tokens(text)
