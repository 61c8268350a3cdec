"""A decoder-only transformer in numpy: Llama's and Qwen2's architecture, for small models.

Root-mean-square norms, rotary positions, grouped-query attention, a gated feed-forward network
(Touvron et al., arXiv 2302.13971; Ainslie et al., arXiv 2305.13245); Qwen2 adds biases to queries,
keys and values (arXiv 2407.10671). All in float32. What a config asks for beyond that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import read_json
from .cache import SlotCache
from .weights import read_weights

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_KNOWN = {"qwen2": True, "llama": False}  # whether queries, keys and values have biases
_BLOCK = 64  # queries of a prompt whose scores are computed together, so that they stay in cache
_LATER = np.triu(np.full((_BLOCK, _BLOCK), -np.inf, np.float32), 1)  # what a query does not see


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a network."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head: int  # numbers of one head
    positions: int
    epsilon: float  # of the norms
    theta: float  # base of the rotary frequencies

    def room(self, most: int) -> int:
        """Tokens whose keys and values take at most so many bytes."""
        return max(1, most // (2 * 4 * self.layers * self.kv_heads * self.head))


@dataclass(frozen=True, slots=True)
class _Layer:
    """The weights of one layer, transposed for `x @ w`; each norm's is multiplied into the next."""

    qkv: Floats  # [hidden, (heads + 2 kv_heads) * head]; those of queries divided by sqrt(head)
    bias: Floats | None
    out: Floats
    gate_up: Floats  # [hidden, 2 inner]
    down: Floats


@dataclass(frozen=True, slots=True)
class _Turn:
    """Cosines and sines of positions, [tokens, 1, half of a head]."""

    cos: Floats
    sin: Floats


