"""`hf:` as the harness uses it: messages in, completions out, and what the model is."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_requests import RETRIEVE, SAY, ask, changed_copy

from agemem_eval.harness.errors import DataError, ModelError, UsageError
from agemem_eval.harness.models import make_model
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import ChatMessage, Completion, Request, Sampling

pytestmark = pytest.mark.hf


@pytest.fixture
async def make(tiny: Path) -> AsyncIterator[Callable[..., Any]]:
    made: list[Any] = []

    def make_one(folder: Path = tiny, **options: str) -> Any:
        made.append(make_model(f"hf:{folder}", options))
        return made[-1]

    yield make_one
    for model in made:
        await model.close()


def reply_of(text: str) -> Any:
    """A decoder's reply that says a text, for the tokenizer at hand."""

    def say(model: Any) -> Any:
        from agemem_eval.harness.models.inprocess.decoding import Generated

        ids = model._asked._chat._tokenizer.encode(text, add_special_tokens=False)
        return Generated((*ids, 2), "stop")

    return say


async def test_a_reply_is_what_transformers_gives_for_the_same_messages(
    make: Any, tiny: Path, network: Any
) -> None:
    import torch
    import transformers

    model = make()
    completion = await model.generate(replace(ask(), want_tokens=True))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    chat = [{"role": m.role, "content": m.content} for m in SAY]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    out = network.generate(**ids, max_new_tokens=12, do_sample=False)[0]
    prompt = ids["input_ids"].shape[1]
    assert completion.token_ids == tuple(out[prompt:].tolist())
    assert completion.usage.prompt_tokens == prompt
    assert completion.usage.completion_tokens == len(out) - prompt
    assert not completion.usage.estimated
    assert completion.text == tokenizer.decode(out[prompt:], skip_special_tokens=True)
    with torch.no_grad():
        logits = network(out[None]).logits[0, prompt - 1 : -1].log_softmax(-1)
    expected = logits.gather(1, out[prompt:, None])[:, 0].tolist()
    assert completion.logprobs == pytest.approx(expected, abs=2e-5)


async def test_tokens_are_given_only_where_they_are_asked_for(make: Any) -> None:
    completion = await make().generate(ask())
    assert completion.token_ids is completion.logprobs is None
    assert completion.finish in ("stop", "length")


async def test_a_seed_fixes_the_draws_and_another_prompt_draws_others(make: Any) -> None:
    model = make()
    drawn = ask(temperature=1.0, seed=3)
    first, again, other = await asyncio.gather(
        model.generate(drawn),
        model.generate(drawn),
        model.generate(ask(temperature=1.0, seed=4)),
    )
    assert first == again
    assert first.text != other.text
    from agemem_eval.harness.models.inprocess.live import prompt_of

    assert prompt_of((1, 2), drawn).seed != prompt_of((1, 3), drawn).seed
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
    small = make(max_tokens_in_flight="20")
    with pytest.raises(ModelError, match="the cache holds 20") as error:
        await small.generate(ask())
    assert error.value.kind == "refused"


# --- templates and tools ------------------------------------------------------------------------


def test_without_a_chat_template_the_option_is_named(make: Any, tiny: Path, tmp_path: Path) -> None:
    bare = changed_copy(tiny, tmp_path / "bare", tokenizer_config={"chat_template": None})
    with pytest.raises(UsageError, match="-o chat_template=FILE"):
        make(bare)
    template = tmp_path / "plain.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}|{% endfor %}{{ more }}")
    model = make(bare, chat_template=str(template), chat_template_kwargs='{"more": "mug"}')
    text = model._asked._chat._tokenizer.decode(model._asked._chat.encode(ask()))
    assert text == "You are an agent in a household.|Put a clean mug on the desk.|mug"
    with pytest.raises(DataError, match="cannot read the chat template"):
        make(chat_template=str(tmp_path / "none.jinja"))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{% for m in messages %}", "refuses the messages"),
        ("{{ messages.__class__.__mro__ }}", "refuses the messages"),
    ],
)
async def test_a_template_that_refuses_is_one_line(
    make: Any, tmp_path: Path, template: str, said: str
) -> None:
    file = tmp_path / "bad.jinja"
    file.write_text(template)
    model = make(chat_template=str(file))
    with pytest.raises(UsageError, match=said) as error:
        await model.generate(ask())
    assert "\n" not in str(error.value)


