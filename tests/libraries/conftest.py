"""These tests need the libraries: the extras `mem0-lib` and `langmem-lib`."""

from __future__ import annotations

import importlib.util

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # found, not imported: mem0 sends telemetry unless it is told not to before
        library = "langmem" if "langmem" in item.path.name else "mem0"
        if "libraries" in item.path.parts and importlib.util.find_spec(library) is None:
            item.add_marker(pytest.mark.skip(reason=f"needs the extra {library}-lib"))
