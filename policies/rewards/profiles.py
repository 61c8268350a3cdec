"""The two ways to make one number of the parts: the paper's and its release's."""

from __future__ import annotations

from collections.abc import Mapping

from ...baselines.agemem_tools import make_tools
from ..recipe import RewardRecipe
from .context import overflowed
from .story import Story

OF_ROUNDS, OF_OVERFLOW = -1.0, -0.5  # penalties, the same in both profiles
RELEASE_ROUNDS = 5  # model calls of stage 3 from which the release punishes
TOOLS = frozenset(tool.name for tool in make_tools(3, lt_tools=True, st_tools=True))
Parts = Mapping[str, float | None]


def mean(scores: Parts) -> float | None:
    """The mean of what was scored; None where nothing was.

    What is None is so because of the task alone, never of what the agent did: all trajectories of
    a group leave out the same components, and no policy can choose its own denominator.
    """
    scored = [score for score in scores.values() if score is not None]
    return sum(scored) / len(scored) if scored else None


def weighted(parts: Parts, weights: Mapping[str, float]) -> float:
    """The weighted sum; the weight of a part that was not scored is shared by the others."""
    scored = {name: score for name, score in parts.items() if score is not None}
    used = sum(weights[name] for name in scored)
    if not used:
        return 0.0
    return sum(weights[name] * score for name, score in scored.items()) / used


def total(recipe: RewardRecipe, parts: Parts, penalty: float) -> float:
    """What is trained on.

    Answer-Only is R_task alone, without penalties. All-Returns of profile `paper` is equation 16
    of arXiv 2601.01885, w . R + P, from -w_task - 1.5 to 1; of profile `release` the same with
    its own weights and a tool term, clipped to [-1, 1].
    """
    if recipe.scheme == "answer-only":
        return parts["task"] or 0.0
    found = weighted(parts, recipe.weighting.model_dump()) + penalty
    return found if recipe.profile == "paper" else min(1.0, max(-1.0, found))


def penalties(story: Story, recipe: RewardRecipe) -> dict[str, float]:
    """P by violation: -1 for too many rounds, -0.5 for a context beyond T_max (`overflowed`).

    A round is a model call.

    - Profile `paper`, N_rounds > N_max (equation 26): more calls than `max_rounds`, in all
      stages together. Where the recipe names none, the limits of the harness are N_max: the calls
      of a step were used up without an action, or the steps before the end.
    - Profile `release`: `max_rounds` or more calls in stage 3; 5 where the recipe names none.
    """
    if recipe.profile == "release":
        too_long = in_stage_3(story) >= (recipe.max_rounds or RELEASE_ROUNDS)
    elif recipe.max_rounds is not None:
        too_long = len(story.evidence.stages) > recipe.max_rounds
    else:
        too_long = _ran_out(story)
    return {
        "rounds": OF_ROUNDS if too_long else 0.0,
        "overflow": OF_OVERFLOW if overflowed(story) else 0.0,
    }


def in_stage_3(story: Story) -> int:
    """Model calls of stage 3."""
    return sum(stage == 3 for stage in story.evidence.stages)


def _ran_out(story: Story) -> bool:
    episode = story.evidence.episode
    at_limit = episode.status == "limit" and episode.reason != "context_overflow"
    return at_limit or any(event["type"] == "forfeit" for event in story.events)


def tool_term(story: Story, recipe: RewardRecipe) -> dict[str, float]:
    """The release's tool term by its parts; their sum is clipped to [-0.5, 1].

    Counted are successful calls of the six memory tools in all stages, not mentions of their
    names; a call that was to change something and did not is left out. Steps are model calls.
    `rate` is +0.2 for 0.3 to 2 calls a step and -0.1 for more than 3; `retrieve` +0.2 for any
    Retrieve; `context` +0.2 for any Summary or Filter; `add` +0.1 for any Add; `brevity`
    0.2 (1 - steps of stage 3 / 5), with `max_rounds` in place of 5 where the recipe names it.
    """
    names = [call.name for call in story.calls if call.succeeded and call.name in TOOLS]
    steps = len(story.evidence.stages)
    rate = len(names) / steps if steps else 0.0
    most = recipe.max_rounds or RELEASE_ROUNDS
    return {
        "rate": 0.2 if 0.3 <= rate <= 2 else -0.1 if rate > 3 else 0.0,
        "retrieve": 0.2 * ("Retrieve_memory" in names),
        "context": 0.2 * bool({"Summary_context", "Filter_context"} & set(names)),
        "add": 0.1 * ("Add_memory" in names),
        "brevity": 0.2 * (1 - in_stage_3(story) / most),
    }


def tool_score(term: Mapping[str, float]) -> float:
    """The parts of the tool term together."""
    return min(1.0, max(-0.5, sum(term.values())))
