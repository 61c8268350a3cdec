"""The records of a result: an episode's key, the episode itself, and their hashes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .ledger import Cost, RoleUsage
from .types import Scores, Status

HARNESS_SCHEMA = 1  # changes whenever a record's meaning does; results of two schemas never mix

_SCOPE_FIELDS = (
    "env",
    "env_version",
    "data_hash",
    "split",
    "task",
    "memory_hash",
    "seed",
    "repeat",
)


def stable_hash(value: Any, length: int = 16) -> str:
    """Hex SHA-256 of a JSON value, the same on every machine and in every key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@dataclass(frozen=True)
class EpisodeKey:
    """The identity of an episode: two results with the same key measure the same thing."""

    env: str
    env_version: str
    data_hash: str
    split: str
    task: str
    memory: str  # the label: what the memory is, e.g. `agemem-norl`
    memory_hash: str
    model: str
    model_hash: str
    protocol_hash: str  # prompts, limits, transport, sampling
    seed: int
    repeat: int
    order_seed: int | None = None  # of a stream's tasks; None: the split's own order

    @cached_property
    def id(self) -> str:
        """A short name of the key, used in file names."""
        # Not `asdict`, which copies and takes most of the time of tabling a large run.
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.order_seed is None:  # as before there were orders
            del values["order_seed"]
        return stable_hash(values, 20)

    @property
    def sampling_seed(self) -> int:
        """A seed for the model's draws that no other seed and repeat share."""
        return int(stable_hash([self.seed, self.repeat], 8), 16) % 2**31

    @property
    def scope_id(self) -> str:
        """Names the memory of this episode: the same whichever model plays, so replays agree."""
        return stable_hash([getattr(self, name) for name in _SCOPE_FIELDS], 20)

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """The table cell it belongs to: env, split, memory, model."""
        return self.env, self.split, self.memory, self.model


@dataclass(slots=True)
class Episode:
    """One finished episode; a metric that was not scored is None, never 0."""

    key: EpisodeKey
    task_type: str
    status: Status
    success: bool | None
    progress: float | None  # best share of subgoals reached
    reward: float | None  # the environment's own rewards, summed
    steps: int  # environment steps
    turns: int  # model calls of the agent
    invalid_actions: int
    malformed_outputs: int
    forfeits: int  # steps that passed without an action
    overflow_drops: int  # messages lost because the context was full
    tool_calls: dict[str, dict[str, int]]  # tool -> status -> count
    tokens: dict[str, RoleUsage]  # role -> sums
    memory_entries: int | None  # entries the long-term memory holds at the end
    wall_s: float
    started_at: str  # ISO 8601, UTC
    reason: str = ""  # why it ended: `solved`, `step_limit`, or one line of the error
    fault: str | None = None  # what of the infrastructure failed: `InfraError.kind`
    attempt: int = 1  # how often this episode was tried
    order: int = 0  # place in the plan; of meaning in a lifelong stream
    # What earlier tries cost that the infrastructure broke: billed, but no part of the score.
    tokens_lost: dict[str, RoleUsage] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)  # embedder, memory_model, judge, prompts
    metrics: Scores = field(default_factory=dict)  # the environment's further scores
    quality: Scores = field(default_factory=dict)  # of the memory; see `quality.score.MEANINGS`
    loss: str | None = None  # where a failed question's facts were lost; None: not a loss
    memory_costs: dict[str, Cost] = field(default_factory=dict)  # by operation
    memory_faults: dict[str, int] = field(default_factory=dict)  # operations skipped, by kind
    judge_faults: int = 0  # times that the judge gave no score

    @property
    def scored(self) -> bool:
        """Whether it counts: an infrastructure failure is owed again, never a score."""
        return self.status != "infra_error"
