"""What is wrong with a recipe, in one line that names the key and the values it may have."""

from __future__ import annotations

import textwrap
from typing import Any

from pydantic import BaseModel, ValidationError

from ..harness.errors import UsageError, unknown_name

_SHOWN = 200  # characters of a value that is refused
ONE, SEVERAL = "<one>", "<several>"  # of a section that may be a list; in no key that is told


def set_value(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set a value by its dotted key, making the sections on the way; a number is a list's, from 0.

    Raises:
        UsageError: if a part of the key holds a value, not keys, or a list has no such place.
    """
    inside: Any = values
    *sections, last = dotted.split(".")
    for section in sections:
        if isinstance(inside, list):
            inside = inside[_place(inside, section, dotted)]
        else:
            if inside.get(section) is None:
                inside[section] = {}
            inside = inside[section]
        if not isinstance(inside, dict | list):
            raise UsageError(f"recipe: {dotted}: {section} is no section")
    inside[_place(inside, last, dotted) if isinstance(inside, list) else last] = value


def _place(some: list[Any], section: str, dotted: str) -> int:
    if not section.isdecimal() or int(section) >= len(some):
        raise UsageError(f"recipe: {dotted}: {section} is none of the {len(some)} there, from 0")
    return int(section)


def texts(options: Any) -> Any:
    """Options are texts, as on the command line; YAML reads `5` and `true` as values."""
    if not isinstance(options, dict):
        return options
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in options.items()}


def usage_error(error: ValidationError, root: type[BaseModel]) -> UsageError:
    """The first problem of a pydantic error as one line, with the key, or the nearest one."""
    first = error.errors()[0]
    loc = tuple(part for part in first["loc"] if part not in (ONE, SEVERAL))
    where = ".".join(map(str, loc))
    problem = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        return unknown_name("recipe key", where, _keys_beside(loc, root))
    said = textwrap.shorten(repr(first["input"]), _SHOWN, placeholder="…")
    given = "" if isinstance(first["input"], dict | BaseModel) else f" (given: {said})"
    return UsageError(f"recipe: {where}: {problem}{given}" if where else f"recipe: {problem}")


def _keys_beside(loc: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """The known keys of the section in which an unknown one stands, dotted."""
    model: Any = root
    for part in loc[:-1]:
        if isinstance(part, str):  # a number is one of a list
            model = _section_type(model.model_fields[part].annotation)
    prefix = "".join(f"{part}." for part in loc[:-1])
    return [prefix + name for name in model.model_fields]


def _section_type(annotation: Any) -> Any:
    """The section of a field, which may be optional, or one of several; None for another field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (getattr(annotation, "__origin__", None), *getattr(annotation, "__args__", ()))
    return next((found for a in inner if a is not None and (found := _section_type(a))), None)
