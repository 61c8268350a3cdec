"""`numpy:` as the harness uses it: messages in, completions out, what it is, what it refuses."""

from __future__ import annotations

import asyncio
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from model_requests import RETRIEVE, SAY, ask, changed_copy
from safetensors.numpy import load_file, save_file
from tiny_model import make_model as make_weights

from agemem_eval.harness.errors import AgememError, DataError, ModelError, UsageError
from agemem_eval.harness.models import make_model
from agemem_eval.harness.models.inprocess.decoding import Generated
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import ChatMessage, Request, Sampling


@pytest.fixture
async def make(tiny: Path) -> AsyncIterator[Callable[..., Any]]:
    made: list[Any] = []

    def make_one(folder: Path = tiny, **options: str) -> Any:
        made.append(make_model(f"numpy:{folder}", options))
        return made[-1]

    yield make_one
    for model in made:
        await model.close()


def prompt_of(model: Any, request: Request) -> str:
    chat = model._asked._chat
    return chat._tokenizer.decode(
        chat.encode(request), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )


# --- asked --------------------------------------------------------------------------------------


async def test_a_reply_has_text_usage_and_where_asked_for_its_tokens(make: Any) -> None:
    model = make()
    plain = await model.generate(ask())
    assert plain.token_ids is plain.logprobs is plain.prompt_ids is None
    told = await model.generate(replace(ask(), want_tokens=True))
    assert told.text == plain.text
    assert told.usage == plain.usage
    assert told.prompt_ids == model._asked._chat.encode(ask())
    assert told.usage.prompt_tokens == len(told.prompt_ids)
    assert told.usage.completion_tokens == len(told.token_ids) == len(told.logprobs) <= 12
    assert not told.usage.estimated
    assert all(logprob <= 0 for logprob in told.logprobs)


async def test_a_seed_fixes_the_draws_and_another_prompt_draws_others(make: Any) -> None:
    model = make()
    first, again, other, elsewhere = await asyncio.gather(
        *(model.generate(ask(temperature=1.0, seed=seed)) for seed in (3, 3, 4)),
        model.generate(ask(ChatMessage("user", "Go."), temperature=1.0, seed=3)),
    )
    assert first == again
    assert len({first.text, other.text, elsewhere.text}) == 3
    free = ask(temperature=None, seed=None)
    assert (await model.generate(free)).text != (await model.generate(free)).text


async def test_what_exceeds_the_models_positions_is_refused_before_it_is_computed(
    make: Any, tiny: Path, tmp_path: Path
) -> None:
    short = changed_copy(tiny, tmp_path / "short", config={"max_position_embeddings": 64})
    model = make(short)
    prompt = len(model._asked._chat.encode(ask()))
    assert (await model.generate(ask(max_tokens=64 - prompt))).usage.prompt_tokens == prompt
    with pytest.raises(ModelError, match=f"prompt of {prompt} tokens .* 64 positions") as error:
        await model.generate(ask(max_tokens=65 - prompt))
    assert error.value.kind == "refused"
    with pytest.raises(ModelError, match="the cache holds 20") as error:
        await make(max_tokens_in_flight="20").generate(ask())
    assert error.value.kind == "refused"


# --- templates and tools ------------------------------------------------------------------------


def test_messages_tools_calls_and_results_reach_the_template(make: Any) -> None:
    call = ToolCall("Retrieve_memory", {"query": "äpple"}, "call_1")
    messages = [
        *SAY,
        ChatMessage("assistant", "", (call,)),
        ChatMessage("tool", "an apple", tool_call_id="call_1"),
    ]
    text = prompt_of(make(), Request(messages, Sampling(), tools=(RETRIEVE,)))
    assert text.startswith('<|im_start|>system\n{"type": "function"')
    assert '"name": "Retrieve_memory"' in text
    assert '"arguments": {"query": "äpple"}' in text  # an object, as it is
    assert text.endswith("<|im_start|>tool\nan apple<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_may_be_a_file_the_configs_or_one_of_several(
    make: Any, tiny: Path, tmp_path: Path
) -> None:
    bare = changed_copy(tiny, tmp_path / "bare", tokenizer_config={"chat_template": None})
    with pytest.raises(UsageError, match="-o chat_template=FILE"):
        make(bare)
    given = tmp_path / "plain.jinja"
    given.write_text("{% for m in messages %}{{ m.content }}|{% endfor %}{{ more }}{{ eos_token }}")
    model = make(bare, chat_template=str(given), chat_template_kwargs='{"more": "mug"}')
    expected = "You are an agent in a household.|Put a clean mug on the desk.|mug<|im_end|>"
    assert prompt_of(model, ask()) == expected
    several = [{"name": "default", "template": "no"}, {"name": "tool_use", "template": "tools"}]
    two = changed_copy(bare, tmp_path / "two", tokenizer_config={"chat_template": several})
    assert prompt_of(make(two), ask()) == "no"
    assert prompt_of(make(two), replace(ask(), tools=(RETRIEVE,))) == "tools"
    (two / "chat_template.jinja").write_text("of the file")
    assert prompt_of(make(two), ask()) == "of the file"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{% for m in messages %}", "refuses the messages"),
        ("{{ messages.__class__.__mro__ }}", "refuses the messages"),
        ("{{ dict.__globals__ }}", "gives an empty prompt"),
        ("{% set n = namespace(__class__=3) %}", "may not be called"),
        ("{{ messages.append(1) }}", "refuses the messages"),
        ("{{ 'a' * 10 ** 12 }}", "refuses the messages"),
        ("{{ missing.field }}", "refuses the messages"),
    ],
)
async def test_a_template_that_refuses_or_strays_is_one_line(
    make: Any, tmp_path: Path, template: str, said: str
) -> None:
    file = tmp_path / "bad.jinja"
    file.write_text(template)
    with pytest.raises(UsageError, match=said) as error:
        await make(chat_template=str(file)).generate(ask())
    assert "\n" not in str(error.value)


