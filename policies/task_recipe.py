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
    env = canonical("envs", env)
    if not _is_env(env):
        known = [plugin.name for plugin in plugins("envs")]
        raise ValueError(str(unknown_name("environment", env, known)))
    return env


def _is_env(name: str) -> bool:
    return ":" in name or name in {plugin.name for plugin in plugins("envs")}


EnvName = Annotated[str, AfterValidator(_known_env)]
TaskScore = Literal["f1", "em", "judge", "success", "progress"]
QUESTIONS = ("f1", "em", "judge")  # scores of an answer
_TELL_PROGRESS = ("alfworld", "babyai", "pddl", "scienceworld")


class Limits(Strict):
    """Of the agent in the episodes of one source; what is None is as in `agent`."""

    context_tokens: int | None = Field(None, ge=256)
    max_tokens: int | None = Field(None, ge=1)
    max_steps: int | None = Field(None, ge=1, le=100_000)
    max_turns_per_step: int | None = Field(None, ge=1, le=100)


class HeldOut(Strict):
    """Which tasks of one source are held out; what is None is as in `evaluation`."""

    split: str | None = None
    first: int | None = Field(None, ge=0)
    episodes: int | None = Field(None, ge=1)


class Source(Strict):
    """One of several sources of tasks; what it leaves out is as in `tasks` and `agent`.

    Of another environment than that of `tasks` it is no option of an environment, the split
    `generated-train`, and all of its tasks.
    """

    env: EnvName | None = None
    options: dict[str, Texts] | None = None
    split: str | None = None
    first: int | None = Field(None, ge=0)
    episodes: int | None = Field(None, ge=1)
    agent: Limits = Limits()
    evaluation: HeldOut = HeldOut()
    task_score: TaskScore | None = None  # None: `reward.task_score` where it suits; `suited`
    weight: float = Field(1.0, gt=0)  # its share of the tasks of each step, beside the others'

    @property
    def given(self) -> dict[str, Any]:
        """What is not left out, as JSON values."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {k: v for k, v in values.items() if v or k not in ("agent", "evaluation")}


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
    sources: tuple[Source, ...] = ()  # or: several, played together; all else holds for each

    @property
    def played(self) -> str:
        """The environment whose tasks they are, in stages or as it is."""
        return self.options.get(self.env, {}).get("env", self.env)

    def narrowed(self, source: Source | Demonstrations) -> TaskRecipe:
        """The tasks as they hold for one source; options of memory and models hold for all."""
        own = {"env": source.env, "split": source.split, "first": source.first}
        given: dict[str, Any] = {k: v for k, v in own.items() if v is not None}
        if "env" in given and given["env"] != self.env:
            given = {"options": {}, "split": "generated-train", "first": 0, **given}
            if isinstance(source, Source):
                given["episodes"] = None
        if source.options is not None:
            given["options"] = source.options
        if "options" in given:
            shared = {name: o for name, o in self.options.items() if not _is_env(name)}
            given["options"] = {**shared, **given["options"]}
        if isinstance(source, Source) and source.episodes is not None:
            given["episodes"] = source.episodes
        if isinstance(source, Demonstrations) and source.memory is not None:
            given["memory"] = source.memory
            if source.memory != self.memory:  # to which its options mean nothing
                options = given.get("options", self.options)
                given["options"] = {k: o for k, o in options.items() if k != self.memory}
        return self.model_copy(update={**given, "sources": ()})


class Evaluation(Strict):
    """Held-out tasks, played by the greedy policy and rewarded like the others."""

    every: int = Field(10, ge=1)  # steps; before the first and after the last one too
    split: str = "generated-train"
    first: int = Field(4000, ge=0)
    episodes: int = Field(32, ge=1)
    temperature: float = Field(0.0, ge=0)


def unsuited(score: TaskScore, env: str) -> str | None:
    """Why an environment has no such score, in words after the score's name; None where it has."""
    if score in QUESTIONS and env != "hotpotqa":
        return f" {score} is of questions; for {env} use success or progress"
    if score == "progress" and env == "hotpotqa":
        return ": hotpotqa tells no progress; use f1, em or success"
    return None


def suited(wanted: TaskScore, env: str) -> TaskScore:
    """The score that is wanted where an environment has it, or else the one that suits it."""
    if unsuited(wanted, env) is None:
        return wanted
    if env == "hotpotqa":
        return "f1"
    return "progress" if env in _TELL_PROGRESS else "success"


class Demonstrations(Strict):
    """Episodes played by an expert and a teacher of the memory tools; one source of them."""

    env: EnvName | None = None  # None: that of `tasks`, with its options and split
    options: dict[str, Texts] | None = None  # None: those of `tasks`
    split: str | None = None
    memory: str | None = None  # None: that of `tasks`; the teacher uses the tools that it has
    agent: Limits = Limits()
    episodes: int = Field(400, ge=1)
    first: int | None = Field(None, ge=0)  # number of the first task; None: that of `tasks`
    expert: str = "reader"  # an expert of the environment that knows only what was shown
    teacher: Literal["notes"] = "notes"
    noise: Share = 0.0  # how often the teacher leaves a sensible tool call out
    slips: Share = (
        0.0  # how often its action is wrong on purpose: never learned, but what follows is
    )
    keep: Literal["success", "all"] = "success"  # which episodes are examples
    stages: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)  # of which turns are learned
    runs: Path | None = None  # or: a run directory of `agemem-eval run` whose turns are learned


Sources = Annotated[
    Annotated[Demonstrations, Tag(ONE)] | Annotated[tuple[Demonstrations, ...], Tag(SEVERAL)],
    Discriminator(lambda value: SEVERAL if isinstance(value, list | tuple) else ONE),
]


class DrillRecipe(Strict):
    """Exercises in copying and comparing; `drills.py` has the curriculum."""

    tokens: int = Field(6_000_000, ge=1)  # at most; it ends where the curriculum is learned
    batch_tokens: int = Field(4096, ge=64)  # of an update
    learning_rate: float = Field(4e-3, gt=0)
    # Of each update's tokens the share that are exercises of the drills before; and in fine-tuning
    # those of all drills, beside the demonstrations, as a share of `sft.batch_tokens`. What is not
    # rehearsed is forgotten.
    rehearsed: float = Field(0.0, ge=0, le=0.9)  # the drill itself needs some
    kept: Share = 0.0


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
    # Times the rate at which Muon moves inner matrices, in drills too; 0: AdamW moves all.
    muon: float = Field(0.0, ge=0)
    # Share of the prompts' tokens that are learned too at the start; it falls to 0 at half of the
    # updates. What is made from nothing so learns the language in fewer tokens.
    prompts: Share = 0.0
    drills: DrillRecipe | None = None  # None: none; only for a model made from nothing

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
