"""The table of episodes as columns, and what else is told of an episode beside its turns."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..records import Episode
from .reconstruct import Turn

MAX_TEXT = 2000  # characters of a goal or an answer that the search over episodes looks at

# Columns of words; the same few over many episodes, or one an episode.
WORDS = ("id", "env", "split", "task", "type", "memory", "model", "status", "reason", "loss")
# Columns of numbers; what is missing is null.
NUMBERS = (
    "run", "success", "progress", "reward", "steps", "turns", "agent_tokens", "memory_tokens",
    "entries", "tools", "invalid", "malformed", "mq", "wall_s", "seed", "repeat", "order_seed",
    "order", "file", "place",
)  # fmt: skip
TEXTS = ("goal", "answer")  # written apart, since only a search needs them


class EpisodeTable:
    """All episodes of a report, a column at a time."""

    def __init__(self) -> None:
        self.words: dict[str, _Words] = {name: _Words() for name in (*WORDS, *TEXTS)}
        self.numbers: dict[str, array[float]] = {name: array("d") for name in NUMBERS}

    def __len__(self) -> int:
        return len(self.numbers["run"])

    def add(self, run: int, episode: Episode, turns: Sequence[Turn], file: int, place: int) -> None:
        """Append an episode.

        Args:
            run: Number of its run, from 0.
            episode: The record.
            turns: What its trace says; empty if it has none.
            file: Number of the file that holds its turns.
            place: In that file.
        """
        key = episode.key
        goal, answer = goal_and_answer(turns)
        words = {
            "id": key.id, "env": key.env, "split": key.split, "task": key.task,
            "type": episode.task_type, "memory": key.memory, "model": key.model,
            "status": episode.status, "reason": episode.reason, "loss": episode.loss or "",
            "goal": goal, "answer": answer,
        }  # fmt: skip
        for name, text in words.items():
            self.words[name].add(text)
        used = {role: u.prompt_tokens + u.completion_tokens for role, u in episode.tokens.items()}
        numbers: dict[str, float | None] = {
            "run": run, "success": episode.success, "progress": episode.progress,
            "reward": episode.reward, "steps": episode.steps, "turns": episode.turns,
            "agent_tokens": used.get("agent", 0),
            "memory_tokens": sum(used.get(r, 0) for r in ("memory_write", "memory_read")),
            "entries": episode.memory_entries,
            "tools": sum(sum(by.values()) for by in episode.tool_calls.values()),
            "invalid": episode.invalid_actions, "malformed": episode.malformed_outputs,
            "mq": episode.quality.get("mq"), "wall_s": episode.wall_s, "seed": key.seed,
            "repeat": key.repeat, "order_seed": key.order_seed, "order": episode.order,
            "file": file, "place": place,
        }  # fmt: skip
        for name, value in numbers.items():
            self.numbers[name].append(math.nan if value is None else float(value))

    def to_json(self) -> dict[str, Any]:
        """The columns that the table shows."""
        return {
            "n": len(self),
            "words": {name: self.words[name].to_json() for name in WORDS},
            "numbers": {name: [*map(_plain, values)] for name, values in self.numbers.items()},
        }

    def texts(self) -> dict[str, Any]:
        """The columns that only a search looks at."""
        return {name: self.words[name].to_json() for name in TEXTS}


class _Words:
    """A column of texts, each kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._codes = array("I")

    def add(self, text: str) -> None:
        self._codes.append(self._numbers.setdefault(text, len(self._numbers)))

    def to_json(self) -> dict[str, Any]:
        return {"texts": list(self._numbers), "codes": list(self._codes)}


def _plain(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else round(value, 6)


def goal_and_answer(turns: Sequence[Turn]) -> tuple[str, str]:
    """The goals that were set, and what was answered last, or done last where no answer was."""
    goals: dict[str, None] = {}
    answer = action = ""
    for turn in turns:
        for change in (*turn.before, *turn.after):
            if change["type"] == "message" and change["kind"] == "goal":
                goals[change["text"]] = None
            elif change["type"] == "action":
                answer, action = change.get("answer") or answer, change["action"]
    return "\n".join(goals)[:MAX_TEXT], (answer or action)[:MAX_TEXT]


def told_of(episode: Episode) -> dict[str, Any]:
    """What the page shows of a record beside the columns: all but the key."""
    names = (
        "tool_calls", "metrics", "quality", "memory_costs", "memory_faults", "labels", "reason",
        "fault", "attempt", "forfeits", "overflow_drops", "judge_faults", "started_at", "loss",
    )  # fmt: skip
    values = {name: getattr(episode, name) for name in names}
    values["memory_costs"] = {op: asdict(cost) for op, cost in episode.memory_costs.items()}
    values["tokens"] = {role: asdict(usage) for role, usage in episode.tokens.items()}
    values["tokens_lost"] = {role: asdict(u) for role, u in episode.tokens_lost.items()}
    return {name: value for name, value in values.items() if value not in (None, "", {})}