def test_what_templates_are_given_beside_the_messages(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "rich.jinja"
    file.write_text(
        "{%- set n = namespace(count=0) -%}{%- for m in messages -%}{%- if loop.first -%}"
        "{%- continue -%}{%- endif -%}{%- set n.count = n.count + 1 -%}{%- endfor -%}"
        "{% generation %}{{ n.count }}{% endgeneration %} {{ strftime_now('%d %b') }} "
        "{{ strftime_now('%' ~ 'Y') }} {{ dict(a='<ü>') | tojson }}"
    )
    assert prompt_of(make(chat_template=str(file)), ask()) == '1 01 Jan 2025 {"a": "<ü>"}'


def test_calls_are_read_from_a_reply(make: Any) -> None:
    model = make()
    chat = model._asked._chat
    text = 'So. <tool_call>{"name": "Retrieve_memory", "arguments": {"query": "a"}}</tool_call>'
    ids = chat._tokenizer.encode(text, add_special_tokens=False)
    reply = Generated((*ids, 2), "stop")
    done = chat.read(replace(ask(), tools=(RETRIEVE,)), (0,) * 5, reply)
    assert done.text == "So."
    assert [(c.name, c.arguments) for c in done.tool_calls] == [("Retrieve_memory", {"query": "a"})]
    assert chat.read(ask(), (0,) * 5, reply).text == text


def test_native_calls_are_refused_where_the_template_shows_no_tools(
    make: Any, tmp_path: Path
) -> None:
    template = tmp_path / "plain.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    episode: Any = SimpleNamespace(native=True, tools=(RETRIEVE,))
    assert (model := make()).bind(episode) is model
    with pytest.raises(UsageError, match="--transport prompt"):
        make(chat_template=str(template)).bind(episode)


# --- what it is ---------------------------------------------------------------------------------


def test_the_identity_is_the_content_not_the_place_or_the_batch(
    make: Any, tiny: Path, tmp_path: Path
) -> None:
    elsewhere = changed_copy(tiny, tmp_path / "moved", config={"transformers_version": "9"})
    other = make(elsewhere, max_batch="3", max_wait_ms="0", prefix_reuse="false")
    assert other.info.identity == make().info.identity
    assert other.info.identity["provider"] == "numpy"
    assert str(tmp_path) not in json.dumps(other.info.identity) + other.info.name
    assert (other.info.name, other.info.training) == ("numpy:moved", "none")
    assert type(other).cacheable


def test_everything_that_changes_replies_changes_the_identity(
    make: Any, tiny: Path, tmp_path: Path
) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}")
    carded = changed_copy(tiny, tmp_path / "carded")
    (carded / "card.json").write_text('{"training": "agemem"}')
    models = [
        make(),
        make(make_weights(tmp_path / "weights", seed=1, hidden=64)),
        make(changed_copy(tiny, tmp_path / "config", config={"rope_theta": 20000.0})),
        make(changed_copy(tiny, tmp_path / "stop", generation_config={"eos_token_id": [1, 2]})),
        make(changed_copy(tiny, tmp_path / "words", tokenizer_config={"model_max_length": 99})),
        make(carded),
        make(chat_template=str(template)),
        make(chat_template_kwargs='{"enable_thinking": false}'),
    ]
    identities = [json.dumps(model.info.identity, sort_keys=True) for model in models]
    assert len(set(identities)) == len(models)
    assert [model.info.training for model in models].count("agemem") == 1
    card = tmp_path / "mine.json"
    card.write_text('{"training": "agemem", "steps": 10}')
    assert make(card=str(card)).info.training == "agemem"


@pytest.mark.parametrize(
    ("generation", "config", "named", "stop"),
    [
        ({"eos_token_id": [5, 2]}, 7, "<|im_end|>", [2, 5]),
        ({"eos_token_id": None}, 7, "<|im_end|>", [2]),
        (None, 7, "<|im_end|>", [7]),
        (None, None, "<|im_end|>", [2]),
        (None, None, None, []),
    ],
)
def test_what_ends_a_reply_is_said_by_the_first_file_that_says_it(
    make: Any, tiny: Path, tmp_path: Path, generation: Any, config: Any, named: Any, stop: Any
) -> None:
    copy = changed_copy(
        tiny,
        tmp_path / "copy",
        config={"eos_token_id": config},
        tokenizer_config={"eos_token": named},
        generation_config=generation or {},
    )
    if generation is None:
        (copy / "generation_config.json").unlink()
    assert make(copy).info.identity["decoding"]["stop"] == stop


