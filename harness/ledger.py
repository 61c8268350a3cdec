"""One token ledger an episode: every model and embedding call, by role."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a model call was for."""

    AGENT = "agent"
    MEMORY_WRITE = "memory_write"
    MEMORY_READ = "memory_read"
    JUDGE = "judge"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as the endpoint reports them or as estimated."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False  # the endpoint gave no usage, so the tokens were counted here


@dataclass(slots=True)
class RoleUsage:
    """Sums of one role."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_calls: int = 0


@dataclass(slots=True)
class Cost:
    """What all operations of a memory of one kind cost, summed over an episode."""

    n: int = 0  # operations
    calls: int = 0  # of a model
    prompt_tokens: int = 0
    completion_tokens: int = 0
    embedding_tokens: int = 0
    wall_s: float = 0.0


def add_usages(into: dict[str, RoleUsage], more: dict[str, RoleUsage]) -> None:
    """Add the sums of one table of roles to another."""
    for role, usage in more.items():
        row = into.setdefault(role, RoleUsage())
        row.calls += usage.calls
        row.prompt_tokens += usage.prompt_tokens
        row.completion_tokens += usage.completion_tokens
        row.estimated_calls += usage.estimated_calls


@dataclass(slots=True)
class Ledger:
    """Token sums by role; it closes when the sum over roles is what the endpoint served."""

    roles: dict[str, RoleUsage] = field(default_factory=dict)

    def add(self, role: Role, usage: Usage) -> None:
        """Book one call."""
        row = self.roles.setdefault(role.value, RoleUsage())
        row.calls += 1
        row.prompt_tokens += usage.prompt_tokens
        row.completion_tokens += usage.completion_tokens
        row.estimated_calls += usage.estimated