def test_a_template_that_writes_the_date_writes_always_the_same(make: Any, tmp_path: Path) -> None:
    file = tmp_path / "dated.jinja"
    file.write_text("{{ strftime_now('%d %b') + strftime_now( \"'%Y'\" ) }}")
    model = make(chat_template=str(file))
    assert model._asked._chat._tokenizer.decode(model._asked._chat.encode(ask())) == "01 Jan'2025'"


def test_tools_calls_and_results_reach_the_template(make: Any) -> None:
    model = make()
    call = ToolCall("Retrieve_memory", {"query": "apple"}, "call_1")
    messages = [
        *SAY,
        ChatMessage("assistant", "", (call,)),
        ChatMessage("tool", "an apple", tool_call_id="call_1"),
        ChatMessage("tool", "told as text"),
    ]
    request = Request(messages, Sampling(), tools=(RETRIEVE,))
    text = model._asked._chat._tokenizer.decode(model._asked._chat.encode(request))
    assert '"name": "Retrieve_memory"' in text
    assert '"arguments": {"query": "apple"}' in text  # an object, not its JSON in quotes
    assert "<|im_start|>tool\nan apple" in text
    assert "<|im_start|>user\n<tool_response>\ntold as text" in text


@pytest.mark.parametrize(
    ("text", "rest", "calls", "problems"),
    [
        (
            'Let me see. <tool_call>\n{"name": "Retrieve_memory", "arguments": {"query": "a"}}\n'
            "</tool_call>",
            "Let me see.",
            [("Retrieve_memory", {"query": "a"})],
            0,
        ),
        (
            '<tool_call>{"name": "A", "arguments": {}}</tool_call>'
            '<tool_call>{"name": "B", "arguments": "{\\"x\\": 1}"}',  # the end is missing
            "",
            [("A", {}), ("B", {"x": 1})],
            0,
        ),
        ('<tool_call>[{"name": "A"}, {"name": "B"}]</tool_call>', "", [("A", {}), ("B", {})], 0),
        ("<tool_call>{name: A}</tool_call> so", "so", [], 1),
        ('<tool_call>"A"</tool_call>', "", [], 1),
        ('<tool_call>{"name": 3}</tool_call>', "", [], 1),
        ("<tool_call>" + "[" * 100_000 + "</tool_call>", "", [], 1),
        (
            '<think>as <tool_call>{"name": "A"}</tool_call></think>no call',
            '<think>as <tool_call>{"name": "A"}</tool_call></think>no call',
            [],
            0,
        ),
        ("plain", "plain", [], 0),
    ],
)
def test_calls_are_read_from_the_text(
    make: Any, text: str, rest: str, calls: list[Any], problems: int
) -> None:
    model = make()
    request = Request(SAY, Sampling(), tools=(RETRIEVE,))
    completion: Completion = model._asked._chat.read(request, (0,) * 5, reply_of(text)(model))
    assert completion.text == rest
    assert [(call.name, call.arguments) for call in completion.tool_calls] == calls
    assert len({call.id for call in completion.tool_calls} - {""}) == len(calls)
    assert len(completion.malformed) == problems
    assert (completion.finish == "tool_calls") is bool(calls)


def test_without_tools_on_offer_a_call_is_only_text(make: Any) -> None:
    model = make()
    text = '<tool_call>[{"name": "A"}]</tool_call>'
    completion = model._asked._chat.read(ask(), (0,) * 5, reply_of(text)(model))
    assert completion.text == text
    assert completion.tool_calls == ()


def test_native_calls_are_refused_where_the_template_shows_no_tools(
    make: Any, tmp_path: Path
) -> None:
    from types import SimpleNamespace

    template = tmp_path / "plain.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    episode: Any = SimpleNamespace(native=True, tools=(RETRIEVE,))
    assert (model := make()).bind(episode) is model
    plain = make(chat_template=str(template))
    with pytest.raises(UsageError, match="--transport prompt") as error:
        plain.bind(episode)
    assert "\n" not in str(error.value)
    assert plain.bind(SimpleNamespace(native=False, tools=(RETRIEVE,))) is plain


