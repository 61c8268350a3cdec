"""These tests need the libraries: the extras `mem0-lib` and `langmem-lib`."""

from __future__ import annotations

import importlib.util

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # found, not imported: mem0 sends telemetry unless it is told not to before
        library = "langmem" if "langmem" in item.nodeid else "mem0"
        marked = item.get_closest_marker("libraries") is not None
        if marked and "libraries" in item.path.parts and not importlib.util.find_spec(library):
            item.add_marker(pytest.mark.skip(reason=f"needs the extra {library}-lib"))
