"""The resolved configuration of a run: what decides its numbers, and how it is carried out.

`RunConfig` fields are identity: they are hashed, stored, and compared on resume. `Execution`
fields (concurrency, workers, where to write) may change between two parts of the same run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from .errors import UsageError, unknown_name
from .records import stable_hash


def split_model(spec: str) -> tuple[str, str]:
    """Registered name and the rest: `openai`, `gpt-4o-mini`; or `package.module:Class` and rest."""
    provider, _, name = spec.partition(":")
    if "." in provider:  # an explicit class
        class_name, _, name = name.partition(":")
        provider = f"{provider}:{class_name}"
    return provider, name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AgentConfig(_Strict):
    """How the agent is run; part of every result's identity."""

    transport: Literal["prompt", "native"] = "prompt"
    shots: Literal[0, 1] = 1
    show_valid_actions: Literal["never", "on-request", "always"] = "never"
    max_steps: int | None = Field(None, ge=1, le=100_000)  # None: the environment's own cap
    max_turns_per_step: int = Field(6, ge=1, le=100)
    max_calls_per_turn: int = Field(8, ge=1, le=100)
    context_tokens: int = Field(8192, ge=256)
    # Of them beside the system prompt and the tools' schemas; None: all that is left.
    history_tokens: int | None = Field(None, ge=64)
    context_kept: float = Field(1.0, ge=0.25, le=1)  # of them once they are too few; see `Context`
    max_tokens: int = Field(1024, ge=1)
    temperature: float | None = Field(0.0, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)

    @model_serializer(mode="wrap")
    def _said(self, said: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what was added later and is not set: results are the same as before."""
        values: dict[str, Any] = said(self)
        if self.context_kept == 1:
            del values["context_kept"]
        if self.history_tokens is None:
            del values["history_tokens"]
        return values

    def budget(self, fixed: int) -> int:
        """Tokens of an episode's prompts, of which system prompt and schemas need `fixed`."""
        if self.history_tokens is None:
            return self.context_tokens
        return min(self.context_tokens, fixed + self.history_tokens)


class RunConfig(_Strict):
    """Everything that decides a run's numbers."""

    envs: tuple[str, ...] = Field(min_length=1)
    memories: tuple[str, ...] = Field(min_length=1)
    model: str = "scripted"
    split: str | None = None  # None: each environment's default
    episodes: int | None = Field(None, ge=1)  # the first n tasks of the split; None: all
    seed: int = 0
    repeats: int = Field(1, ge=1)
    memory_scope: Literal["episode", "run"] = "episode"
    # Orders of a stream's tasks; (): the split's own.
    order_seeds: tuple[Annotated[int, Field(strict=True, ge=0)], ...] = ()
    memory_model: str | None = None  # None: the agent's, if it can write; else `heuristic`
    st_tools: bool = False  # gives every memory the short-term tools: "+ST"
    embedder: str = "hashing"
    store: str = "sqlite"
    judge: str | None = None
    agent: AgentConfig = AgentConfig()
    # Options by the registered name they belong to: {"alfworld": {"engine": "textworld"}}.
    options: dict[str, dict[str, str]] = {}
    allow_short: bool = False  # accept a split with fewer tasks than it should hold

    @field_validator("envs", "memories")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"one is named twice: {', '.join(names)}")
        return names

    @field_validator("order_seeds")
    @classmethod
    def _no_order_twice(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"one is named twice: {', '.join(map(str, seeds))}")
        return seeds

    @model_validator(mode="after")
    def _orders_need_a_stream(self) -> Self:
        if self.order_seeds and self.memory_scope != "run":
            raise ValueError("--order-seeds orders the tasks of one memory: add --memory-scope run")
        return self

    @property
    def model_name(self) -> str:
        """The registered name of the model: `openai` of `openai:gpt-4o-mini`."""
        return split_model(self.model)[0]

    @property
    def model_names(self) -> tuple[str, ...]:
        """The registered names of the agent's model, the memory's and the judge's, each once."""
        specs = (self.model, self.memory_model, self.judge)
        return tuple(dict.fromkeys(split_model(spec)[0] for spec in specs if spec is not None))

    def options_of(self, name: str) -> dict[str, str]:
        """The options of one environment, memory or model, by its registered name."""
        return dict(self.options.get(name, {}))

    @property
    def hash(self) -> str:
        """Short hash of the whole configuration."""
        return stable_hash(self.model_dump(mode="json"))


class Execution(_Strict):
    """How a run is carried out; nothing here changes a number."""

    runs_dir: Path = Path("runs")
    name: str | None = None  # None: made from the configuration
    data: Path | None = None  # environments' `data` option: where their files are on this machine
    base_url: str | None = None  # the model's `base_url` option: where it is served
    memory_base_url: str | None = None  # of the memory's model; None: the same
    judge_base_url: str | None = None  # of the judge; None: the same as the agent's
    cache_dir: Path | None = None  # replies and judge's scores; None: `.cache` in `runs_dir`
    model_options: dict[str, str] = {}  # those the model lists in `execution_options`: timeouts, …
    concurrency: int = Field(8, ge=1, le=10_000)
    workers: int | None = Field(None, ge=0)  # None: as many as cores; 0: in this process
    step_timeout_s: float = Field(60.0, gt=0)
    episode_timeout_s: float = Field(3600.0, gt=0)
    retries: int = Field(2, ge=0)  # further tries of an episode after an infrastructure failure
    max_infra_errors: int = Field(5, ge=1)  # failed episodes in a row, after which it waits or ends
    patience_s: float = Field(600.0, ge=0)  # waiting for an endpoint that worked and now fails
    resume: bool = True  # False: refuse a run that exists
    heartbeat_s: float = Field(30.0, gt=0)  # without a sign of life, a worker is replaced
    backend: Literal["local", "ray"] = "local"  # where environments live
    ray_address: str | None = None  # of a cluster; None: one on this machine, for this run
    ray_cpus: float = Field(1.0, ge=0)  # CPUs of the cluster that a worker takes
    cache: bool = False  # keep the model's replies in `cache_dir`, and take them from there
    trace: Literal["jsonl", "otlp"] | None = None  # export a span for each model and tool call
    trace_content: bool = False  # with the texts of outputs, tool calls and actions
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # of `log.jsonl` in the run


def make_config(values: dict[str, Any]) -> RunConfig:
    """Check and build a `RunConfig`.

    Raises:
        UsageError: naming the field, what is wrong, and for unknown keys the nearest one.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise _usage_error(error) from error


def _usage_error(error: ValidationError) -> UsageError:
    """The first problem of a pydantic error as one line."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    if not where:  # a rule about several fields together
        return UsageError(str(first["msg"]).removeprefix("Value error, "))
    if first["type"] == "extra_forbidden":
        fields = AgentConfig.model_fields if where.startswith("agent.") else RunConfig.model_fields
        return unknown_name("configuration key", str(first["loc"][-1]), fields)
    problem = str(first["msg"]).removeprefix("Value error, ")
    return UsageError(f"configuration: {where}: {problem} (given: {first['input']!r})")
