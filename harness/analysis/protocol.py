"""What must be the same for two cells to be ranked together, and what differs where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from ..config import RunConfig
from ..prompts import PROMPT_VERSION
from ..records import HARNESS_SCHEMA, EpisodeKey, stable_hash
from ..store.header import differences


@dataclass(frozen=True, slots=True)
class Protocol:
    """How the episodes of a cell were played; memory and model are what is compared under it.

    `details` tells in names what `protocol_hash` tells in one value, so that a difference can be
    said: agent settings, scope of the memory, options of the environment.
    """

    env: str
    env_version: str
    split: str
    data_hash: str
    schema: int
    n_tasks: int
    tasks_hash: str  # of the ids of the tasks
    protocol_hash: str
    details: dict[str, Any]

    @property
    def id(self) -> str:
        """The same for cells that may be ranked together."""
        return stable_hash(
            {f.name: getattr(self, f.name) for f in fields(self) if f.name != "details"}
        )


def protocol_of(config: RunConfig, base: EpisodeKey, tasks: list[str]) -> Protocol:
    """The protocol of a cell.

    Args:
        config: Of the run that the cell belongs to.
        base: What the keys of its episodes have in common.
        tasks: The ids of its tasks.
    """
    details = {
        "prompts": PROMPT_VERSION,
        "agent": config.agent.model_dump(mode="json"),
        "memory_scope": config.memory_scope,
        "order_seeds": list(config.order_seeds),
        "env_options": config.options_of(base.env),
    }
    return Protocol(
        env=base.env,
        env_version=base.env_version,
        split=base.split,
        data_hash=base.data_hash,
        schema=HARNESS_SCHEMA,
        n_tasks=len(tasks),
        tasks_hash=stable_hash(sorted(tasks)),
        protocol_hash=base.protocol_hash,
        details=details,
    )


def protocol_differences(one: Protocol, other: Protocol) -> Iterator[str]:
    """Lines like `split: valid_seen and train`, one for each thing that differs.

    Where the hashes differ and nothing with a name does, the line says that.
    """
    named = ("env", "env_version", "split", "data_hash", "schema", "n_tasks")
    told = False
    for name in named:
        a, b = getattr(one, name), getattr(other, name)
        if a != b:
            told = True
            yield f"{name}: {a} and {b}"
    if one.n_tasks == other.n_tasks and one.tasks_hash != other.tasks_hash:
        told = True
        yield "tasks: as many, but not the same ones"
    if one.protocol_hash != other.protocol_hash:
        for line in differences(one.details, other.details):
            told = True
            yield line.replace(" in the run, ", " and ").removesuffix(" now")
        if not told:
            yield f"protocol: {one.protocol_hash} and {other.protocol_hash}"
