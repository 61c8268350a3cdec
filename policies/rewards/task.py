"""R_task: what the answer, or the episode, was worth."""

from __future__ import annotations

from ...harness.errors import ModelError, UsageError
from ...harness.ledger import Ledger, Role
from ...harness.metering import Meter, MeteredModel
from ...harness.quality.judge import Judge
from ...harness.trace import Trace
from ...harness.types import Model
from ..task_recipe import QUESTIONS, TaskScore
from .story import Story

NO_ANSWER = -1.0  # P_no-answer of equation 17


def answered(story: Story, score: TaskScore) -> bool:
    """Whether the agent gave an answer (equation 17 of arXiv 2601.01885).

    - Where an answer is scored: the environment took an action as the answer to its question,
      which ends the episode. An episode that ended before, by a limit, a full context or an empty
      answer, has none.
    - Where the environment scores itself: in stage 3 the agent took an action that is not blank,
      and it did not end by taking none several times in a row (status `agent_error`).
    """
    if score in QUESTIONS:
        return story.answer is not None
    acted = (
        event["type"] == "action" and stage == 3 and event["action"].strip()
        for event, stage in zip(story.events, story.stage_at, strict=True)
    )  # fmt: skip
    return any(acted) and story.evidence.episode.status != "agent_error"


class TaskScorer:
    """Scores answers and outcomes, from 0 to 1.

    Args:
        score: What is taken: `f1` or `em` of the environment's own scores, a judge's, the
            environment's `success` or its `progress`.
        judge: The judge, where one is asked; a model that keeps replies (`models.cache`) is not
            asked twice.

    Attributes:
        ledger: What the judge cost.
    """

    def __init__(self, score: TaskScore, judge: Model | None) -> None:
        if score == "judge" and judge is None:
            raise UsageError("reward.task_score judge: there is no judge; name it as reward.judge")
        self._score, self._model = score, judge
        self.ledger = Ledger()

    async def __call__(self, story: Story) -> float:
        """The score of an episode with an answer.

        Raises:
            UsageError: if the environment does not tell what is asked for.
            ModelError: if the judge's endpoint failed for good, or gave nothing that is a score.
        """
        episode = story.evidence.episode
        if self._score == "judge":
            return await self._judged(story)
        if self._score == "success":
            return float(bool(episode.success))
        value = episode.progress
        if self._score != "progress":
            value = episode.metrics.get(self._score)
        if value is None:
            raise UsageError(
                f"reward.task_score {self._score}: {episode.key.env} tells none; use success"
            )
        return min(1.0, max(0.0, value))

    async def _judged(self, story: Story) -> float:
        gold, model = story.evidence.gold, self._model
        if gold is None or model is None:
            env = story.evidence.episode.key.env
            raise UsageError(f"reward.task_score judge: {env} has no gold answer; use success")
        trace = Trace()
        judge = Judge(MeteredModel(model, Meter(self.ledger, trace), Role.JUDGE), trace)
        score = await judge.answer(gold.question, gold.answer, story.answer or "")
        if score is None:
            problem = trace.of("judge_fault")[-1]["problem"]
            raise ModelError(f"the judge gave no score: {problem}", "malformed")
        return score
