"""Directories that look like models and adapters, written without any library."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def write_safetensors(path: Path, tensors: dict[str, tuple[list[int], bytes]]) -> None:
    header, at = {}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "U8", "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    content = b"".join(data for _, data in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def write_model(folder: Path, *, hidden: int = 8, layers: int = 2, fill: bytes = b"a") -> Path:
    folder.mkdir(parents=True)
    config = {"hidden_size": hidden, "num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", {"w": ([9000], fill * 9000)})
    return folder


def write_adapter(
    folder: Path, *, base: str = "", hidden: int = 8, layer: int = 1, rank: int = 4
) -> Path:
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_A.weight"
    weights = {name: ([rank, hidden], bytes(rank * hidden))}
    write_safetensors(folder / "adapter_model.safetensors", weights)
    return folder