# --- what it is ---------------------------------------------------------------------------------


def test_the_identity_is_the_content_not_the_place_or_the_batch(
    make: Any, tiny: Path, tmp_path: Path
) -> None:
    elsewhere = changed_copy(tiny, tmp_path / "moved", config={"transformers_version": "9"})
    other = make(elsewhere, max_batch="3", max_wait_ms="0", device="cpu", prefix_reuse="false")
    assert other.info.identity == make().info.identity
    assert str(tmp_path) not in json.dumps(other.info.identity) + other.info.name
    assert other.info.name == "hf:moved"
    assert other.info.training == "none"
    assert other.info.writes
    assert type(other).cacheable


def test_everything_that_changes_replies_changes_the_identity(
    make: Any, tiny: Path, adapter: Path, tmp_path: Path
) -> None:
    from tiny_model import make_model as make_weights

    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}")
    config = changed_copy(tiny, tmp_path / "config", config={"rope_theta": 20000.0})
    stop = changed_copy(tiny, tmp_path / "stop", generation_config={"eos_token_id": [1, 2]})
    words = changed_copy(tiny, tmp_path / "words", tokenizer_config={"model_max_length": 99})
    carded = changed_copy(tiny, tmp_path / "carded")
    (carded / "card.json").write_text('{"training": "agemem"}')
    models = [
        make(),
        make(make_weights(tmp_path / "weights", seed=1, hidden=64)),
        make(config),
        make(stop),
        make(words),
        make(carded),
        make(dtype="bfloat16"),
        make(chat_template=str(template)),
        make(chat_template_kwargs='{"enable_thinking": false}'),
        make(lora=str(adapter)),
    ]
    identities = [json.dumps(model.info.identity, sort_keys=True) for model in models]
    assert len(set(identities)) == len(models)
    assert [model.info.training for model in models].count("agemem") == 2  # by their cards
    assert models[-1].info.name == "hf:tiny+steps-10"
    assert models[6].info.identity["dtype"] == "bfloat16"


async def test_an_adapter_changes_replies_as_peft_says(
    make: Any, tiny: Path, adapter: Path
) -> None:
    import peft
    import torch
    import transformers

    model = make(lora=str(adapter))
    completion = await model.generate(replace(ask(), want_tokens=True))
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    merged = peft.PeftModel.from_pretrained(base, adapter).merge_and_unload().eval()
    ids = torch.tensor([model._asked._chat.encode(ask())])
    out = merged.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12)
    assert completion.token_ids == tuple(out[0, ids.shape[1] :].tolist())
    plain = await make().generate(replace(ask(), want_tokens=True))
    assert plain.token_ids != completion.token_ids


def test_a_models_card_does_not_speak_of_its_adapters(
    make: Any, tiny: Path, adapter: Path, tmp_path: Path
) -> None:
    carded = changed_copy(tiny, tmp_path / "carded")
    (carded / "card.json").write_text('{"training": "agemem"}')
    bare = shutil.copytree(adapter, tmp_path / "bare")
    (bare / "card.json").unlink()
    assert make(carded, lora=str(bare)).info.training == "none"
    assert make(carded, lora=str(adapter)).info.training == "agemem"


def test_a_card_that_is_named_counts_and_a_broken_one_is_refused(make: Any, tmp_path: Path) -> None:
    card = tmp_path / "mine.json"
    card.write_text('{"training": "agemem", "steps": 10}')
    assert make(card=str(card)).info.training == "agemem"
    card.write_text('{"training": "agemen"}')
    with pytest.raises(UsageError, match="did you mean 'agemem'"):
        make(card=str(card))


def test_tokens_are_counted_by_its_own_tokenizer(make: Any, tiny: Path) -> None:
    from tokenizers import Tokenizer

    model = make()
    own = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    for text in ("", "Put a clean mug on the desk.", "<tool_call> ü 漢\n", "a" * 5000):
        assert model.count_tokens(text) == len(own.encode(text, add_special_tokens=False).ids)
