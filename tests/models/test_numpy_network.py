"""The network of `numpy:` beside plain formulas, and its batch beside prompts one by one."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_requests import changed_copy
from safetensors.numpy import load_file, save_file
from scipy.stats import chisquare
from tiny_model import HEADS, KV_HEADS, LAYERS, make_model

from agemem_eval.harness.models.inprocess.decoding import Generated, Prompt
from agemem_eval.harness.models.numpy import decoder as decoders
from agemem_eval.harness.models.numpy.cache import SlotCache
from agemem_eval.harness.models.numpy.decoder import Decoder
from agemem_eval.harness.models.numpy.network import Network, load_network
from agemem_eval.harness.models.numpy.weights import read_weights

STOP = (2, 9, 100, 101, 102, 103)  # several, so that some rows end early
KINDS = [(kind, tied) for kind in ("qwen2", "llama") for tied in (True, False)]


@pytest.fixture(scope="module")
def network(tiny: Path) -> Network:
    return load_network(tiny)


# --- the witness: each formula as the papers write it, token by token ---------------------------


def plain_logits(folder: Path, ids: list[int]) -> np.ndarray:
    """Logits after each token, [tokens, vocabulary], in float64."""
    weights = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items()}
    config = json.loads((folder / "config.json").read_text())
    size = config["hidden_size"] // HEADS

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt(np.mean(x**2) + config["rms_norm_eps"]) * weights[f"{name}.weight"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return weights[f"{name}.weight"] @ x + weights.get(f"{name}.bias", 0)

    def rotated(head: np.ndarray, position: int) -> np.ndarray:
        half = size // 2
        angle = position / config["rope_theta"] ** (np.arange(half) / half)
        turned = (head[:half] + 1j * head[half:]) * np.exp(1j * angle)
        return np.concatenate([turned.real, turned.imag])

    states = [weights["model.embed_tokens.weight"][token] for token in ids]
    for layer in (f"model.layers.{i}" for i in range(LAYERS)):
        inputs = [norm(x, f"{layer}.input_layernorm") for x in states]
        q, k, v = (
            [linear(x, f"{layer}.self_attn.{part}_proj").reshape(-1, size) for x in inputs]
            for part in "qkv"
        )
        for at, x in enumerate(states):
            heads = []
            for head in range(HEADS):
                shared = head * KV_HEADS // HEADS
                query = rotated(q[at][head], at)
                scores = [query @ rotated(k[i][shared], i) / size**0.5 for i in range(at + 1)]
                chances = np.exp(scores) / np.exp(scores).sum()
                heads.append(sum(p * v[i][shared] for i, p in enumerate(chances)))
            x = x + linear(np.concatenate(heads), f"{layer}.self_attn.o_proj")
            inner = norm(x, f"{layer}.post_attention_layernorm")
            gate, up = (linear(inner, f"{layer}.mlp.{part}_proj") for part in ("gate", "up"))
            states[at] = x + linear(gate / (1 + np.exp(-gate)) * up, f"{layer}.mlp.down_proj")
    head = "model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"
    return np.array([linear(norm(x, "model.norm"), head) for x in states])


@pytest.mark.parametrize(("kind", "tied"), KINDS)
def test_logits_are_those_of_the_formulas_however_they_are_computed(
    kind: str, tied: bool, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "model", hidden=32, kind=kind, tied=tied)
    weights = load_file(folder / "model.safetensors")
    draws = np.random.default_rng(1)
    for name in [n for n in weights if "norm" in n]:
        weights[name] = draws.uniform(0.5, 2, weights[name].shape).astype(np.float32)
    save_file(weights, folder / "model.safetensors")
    network = load_network(folder)
    ids = draws.integers(network.sizes.vocabulary, size=90).tolist()
    expected = plain_logits(folder, ids)
    cache = SlotCache(network.sizes)
    cache.resize(4, 128, [], 0)
    whole, part = network.forward(cache, [2, 0], [0, 0], [ids, ids[:40]])
    assert np.abs(whole - expected[-1]).max() < 1e-5
    assert np.abs(part - expected[39]).max() < 1e-5
    after, one = network.forward(cache, [0, 2], [40, 7], [ids[40:80], ids[7:8]])
    assert np.abs(after - expected[79]).max() < 1e-5
    assert np.abs(one - expected[7]).max() < 1e-5
    cache.copy(0, 3, 80)
    cache.resize(3, 256, [3, 1], 80)
    (moved,) = network.forward(cache, [0], [80], [ids[80:]])
    assert np.abs(moved - expected[-1]).max() < 1e-5


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F64"])
def test_weights_of_other_types_are_those_numbers_in_float32(
    dtype: str, tiny: Path, tmp_path: Path
) -> None:
    before = read_weights(tiny)
    entries, content, expected = {}, b"", {}
    for name, weight in before.items():
        if dtype == "BF16":
            upper = weight.view(np.uint32) >> 16
            raw, expected[name] = upper.astype("<u2").tobytes(), (upper << 16).view(np.float32)
        else:
            stored = weight.astype({"F16": "<f2", "F64": "<f8"}[dtype])
            raw, expected[name] = stored.tobytes(), stored.astype(np.float32)
        place = [len(content), len(content) + len(raw)]
        entries[name] = {"dtype": dtype, "shape": list(weight.shape), "data_offsets": place}
        content += raw
    header = json.dumps(entries).encode()
    whole = len(header).to_bytes(8, "little") + header + content
    (tmp_path / "model.safetensors").write_bytes(whole)
    after = read_weights(tmp_path)
    assert set(after) == set(before)
    for name, weight in expected.items():
        assert after[name].dtype == np.float32
        assert np.array_equal(after[name], weight)
        assert np.allclose(after[name], before[name], rtol=2**-7, atol=1e-7)


def test_a_checkpoint_in_float16_computes_as_its_rounded_numbers_in_float32(
    tiny: Path, tmp_path: Path
) -> None:
    half = {name: weight.astype(np.float16) for name, weight in read_weights(tiny).items()}
    logits = []
    for dtype in ("float16", "float32"):
        folder = changed_copy(tiny, tmp_path / dtype, config={"torch_dtype": dtype})
        save_file({n: w.astype(dtype) for n, w in half.items()}, folder / "model.safetensors")
        network = load_network(folder)
        cache = SlotCache(network.sizes)
        cache.resize(1, 128, [], 0)
        logits.append(network.forward(cache, [0], [0], [list(range(3, 90))]))
    assert logits[0].dtype == np.float32
    assert np.array_equal(*logits)


# --- the batch ---------------------------------------------------------------------------------


def one_by_one(network: Network, prompt: Prompt) -> list[int]:
    """Greedy, alone: the whole sequence anew for each token, in a fresh cache."""
    ids, tokens = list(prompt.tokens), list[int]()
    while len(tokens) < prompt.max_tokens and not (tokens and tokens[-1] in STOP):
        cache = SlotCache(network.sizes)
        cache.resize(1, len(ids), [], 0)
        tokens.append(int(network.forward(cache, [0], [0], [ids])[0].argmax()))
        ids.append(tokens[-1])
    return tokens


def prompts_of(seed: int, count: int) -> list[Prompt]:
    """Of 1 to 70 tokens; most begin as another does, or are one more turn of it."""
    draws = random.Random(seed)
    made: list[tuple[int, ...]] = []
    for _ in range(count):
        begun = draws.choice([(), *made])[: draws.randrange(1, 60)]
        made.append(begun + tuple(draws.choices(range(3, 263), k=draws.randrange(1, 25))))
    return [Prompt(ids, draws.randrange(1, 9)) for ids in made]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    reuse=st.booleans(),
    rows=st.integers(1, 6),
    room=st.sampled_from([90, 300, 10_000]),
    prefill=st.sampled_from([16, 50, 2048]),
    seed=st.integers(0, 99),
)
def test_what_joins_leaves_and_is_reused_is_decoded_as_alone(
    network: Network, reuse: bool, rows: int, room: int, prefill: int, seed: int
) -> None:
    decoder = Decoder(
        network, STOP, max_rows=rows, max_tokens=room, prefill_tokens=prefill, reuse=reuse
    )
    waiting, draws = prompts_of(seed % 10, 8), random.Random(seed)
    begun: list[Any] = []
    while waiting or decoder.rows:
        joined = decoder.join(waiting[: draws.randrange(5)])
        begun += joined
        waiting = waiting[len(joined) :]
        if decoder.rows and draws.random() < 0.2:
            decoder.leave(draws.choice(decoder.rows))  # as one that was cancelled
        decoder.step()
    assert decoder._cache.slots * decoder._cache.capacity <= decoder.max_tokens
    assert len(begun) == 8
    for row in begun:
        alone = one_by_one(network, row.prompt)
        assert row.tokens == alone[: len(row.tokens)]
        if row.done is not None:
            assert list(row.done.tokens) == alone
            assert (row.done.finish == "stop") == (alone[-1] in STOP)


def test_a_prompt_that_grows_turn_by_turn_is_not_copied_each_time(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    capacities: list[int] = []
    resize = SlotCache.resize

    def counted(self: SlotCache, slots: int, capacity: int, keep: Any, length: int) -> None:
        capacities.append(capacity)
        resize(self, slots, capacity, keep, length)

    monkeypatch.setattr(SlotCache, "resize", counted)
    decoder = Decoder(network, STOP, max_rows=2)
    for length in range(50, 1001, 50):
        decoder.generate([Prompt(tuple(n % 90 + 10 for n in range(length)), 1)])
    assert capacities == [128, 256, 384, 640, 1024]
    assert decoder.prefilled == 1000

    tight = Decoder(network, STOP, max_rows=2, max_tokens=2048)
    for length in (255, 257, 385):
        tight.generate([Prompt(tuple(n % 90 + 10 for n in range(length)), 1)])
    # 640 positions would leave room for three slots, and what the fourth holds would be lost
    assert (tight._cache.slots, tight._cache.capacity) == (4, 512)


def test_a_prompt_takes_over_what_another_that_begins_alike_has_computed(network: Network) -> None:
    long = tuple(range(10, 210))
    decoder = Decoder(network, STOP, max_rows=4)
    decoder.generate([Prompt(long, 20)])
    assert decoder.prefilled == 200
    more = [Prompt((*long, 5, 6, 7), 20), Prompt(long[:150] + (8,) * 9, 20)]
    replies = decoder.generate(more)
    assert decoder.prefilled == 200 + 3 + 9
    assert [list(reply.tokens) for reply in replies] == [one_by_one(network, p) for p in more]
    decoder.reset()
    assert decoder._cache.keys.size == 0
    decoder.generate([Prompt(long, 4, seed=i, temperature=1.0) for i in range(4)])  # a group
    assert decoder.prefilled == 212 + 200 + 3  # the last token of each gives its first logits


def test_a_prompt_larger_than_the_cache_may_be_is_told(network: Network) -> None:
    with pytest.raises(ValueError, match="300 tokens"):
        Decoder(network, STOP, max_tokens=300).generate([Prompt(tuple(range(3, 293)), 20)])


def test_draws_are_the_same_alone_and_among_others(network: Network) -> None:
    def drawn(prompt: Prompt, seed: int) -> Prompt:
        return Prompt(prompt.tokens, 12, temperature=1.0, top_p=0.9, seed=seed)

    asked = [drawn(prompt, seed) for seed, prompt in enumerate(prompts_of(3, 9))]
    alone = Decoder(network, STOP, max_rows=1).generate(asked)
    assert Decoder(network, STOP).generate(asked) == alone
    assert Decoder(network, STOP, max_rows=4, reuse=False).generate(asked[::-1])[::-1] == alone
    other = [drawn(prompt, 99) for prompt in asked]
    assert Decoder(network, STOP).generate(other) != alone


def test_logprobs_are_those_of_the_model_itself(tiny: Path, network: Network) -> None:
    asked = [
        Prompt(prompt.tokens, 6, temperature=0.8 * (i % 2), top_p=0.7, seed=i, want_logprobs=True)
        for i, prompt in enumerate(prompts_of(5, 4))
    ]
    for prompt, reply in zip(asked, Decoder(network, STOP).generate(asked), strict=True):
        whole = plain_logits(tiny, [*prompt.tokens, *reply.tokens])[len(prompt.tokens) - 1 : -1]
        chances = np.exp(whole) / np.exp(whole).sum(-1, keepdims=True)
        expected = np.log(chances[np.arange(len(reply.tokens)), list(reply.tokens)])
        assert reply.logprobs == pytest.approx(expected, abs=2e-5)
    (without,) = Decoder(network, STOP).generate([Prompt(asked[0].tokens, 2)])
    assert without == Generated(without.tokens, without.finish, None)


@pytest.mark.parametrize("temperature", [0.5, 1.7])
@pytest.mark.parametrize("top_p", [0.3, 0.8, 1.0])
def test_tokens_are_drawn_as_often_as_softmax_and_nucleus_say(
    temperature: float, top_p: float
) -> None:
    logits = np.array([1.0, 0.2, -1.0, 2.0, -3.0, 0.3], np.float32)
    weights = np.exp(logits.astype(np.float64) / temperature)
    chances = weights / weights.sum()
    inside = np.zeros(6, bool)
    for token in np.argsort(-chances):
        inside[token] = True
        if chances[inside].sum() >= top_p:
            break
    prompt = Prompt((1,), 1, temperature, top_p)
    drawn = [decoders.draw(logits, prompt, np.random.default_rng(i)) for i in range(3000)]
    counts = np.bincount(drawn, minlength=6)
    assert counts[~inside].sum() == 0
    if inside.sum() > 1:
        wanted = chances[inside] / chances[inside].sum() * 3000
        assert chisquare(counts[inside], wanted).pvalue > 1e-4


def test_numbers_at_both_ends_draw_a_token_that_can_be() -> None:
    class Fixed:
        def __init__(self, number: float) -> None:
            self.random = lambda: number

    logits = np.log(np.array([1e-45, 0.25, 1e-45, 0.75, 1e-45])).astype(np.float32)
    for number, token in ((0.0, 0), (1e-9, 1), (0.2499, 1), (0.2501, 3), (1 - 2**-53, 3)):
        drawn = decoders.draw(logits, Prompt((1,), 1, 1.0), Fixed(number))  # type: ignore[arg-type]
        assert drawn == token


def test_logits_that_are_no_numbers_are_an_error(tiny: Path) -> None:
    broken = load_network(tiny)
    broken._norm[:] = np.nan
    with pytest.raises(ArithmeticError, match="not numbers"):
        Decoder(broken, ()).generate([Prompt((5, 6), 3)])


def test_gates_of_any_size_overflow_nowhere(tiny: Path, recwarn: pytest.WarningsRecorder) -> None:
    network = load_network(tiny)
    for layer in network._layers:
        layer.gate_up[:] *= 1e4
    Decoder(network, ()).generate([Prompt((5, 6, 7), 2)])
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]
