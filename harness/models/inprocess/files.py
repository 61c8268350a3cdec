"""A checkpoint's folder: what may be read of it, and what it is by the content of its files.

Only safetensors: pickled weights can run code when they are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import read_json, write_json
from ...records import stable_hash
from ..openai import Training, read_card

CARD = "card.json"  # in the adapter's folder, else the weights', where no other is named
INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_SMALL = 2**26  # bytes; the hash of a larger file is remembered
_OF_WRITER = ("_name_or_path", "transformers_version")  # of config.json: not what a model is


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model, in order.

    Raises:
        DataError: if there are none, only pickled ones, or one of them is missing.
    """
    if (folder / WHOLE).is_file():
        return [folder / WHOLE]
    if not (folder / INDEX).is_file():
        raise _no_weights(folder, WHOLE)
    shards = read_json(folder / INDEX)
    names = shards.get("weight_map") if isinstance(shards, dict) else None
    if not isinstance(names, dict) or not names:
        raise DataError(f"{folder / INDEX} names no files")
    files = [folder / str(name) for name in sorted(set(names.values()))]
    for file in files:
        if file.parent != folder or file.suffix != ".safetensors" or not file.is_file():
            raise DataError(f"{folder / INDEX} names {file.name!r}, which is not a file there")
    return files


def adapter_files(folder: Path) -> list[Path]:
    """The files of a LoRA adapter as peft saves it.

    Raises:
        DataError: if one is missing, pickled, or of another kind of adapter.
    """
    config = folder / ADAPTER_CONFIG
    if not config.is_file():
        raise DataError(f"{folder} holds no LoRA adapter: there is no {ADAPTER_CONFIG}")
    if not (folder / ADAPTER).is_file():
        raise _no_weights(folder, ADAPTER)
    said = read_json(config)
    kind = said.get("peft_type") if isinstance(said, dict) else None
    if kind != "LORA":
        raise DataError(f"{config}: the adapter is {kind!r}, not LORA")
    return [config, folder / ADAPTER]


def identity(folder: Path, lora: Path | None) -> dict[str, Any]:
    """What a model is, by the content of its files, whatever they are called."""
    config = read_json(folder / "config.json")
    if isinstance(config, dict):
        config = {key: value for key, value in config.items() if key not in _OF_WRITER}
    tokenizer = [name for name in _TOKENIZER if (folder / name).is_file()]
    adapter = [_hash(file) for file in adapter_files(lora)] if lora is not None else None
    return {
        "config": stable_hash(config),
        "weights": stable_hash([_hash(file) for file in weight_files(folder)]),
        "tokenizer": stable_hash([[name, _hash(folder / name)] for name in tokenizer]),
        "lora": stable_hash(adapter) if adapter is not None else None,
    }


def shown(provider: str, name: str, adapter: Path | None) -> str:
    """What results are labelled with: of a folder the last part, since its place says nothing."""
    folder = Path(name).expanduser()
    last = folder.resolve().name if folder.is_dir() else name
    return f"{provider}:{last}" + (f"+{adapter.resolve().name}" if adapter is not None else "")


def card_of(given: Path | None, folder: Path) -> tuple[Training, str]:
    """What is said of the training, by the card given or the one in a folder.

    With an adapter that is the adapter's: a model's card does not speak of what became of it.
    """
    card = given or folder / CARD
    return read_card(card) if given is not None or card.is_file() else ("none", "")


def _no_weights(folder: Path, wanted: str) -> DataError:
    pickled = sorted(file.name for kind in _PICKLED for file in folder.glob(kind))
    if not pickled:
        return DataError(f"{folder} holds no weights: there is no {wanted}")
    return DataError(
        f"{folder} holds pickled weights ({pickled[0]}), which can run code when they are read: "
        f"convert them to {wanted}"
    )


def _hash(file: Path) -> str:
    """SHA-256 of a file; that of a large one is remembered by its place, size and time."""
    state = file.stat()
    if state.st_size < _SMALL:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kept = Path(home) / "agemem-eval" / "weights.json"
    key = f"{file.resolve()} {state.st_size} {state.st_mtime_ns}"
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(kept.read_bytes())
    if key not in known:
        with file.open("rb") as content:
            known[key] = hashlib.file_digest(content, "sha256").hexdigest()
        with contextlib.suppress(OSError, DataError):  # it is computed anew the next time
            write_json(kept, known)
    return known[key]
