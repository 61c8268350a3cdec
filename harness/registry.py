"""Finds environments, memories, models and embedders by name: entry points of what is installed.

Nothing is imported before it is asked for. A lookup error names the nearest name; a plug-in that
cannot be imported is named with its distribution and its exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any, Literal

from .errors import AgememError, UsageError, unknown_name

Group = Literal["envs", "memories", "models", "embedders"]
_SINGULAR = {
    "envs": "environment",
    "memories": "memory",
    "models": "model",
    "embedders": "embedder",
}


ALIASES: dict[tuple[str, str], str] = {("envs", "sciworld"): "scienceworld"}


def canonical(group: Group, name: str) -> str:
    """The registered name that another usual name stands for; any other name is its own."""
    return ALIASES.get((group, name), name)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A registered name and where it comes from."""

    name: str
    target: str
    distribution: str


@cache
def _entry_points(group: Group) -> dict[str, metadata.EntryPoint]:
    found: dict[str, metadata.EntryPoint] = {}
    for entry in metadata.entry_points(group=f"agemem_eval.{group}"):
        other = found.get(entry.name)
        if other is not None and other.value != entry.value:
            raise UsageError(
                f"two packages register the {_SINGULAR[group]} {entry.name!r}: "
                f"{_distribution(other)} and {_distribution(entry)}; uninstall one of them"
            )
        found[entry.name] = entry
    return found


def plugins(group: Group) -> list[Plugin]:
    """Everything registered in a group, by name."""
    return [
        Plugin(name, entry.value, _distribution(entry))
        for name, entry in sorted(_entry_points(group).items())
    ]


def load(group: Group, name: str) -> Any:
    """The class registered under a name, or the class at an explicit `module:Class`.

    Of models and embedders only `package.module:Class`, with a dot: `openai:NAME` is a model.

    Raises:
        UsageError: for an unknown name, or a plug-in that cannot be imported.
        MissingExtraError: where the plug-in says that a prerequisite is missing.
    """
    entries = _entry_points(group)
    if name in entries:
        entry = entries[name]
    elif _is_class_path(group, name):
        entry = metadata.EntryPoint(name, name, f"agemem_eval.{group}")
    else:
        raise unknown_name(_SINGULAR[group], name, entries)
    try:
        return entry.load()
    except AgememError:
        raise
    except Exception as error:  # a third party's import may fail in any way
        what = f"the class {name!r}"
        if name in entries:
            what = f"the {_SINGULAR[group]} plug-in {name!r} of {_distribution(entry)}"
        raise UsageError(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error


def _is_class_path(group: Group, name: str) -> bool:
    module, colon, _ = name.partition(":")
    return bool(colon) and bool(module) and (group in ("envs", "memories") or "." in module)


def _distribution(entry: metadata.EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value
