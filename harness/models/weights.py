"""What a directory of weights holds, told without loading it: for identities and early refusals."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from ..files import read_json

Json = dict[str, Any]

# Beside the weights, all that changes what a served model answers.
_SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.json",
    "chat_template.jinja",
)
_SAMPLE = 4096  # bytes of each tensor: training changes them all, so two checkpoints differ here
_LARGEST_HEADER = 10**8  # bytes, the format's own limit
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_LAYER = re.compile(r"\.layers\.(\d+)\.")
_INPUT = re.compile(r"\.(q|k|v)_proj\.lora_A\.")  # these read the hidden state


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA checkpoint in the format of PEFT.

    Attributes:
        folder: Where it is.
        hash: Of all of it.
        rank: Of its matrices.
        base: The model it says it was trained on; empty if it does not say.
        layers: Layers it changes, counted to the last one.
        hidden: Length of the hidden state it reads; None where it does not tell.
    """

    folder: Path
    hash: str
    rank: int
    base: str
    layers: int
    hidden: int | None


def is_folder(name: str) -> bool:
    """Whether a model's name is a directory, and not a name on the hub.

    Raises:
        UsageError: if it is neither.
    """
    if Path(name).expanduser().is_dir():
        return True
    if name.startswith(("/", "./", "../", "~")) or not _HUB_NAME.fullmatch(name):
        raise UsageError(f"there is no model directory {name}")
    return False


def model_hash(folder: Path) -> str:
    """Identifies a model's settings, tokenizer and weights.

    Of the weights it reads the header and the beginning of every tensor, not all of the
    gigabytes: enough to tell any two checkpoints of a training apart.

    Raises:
        DataError: if it is no model with weights in safetensors.
    """
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder} is no model: it holds no config.json")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise DataError(f"{folder} holds no weights in safetensors; other formats are not read")
    digest = hashlib.sha256()
    for name in _SETTINGS:
        if (folder / name).is_file():
            digest.update(f"{name}\n{file_hash(folder / name)}\n".encode())
    for path in weights:
        digest.update(f"{path.name}\n".encode())
        for sample in _samples(path):
            digest.update(sample)
    return digest.hexdigest()[:16]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, shortened.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def read_adapter(folder: Path) -> Adapter:
    """What a LoRA checkpoint is.

    Raises:
        UsageError: if there is no such directory.
        DataError: if it is no LoRA adapter in safetensors.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no adapter directory {folder}")
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    for path in (config, weights):
        if not path.is_file():
            raise DataError(f"{folder} is no LoRA adapter: it holds no {path.name}")
    settings = read_json(config)
    rank = settings.get("r") if isinstance(settings, dict) else None
    if type(rank) is not int or rank < 1 or settings.get("peft_type") != "LORA":
        raise DataError(f"{config} is not that of a LoRA adapter: peft_type LORA and a rank r")
    tensors = {name: entry["shape"] for name, entry in _tensors(weights)}
    layers = [int(found[1]) for name in tensors if (found := _LAYER.search(name))]
    inputs = [shape[-1] for name, shape in tensors.items() if _INPUT.search(name) and shape]
    return Adapter(
        folder,
        hashlib.sha256((file_hash(config) + file_hash(weights)).encode()).hexdigest()[:16],
        rank,
        str(settings.get("base_model_name_or_path") or ""),
        max(layers, default=-1) + 1,
        inputs[0] if inputs else None,
    )


def check_base(adapter: Adapter, model: str) -> None:
    """Refuse an adapter of another base, as far as it can be told without loading either.

    By their sizes where the base is a directory, since its place says nothing; by name otherwise.

    Raises:
        UsageError: if it belongs to another model.
    """
    problem = ""
    if not is_folder(model):
        named = _HUB_NAME.fullmatch(adapter.base) and "/" in adapter.base
        if named and adapter.base != model:
            problem = f"was trained on {adapter.base}"
    else:
        config = read_json(Path(model).expanduser() / "config.json")
        config = config if isinstance(config, dict) else {}
        of_text = config.get("text_config")
        config = {**config, **of_text} if isinstance(of_text, dict) else config
        hidden, layers = config.get("hidden_size"), config.get("num_hidden_layers")
        if None not in (hidden, adapter.hidden) and hidden != adapter.hidden:
            problem = f"is for a hidden size of {adapter.hidden}, the model's is {hidden}"
        elif isinstance(layers, int) and adapter.layers > layers:
            problem = f"is for {adapter.layers} layers or more, the model has {layers}"
    if problem:
        raise UsageError(f"the adapter {adapter.folder} {problem}: it does not belong to {model}")


def _samples(path: Path) -> Iterator[bytes]:
    """The names and shapes of a safetensors file, and the first bytes of each tensor."""
    tensors = _tensors(path)
    yield json.dumps(tensors, sort_keys=True).encode()
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        for _, entry in tensors:
            first, last = entry["data_offsets"]
            file.seek(start + first)
            yield file.read(min(_SAMPLE, last - first))


def _tensors(path: Path) -> list[tuple[str, Json]]:
    """The tensors of a safetensors file by name, from its header.

    Raises:
        DataError: if it is no such file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= _LARGEST_HEADER:
                raise ValueError("no header")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for entry in header.values():
            first, last = entry["data_offsets"]
            numbers = all(type(n) is int for n in (first, last, *entry["shape"]))
            if not numbers or not 0 <= first <= last:
                raise ValueError("a tensor without a place")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is not a safetensors file: {error}") from error
    return sorted(header.items())
