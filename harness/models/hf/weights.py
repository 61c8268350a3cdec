"""Reads a model's folder for `hf:`: what may be read, what it is, and the model itself.

Only safetensors: pickled weights can run code when they are read. No code of a model's repository
is run either, unless a training recipe asks for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from ...errors import DataError, MissingExtraError, UsageError
from ...files import read_json, write_json
from ...records import stable_hash

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
_TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip
_WANTED = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_SMALL = 2**26  # bytes; the hash of a larger file is remembered
_OF_WRITER = ("_name_or_path", "transformers_version")  # of config.json: not what a model is
_LONG_ROPE = ("dynamic", "longrope")  # rotations that depend on how long a sequence is


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready, and what it is."""

    model: Any
    tokenizer: Any
    dtype: str  # as torch calls it: `float32`
    stop: tuple[int, ...]  # token ids that end a reply
    positions: int | None  # most tokens of a prompt and its continuation; None: no limit


def find(name: str, revision: str | None) -> Path:
    """The folder of a model: a local one, or a hub's, downloaded if it is not there yet.

    Raises:
        UsageError: if there is neither, or `revision` is given for a local folder.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UsageError(f"{folder} is a folder: option revision is for names of the hub")
        return folder
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UsageError(f"there is no folder {folder}: hf:FOLDER, or hf:OWNER/NAME of the hub")
    import huggingface_hub

    try:
        found = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=list(_WANTED)
        )
    except Exception as error:  # the hub's client and its transport have errors of many kinds
        raise UsageError(
            f"there is no folder {name!r}, and the hub does not give it: {_said(error)}"
        ) from error
    return Path(found)


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


def load(
    folder: Path,
    lora: Path | None,
    dtype: str,
    device: str,
    threads: int | None = None,
    *,
    trust_remote_code: bool = False,
) -> Loaded:
    """The model on its device, with its adapter.

    The adapter is not merged into the weights: so it computes as in training, and as vLLM does.

    Args:
        folder: Config, weights and tokenizer.
        lora: The adapter's folder.
        dtype: As torch calls it; `auto` is float32 on a CPU, bfloat16 elsewhere.
        device: `cpu`, `cuda` or `mps`; `auto` is the best there is.
        threads: Cores of a forward on the CPU, in this whole process.
        trust_remote_code: Whether code in the folder may run, where the model needs it.

    Raises:
        DataError: for files that are missing, damaged, pickled or need code of their own.
        UsageError: for a device that is not there.
        MissingExtraError: where an adapter is given and peft is not installed.
    """
    weight_files(folder)
    if threads is not None:
        torch.set_num_threads(threads)
    place = _device(device)
    chosen = dtype if dtype != "auto" else "float32" if place.type == "cpu" else "bfloat16"
    transformers.utils.logging.disable_progress_bar()
    safe: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": True}
    with _telling(folder):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            **safe,
            use_safetensors=True,
            dtype=getattr(torch, chosen),
            output_loading_info=True,
        )
    if missing := sorted(report.get("missing_keys") or ()):
        raise DataError(f"{folder}: the weights lack {missing[0]!r} ({len(missing)} in all)")
    if lora is not None:
        model = _with_adapter(model, lora)
    model = model.to(place).eval().requires_grad_(False)
    return Loaded(model, tokenizer, chosen, _stop_ids(model, tokenizer), _positions(model.config))


def room(loaded: Loaded, most: int) -> int:
    """Tokens whose keys and values take at most so many bytes, or half of what a GPU has free."""
    config, device = loaded.model.config, loaded.model.device
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    heads = getattr(config, "num_key_value_heads", None) or heads
    bytes_ = 2 * config.num_hidden_layers * heads * size * loaded.model.dtype.itemsize
    if device.type == "cuda":
        most = torch.cuda.mem_get_info(device)[0] // 2
    return max(1, int(most // bytes_))


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


def _with_adapter(model: Any, folder: Path) -> Any:
    adapter_files(folder)
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError("peft", "hf") from error
    with _telling(folder):
        adapted = peft.PeftModel.from_pretrained(model, folder, use_safetensors=True)
    return adapted.get_base_model()  # the model itself, whose layers now hold the adapter


def _device(name: str) -> torch.device:
    here = {"cpu": True, "cuda": torch.cuda.is_available()}
    here["mps"] = torch.backends.mps.is_available()
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if here[kind])
    if not here[name]:
        raise UsageError(f"option device: there is no {name} here; use auto or cpu")
    return torch.device(name)


def _stop_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    given = model.generation_config.eos_token_id
    if given is None:
        given = tokenizer.eos_token_id
    ids = given if isinstance(given, list) else [given]
    return tuple(sorted({int(id_) for id_ in ids if id_ is not None}))


def _positions(config: Any) -> int | None:
    most = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if rope.get("rope_type") in _LONG_ROPE:
        # Beyond this the rotation depends on the longest sequence of a batch, so on its company.
        original = rope.get("original_max_position_embeddings")
        most = original or getattr(config, "original_max_position_embeddings", None) or most
    return int(most) if most is not None else None


def _no_weights(folder: Path, wanted: str) -> DataError:
    pickled = sorted(file.name for kind in _PICKLED for file in folder.glob(kind))
    if not pickled:
        return DataError(f"{folder} holds no weights: there is no {wanted}")
    return DataError(
        f"{folder} holds pickled weights ({pickled[0]}), which can run code when they are read: "
        f"convert them to {wanted}"
    )


@contextlib.contextmanager
def _telling(folder: Path) -> Iterator[None]:
    """Whatever a library raises over a folder becomes one line that names it."""
    try:
        yield
    except Exception as error:  # transformers and peft raise whatever a bad file makes of them
        raise DataError(f"{folder} cannot be loaded: {_said(error)}") from error


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{'…' * (len(text) > 300)}"


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
