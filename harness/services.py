"""What a run asks beside its environments: models, the embedder, and the scores of memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .build import takes
from .config import Execution, RunConfig, split_model
from .errors import ModelError, UsageError
from .ledger import Role
from .metering import Meter, MeteredModel
from .models import make_model
from .models.cache import ReplyCache, cached
from .plan import Models, make_embedder, wants_untrained
from .trace import Trace
from .types import Gold, Json, Memory, Model, Scorer, Scores

HEURISTIC = "heuristic"  # writes for a memory where no model can
ABLE = "openai:NAME, vllm:MODEL, hf:PATH"  # models that can write for a memory, and judge
MAX_JUDGE_FAILURES = 3  # episodes in a row, after which the judge is asked no more in this run


def make_models(config: RunConfig, execution: Execution, agent: Model | None = None) -> Models:
    """The models of a run, and its embedder.

    Args:
        config: Names them.
        execution: Where they are served, and whether their replies are kept.
        agent: One that is there already, such as a policy in training; it writes for no memory.

    Raises:
        UsageError: for unknown names and options, or a model that cannot write for a memory.
        MissingExtraError: for a missing prerequisite.
    """
    embedder = make_embedder(config.embedder)
    cache = None
    if execution.cache or config.judge is not None:  # a judge is never asked twice
        cache = ReplyCache(execution.cache_dir or execution.runs_dir / ".cache")

    replies = cache if execution.cache else None

    def made(spec: str, base_url: str | None = None) -> Model:
        return make_model(spec, model_options(config, execution, spec, base_url))

    given, untrained = agent is not None, None
    if agent is None:
        agent = made(config.model)
        untrained = cached(before, replies) if (before := _untrained(config, agent)) else None
        agent = cached(agent, replies)
    memory = agent if agent.info.writes and not given else None
    elsewhere = execution.memory_base_url
    chosen = config.memory_model or (config.model if memory is not None else HEURISTIC)
    if memory is None or chosen != config.model or elsewhere is not None:
        _takes_url("--memory-base-url", chosen, elsewhere)
        memory = cached(made(chosen, elsewhere or execution.base_url), replies)
    if memory is None or not memory.info.writes:
        raise UsageError(f"--memory-model {chosen} cannot write texts: use {ABLE} or {HEURISTIC}")
    judge = None
    _takes_url("--judge-base-url", config.judge, execution.judge_base_url)
    if config.judge is not None:
        judge = cached(made(config.judge, execution.judge_base_url or execution.base_url), cache)
        if not judge.info.writes or judge.info.name.startswith(HEURISTIC):
            raise UsageError(f"--judge {config.judge} cannot judge: use {ABLE}")
    return Models(agent, memory, judge, embedder, cache, untrained)


def _untrained(config: RunConfig, agent: Model) -> Model | None:
    """What plays in the agent's place where a memory is for a model without AgeMem training."""
    other = getattr(agent, "untrained", None)  # a model of others may lack it
    if other is None or not any(map(wants_untrained, config.memories)):
        return None
    found: Model | None = other()
    return found


def _takes_url(flag: str, spec: str | None, url: str | None) -> None:
    """Refuse an address that nobody would be asked at."""
    if url is None:
        return
    if spec is None:
        raise UsageError(f"{flag} without --judge: nobody is asked there")
    if not takes("models", split_model(spec)[0], "base_url"):
        raise UsageError(f"{flag}: the model {spec!r} is not served anywhere")


def model_options(
    config: RunConfig, execution: Execution, spec: str, base_url: str | None = None
) -> dict[str, str]:
    """The options of a model, with the places of this machine: endpoint, recorded runs."""
    name = split_model(spec)[0]
    options = config.options_of(name)
    free = {key: v for key, v in execution.model_options.items() if takes("models", name, key)}
    places = {"base_url": base_url or execution.base_url, "runs_dir": str(execution.runs_dir)}
    for key, place in places.items():
        if place is not None and takes("models", name, key):
            options[key] = place
    return {**options, **free}


class Scoring:
    """Rates memories at the end of their episodes, all by the same measure.

    Args:
        models: Of the run.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self._matcher: Any = None
        self._judge_failures = 0  # episodes in a row that its endpoint failed in

    def of(self, gold: Gold | None, meter: Meter) -> Scorer:
        """The scorer of one episode."""
        from .quality.judge import Judge  # these are heavy, and only needed when one plays
        from .quality.matching import Matcher
        from .quality.score import JUDGED, Evidence, score

        if self._matcher is None:
            self._matcher = Matcher(self._models.embedder)
        judging = self._models.judge

        async def scorer(
            before: Mapping[str, str],
            entries: Sequence[Json],
            trace: Trace,
            success: bool | None,
            answer: str | None,
        ) -> tuple[Scores, str | None]:
            judge, failed = None, "not asked: it failed several times in a row"
            if judging is not None and self._judge_failures < MAX_JUDGE_FAILURES:
                judge = Judge(MeteredModel(judging, meter, Role.JUDGE), trace)
            evidence = Evidence(gold, before, entries, trace.events, success, answer)
            try:
                found = await score(evidence, self._matcher, judge)
                self._judge_failures *= judge is None
            except ModelError as error:  # the episode is finished, whatever became of its judge
                self._judge_failures += 1
                judge, failed = None, str(error)
                found = await score(evidence, self._matcher, None)
            if judging is not None and judge is None:
                trace.emit("judge_fault", op="endpoint", problem=failed)
                found.scores.update(dict.fromkeys(JUDGED))
            trace.emit(
                "quality",
                scores=found.scores,
                loss=found.loss,
                question=gold.question if gold is not None else None,
                gold=gold.answer if gold is not None else None,
                facts=list(gold.facts) if gold is not None else [],
            )
            return found.scores, found.loss

        return scorer

    def labels(self, memory: Memory, models: Models) -> dict[str, str]:
        """What a reader must know of how a memory's results came about, with its models."""
        labels = {"embedder": self._models.embedder.name}  # facts are matched with it, too
        if getattr(memory, "uses_model", True):
            labels["memory_model"] = models.memory.info.name
        if self._models.judge is not None:
            labels["judge"] = self._models.judge.info.name
        return labels
