"""What an agent is told about the messages before a task, beside what the environment says."""

from __future__ import annotations

from ...harness.types import EnvSpec, Instructions
from .messages import GOAL, LISTENING

_VERSION = "1"
_HEAR = f"Before there is something to do, somebody talks to you, {LISTENING}"
_KEPT = f"""\
{_HEAR} Once your goal is another one, the task has begun: from then on, write actions in the \
forms above."""
_TOLD = f"""\
{_HEAR} Once your goal is another one, the task has begun: from then on, write actions in the \
forms that you have been told."""
_EXAMPLE = f"""\
Your goal: {GOAL}

I was in a house the other day where the spoons lie on the window sill, of all places.
<think>That may matter later. I should remember where the spoons are.</think><answer>ok</answer>

My bread will not rise. Should I use warmer water?
<think>A word is enough to go on.</think><answer>ok</answer>"""

BARE = Instructions(version=_VERSION, text=_TOLD, example=_EXAMPLE)


def staged(inner: EnvSpec, *, told: bool) -> Instructions:
    """The instructions of an environment in three stages.

    Args:
        inner: of the environment within.
        told: whether its own instructions are told in messages, and only there.
    """
    own = inner.instructions
    version = f"{_VERSION}+{inner.name}-{own.version}"
    if told:
        return Instructions(f"{version}-told", BARE.text, BARE.example)
    return Instructions(version, f"{own.text}\n\n{_KEPT}", f"{_EXAMPLE}\n\n{own.example}")
