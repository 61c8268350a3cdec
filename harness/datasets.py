"""The data sets of the environments: what there is, where it comes from, and what lies here.

Nothing is downloaded unasked. A data set is complete if and only if its manifest exists: that is
written last, with the size and the SHA-256 of every file. Imports stay light, since environments
ask here where their data are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import DataError, unknown_name

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Remote:
    """One file to fetch."""

    url: str
    size: int | None = None  # bytes; None: its publisher does not say
    sha256: str | None = None  # None: none is published, so the one that arrives is recorded
    members: tuple[str, ...] | None = None  # of a zip archive: what to unpack, as name prefixes
    strip: int = 0  # leading folders of the archive's names that are dropped

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Dataset:
    """One data set."""

    name: str
    env: str
    about: str
    licence: str
    files: tuple[Remote, ...]
    homepage: str

    @property
    def size(self) -> int | None:
        """Bytes to fetch; None where one of the files' sizes is not known."""
        sizes = [file.size for file in self.files]
        return sum(s for s in sizes if s is not None) if None not in sizes else None


_HOTPOT = "http://curtis.ml.cmu.edu/datasets/hotpot"
_LABELS = "789c3258254ff18243998b6dea3e246f231b1f22"  # of the repository with the labels
_BOARD = "2429689d1f94f625e3989900a6dfd48266c57bcf"  # the revision whose files were looked at
CATALOGUE: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="alfworld",
            env="alfworld",
            about="the official ALFWorld games of all splits",
            licence="MIT",
            homepage="https://github.com/alfworld/alfworld",
            files=(
                Remote(
                    "https://github.com/alfworld/alfworld/releases/download/0.4.0/json_2.1.2_tw-pddl.zip",
                    members=("",),
                ),
            ),
        ),
        # Sizes and hashes of HotpotQA: `dataset_infos.json` of huggingface/datasets, `hotpot_qa`.
        Dataset(
            name="hotpotqa-dev",
            env="hotpotqa",
            about="the 7,405 development questions with ten paragraphs each",
            licence="CC BY-SA 4.0",
            homepage="https://hotpotqa.github.io",
            files=(
                Remote(
                    f"{_HOTPOT}/hotpot_dev_distractor_v1.json",
                    46_320_117,
                    "4e9ecb5c8d3b719f624d66b60f8d56bf227f03914f5f0753d6fa1b359d7104ea",
                ),
            ),
        ),
        Dataset(
            name="hotpotqa-train",
            env="hotpotqa",
            about="the 90,447 training questions",
            licence="CC BY-SA 4.0",
            homepage="https://hotpotqa.github.io",
            files=(
                Remote(
                    f"{_HOTPOT}/hotpot_train_v1.1.json",
                    566_426_227,
                    "26650cf50234ef5fb2e664ed70bbecdfd87815e6bffc257e068efea5cf7cd316",
                ),
            ),
        ),
        Dataset(
            name="agentboard-pddl",
            env="pddl",
            about="AgentBoard's planning problems and the list of the 60 it plays",
            licence="GPL-2.0 (the labels)",
            homepage="https://github.com/hkust-nlp/AgentBoard",
            files=(
                Remote(
                    f"https://github.com/hkust-nlp/AgentBoard/archive/{_BOARD}.zip",
                    members=("agentboard/environment/pddl_env/pddlgym/pddl/",),
                    strip=1,
                ),
                Remote(
                    "https://huggingface.co/datasets/hkust-nlp/agentboard/resolve/"
                    f"{_LABELS}/data/pddl/test.jsonl"
                ),
            ),
        ),
    )
}


def data_root() -> Path:
    """Where data sets are kept: $AGEMEM_DATA, or the user's data folder."""
    given = os.environ.get("AGEMEM_DATA")
    if given:
        return Path(given).expanduser()
    shared = os.environ.get("XDG_DATA_HOME")
    return (Path(shared) if shared else Path.home() / ".local" / "share") / "agemem-eval"


def dataset(name: str) -> Dataset:
    """A data set by name.

    Raises:
        UsageError: for an unknown one, with the nearest name.
    """
    if name not in CATALOGUE:
        raise unknown_name("data set", name, CATALOGUE)
    return CATALOGUE[name]


def installed(name: str, root: Path | None = None) -> Path | None:
    """The folder of a data set that is complete; None where there is none."""
    folder = (root or data_root()) / dataset(name).name
    return folder if (folder / MANIFEST).is_file() else None


def how_to_get(name: str) -> str:
    """What to do for a data set that is not here, as the end of an error message."""
    return f"agemem-eval data get {name}, or pass its place as --data"


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_manifest(about: Dataset, folder: Path, fetched: dict[str, Any]) -> dict[str, Any]:
    """What lies in a folder: size and SHA-256 of each file by its relative path."""
    return {
        "format": MANIFEST_FORMAT,
        "name": about.name,
        "licence": about.licence,
        "homepage": about.homepage,
        "fetched": fetched,
        "files": {
            path.relative_to(folder).as_posix(): {
                "size": path.stat().st_size,
                "sha256": sha256(path),
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path != folder / MANIFEST
        },
    }


def problems(name: str, root: Path | None = None) -> Iterator[str]:
    """What differs from the manifest: a line for each file that is missing, changed or extra.

    Raises:
        DataError: if the data set is not there, or its manifest is broken.
    """
    folder = installed(name, root)
    if folder is None:
        raise DataError(f"{name} is not in {root or data_root()}: agemem-eval data get {name}")
    files = _manifest_files(folder / MANIFEST)
    for relative, (size, digest) in files.items():
        path = folder / relative
        if not path.is_file():
            yield f"{path}: missing"
        elif path.stat().st_size != size:
            yield f"{path}: {path.stat().st_size} bytes, not {size}"
        elif sha256(path) != digest:
            yield f"{path}: its content was changed"
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_file() and relative not in files and relative != MANIFEST:
            yield f"{path}: not part of the data set"


def _manifest_files(path: Path) -> dict[str, tuple[int, str]]:
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != MANIFEST_FORMAT:
            raise ValueError(f"format {manifest['format']}, this version knows {MANIFEST_FORMAT}")
        files = {str(k): (int(v["size"]), str(v["sha256"])) for k, v in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a manifest ({error!r}): get the data set again") from error
    for relative in files:
        if not inside(relative):
            raise DataError(f"{path}: {relative!r} leaves the folder")
    return files


def inside(relative: str) -> bool:
    """Whether a relative path with `/` stays below its folder."""
    path = PurePosixPath(relative)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
