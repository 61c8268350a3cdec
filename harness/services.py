"""What a run asks beside its environments: models, the embedder, and the scores of memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .build import takes
from .config import Execution, RunConfig, split_model
from .errors import UsageError
from .ledger import Role
from .metering import Meter, MeteredModel
from .models import make_model
from .plan import Models, make_embedder
from .trace import Trace
from .types import Gold, Json, Memory, Scorer, Scores

HEURISTIC = "heuristic"  # writes for a memory where no model can


def make_models(config: RunConfig, execution: Execution) -> Models:
    """The models of a run, and its embedder.

    Raises:
        UsageError: for unknown names and options, or a model that cannot write for a memory.
        MissingExtraError: for a missing prerequisite.
    """
    embedder = make_embedder(config.embedder)
    agent = make_model(config.model, model_options(config, execution, config.model))
    memory = agent if agent.info.writes else None
    chosen = config.memory_model or (None if memory is not None else HEURISTIC)
    if chosen is not None and chosen != config.model:
        url = execution.memory_base_url or execution.base_url
        memory = make_model(chosen, model_options(config, execution, chosen, url))
    if memory is None or not memory.info.writes:
        raise UsageError(
            f"--memory-model {chosen} cannot write texts: use openai:NAME or {HEURISTIC}"
        )
    judge = None
    if config.judge is not None:
        url = execution.judge_base_url or execution.base_url
        judge = make_model(config.judge, model_options(config, execution, config.judge, url))
        if not judge.info.writes or judge.info.name.startswith(HEURISTIC):
            raise UsageError(f"--judge {config.judge} cannot judge: use openai:NAME")
    return Models(agent, memory, judge, embedder)


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
        config: Of the run.
        execution: Where the judge's replies are kept.
        models: Of the run.
    """

    def __init__(self, config: RunConfig, execution: Execution, models: Models) -> None:
        self._config, self._models = config, models
        self._matcher: Any = None
        self._cache = execution.cache_dir or execution.runs_dir / ".cache"

    def of(self, gold: Gold | None, meter: Meter) -> Scorer:
        """The scorer of one episode."""
        from .quality.judge import Judge  # these are heavy, and only needed when one plays
        from .quality.matching import Matcher
        from .quality.score import Evidence, score

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
            judge = None
            if judging is not None:
                judge = Judge(MeteredModel(judging, meter, Role.JUDGE), self._cache, trace)
            evidence = Evidence(gold, before, entries, trace.events, success, answer)
            found = await score(evidence, self._matcher, judge)
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

    def labels(self, memory: Memory) -> dict[str, str]:
        """What a reader must know of how a memory's results came about."""
        labels = {"embedder": self._models.embedder.name}  # facts are matched with it, too
        if getattr(memory, "uses_model", True):
            labels["memory_model"] = self._models.memory.info.name
        if self._models.judge is not None:
            labels["judge"] = self._models.judge.info.name
        return labels
