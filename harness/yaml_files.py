"""YAML as people write it, read without what YAML lets pass silently.

Plain values alone (no Python objects); a key that stands twice in one mapping is refused, since one
of the two would be ignored; aliases may not multiply a small text into more than memory holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .errors import DataError

LARGEST = 2**20  # bytes of a file
_MOST = 100_000  # values, each alias counted as what it stands for


class _Loader(yaml.SafeLoader):
    """Refuses double keys, and aliases that multiply."""

    def get_single_node(self) -> yaml.Node | None:
        """The whole document."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _values(node, {}) > _MOST:
            raise yaml.YAMLError(f"it holds more than {_MOST} values, or itself")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys differ."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (name := (key.tag, key.value)) in seen:
                    at = key.start_mark.line + 1
                    raise yaml.YAMLError(f"line {at}: the key {key.value!r} stands twice")
                seen.add(name)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def read_yaml(path: Path, what: str) -> Any:
    """The value in a YAML file.

    Args:
        path: The file.
        what: What it should be, for errors.

    Raises:
        DataError: if it cannot be read, is too large, or is not YAML; in one line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise DataError(f"{what} {path} is larger than {LARGEST} bytes")
        return parse_yaml(content.decode())
    except OSError as error:
        raise DataError(f"cannot read {what} {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"cannot read {what} {path}: {error}") from error


def parse_yaml(text: str) -> Any:
    """The value that a text is as YAML.

    Raises:
        ValueError: if it is none; in one line.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no such day; too many digits
        raise ValueError(" ".join(str(error).split())) from error


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node holds; an alias is its anchor's node once more."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MOST + 1  # for as long as it is not known: it holds itself
    inner = node.value if isinstance(node, yaml.CollectionNode) else []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    known[id(node)] = total = 1 + sum(_values(one, known) for one in inner)
    return total
