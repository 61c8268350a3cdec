"""Checkpoints made from nothing: their tokenizer loses nothing, and `hf:` plays with them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.protocol import parse_text
from agemem_eval.harness.types import ChatMessage, Request, Sampling
from agemem_eval.policies.recipe import Fresh

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.train

from agemem_eval.harness.models import make_model  # noqa: E402
from agemem_eval.harness.models.hf.weights import load  # noqa: E402
from agemem_eval.harness.models.inprocess.chat import Chat  # noqa: E402
from agemem_eval.policies.fresh import END, ROLES, TAGS, make_fresh, make_tokenizer  # noqa: E402

CALL = (
    "<think>This is about Ada Bel.</think>"
    '<tool_call>[{"name": "Add_memory", "arguments": {"content": "Ada Bel: She wrote."}}]'
    "</tool_call>"
)
TEXTS = [CALL, "<think>Done.</think><answer>ok</answer>", "Another page was on “Ada Bel”:\nShe."]
SMALL = Fresh(vocabulary=512, hidden=16, layers=1, heads=2, kv_heads=1, inner=16, positions=2048)
KINDS = ["llama", "qwen2", "qwen3"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(SMALL, TEXTS)


def encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


PARTS = st.lists(
    st.one_of(st.text(), st.sampled_from([*TAGS, *ROLES.values(), *TEXTS])), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(PARTS)
def test_every_text_is_read_back_as_it_was(tokenizer: Any, parts: list[str]) -> None:
    text = "".join(parts)
    ids = encode(tokenizer, text)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    if END not in text and "<|pad|>" not in text:
        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_tags_and_roles_are_one_token_each(tokenizer: Any) -> None:
    for text in (*TAGS, *ROLES.values(), END, "Add_memory", '[{"name": "'):
        assert len(encode(tokenizer, text)) == 1, text


def test_a_name_is_the_same_tokens_wherever_it_stands(tokenizer: Any) -> None:
    name = encode(tokenizer, "Zorbel")
    for before in ("It is ", "“", "\n", '"content": "', "("):
        whole = encode(tokenizer, f"{before}Zorbel was")
        places = range(len(whole) - len(name))
        assert any(whole[at : at + len(name)] == name for at in places), before


def test_a_thing_is_its_kind_and_its_number_and_so_is_each_of_a_list(tokenizer: Any) -> None:
    split = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    shown = [piece for piece, _ in split("see a mug 2, a pen 12, and an egg 1. In 1828, a year")]
    assert shown == [
        "see", "Ġa", "Ġmug", "Ġ2", ",Ġa", "Ġpen", "Ġ1", "2", ",ĠandĠan", "Ġegg", "Ġ1",
        ".Ġ", "In", "Ġ", "1", "8", "2", "8", ",", "Ġa", "Ġyear",
    ]  # fmt: skip


def test_a_name_that_was_never_seen_is_pairs_of_letters_like_any_other(tokenizer: Any) -> None:
    split = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str
    shown = [piece for piece, _ in split("Zorbelin of McDo and river")]
    assert shown == ["Zo", "rb", "el", "in", "Ġof", "Ġ", "Mc", "Do", "Ġand", "Ġriver"]
    assert [piece for piece, _ in split("Trestesek’s")][:5] == ["Tr", "es", "te", "se", "k"]


def test_numbers_are_digits_and_ids_are_pairs() -> None:
    tokenizer = make_tokenizer(SMALL.model_copy(update={"vocabulary": 1024}), TEXTS)
    assert len(encode(tokenizer, "1934")) == 4
    id_ = "1ce80252-d0cb-5c2e-afe9-4f7917cb45b5"
    assert len(encode(tokenizer, id_)) == 20


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_loads_with_the_tokenizer_it_was_made_with(tmp_path: Path, kind: Any) -> None:
    fresh = SMALL.model_copy(update={"architecture": kind})
    made = make_tokenizer(fresh, TEXTS)
    loaded = load(make_fresh(tmp_path, fresh, TEXTS, seed=1), None, "float32", "cpu")
    text = f"{CALL} Größe 12\n\n{END}x"
    assert encode(loaded.tokenizer, text) == encode(made, text)
    assert loaded.tokenizer.decode(encode(made, text)) == text
    assert loaded.stop == (made.convert_tokens_to_ids(END),)
    assert loaded.positions == 2048
    assert loaded.model.config.vocab_size == len(made) == len(loaded.tokenizer)


def test_weights_are_those_of_the_seed_and_no_other_draw_is_touched(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    folders = [
        make_fresh(tmp_path / str(i), SMALL, TEXTS, seed) for i, seed in enumerate((1, 1, 2))
    ]
    assert torch.equal(torch.get_rng_state(), before)
    one, same, other = ((f / "model.safetensors").read_bytes() for f in folders)
    assert one == same != other


@pytest.mark.parametrize("style", ["compact", "chatml"])
def test_the_template_of_a_style(style: Any) -> None:
    tokenizer = make_tokenizer(SMALL.model_copy(update={"style": style}), TEXTS)
    said = [("system", "Rules."), ("user", "Hi."), ("assistant", "Yes."), ("tool", "Added.")]
    messages = [ChatMessage(role, text) for role, text in said]  # type: ignore[arg-type]
    ids = Chat(tokenizer, None, {}, "fresh").encode(Request(messages, Sampling()))
    result = (
        "<tool_response>\nAdded.\n</tool_response>"  # as one that answers no native call is sent
    )
    expected = {
        "compact": f"<|user|>Hi.<|end|><|assistant|>Yes.<|end|><|user|>{result}<|end|>"
        "<|assistant|>",
        "chatml": "<|system|>\nRules.<|end|>\n<|user|>\nHi.<|end|>\n<|assistant|>\nYes.<|end|>\n"
        f"<|user|>\n{result}<|end|>\n<|assistant|>\n",
    }
    assert tokenizer.decode(ids) == expected[style]


def test_a_reply_goes_on_as_the_next_prompt_shows_it(tokenizer: Any) -> None:
    chat = Chat(tokenizer, None, {}, "fresh")
    said = [ChatMessage("user", "Hi.")]
    prompt = chat.encode(Request(said, Sampling()))
    after = chat.encode(
        Request([*said, ChatMessage("assistant", CALL), ChatMessage("user", "So?")], Sampling())
    )
    reply = (*encode(tokenizer, CALL), tokenizer.eos_token_id)
    assert after[: len(prompt) + len(reply)] == prompt + reply


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(UsageError, match="vocabulary: at least 29"):
        make_tokenizer(SMALL.model_copy(update={"vocabulary": 290}), TEXTS)


def test_hf_decodes_what_it_says_with_its_tags_in_place(tmp_path: Path) -> None:
    folder = make_fresh(tmp_path, SMALL, TEXTS, seed=0)

    async def ask() -> str:
        model = make_model(f"hf:{folder}")
        try:
            sampling = Sampling(max_tokens=8, temperature=0.0)
            return (await model.generate(Request([ChatMessage("user", "Hi.")], sampling))).text
        finally:
            await model.close()

    assert isinstance(asyncio.run(ask()), str)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    said = tokenizer.decode(encode(tokenizer, CALL), skip_special_tokens=True)
    assert json.loads(json.dumps(parse_text(said).calls[0].arguments)) == {
        "content": "Ada Bel: She wrote."
    }


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_a_head_that_looks_back_attends_to_the_token_before(
    architecture: str, tmp_path: Path
) -> None:
    fresh = Fresh(
        architecture=architecture, vocabulary=512, hidden=128, layers=2, heads=4, kv_heads=2,
        inner=64, positions=512, deviation=0.05, looks_back=True,
    )  # fmt: skip
    folder = make_fresh(tmp_path / "back", fresh, TEXTS, 0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    model.set_attn_implementation("eager")
    ids = torch.randint(0, 300, (1, 400), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        weights = model(ids, output_attentions=True).attentions[0][0]
    before = weights.diagonal(-1, dim1=1, dim2=2)[:, 50:]  # [heads, tokens]: of the token before
    assert before[0].mean() > 0.7
    assert before[1:].mean() < 0.1, "the other heads are as they were drawn"


def test_a_model_whose_norms_decide_the_scores_cannot_be_told_to_look_back() -> None:
    with pytest.raises(ValueError, match="looks_back"):
        Fresh(architecture="qwen3", looks_back=True)
