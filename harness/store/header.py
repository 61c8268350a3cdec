"""What says what a run is: `config.json`, and how it differs from another configuration."""

from __future__ import annotations

import json
import os.path
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigMismatchError, DataError, unknown_name
from ..files import read_json
from ..records import HARNESS_SCHEMA


def run_directory(run: str, runs_dir: Path) -> Path:
    """The directory of a run: a name below `runs_dir`, or a path.

    Raises:
        UsageError: if there is none; proposes the nearest name.
    """
    for directory in (runs_dir / run, Path(run)):
        if os.path.isdir(directory):  # `Path.is_dir` fails on a name that is too long
            return directory
    known = [p.name for p in runs_dir.iterdir() if p.is_dir()] if runs_dir.is_dir() else []
    raise unknown_name("run", run, known)


def read_header(directory: Path) -> dict[str, Any]:
    """The content of `config.json`: `schema`, `version`, `hash`, `plan_hash` and `config`.

    Raises:
        DataError: if the directory is empty, foreign, broken, or of a newer version.
    """
    path = directory / "config.json"
    if not path.exists():
        what = "is empty" if leftovers_only(directory) else "holds no config.json"
        raise DataError(f"{directory} {what}, so it is not a run")
    header = read_json(path)
    if not isinstance(header, dict) or not isinstance(header.get("schema"), int):
        raise DataError(f"{path} is not the configuration of a run")
    if header["schema"] != HARNESS_SCHEMA:
        newer = header["schema"] > HARNESS_SCHEMA
        raise DataError(
            f"{directory} was written by agemem-eval {header.get('version')} (schema "
            f"{header['schema']}, this version knows {HARNESS_SCHEMA}): "
            + ("upgrade agemem-eval" if newer else "read it with that version")
        )
    if not isinstance(header.get("config"), dict):
        raise DataError(f"{path} is not the configuration of a run")
    return header


def check_same(
    name: str, stored: Any, given: Any, otherwise: str = "choose another --name"
) -> None:
    """Refuse what is not the same, and say what to do otherwise.

    Raises:
        ConfigMismatchError: with every field that differs.
    """
    lines = list(differences(stored, given))
    if lines:
        shown = "; ".join(lines[:8]) + (f"; and {len(lines) - 8} more" if lines[8:] else "")
        raise ConfigMismatchError(
            f"the run {name} was made with another configuration: {shown}; {otherwise}"
        )


def differences(stored: Any, given: Any, where: str = "") -> Iterator[str]:
    """Lines like `agent.max_steps: 50 in the run, 30 now`, one for each field that differs."""
    if isinstance(stored, list) and isinstance(given, list) and len(stored) == len(given):
        stored, given = dict(enumerate(stored)), dict(enumerate(given))
    if isinstance(stored, dict) and isinstance(given, dict):
        for key in dict.fromkeys((*stored, *given)):
            inner = f"{where}.{key}" if where else str(key)
            yield from differences(stored.get(key), given.get(key), inner)
    elif stored != given:
        yield f"{where}: {_short(stored)} in the run, {_short(given)} now"


def keys_of(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What decides a plan's episodes; what the oracle is thought to manage is told, not decided."""
    told = ("within_cap", "headline")
    return [{key: cell[key] for key in cell if key not in told} for cell in plan]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def leftovers_only(directory: Path) -> bool:
    """Whether nothing is there yet but what a start that was killed may have left."""
    if not directory.is_dir():
        return True
    harmless = {"lock", "log.jsonl", "plan.json", "plan.json.tmp", "config.json.tmp"}
    return all(path.name in harmless for path in directory.iterdir())
