"""The kinds of things in generated worlds; `schema` says how to read them."""

from __future__ import annotations

from collections.abc import Mapping

from .places import PLACES
from .schema import Kind
from .works import WORKS

KINDS: Mapping[str, Kind] = {**WORKS, **PLACES}
