"""The parts of a recipe that say what is played: tasks, and the demonstrations before them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator

from ..harness.errors import unknown_name
from ..harness.registry import canonical, plugins
from .model_recipe import Share, Strict
from .refusals import ONE, SEVERAL, texts

Texts = Annotated[dict[str, str], BeforeValidator(texts)]


def _known_env(env: str) -> str:
    env, known = canonical("envs", env), [plugin.name for plugin in plugins("envs")]
    if env not in known and ":" not in env:
        raise ValueError(str(unknown_name("environment", env, known)))
    return env


EnvName = Annotated[str, AfterValidator(_known_env)]


class TaskRecipe(Strict):
    """Which tasks are played, and with which memory."""

    env: EnvName = "hotpotqa"
    options: dict[str, Texts] = Field({"hotpotqa": {"form": "three-stage"}})  # as in `run`
    split: str = "generated-train"
    first: int = Field(0, ge=0)  # number of the first task used of the split
    episodes: int | None = Field(None, ge=1)  # how many from there on; None: all
    memory: str = "agemem"
    memory_model: str = "heuristic"  # writes summaries; never trained
    memory_base_url: str | None = None  # where that is served
    embedder: str = "hashing"
    data: Path | None = None  # where the environment's files are on this machine

    @property
    def played(self) -> str:
        """The environment whose tasks they are, in stages or as it is."""
        return self.options.get(self.env, {}).get("env", self.env)


class Limits(Strict):
    """Of the agent in the episodes of one source; what is None is as in `agent`."""

    context_tokens: int | None = Field(None, ge=256)
    max_tokens: int | None = Field(None, ge=1)
    max_steps: int | None = Field(None, ge=1, le=100_000)
    max_turns_per_step: int | None = Field(None, ge=1, le=100)


class Demonstrations(Strict):
    """Episodes played by an expert and a teacher of the memory tools; one source of them."""

    env: EnvName | None = None  # None: that of `tasks`, with its options and split
    options: dict[str, Texts] | None = None  # None: those of `tasks`
    split: str | None = None
    agent: Limits = Limits()
    episodes: int = Field(400, ge=1)
    first: int | None = Field(None, ge=0)  # number of the first task; None: that of `tasks`
    expert: str = "reader"  # an expert of the environment that knows only what was shown
    teacher: Literal["notes"] = "notes"
    noise: Share = 0.0  # how often the teacher leaves a sensible tool call out
    keep: Literal["success", "all"] = "success"  # which episodes are examples
    runs: Path | None = None  # or: a run directory of `agemem-eval run` whose turns are learned


Sources = Annotated[
    Annotated[Demonstrations, Tag(ONE)] | Annotated[tuple[Demonstrations, ...], Tag(SEVERAL)],
    Discriminator(lambda value: SEVERAL if isinstance(value, list | tuple) else ONE),
]


class SftRecipe(Strict):
    """Supervised fine-tuning on demonstrations: the warm start."""

    demonstrations: Sources = Demonstrations()  # of one source, or a list of several, mixed
    epochs: float = Field(3, gt=0)
    batch_tokens: int = Field(8192, ge=64)  # of an update; what prompts have in common counts once
    learning_rate: float = Field(1e-3, gt=0)  # the highest
    warmup: Share = 0.05  # of all updates
    schedule: Literal["cosine", "constant"] = "cosine"  # after the warm-up; cosine: down to 0
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)

    @field_validator("demonstrations")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if not value:
            raise ValueError("name a source of demonstrations, or leave it out")
        return value

    @property
    def sources(self) -> tuple[Demonstrations, ...]:
        """Where the demonstrations are from."""
        shown = self.demonstrations
        return shown if isinstance(shown, tuple) else (shown,)
