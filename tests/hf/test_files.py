"""What `hf:` reads and what it refuses to: pickles, code, damaged and missing files."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.errors import AgememError, DataError, UsageError
from agemem_eval.harness.models import make_model

pytestmark = pytest.mark.hf


class _Planted:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def plant(file: Path, mark: Path) -> None:
    file.write_bytes(pickle.dumps(_Planted(mark)))


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy")


def refused(spec: Path | str, said: str, **options: str) -> AgememError:
    with pytest.raises((DataError, UsageError), match=said) as error:
        make_model(f"hf:{spec}", options)
    assert "\n" not in str(error.value)
    return error.value


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickled_weights_are_refused_and_never_read(
    folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / "model.safetensors").unlink()
    plant(folder / name, tmp_path / "mark")
    refused(folder, f"pickled weights \\({name}\\).*convert")
    assert not (tmp_path / "mark").exists()


def test_a_pickle_beside_safetensors_is_not_read(folder: Path, tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        plant(folder / name, tmp_path / "mark")
    make_model(f"hf:{folder}")
    assert not (tmp_path / "mark").exists()


def test_a_pickled_adapter_is_refused(tiny: Path, adapter: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(adapter, tmp_path / "adapter")
    (copy / "adapter_model.safetensors").unlink()
    plant(copy / "adapter_model.bin", tmp_path / "mark")
    refused(tiny, "pickled weights \\(adapter_model.bin\\)", lora=str(copy))
    assert not (tmp_path / "mark").exists()


def test_code_in_a_models_folder_is_never_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (folder / "modeling_own.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "modeling_own.Config", "AutoModelForCausalLM": "modeling_own.Model"}
    config |= {"model_type": "own", "auto_map": own}
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, "cannot be loaded")
    assert not mark.exists()


def test_damaged_and_missing_files_are_told_in_one_line(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    refused(folder, "cannot be loaded")
    weights.write_bytes(b"\xff" * 64)
    refused(folder, "cannot be loaded")
    weights.write_bytes(whole)
    (folder / "config.json").write_text("{")
    refused(folder, "cannot read .*config.json")
    (folder / "config.json").unlink()
    refused(folder, "cannot read .*config.json")


def test_weights_that_lack_a_part_are_refused_not_drawn_at_random(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "lack 'model.layers.1.mlp.up_proj.weight' \\(1 in all\\)")


@pytest.mark.parametrize("stranger", ["../outside.safetensors", "part.bin", "none.safetensors"])
def test_shards_are_read_and_strangers_among_them_refused(folder: Path, stranger: str) -> None:
    from safetensors.numpy import load_file, save_file

    before = make_model(f"hf:{folder}").info.identity
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts: dict[str, str] = {}
    for i in range(2):
        of_part = {key: weights[key] for key in sorted(weights)[i::2]}
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file(of_part, folder / file, metadata={"format": "pt"})
        parts |= dict.fromkeys(of_part, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    after = make_model(f"hf:{folder}").info.identity
    assert {k for k in before if before[k] != after[k]} == {"weights"}
    parts[sorted(parts)[0]] = stranger
    (folder / "part.bin").touch()
    (folder.parent / "outside.safetensors").touch()
    index.write_text(json.dumps({"metadata": {}, "weight_map": parts}))
    refused(folder, "which is not a file there")


def test_adapters_of_another_kind_or_size_are_refused(
    tiny: Path, adapter: Path, tmp_path: Path
) -> None:
    from tiny_model import make_adapter

    refused(tiny, "holds no LoRA adapter", lora=str(tmp_path))
    wide = make_adapter(tmp_path / "wide", "tiny", hidden=128)
    refused(tiny, "cannot be loaded", lora=str(wide))
    copy = shutil.copytree(adapter, tmp_path / "prefix")
    config = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_config.json").write_text(json.dumps(config | {"peft_type": "PREFIX_TUNING"}))
    refused(tiny, "'PREFIX_TUNING', not LORA", lora=str(copy))


def test_a_name_that_is_neither_a_folder_nor_at_the_hub_is_told(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    refused("owner/no-such-model", "no folder 'owner/no-such-model', and the hub")
    refused(tmp_path / "none", "there is no folder")
    refused("~/none-such", "there is no folder")
    refused(tiny, "revision is for names of the hub", revision="main")


def test_a_device_that_is_not_here_is_told(tiny: Path) -> None:
    import torch

    if not torch.backends.mps.is_available():
        refused(tiny, "there is no mps here", device="mps")


def test_the_hash_of_a_large_file_is_remembered_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    from agemem_eval.harness.models.inprocess import files

    monkeypatch.setattr(files, "_SMALL", 10)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"a" * 100)
    first = files._hash(file)
    assert first == hashlib.sha256(b"a" * 100).hexdigest()
    kept = tmp_path / "cache" / "agemem-eval" / "weights.json"
    kept.write_text(kept.read_text().replace(first, "remembered"))
    assert files._hash(file) == "remembered"
    file.write_bytes(b"b" * 100)
    os.utime(file, ns=(1, 1))
    assert files._hash(file) == hashlib.sha256(b"b" * 100).hexdigest()
    kept.write_text("{")
    assert files._hash(file) == hashlib.sha256(b"b" * 100).hexdigest()
