"""Builds plug-ins from their options, which are the keyword parameters of their constructors."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from . import registry
from .errors import AgememError, UsageError, unknown_name


def build(group: registry.Group, name: str, options: Mapping[str, str], *args: Any) -> Any:
    """An instance of a registered class.

    Raises:
        UsageError: for an unknown name or option, naming the nearest one.
        MissingExtraError: where the plug-in says that a prerequisite is missing.
    """
    factory = registry.load(group, name)
    parameters = _parameters(factory)
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        known = [p.name for p in parameters[len(args) :]]
        for key in options:
            if key not in known:
                raise unknown_name(f"option of {name}", key, known)
    try:
        return factory(*args, **options)
    except AgememError:
        raise
    except Exception as error:  # a third party's constructor may raise anything
        raise UsageError(f"{name} cannot be built: {type(error).__name__}: {error}") from error


def takes(group: registry.Group, name: str, option: str) -> bool:
    """Whether a registered class has this option."""
    return any(p.name == option for p in _parameters(registry.load(group, name)))


@lru_cache(maxsize=256)  # asked for each memory of each episode
def _parameters(factory: Any) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(factory).parameters.values())
