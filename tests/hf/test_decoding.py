"""The decoder beside transformers: its `generate`, its logits, its samplers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from agemem_eval.harness.models.hf.generate import Decoder
    from agemem_eval.harness.models.inprocess.decoding import Generated, Prompt

pytestmark = pytest.mark.hf
STOP = (2, 9, 100, 101, 102, 103)  # several, so that some rows end early
Ids = Sequence[tuple[int, ...]]


def make(network: Any, **options: Any) -> Decoder:
    from agemem_eval.harness.models.hf.generate import Decoder

    return Decoder(network, STOP, **options)


def prompt(ids: tuple[int, ...], max_tokens: int = 20, **more: Any) -> Prompt:
    from agemem_eval.harness.models.inprocess.decoding import Prompt

    return Prompt(ids, max_tokens, **more)


def greedy_of_transformers(network: Any, ids: tuple[int, ...], max_tokens: int = 20) -> list[int]:
    import torch

    out = network.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=max_tokens,
        do_sample=False,
        eos_token_id=list(STOP),
        pad_token_id=0,
    )
    return out[0, len(ids) :].tolist()


def logprobs_of_transformers(network: Any, ids: tuple[int, ...], reply: Generated) -> np.ndarray:
    """Of one plain forward over the whole sequence, without a cache."""
    import torch

    whole = torch.tensor([ids + reply.tokens])
    with torch.no_grad():
        logits = network(whole, use_cache=False).logits[0, len(ids) - 1 : -1]
    return logits.log_softmax(-1).gather(1, whole[0, len(ids) :, None])[:, 0].numpy()


@pytest.mark.parametrize("rows", [1, 5, 32])
@pytest.mark.parametrize("reuse", [True, False])
def test_greedy_replies_are_those_of_transformers_whatever_the_batch(
    network: Any, ragged: Ids, rows: int, reuse: bool
) -> None:
    decoder = make(network, max_rows=rows, reuse=reuse, prefill_tokens=64)
    replies = decoder.generate([prompt(ids) for ids in ragged])
    expected = [greedy_of_transformers(network, ids) for ids in ragged]
    assert [list(reply.tokens) for reply in replies] == expected
    ended = [reply.tokens[-1] in STOP for reply in replies]
    assert [reply.finish == "stop" for reply in replies] == ended
    assert any(ended)
    assert not all(ended)


@pytest.mark.parametrize("reuse", [True, False])
def test_logprobs_are_those_of_a_plain_forward(network: Any, ragged: Ids, reuse: bool) -> None:
    decoder = make(network, max_rows=6, reuse=reuse, prefill_tokens=64)
    asked = [
        prompt(ids, temperature=0.8 * (i % 2), top_p=0.9, seed=i, want_logprobs=True)
        for i, ids in enumerate(ragged)
    ]
    for ids, reply in zip(ragged, decoder.generate(asked), strict=True):
        assert reply.logprobs is not None
        expected = logprobs_of_transformers(network, ids, reply)
        assert np.abs(np.array(reply.logprobs) - expected).max() < 2e-5


def test_draws_are_the_same_alone_and_among_others(network: Any, ragged: Ids) -> None:
    asked = [prompt(ids, temperature=1.0, top_p=0.95, seed=i) for i, ids in enumerate(ragged)]
    alone = make(network, max_rows=1).generate(asked)
    together = make(network, max_rows=32).generate(asked)
    backwards = make(network, max_rows=7, reuse=False).generate(asked[::-1])[::-1]
    assert alone == together == backwards
    other = make(network).generate([prompt(p.tokens, temperature=1.0, seed=99) for p in asked])
    assert other != together


def test_a_row_joins_and_leaves_while_others_go_on(network: Any, ragged: Ids) -> None:
    decoder = make(network, max_rows=8)
    expected = [greedy_of_transformers(network, ids) for ids in ragged[:5]]
    first = decoder.join([prompt(ids) for ids in ragged[:3]])
    decoder.step()
    decoder.leave(first[1])  # as one that was cancelled
    late = decoder.join([prompt(ids) for ids in ragged[3:5]])
    while decoder.rows:
        decoder.step()
    rows = [first[0], first[2], *late]
    assert [list(row.done.tokens) for row in rows if row.done is not None] == [
        expected[i] for i in (0, 2, 3, 4)
    ]
    assert first[1].done is None


def test_a_prompt_takes_over_what_another_that_begins_alike_has_computed(network: Any) -> None:
    long = tuple(range(10, 210))
    decoder = make(network, max_rows=4)
    decoder.generate([prompt(long)])
    assert decoder.prefilled == 200
    more = [(*long, 5, 6, 7), long[:150] + (8,) * 9]
    replies = decoder.generate([prompt(ids) for ids in more])
    assert decoder.prefilled == 200 + 3 + 9
    assert [list(r.tokens) for r in replies] == [greedy_of_transformers(network, i) for i in more]
    fresh = make(network, max_rows=8)
    fresh.generate([prompt(long, seed=i, temperature=1.0) for i in range(8)])  # a group
    assert fresh.prefilled == 200 + 7  # the last token of each gives its first logits


def test_the_cache_stays_within_its_bound_and_the_replies_the_same(
    network: Any, ragged: Ids
) -> None:
    decoder = make(network, max_rows=16, max_tokens=300)
    most = 0

    def watch(*_: Any) -> None:
        nonlocal most
        most = max(most, decoder._cache.slots * decoder._cache.capacity)

    hook = network.register_forward_pre_hook(watch)
    try:
        replies = decoder.generate([prompt(ids) for ids in ragged])
    finally:
        hook.remove()
    assert 0 < most <= 300
    assert replies == make(network).generate([prompt(ids) for ids in ragged])
    with pytest.raises(ValueError, match="300 tokens"):
        decoder.generate([prompt(tuple(range(10, 295)))])


def test_a_long_prompt_makes_room_for_itself_and_short_ones_get_it_back(network: Any) -> None:
    long, short = tuple(range(3, 403)), tuple(range(50, 60))
    decoder = make(network, max_rows=8, max_tokens=1200)
    asked = [*[short] * 3, long, *[short[i:] for i in range(8)]]
    replies = decoder.generate([prompt(ids) for ids in asked])
    assert [list(r.tokens) for r in replies] == [greedy_of_transformers(network, i) for i in asked]


def test_after_the_weights_have_changed_nothing_old_is_used(network: Any) -> None:
    import copy

    import torch

    mine = copy.deepcopy(network)
    decoder = make(mine)
    ids = tuple(range(20, 80))
    before = decoder.generate([prompt(ids)])
    with torch.no_grad():
        mine.model.embed_tokens.weight += 0.3
    decoder.reset()
    after = decoder.generate([prompt(ids)])
    assert after != before
    assert list(after[0].tokens) == greedy_of_transformers(mine, ids)


def test_logits_that_are_no_numbers_are_an_error(network: Any) -> None:
    import copy

    import torch

    broken = copy.deepcopy(network)
    with torch.no_grad():
        broken.lm_head.weight.fill_(torch.nan)
    with pytest.raises(ArithmeticError, match="NaN"):
        make(broken).generate([prompt((5, 6))])


FAMILIES = {
    "Llama": {},
    "Mistral": {"sliding_window": 8},
    "Qwen3": {"head_dim": 16},
    "Qwen2": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "Gemma2": {"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16},
    "Gemma3Text": {"head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16},
    "GPT2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "GPTNeoX": {},
    "Phi3": {"pad_token_id": 0},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_of_models_decode_as_in_transformers(family: str, ragged: Ids) -> None:
    import torch
    import transformers

    torch.manual_seed(1)
    config = getattr(transformers, f"{family}Config")(
        **{
            "vocab_size": 500,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "initializer_range": 0.2,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **FAMILIES[family],
        }
    )
    name = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}
    model = getattr(transformers, name.get(family, f"{family}ForCausalLM"))(config).eval()
    prompts = ragged[:6]
    replies = make(model, max_rows=3, prefill_tokens=32).generate([prompt(i) for i in prompts])
    assert [list(r.tokens) for r in replies] == [greedy_of_transformers(model, i) for i in prompts]


def test_models_whose_memory_is_no_sequence_are_refused() -> None:
    import transformers

    from agemem_eval.harness.errors import UsageError

    config = transformers.MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1)
    with pytest.raises(UsageError, match="MambaForCausalLM") as error:
        make(transformers.MambaForCausalLM(config).eval())
    assert "\n" not in str(error.value)


# --- drawing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("top_p", [0.3, 0.8, 1.0])
def test_tokens_are_drawn_as_often_as_transformers_says(temperature: float, top_p: float) -> None:
    import torch
    from scipy.stats import chisquare
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    from agemem_eval.harness.models.hf.draw import draw

    rows = 4000
    logits = torch.tensor([[1.0, 0.2, -1.0, 2.0, -3.0, 0.3]])
    warped = TemperatureLogitsWarper(temperature)(None, logits)
    if top_p < 1:
        warped = TopPLogitsWarper(top_p)(None, warped)
    expected = warped.softmax(-1)[0].double().numpy()
    prompts = [prompt((1,), temperature=temperature, top_p=top_p)] * rows
    generators = [torch.Generator().manual_seed(i) for i in range(rows)]
    tokens, _ = draw(logits.expand(rows, -1), prompts, generators)
    counts = np.bincount(tokens, minlength=6)
    assert counts[expected == 0].sum() == 0
    inside = expected > 0
    if inside.sum() > 1:
        wanted = expected[inside] / expected[inside].sum() * rows
        assert chisquare(counts[inside], wanted).pvalue > 1e-4


def test_rows_of_one_batch_are_drawn_each_in_its_own_way() -> None:
    import torch

    from agemem_eval.harness.models.hf.draw import draw

    logits = torch.tensor([[0.0, 3.0, 1.0]] * 3)
    asked = [
        prompt((1,)),
        prompt((1,), temperature=1.0, top_p=0.5),
        prompt((1,), temperature=1.0, want_logprobs=True),
    ]
    tokens, logprobs = draw(logits, asked, [torch.Generator().manual_seed(3) for _ in asked])
    assert tokens[:2] == [1, 1]
    assert logprobs[2] == pytest.approx(float(logits[2].log_softmax(-1)[tokens[2]]))


def test_numbers_at_both_ends_draw_a_token_that_can_be() -> None:
    import torch

    from agemem_eval.harness.models.hf.draw import _invert

    weights = torch.tensor([[0.0, 0.25, 0.0, 0.75, 0.0]], dtype=torch.float64)
    for number, token in ((0.0, 1), (0.2499, 1), (0.25, 3), (1 - 2**-53, 3), (1.0, 3)):
        drawn = _invert(weights, torch.tensor([[number]], dtype=torch.float64))
        assert drawn.tolist() == [token]