class Network:
    """The network; computes logits, and fills a cache as it goes.

    Args:
        sizes: Of the network.
        weights: By the names of Hugging Face checkpoints, float32; emptied.
        biased: Whether queries, keys and values have biases.
        tied: Whether the embedding is also what logits are computed with.

    Raises:
        DataError: for a weight that is missing or of another shape.
    """

    def __init__(
        self, sizes: Sizes, weights: dict[str, Floats], *, biased: bool, tied: bool
    ) -> None:
        self.sizes = sizes
        self._weights = weights
        self._embedding = self._take("model.embed_tokens", sizes.vocabulary, sizes.hidden)
        self._norm = self._take("model.norm", sizes.hidden)
        head = self._embedding
        if not tied:
            head = self._take("lm_head", sizes.vocabulary, sizes.hidden)
        self._head = head.T
        self._layers = [self._layer(index, biased) for index in range(sizes.layers)]
        weights.clear()
        # in float32, as transformers has them
        powers = np.arange(0, sizes.head, 2, dtype=np.float32) / np.float32(sizes.head)
        self._frequencies = np.float32(1) / np.float32(sizes.theta) ** powers

    def forward(
        self,
        cache: SlotCache,
        slots: Sequence[int],
        starts: Sequence[int],
        new: Sequence[Sequence[int]],
        last: Sequence[int] | None = None,
        before_layer: Callable[[], None] = lambda: None,
    ) -> Floats:
        """Compute new tokens of several sequences; nothing is padded.

        Args:
            cache: Holds each sequence's positions so far; the new ones are written to it.
            slots: Of the sequences.
            starts: Position of each one's first new token.
            new: Each one's new tokens, at least one.
            last: Of how many of each one's last tokens logits are wanted; None: one.
            before_layer: Called before each layer; what it raises ends the forward.

        Returns:
            Logits after the last tokens of each, [sum of last, vocabulary].
        """
        counts = np.array([len(ids) for ids in new])
        ends = counts.cumsum()
        firsts = np.array(starts) - (ends - counts)
        positions = np.arange(ends[-1]) + firsts.repeat(counts)
        turn, spans = self._turn(positions), _spans(ends, counts)
        kept = np.ones_like(counts) if last is None else np.array(last)
        x: Floats = self._embedding[[token for ids in new for token in ids]]
        for index, layer in enumerate(self._layers):
            before_layer()
            queries, keys, values = self._project(layer, x, turn)
            held = cache.keys[index], cache.values[index]
            for slot, start, span in zip(slots, starts, spans, strict=True):
                place = slice(start, start + span.stop - span.start)
                held[0][slot, :, place] = keys[span].swapaxes(0, 1)
                held[1][slot, :, place] = values[span].swapaxes(0, 1)
            if index == len(self._layers) - 1:  # from here on only the last tokens matter
                among = [i for end, k in zip(ends, kept, strict=True) for i in range(end - k, end)]
                x, queries, positions = x[among], queries[among], positions[among]
                spans = _spans(kept.cumsum(), kept)
            if len(x) == len(slots):
                mixed = self._attend_last(queries, held, slots, positions + 1)
            else:
                mixed = np.empty_like(queries)
                for slot, span in zip(slots, spans, strict=True):
                    of_slot, start = (held[0][slot], held[1][slot]), int(positions[span.start])
                    self._attend_all(queries[span], of_slot, start, mixed[span])
            x += mixed.reshape(len(x), -1) @ layer.out
            x += self._feed(layer, x)
        x = _normed(x, self.sizes.epsilon) * self._norm
        logits: Floats = np.matmul(x, self._head)
        return logits

    # --- parts of a layer ---------------------------------------------------------------------

    def _turn(self, positions: Ints) -> _Turn:
        angles = positions.astype(np.float32)[:, None, None] * self._frequencies
        return _Turn(np.cos(angles), np.sin(angles))

    def _project(self, layer: _Layer, x: Floats, turn: _Turn) -> tuple[Floats, Floats, Floats]:
        """Queries, keys and values, [tokens, heads, head]; the first two turned by position.

        Rotary position embedding: Su et al., arXiv 2104.09864, in the order of transformers, where
        the first half of a head turns with the second.
        """
        sizes = self.sizes
        qkv = _normed(x, sizes.epsilon) @ layer.qkv
        if layer.bias is not None:
            qkv += layer.bias
        qkv = qkv.reshape(len(x), -1, sizes.head)
        flat, half = qkv[:, : sizes.heads + sizes.kv_heads], sizes.head // 2
        turned = np.empty_like(flat)
        one, other = flat[..., :half], flat[..., half:]
        np.multiply(one, turn.cos, out=turned[..., :half])
        turned[..., :half] -= other * turn.sin
        np.multiply(other, turn.cos, out=turned[..., half:])
        turned[..., half:] += one * turn.sin
        return (
            turned[:, : sizes.heads],
            turned[:, sizes.heads :],
            qkv[:, sizes.heads + sizes.kv_heads :],
        )

    def _attend_last(
        self, queries: Floats, held: tuple[Floats, Floats], slots: Sequence[int], ends: Ints
    ) -> Floats:
        """What one token of each sequence takes from all up to itself, [sequences, heads, head].

        Sequence by sequence where the cache is read, so that nothing of it is copied.
        """
        rows, kv = len(slots), self.sizes.kv_heads
        grouped = queries.reshape(rows, kv, -1, self.sizes.head)
        scores = np.empty((*grouped.shape[:3], int(ends.max())), np.float32)
        stops = ends.tolist()
        for i, (slot, end) in enumerate(zip(slots, stops, strict=True)):
            keys = held[0][slot, :, :end].swapaxes(1, 2)
            np.matmul(grouped[i], keys, out=scores[i, ..., :end])
            scores[i, ..., end:] = -np.inf
        sums = _exponentials(scores)
        mixed = np.empty_like(grouped)
        for i, (slot, end) in enumerate(zip(slots, stops, strict=True)):
            np.matmul(scores[i, ..., :end], held[1][slot, :, :end], out=mixed[i])
        mixed /= sums
        return mixed

    def _attend_all(
        self, queries: Floats, held: tuple[Floats, Floats], start: int, mixed: Floats
    ) -> None:
        """Likewise for the tokens of one sequence from position `start`; written to `mixed`."""
        kv, head = self.sizes.kv_heads, self.sizes.head
        for first in range(0, len(queries), _BLOCK):
            block = queries[first : first + _BLOCK]
            n = len(block)
            end = start + first + n
            grouped = block.reshape(n, kv, -1, head).transpose(1, 2, 0, 3)
            scores = grouped.reshape(kv, -1, head) @ held[0][:, :end].swapaxes(1, 2)
            if n > 1:
                scores.reshape(kv, -1, n, end)[..., end - n :] += _LATER[:n, :n]
            sums = _exponentials(scores)
            taken = scores @ held[1][:, :end]
            taken /= sums
            of_block = taken.reshape(kv, -1, n, head).transpose(2, 0, 1, 3)
            mixed[first : first + n] = of_block.reshape(n, -1, head)

    def _feed(self, layer: _Layer, x: Floats) -> Floats:
        """The gated feed-forward network: silu(gate) * up (Shazeer, arXiv 2002.05202)."""
        both = _normed(x, self.sizes.epsilon) @ layer.gate_up
        gate, up = both[:, : self.sizes.inner], both[:, self.sizes.inner :]
        with np.errstate(over="ignore"):  # then the quotient is 0, as it is to be
            divisor = np.exp(-gate)
        divisor += 1
        gate /= divisor
        gate *= up
        fed: Floats = np.matmul(gate, layer.down)
        return fed

    # --- weights ------------------------------------------------------------------------------

    def _layer(self, index: int, biased: bool) -> _Layer:
        sizes, prefix = self.sizes, f"model.layers.{index}"
        width, narrow = sizes.heads * sizes.head, sizes.kv_heads * sizes.head
        widths = {"q_proj": width, "k_proj": narrow, "v_proj": narrow}
        attention = f"{prefix}.self_attn"
        scale = np.ones(width + 2 * narrow, np.float32)
        scale[:width] = sizes.head**-0.5
        qkv = np.concatenate(
            [self._take(f"{attention}.{name}", wide, sizes.hidden) for name, wide in widths.items()]
        )
        norm = self._take(f"{prefix}.input_layernorm", sizes.hidden)
        bias = None
        if biased:
            parts = [
                self._take(f"{attention}.{name}", wide, kind="bias")
                for name, wide in widths.items()
            ]
            bias = np.concatenate(parts) * scale
        gate_up = np.concatenate(
            [
                self._take(f"{prefix}.mlp.{name}", sizes.inner, sizes.hidden)
                for name in ("gate_proj", "up_proj")
            ]
        )
        inner_norm = self._take(f"{prefix}.post_attention_layernorm", sizes.hidden)
        out = self._take(f"{attention}.o_proj", sizes.hidden, width)
        down = self._take(f"{prefix}.mlp.down_proj", sizes.hidden, sizes.inner)
        return _Layer(
            np.ascontiguousarray((qkv * norm * scale[:, None]).T),
            bias,
            np.ascontiguousarray(out.T),
            np.ascontiguousarray((gate_up * inner_norm).T),
            np.ascontiguousarray(down.T),
        )

    def _take(self, name: str, *shape: int, kind: str = "weight") -> Floats:
        weight = self._weights.get(f"{name}.{kind}")
        if weight is None or weight.shape != shape:
            found = "missing" if weight is None else f"of shape {list(weight.shape)}"
            raise DataError(f"the weight {name}.{kind} is {found}; its shape is {list(shape)}")
        return weight


