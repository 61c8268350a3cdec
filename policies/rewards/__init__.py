"""The reward of a trajectory, computed from its event trace.

R = w . [R_task, R_context, R_memory] + P (arXiv 2601.01885, equation 16, appendix A.2), or the
formula of its release. Each component is a function of its own, with its definition:

- `task`: the score of the answer;
- `context`: compression, preventive management, preservation;
- `memory`: storage, maintenance, relevance;
- `profiles`: weights, penalties, the release's tool term, and how they make one number;
- `hacks`: signs that a component is earned without what it stands for.

All but the judge and the embedder is a pure function of the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ...harness.ledger import Ledger
from ...harness.metering import SharedEmbedder
from ...harness.quality.matching import Matcher
from ...harness.types import Gold, Model
from ..recipe import RewardRecipe
from ..trajectory import Reward
from . import context, hacks, memory, profiles
from .memory import Facts
from .story import Evidence, Story, read
from .task import NO_ANSWER, TaskScorer, answered

__all__ = ["Evidence", "Rewarder"]
KEPT = 16  # tasks whose facts are kept as they were found


class Rewarder:
    """Rewards trajectories as a recipe says.

    Args:
        recipe: Profile, scheme and weights.
        embedder: Measures how near texts are.
        judge: Scores answers, where the recipe wants that.

    Raises:
        UsageError: where the recipe wants a judge and there is none.
    """

    def __init__(self, recipe: RewardRecipe, embedder: SharedEmbedder, judge: Model | None) -> None:
        self._recipe, self._embedder = recipe, embedder
        self._matcher = Matcher(embedder)
        self._task = TaskScorer(recipe.task_score, judge)
        # Rollouts of a group say much the same of the same facts. Asked in the matcher's thread.
        self._facts = lru_cache(maxsize=KEPT)(self._facts_of)

    @property
    def ledger(self) -> Ledger:
        """What the judge has cost so far."""
        return self._task.ledger

    async def __call__(self, evidence: Evidence) -> Reward:
        """The reward of one trajectory, with every component by name; see `docs/rewards.md`.

        Raises:
            UsageError: if the environment does not tell the score that the recipe wants.
            ModelError: if the judge failed, so that the rollout is owed again and not scored.
        """
        task, answer_given = await self._of_task(story := read(evidence))
        found = await self._matcher.apart(lambda: self._measured(story))
        relevance = await memory.relevance(story, self._embedder)
        of_memory = {
            "storage": getattr(found.stored, self._recipe.storage),
            "maintenance": found.maintenance,
            "relevance": relevance,
        }
        penalties = profiles.penalties(story, self._recipe)
        term = profiles.tool_term(story, self._recipe)
        penalty = sum(penalties.values())
        parts = {
            "task": task,
            "context": profiles.mean(found.context),
            "memory": profiles.mean(of_memory),
            "tool": profiles.tool_score(term),
        }
        components = {
            **parts,
            "penalty": penalty,
            "answered": float(answer_given),
            **_under("context", found.context),
            **_under("memory", of_memory),
            "memory.recall": found.stored.recall,
            **_under("penalty", penalties),
            **_under("tool", term),
        }
        return Reward(profiles.total(self._recipe, parts, penalty), components, found.hacks)

    async def _of_task(self, story: Story) -> tuple[float, bool]:
        """R_task (equation 17), and whether there was an answer."""
        if answered(story, self._recipe.task_score):
            return await self._task(story), True
        return NO_ANSWER, False

    def _facts_of(self, gold: Gold | None) -> Facts | None:
        facts = Facts(gold, self._matcher) if gold is not None else None
        return facts if facts is not None and facts.n else None

    def _measured(self, story: Story) -> _Measured:
        """What is found by reading texts, which takes longest."""
        facts = self._facts(story.evidence.gold)
        return _Measured(
            context.scores(story),
            memory.storage(story, facts),
            memory.maintenance(story, facts, self._recipe.maintenance),
            hacks.signs(story, facts),
        )


@dataclass(frozen=True, slots=True)
class _Measured:
    context: dict[str, float | None]
    stored: memory.Stored
    maintenance: float
    hacks: dict[str, float]


def _under(part: str, scores: profiles.Parts) -> dict[str, float | None]:
    """The scores of a part, by their full names."""
    return {f"{part}.{name}": score for name, score in scores.items()}
