"""What a model of `vllm:` is known by, and what is refused before any server starts."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
from weights_fakes import write_adapter, write_model, write_safetensors

from agemem_eval.harness.config import Execution
from agemem_eval.harness.errors import AgememError, DataError, MissingExtraError, UsageError
from agemem_eval.harness.models import make_model
from agemem_eval.harness.models import vllm as module
from agemem_eval.harness.models.vllm import VllmModel
from agemem_eval.harness.options import resolve
from agemem_eval.harness.records import stable_hash


def of(folder: Path | str, **options) -> str:
    """The hash of a model's identity; the interpreter is not asked, so any will do."""
    model = VllmModel(str(folder), python=sys.executable, **options)
    return stable_hash([model.info.training, model.info.identity])


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_model(tmp_path / "tiny")


def with_header(folder: Path, header: bytes) -> None:
    size = len(header).to_bytes(8, "little")
    (folder / "model.safetensors").write_bytes(size + header + b"a")


def test_a_copy_is_the_same_model_and_other_weights_are_not(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy/tiny")
    same = {of(folder), of(tmp_path / "copy/tiny")}
    assert len(same) == 1
    assert of(write_model(tmp_path / "other/tiny", fill=b"b")) not in same
    assert str(tmp_path) not in json.dumps(
        VllmModel(str(folder), python=sys.executable).info.identity
    )


def test_two_checkpoints_of_equal_shapes_differ_by_any_tensor(tmp_path):
    hashes = set()
    for number, data in enumerate([(b"a", b"a"), (b"a", b"b"), (b"b", b"a")]):
        folder = write_model(tmp_path / str(number) / "tiny")
        tensors = {name: ([9000], d * 9000) for name, d in zip("vw", data, strict=True)}
        write_safetensors(folder / "model.safetensors", tensors)
        hashes.add(of(folder))
    assert len(hashes) == 3


@pytest.mark.parametrize(
    "name", ["generation_config.json", "tokenizer_config.json", "chat_template.jinja"]
)
def test_settings_beside_the_weights_count(folder, name):
    before = of(folder)
    (folder / name).write_text("{}")
    assert of(folder) != before


def test_decoding_counts_and_execution_does_not(folder, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}")
    counts = [
        {}, {"dtype": "float32"}, {"seed": 1}, {"extra_body": '{"top_k": 1}'},
        {"args": '["--quantization", "fp8"]'}, {"chat_template": str(template)},
        {"tool_parser": "hermes"}, {"lora": str(write_adapter(tmp_path / "a"))},
        {"lora": str(write_adapter(tmp_path / "b", rank=2))},
    ]  # fmt: skip
    assert len({of(folder, **options) for options in counts}) == len(counts)
    free = {
        "port": 8123, "timeout_s": 1, "startup_timeout_s": 2, "max_retries": 1,
        "max_model_len": 99, "gpu_memory_utilization": 0.1, "tensor_parallel": 2,
        "max_in_flight": 3, "rpm": 60, "tpm": 1e5, "runs_dir": str(tmp_path),
    }  # fmt: skip
    assert of(folder, **free) == of(folder)
    assert set(free) - {"runs_dir"} <= set(VllmModel.execution_options)


def test_a_model_of_the_hub_is_its_name_and_revision():
    name = "Qwen/Qwen2.5-0.5B-Instruct"
    assert VllmModel(name, python=sys.executable).info.name == f"vllm:{name}"
    hashes = {of(name), of(name, revision="abc"), of("Qwen/Qwen2.5-0.5B")}
    assert len(hashes) == 3


def test_the_card_beside_the_weights_says_what_they_are(folder, tmp_path):
    (folder / "card.json").write_text('{"training": "agemem"}')
    assert VllmModel(str(folder), python=sys.executable).info.training == "agemem"
    adapter = write_adapter(tmp_path / "a")  # whose own card counts then, and it has none
    model = VllmModel(str(folder), python=sys.executable, lora=str(adapter))
    assert model.info.training == "none"
    (tmp_path / "card").write_text('{"training": "agemem"}')
    given = {"lora": str(adapter), "card": str(tmp_path / "card")}
    assert VllmModel(str(folder), python=sys.executable, **given).info.training == "agemem"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("", {}, "vllm:MODEL"),
        ("/no/such/dir", {}, "no model directory /no/such/dir"),
        ("./none", {}, "no model directory"),
        ("a/b/c", {}, "no model directory"),
        ("org/model", {"lora": "/no/such"}, "no adapter directory /no/such"),
        ("org/model", {"python": "/no/such/python"}, "no interpreter"),
        ("org/model", {"port": "70000"}, "option port"),
        ("org/model", {"gpu_memory_utilization": "1.5"}, "option gpu_memory_utilization"),
        ("org/model", {"dtype": "--x"}, "option dtype"),
        ("org/model", {"tool_parser": "x y"}, "option tool_parser"),
        ("org/model", {"args": "--foo"}, "option args"),
        ("org/model", {"args": '["--api-key", "k"]'}, "'--api-key' is not for it to set"),
        ("org/model", {"args": '["--api_key=k"]'}, "is not for it to set"),
        ("org/model", {"args": '["--api-k", "x"]'}, "is not for it to set"),
        ("org/model", {"args": '["--trust-remote-code"]'}, "no code that comes with a model"),
        ("org/model", {"args": '["--trust_remote_code"]'}, "no code that comes with a model"),
        ("org/model", {"args": '["-tp", "2"]'}, "is not for it to set"),
        ("org/model", {"args": '["--config", "f.yaml"]'}, "is not for it to set"),
        ("org/model", {"chat_template": "/no/such.jinja"}, "cannot read /no/such.jinja"),
        ("org/model", {"max_retries": "-1"}, "option max_retries"),
        ("org/model", {"max_in_flight": "0"}, "option max_in_flight"),
        ("org/model", {"rpm": "-1"}, "option rpm"),
        ("org/model", {"extra_body": "[]"}, "option extra_body"),
    ],
)
def test_bad_options_are_one_line(name, options, says):
    with pytest.raises(AgememError) as caught:
        VllmModel(name, **{"python": sys.executable, **options})
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arguments_that_only_begin_like_ours_are_passed_on():
    args = '["--enable-prefix-caching", "--max-num-seqs=8", "--seed", "-1"]'
    assert VllmModel("org/model", python=sys.executable, args=args)