def load_network(folder: Path) -> Network:
    """The network of a checkpoint: `config.json` and its safetensors.

    Raises:
        DataError: for files that are missing or damaged, or a network that is not computed here.
    """
    path = folder / "config.json"
    config = read_json(path)
    if not isinstance(config, dict):
        raise DataError(f"{path} is no JSON object")
    sizes_of(config, path)  # what is not computed here is refused before its weights are read
    return network_of(config, read_weights(folder), path)


def network_of(config: dict[str, Any], weights: dict[str, Floats], where: Path) -> Network:
    """The network that a config and weights by the names of Hugging Face describe.

    Raises:
        DataError: for weights that do not fit, or a network that is not computed here.
    """
    sizes = sizes_of(config, where)
    tied = bool(config.get("tie_word_embeddings", False))
    try:
        return Network(sizes, weights, biased=_KNOWN[config["model_type"]], tied=tied)
    except DataError as error:
        raise DataError(f"{where.parent}: {error}") from error


def sizes_of(config: dict[str, Any], where: Path) -> Sizes:
    """The sizes that a checkpoint's config tells.

    Raises:
        DataError: for an architecture, or a part of one, that is not computed here.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in _KNOWN:
        known = " and ".join(sorted(_KNOWN))
        raise DataError(f"{where}: numpy: computes {known}, not {kind!r}: use hf:{where.parent}")
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise DataError(f"{where}: rope_parameters is no JSON object")
    odd = {
        "hidden_act": config.get("hidden_act", "silu") != "silu",
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
        "partial_rotary_factor": rope.get("partial_rotary_factor", 1) != 1,
        "use_sliding_window": bool(config.get("use_sliding_window")),
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "layer_types": any(kind != "full_attention" for kind in config.get("layer_types") or ()),
        "quantization_config": config.get("quantization_config") is not None,
    }
    if strange := [name for name, is_odd in odd.items() if is_odd]:
        raise DataError(f"{where}: numpy: does not compute its {strange[0]}: use hf:{where.parent}")
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        sizes = Sizes(
            int(config["vocab_size"]),
            hidden,
            int(config["intermediate_size"]),
            int(config["num_hidden_layers"]),
            heads,
            int(config.get("num_key_value_heads") or heads),
            int(config.get("head_dim") or hidden // heads),
            int(config["max_position_embeddings"]),
            float(config.get("rms_norm_eps", 1e-6)),
            float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise DataError(f"{where} tells no sizes of a network: {error!r}") from error
    counts = (sizes.vocabulary, sizes.inner, sizes.layers, sizes.kv_heads, sizes.head)
    whole = sizes.heads % max(sizes.kv_heads, 1) == 0 and sizes.head % 2 == 0
    if min(*counts, hidden, heads, sizes.positions) < 1 or not whole or sizes.theta <= 0:
        raise DataError(f"{where} tells sizes that no network has: {sizes}")
    return sizes


def _spans(ends: Ints, counts: Ints) -> list[slice]:
    """Where each of several sequences is among all tokens."""
    return [slice(e - c, e) for e, c in zip(ends.tolist(), counts.tolist(), strict=True)]


def _normed(x: Floats, epsilon: float) -> Floats:
    """Divided by the root of the mean square over the last axis (arXiv 1910.07467)."""
    squares = np.einsum("ij,ij->i", x, x)[:, None]
    normed: Floats = x / np.sqrt(squares / np.float32(x.shape[1]) + np.float32(epsilon))
    return normed


def _exponentials(scores: Floats) -> Floats:
    """Of scores less their largest, in place; returns their sums over the last axis."""
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    sums: Floats = scores.sum(-1, keepdims=True)
    return sums
