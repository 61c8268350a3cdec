"""Runs as a data set of Hugging Face `datasets`, with its card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ... import __version__
from ..errors import MissingExtraError
from ..files import make_folder
from .arrow import write_tables
from .columns import SCHEMA_VERSION, TURN_COLUMNS, Column
from .source import Source, all_columns
from .text import code, markdown_table

try:
    import datasets
except ModuleNotFoundError as error:
    raise MissingExtraError("datasets", "datasets") from error

TABLES = ("episodes", "turns")
_TYPES = {"text": "string", "bool": "bool", "int": "int64", "float": "float64", "time": "timestamp"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))


def write_dataset(folder: Path, sources: Sequence[Source]) -> tuple[int, int]:
    """Write a folder that `load_from_disk` reads whole, and `load_dataset` a table of.

    Returns:
        How many episodes and turns there were.

    Raises:
        OSError: if the disk refuses.
    """
    make_folder(folder / "data")
    counts = write_tables(folder / "data", sources)
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory(dir=folder) as cache:
            parts = {name: _part(folder / "data" / f"{name}.parquet", cache) for name in TABLES}
            datasets.DatasetDict(parts).save_to_disk(str(folder))
            del parts  # what they have mapped is in that folder
    finally:
        if shown:
            datasets.enable_progress_bars()
    card = dataset_card(sources, *counts)
    (folder / "README.md").write_text(card, encoding="utf-8")
    for left in folder.glob("tmp*"):
        shutil.rmtree(left, ignore_errors=True)
    return counts


def _part(path: Path, cache: str) -> Any:
    part = datasets.Dataset.from_parquet(str(path), cache_dir=cache)
    part.info.download_checksums = None  # they name files of this machine
    return part


def dataset_card(sources: Sequence[Source], episodes: int, turns: int) -> str:
    """The data set's README.md: metadata that the hub reads, then what is in it."""
    size = next((name for most, name in _SIZES if turns < most), "1M<n<10M")
    front = {
        "pretty_name": "agemem-eval: " + ", ".join(source.name for source in sources),
        "tags": ["agents", "memory", "evaluation", "agemem-eval"],
        "size_categories": [size],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": "test", "path": f"data/{name}.parquet"}],
                **({"default": True} if name == "episodes" else {}),
            }
            for name in TABLES
        ],
    }
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "# Episodes of agent memories",
            f"{episodes:,} episodes and {turns:,} turns, written by agemem-eval {__version__} "
            f"(version {SCHEMA_VERSION} of its tables). Cells may be ranked together where their "
            "protocol is the same.",
            "",
            *_cells(sources),
            "",
            "    from datasets import load_dataset, load_from_disk",
            '    episodes = load_dataset(FOLDER, "episodes", split="test")',
            "    both = load_from_disk(FOLDER)  # episodes, turns",
            "",
            "## Episodes",
            *_columns(all_columns(sources)),
            "",
            "## Turns",
            *_columns(TURN_COLUMNS),
            "",
        ]
    )


def _cells(sources: Sequence[Source]) -> list[str]:
    names = ("run", "environment", "split", "memory", "model", "episodes", "protocol")
    rows = []
    for source in sources:
        for frame in source.frames:
            base = frame.base
            texts = (frame.run, base.env, base.split, base.memory, base.model)
            scored = f"{frame.n_scored} of {frame.n_planned}"
            rows.append((*map(source.clean.setting, texts), scored, frame.protocol.id))
    return markdown_table(names, rows)


def _columns(columns: Sequence[Column]) -> list[str]:
    rows = [(code(c.name), _TYPES[c.kind], "yes" if c.missing else "no") for c in columns]
    return markdown_table(("column", "type", "may be missing"), rows, escaped=True)
