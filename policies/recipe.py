"""A recipe: everything that decides a training run, checked before anything is loaded.

Only pydantic and PyYAML are needed here, so that a bad recipe is refused at once, with the key
and the values it may have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from ..harness.config import AgentConfig, Execution, RunConfig
from ..harness.errors import UsageError
from ..harness.records import stable_hash
from ..harness.yaml_files import read_yaml
from .model_recipe import Fresh as Fresh
from .model_recipe import Lora as Lora
from .model_recipe import ModelRecipe as ModelRecipe
from .model_recipe import Share, Strict
from .refusals import set_value, usage_error
from .task_recipe import Demonstrations as Demonstrations
from .task_recipe import DrillRecipe as DrillRecipe
from .task_recipe import Evaluation as Evaluation
from .task_recipe import SftRecipe as SftRecipe
from .task_recipe import Source as Source
from .task_recipe import TaskRecipe as TaskRecipe
from .task_recipe import TaskScore as TaskScore
from .task_recipe import Texts, suited, unsuited

SUM_TOLERANCE = 1e-3  # of weights that must sum to 1; a third written as 0.333 passes


class Retained(Strict):
    """When resampling replaces groups whose rewards are all equal."""

    rounds: int = Field(0, ge=0, le=16)  # further rounds of tasks a step; 0: none


class GrpoRecipe(Strict):
    """Step-wise GRPO (arXiv 2601.01885, section 3.3); `grpo.py` has the equations."""

    steps: int = Field(100, ge=1)
    tasks_per_step: int = Field(4, ge=1)
    rollouts: int = Field(8)  # K trajectories of each task
    temperature: float = Field(1.0, gt=0)  # of the draws, and of the policy that is trained
    learning_rate: float = Field(1e-5, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    warmup_steps: int = Field(0, ge=0)
    # Only the layers' matrices learn: AdamW moves an embedding that a step hardly touches as far as
    # any other, and of so few steps most embeddings are hardly touched.
    inner: bool = False
    beta: float = Field(0.1, ge=0)  # weight of the KL term; 0 leaves the reference out
    kl: Literal["k1", "k2", "k3"] = "k3"
    clip: Annotated[float, Field(gt=0, lt=1)] | None = None  # of the ratio; None: none
    advantage: Literal["group", "centred"] = "group"  # centred: not divided by the deviation
    aggregate: Literal["token-mean", "sequence-mean", "trajectory-mean"] = "token-mean"
    epochs: int = Field(1, ge=1)  # updates on the same groups
    old_logprobs: Literal["recomputed", "sampled"] = "recomputed"
    batch_tokens: int = Field(16_384, ge=64)  # tokens of one forward; not of an update
    prefix_sharing: bool = True  # steps packed as a tree; the same loss, fewer tokens
    resample: Retained = Retained()
    mask_truncated: bool = False  # leave outputs cut at max_tokens out of the loss

    @field_validator("rollouts")
    @classmethod
    def _a_group(cls, rollouts: int) -> int:
        if rollouts < 2:
            raise ValueError(
                f"a group needs 2 rollouts or more to compare, not {rollouts}: the advantage of a "
                "lone one is always 0"
            )
        return rollouts

    @model_validator(mode="after")
    def _sampled_where_equal(self) -> Self:
        if self.old_logprobs == "sampled" and self.temperature != 1.0:
            raise ValueError("old_logprobs sampled needs temperature 1; use recomputed")
        return self


Maintenance = Literal["changed", "better"]


class Weights(Strict):
    """Of the parts of the reward; they sum to 1."""

    task: Share
    context: Share
    memory: Share
    tool: Share = 0.0

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.task + self.context + self.memory + self.tool
        if abs(total - 1) > SUM_TOLERANCE:
            raise ValueError(f"the weights must sum to 1, not {total:g}")
        return self


_DEFAULT_WEIGHTS = {
    "paper": Weights(task=1 / 3, context=1 / 3, memory=1 / 3),
    "release": Weights(task=0.5, context=0.15, memory=0.15, tool=0.2),
}


class RewardRecipe(Strict):
    """How a trajectory is rewarded; `rewards` tells the parts."""

    profile: Literal["paper", "release"] = "paper"
    scheme: Literal["all-returns", "answer-only"] = "all-returns"
    weights: Weights | None = None  # None: the profile's own
    task_score: TaskScore = "f1"
    judge: str | None = None  # a model that scores answers, where task_score is judge
    judge_base_url: str | None = None  # where that is served
    max_rounds: int | None = Field(None, ge=1)  # N_max; None: the harness's limits, or 5 (release)
    storage: Literal["additions", "sentences"] = "additions"  # what storage quality counts
    maintenance: Maintenance = "changed"  # what an Update or Delete must do

    @model_validator(mode="after")
    def _judge_where_judged(self) -> Self:
        if (self.task_score == "judge") != (self.judge is not None):
            raise ValueError("name a judge if and only if task_score is judge")
        if self.weights is not None and self.scheme == "answer-only":
            raise ValueError("weights weigh nothing where scheme is answer-only; leave them out")
        return self

    @property
    def weighting(self) -> Weights:
        """The weights in force."""
        return self.weights or _DEFAULT_WEIGHTS[self.profile]


class Checkpoints(Strict):
    """When checkpoints are kept."""

    every: int = Field(10, ge=1)  # steps
    sft_every: int = Field(100, ge=1)  # updates of supervised fine-tuning
    keep: int = Field(2, ge=1)  # the newest; the best one on held-out tasks is kept beside them


class Collapse(Strict):
    """Signs of collapse, upon which training ends; each is looked at over `patience` steps."""

    patience: int = Field(3, ge=1)
    no_answer: Share = 0.9  # share of trajectories without an answer, from which on
    kl: float = Field(10.0, gt=0)  # mean KL a token to the reference


class Sampler(Strict):
    """What draws the rollouts."""

    # hf: in this process, the weights that are trained; numpy: a copy of them
    engine: Literal["hf", "numpy", "vllm"] = "hf"
    concurrency: int = Field(64, ge=1)  # episodes at once
    max_batch: int = Field(64, ge=1)
    workers: int = Field(0, ge=0)  # processes of environments; 0: in this one
    retries: int = Field(2, ge=0)  # of a rollout that the infrastructure broke
    options: Texts = Field({})  # of the engine


_LEFT_OUT = ("env", "options", "split", "memory", "agent", "slips")  # of a source, saying nothing
_LATER, _LATER_OF_FRESH = ("prompts", "drills", "muon"), ("deviation", "looks_back")  # likewise
_LATER_OF_DRILLS = "rehearsed", "kept"
_AGENT: dict[str, Any] = {"shots": 0, "context_tokens": 2048, "max_tokens": 256}  # if not given


class Recipe(Strict):
    """A training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    seed: int = Field(0, ge=0, lt=2**31)
    model: ModelRecipe
    tasks: TaskRecipe = TaskRecipe()
    agent: AgentConfig = AgentConfig(**_AGENT)
    sft: SftRecipe | None = None
    grpo: GrpoRecipe | None = None
    reward: RewardRecipe = RewardRecipe()
    evaluation: Evaluation = Evaluation()
    checkpoints: Checkpoints = Checkpoints()
    collapse: Collapse = Collapse()
    sampler: Sampler = Sampler()
    wandb: bool = False  # also log to Weights & Biases (extra `wandb`)

    @field_validator("tasks", mode="before")
    @classmethod
    def _several(cls, tasks: Any) -> Any:
        if isinstance(tasks, list):
            raise ValueError("several sources are listed under tasks.sources")
        return tasks

    @field_validator("agent", mode="before")
    @classmethod
    def _our_defaults(cls, agent: Any) -> Any:
        return {**_AGENT, **agent} if isinstance(agent, dict) else agent

    @field_validator("agent")
    @classmethod
    def _drawn_as_trained(cls, agent: AgentConfig) -> AgentConfig:
        if agent.temperature or agent.top_p is not None:
            raise ValueError(
                "temperature and top_p are not the agent's here: set grpo.temperature and "
                "evaluation.temperature; all tokens are drawn from, since all are trained"
            )
        if agent.history_tokens is not None:
            raise ValueError("history_tokens: what rewards count against is agent.context_tokens")
        return agent

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if self.sft is None and self.grpo is None:
            raise ValueError("nothing to train: add sft, grpo or both")
        if self.sft is not None and self.sft.drills is not None and self.model.fresh is None:
            raise ValueError("sft.drills: only what is made from nothing needs them; leave it out")
        if self.sft is not None and self.sft.muon and self.model.lora is not None:
            raise ValueError("sft.muon: not of an adapter, whose matrices are no map of their own")
        if self.model.fresh is not None:
            if self.model.lora is not None:
                raise ValueError("model.lora: an adapter on random weights learns nothing")
            if self.sft is None:
                raise ValueError(
                    "model.fresh: what is made from nothing must learn to speak first: add sft"
                )
            room = self.model.fresh.positions
            limits = [(self.limits_of(n), part.agent) for n, part in enumerate(self.parts)]
            limits += [("agent", self.of(source).agent) for source in self.sft.sources]
            for where, agent in limits:
                if agent.context_tokens + agent.max_tokens > room:
                    raise ValueError(
                        f"{where}.context_tokens {agent.context_tokens} and {where}.max_tokens "
                        f"{agent.max_tokens} exceed the model's {room} positions"
                    )
        self._check_scores()
        return self

    def _check_scores(self) -> None:
        """Refuse a score that an environment does not have."""
        if not self.tasks.sources and (why := unsuited(self.reward.task_score, self.tasks.played)):
            raise ValueError(f"reward.task_score{why}")
        for number, source in enumerate(self.tasks.sources):
            score, section = source.task_score, f"tasks.sources.{number}.task_score"
            if score is not None and (why := unsuited(score, self.parts[number].tasks.played)):
                raise ValueError(f"{section}{why}")
            if score == "judge" and self.reward.judge is None:
                raise ValueError(f"{section} judge: set reward.task_score: judge, and reward.judge")

    def of(self, source: Source | Demonstrations) -> Recipe:
        """The recipe as it holds for one source: tasks, agent, and what is the source's own."""
        tasks = self.tasks.narrowed(source)
        limits = source.agent.model_dump(exclude_none=True)
        own: dict[str, Any] = {"tasks": tasks, "agent": self.agent.model_copy(update=limits)}
        if isinstance(source, Demonstrations):
            own["sft"] = self.sft and self.sft.model_copy(update={"demonstrations": source})
            return self.model_copy(update=own)
        score = source.task_score or suited(self.reward.task_score, tasks.played)
        held_out = source.evaluation.model_dump(exclude_none=True)
        own["reward"] = self.reward.model_copy(update={"task_score": score})
        own["evaluation"] = self.evaluation.model_copy(update=held_out)
        return self.model_copy(update=own)

    @property
    def parts(self) -> tuple[Recipe, ...]:
        """The recipe as it holds for each source of tasks; itself where there is only one."""
        return tuple(self.of(source) for source in self.tasks.sources) or (self,)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the sources are called: by environment, with the number where that is no name."""
        envs = [part.tasks.played for part in self.parts]
        named = enumerate(envs)
        return tuple(env if envs.count(env) == 1 else f"{env}-{n}" for n, env in named)

    def section(self, number: int) -> str:
        """The section of a source of tasks, for what is wrong there."""
        return f"tasks.sources.{number}" if self.tasks.sources else "tasks"

    def held_out_of(self, number: int) -> str:
        """The section of a source's held-out tasks."""
        return f"{self.section(number)}.evaluation" if self.tasks.sources else "evaluation"

    def limits_of(self, number: int) -> str:
        """The section with the agent's limits in a source of tasks."""
        return f"{self.section(number)}.agent" if self.tasks.sources else "agent"

    @property
    def series(self) -> str:
        """What its reward curve is called."""
        names = {"all-returns": "All-Returns", "answer-only": "Answer-Only"}
        return names[self.reward.scheme]

    @property
    def staged(self) -> bool:
        """Whether its episodes have the three stages."""
        form = self.tasks.options.get("hotpotqa", {}).get("form")
        staged_form = self.tasks.env == "hotpotqa" and form == "three-stage"
        return staged_form or self.tasks.env == "three-stage"

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides the result: not where files are, or how fast it runs."""
        values = self.model_dump(mode="json", exclude={"wandb": True, "checkpoints": True})
        for key in ("device", "threads"):
            values["model"].pop(key)
        for key in ("data", "memory_base_url"):
            values["tasks"].pop(key)
        values["tasks"].pop("sources")
        if self.tasks.sources:
            values["tasks"]["sources"] = [source.given for source in self.tasks.sources]
        values["reward"].pop("judge_base_url")
        values["sampler"] = {"engine": self.sampler.engine}
        tuned = values["sft"] or {}
        drills, grpo = tuned.get("drills") or {}, values["grpo"] or {}
        for part, later in ((tuned, _LATER), (drills, _LATER_OF_DRILLS), (grpo, ("inner",))):
            for key in later if part else ():
                if not part[key]:
                    del part[key]
        if self.model.fresh is not None:
            of_fresh = self.model.fresh.model_dump(exclude_defaults=True)
            for key in _LATER_OF_FRESH:
                if key not in of_fresh:
                    del values["model"]["fresh"][key]
        shown = tuned.get("demonstrations", [])
        for source in shown if isinstance(shown, list) else [shown]:
            limits = {k: v for k, v in source["agent"].items() if v is not None}
            for key in _LEFT_OUT:
                if not (limits if key == "agent" else source[key]):
                    del source[key]  # a key that was left out changes no hash
            if source["stages"] == list(Demonstrations.model_fields["stages"].default):
                del source["stages"]
        return values

    @property
    def hash(self) -> str:
        """Short hash of `identity`."""
        return stable_hash(self.identity)

    def run_config(self, *, split: str, episodes: int | None) -> RunConfig:
        """The configuration that the harness plays its episodes with."""
        return RunConfig(
            envs=(self.tasks.env,),
            memories=(self.tasks.memory,),
            model="hf",
            split=split,
            episodes=episodes,
            seed=self.seed,
            memory_model=self.tasks.memory_model,
            embedder=self.tasks.embedder,
            judge=self.reward.judge,
            agent=self.agent,
            options=self.tasks.options,
        )

    def execution(self, runs_dir: Path = Path("runs")) -> Execution:
        """How the harness plays them; `runs_dir` holds the judge's replies, which are kept."""
        return Execution(
            runs_dir=runs_dir,
            workers=self.sampler.workers,
            data=self.tasks.data,
            memory_base_url=self.tasks.memory_base_url,
            judge_base_url=self.reward.judge_base_url,
        )


def read_recipe(path: Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """The recipe of a YAML file.

    Args:
        path: The file.
        overrides: Values by dotted key (`grpo.steps`), over those of the file.

    Raises:
        DataError: if the file cannot be read.
        UsageError: for an unknown key, naming the nearest one, or a value it may not have.
    """
    values = read_yaml(path, "the recipe")
    if not isinstance(values, dict):
        raise UsageError(f"the recipe {path} holds no keys")
    for key, value in (overrides or {}).items():
        set_value(values, key, value)
    return make_recipe(values)


def make_recipe(values: dict[str, Any]) -> Recipe:
    """Check and build a recipe.

    Raises:
        UsageError: naming the key, what is wrong, and the values it may have.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise usage_error(error, Recipe) from error