# --- what it refuses ----------------------------------------------------------------------------


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny, tmp_path / "copy")


def refused(spec: Path | str, said: str, **options: str) -> AgememError:
    with pytest.raises((DataError, UsageError), match=said) as error:
        make_model(f"numpy:{spec}", options)
    assert "\n" not in str(error.value)
    return error.value


class _Planted:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_pickles_are_refused_and_never_read(folder: Path, tmp_path: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Planted(tmp_path / "mark")))
    make_model(f"numpy:{folder}")
    (folder / "model.safetensors").unlink()
    refused(folder, "pickled weights \\(pytorch_model.bin\\).*convert")
    (folder / "model.safetensors").write_bytes((folder / "pytorch_model.bin").read_bytes())
    refused(folder, "cannot read the weights model.safetensors")
    assert not (tmp_path / "mark").exists()


def test_a_folder_is_needed(tmp_path: Path) -> None:
    refused("", "needs a folder: numpy:FOLDER")
    refused(tmp_path / "none", "there is no folder .*none: numpy:FOLDER")
    refused("Qwen/Qwen2.5-0.5B", "there is no folder")
    refused(tmp_path, "cannot read .*config.json")


def test_bad_options_are_told(tiny: Path) -> None:
    refused(tiny, "max_batch", max_batch="0")
    refused(tiny, "chat_template_kwargs", chat_template_kwargs="[1]")
    refused(tiny, "unknown option", lora="x")
    refused(tiny, "cannot read the chat template", chat_template="none.jinja")


def test_damaged_and_missing_files_are_told_in_one_line(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for bad in (whole[: len(whole) // 2], b"\xff" * 64, b""):
        weights.write_bytes(bad)
        refused(folder, "cannot read the weights model.safetensors")
    weights.unlink()
    refused(folder, "no weights: there is no model.safetensors")
    weights.write_bytes(whole)
    tensors = load_file(weights)
    save_file({k: v for k, v in tensors.items() if "1.mlp.up" not in k}, weights)
    refused(folder, "the weight model.layers.1.mlp.up_proj.weight is missing")
    save_file(tensors | {"lm_head.weight": tensors["lm_head.weight"][:5]}, weights)
    refused(folder, r"lm_head.weight is of shape \[5, 64\]; its shape is \[407, 64\]")
    save_file({k: v.astype("int32") for k, v in tensors.items()}, weights)
    refused(folder, "of type I32, not floating-point numbers")
    weights.write_bytes(whole)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        kept = (folder / name).read_text()
        for bad in ("{", "[]", '"x"'):
            (folder / name).write_text(bad)
            refused(folder, name)
        (folder / name).write_text(kept)
    (folder / "tokenizer.json").unlink()
    refused(folder, "holds no tokenizer.json")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "mistral"}, "computes llama and qwen2, not 'mistral': use hf:"),
        ({"model_type": ["llama"]}, "computes llama and qwen2"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "its rope_type: use hf:"),
        ({"rope_parameters": [1]}, "rope_parameters is no JSON object"),
        ({"use_sliding_window": True}, "its use_sliding_window"),
        ({"layer_types": ["sliding_attention"] * 2}, "its layer_types"),
        ({"hidden_act": "gelu"}, "its hidden_act"),
        ({"quantization_config": {"bits": 4}}, "its quantization_config"),
        ({"num_hidden_layers": None}, "tells no sizes of a network.*num_hidden_layers"),
        ({"hidden_size": "wide"}, "tells no sizes of a network"),
        ({"num_attention_heads": 0}, "tells no sizes of a network"),
        ({"num_key_value_heads": 3}, "sizes that no network has"),
        ({"vocab_size": -1}, "sizes that no network has"),
        ({"vocab_size": 100}, "model.embed_tokens.weight is of shape"),
        ({"num_hidden_layers": 10**9}, "model.layers.2.* is missing"),
    ],
)
def test_networks_that_are_not_computed_are_told(
    tiny: Path, tmp_path: Path, config: dict[str, Any], said: str
) -> None:
    refused(changed_copy(tiny, tmp_path / "odd", config=config), said)


def test_a_tokenizer_of_another_network_is_refused(tiny: Path, tmp_path: Path) -> None:
    more = {"pad_token": "<|another|>"}
    other = changed_copy(tiny, tmp_path / "other", tokenizer_config=more)
    refused(other, "its tokenizer has 408 tokens, its network knows 407")
    bad = changed_copy(tiny, tmp_path / "bad", tokenizer_config={"eos_token": 7})
    refused(bad, "names a token that is no text")
    stop = changed_copy(tiny, tmp_path / "stop", generation_config={"eos_token_id": "end"})
    refused(stop, "eos_token_id is no token id")


def test_neither_torch_nor_transformers_is_loaded(tiny: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from agemem_eval.harness.models import make_model\n"
        f"print(make_model('numpy:{tiny}').info.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "numpy:tiny"