def test_without_vllm_the_error_says_what_serves_as_well(monkeypatch):
    real = importlib.util.find_spec
    gone = lambda name: None if name == "vllm" else real(name)  # noqa: E731
    monkeypatch.setattr(module.importlib.util, "find_spec", gone)
    with pytest.raises(MissingExtraError, match=r"--base-url.*agemem-eval\[vllm\]") as caught:
        VllmModel("org/model")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 4), "not a safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 99), "not a safetensors file"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"\x02" + b"\0" * 7 + b"[]"),
            "not a safetensors file",
        ),
        (lambda f: with_header(f, b'{"w": {"shape": [1], "data_offsets": [0.0, 1]}}'), "without a"),
        (lambda f: with_header(f, b"[" * 100_000), "not a safetensors file"),
    ],
)
def test_a_directory_that_is_no_model_is_refused(folder, break_it, says):
    break_it(folder)
    with pytest.raises(DataError, match=says):
        of(folder)


def test_a_key_for_others_is_not_looked_at(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "one\nand another")
    assert of(folder)


@pytest.mark.parametrize("config", ['{"text_config": null}', '{"num_hidden_layers": "2"}', "[]"])
def test_a_config_that_says_nothing_refuses_no_adapter(folder, tmp_path, config):
    (folder / "config.json").write_text(config)
    assert of(folder, lora=str(write_adapter(tmp_path / "a")))


def test_an_adapter_of_another_base_is_refused(folder, tmp_path):
    def refused(says: str, model: str | Path, **of_adapter) -> None:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        with pytest.raises(UsageError, match=says):
            of(model, lora=str(write_adapter(place, **of_adapter)))

    refused("hidden size of 16, the model's is 8", folder, hidden=16)
    refused("3 layers or more, the model has 2", folder, layer=2)
    refused("trained on org/other", "org/model", base="org/other")
    assert of("org/model", lora=str(write_adapter(tmp_path / "x", base="org/model")))
    assert of("org/model", lora=str(write_adapter(tmp_path / "y", base="/some/place")))
    assert of(folder, lora=str(write_adapter(tmp_path / "z", base="org/other")))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ('{"peft_type": "LORA"}', "a rank r"),
        ('{"peft_type": "IA3", "r": 4}', "peft_type LORA"),
        ("[]", "peft_type LORA"),
        ("{", "cannot read"),
        ('{"peft_type": "LORA", "r": 999}', "more than vLLM takes"),
    ],
)
def test_a_broken_adapter_is_refused(folder, tmp_path, config, says):
    adapter = write_adapter(tmp_path / "a")
    (adapter / "adapter_config.json").write_text(config)
    with pytest.raises(DataError, match=says):
        of(folder, lora=str(adapter))
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(DataError, match=r"holds no adapter_model\.safetensors"):
        of(folder, lora=str(adapter))


def test_the_command_line_knows_its_options(tmp_path):
    given = {
        "envs": "alfworld", "memories": "none", "model": f"vllm:{tmp_path}",
        "option": ["port=8123", "dtype=float16", "timeout_s=5"],
    }  # fmt: skip
    config, execution = resolve(given)
    assert config.options == {"vllm": {"dtype": "float16"}}
    assert isinstance(execution, Execution)
    assert execution.model_options == {"port": "8123", "timeout_s": "5"}
    with pytest.raises(UsageError, match="did you mean 'lora'"):
        make_model("vllm:org/model", {"lor": "x"})
