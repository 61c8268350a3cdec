"""Reads a model's folder for `hf:`: what may be read, what it is, and the model itself.

Only safetensors: pickled weights can run code when they are read. No code of a model's repository
is run either, unless a training recipe asks for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from ...errors import DataError, MissingExtraError, UsageError
from ..inprocess.files import adapter_files, weight_files

_WANTED = ("*.json", "*.safetensors", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt")
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
