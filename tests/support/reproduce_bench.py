"""What a call of `reproduce` leaves, and what answers it in tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Call = Callable[..., "Done"]


@dataclass(frozen=True)
class Done:
    """What a call of `reproduce` left."""

    code: int
    folder: Path

    @property
    def json(self) -> dict[str, Any]:
        return json.loads((self.folder / "table.json").read_text())

    @property
    def markdown(self) -> str:
        return (self.folder / "table.md").read_text()

    @property
    def csv(self) -> str:
        return (self.folder / "table.csv").read_text()

    def value(self, row: str, column: str, model: str | None = None) -> dict[str, Any]:
        found = [
            v for v in self.json["values"]
            if (v["row"], v["column"]) == (row, column) and model in (None, v["model"])
        ]  # fmt: skip
        assert len(found) == 1
        return found[0]


def answer(body: dict[str, Any]) -> str:
    """A judge that gives 0.5, and agents that say ok to everything."""
    return "0.5" if body["model"] == "judge" else "<think>Yes.</think><answer>ok</answer>"
