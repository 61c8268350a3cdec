"""The figures by name: what gathers the numbers of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import bars, curves
from .material import Material
from .sheets import Sheet

GATHER: Mapping[str, Callable[[Material], Sheet]] = {
    "scores": bars.scores,
    "memory-quality": bars.memory_quality,
    "prompt-tokens": bars.prompt_tokens,
    "ablation": bars.ablation,
    "reward-curves": curves.reward_curves,
    "tool-usage": bars.tool_usage,
    "success-tokens": curves.success_tokens,
    "success-steps": curves.success_steps,
    "lifelong-gain": curves.lifelong_gain,
    "losses": curves.losses,
}
