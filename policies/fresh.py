"""A model made from nothing: a byte-level BPE tokenizer of its own texts, and random weights.

An ordinary checkpoint of transformers, small enough to learn on a CPU. Names are split the same
way wherever they stand, and numbers into digits, since a small model copies and compares them
token by token; the protocol's tags and what surrounds the arguments of a call are one token each.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen2 import tokenization_qwen2 as qwen2

from ..harness.errors import UsageError
from .recipe import Fresh

END, PAD = "<|end|>", "<|pad|>"  # of a message, also the stop token; never read
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant", "tool")}
TAGS = tuple(f"<{slash}{t}>" for t in ("think", "tool_call", "answer") for slash in ("", "/"))
TOOLS = (
    "Add_memory", "Update_memory", "Delete_memory", "Retrieve_memory", "Summary_context",
    "Filter_context",
)  # fmt: skip
_ARGUMENTS = ("content", "memory_id", "query", "top_k", "criteria", "span", "confirmation")
PIECES = (
    '[{"name": "', '", "arguments": {"', '": "', '": ', '", "', '"}}, {"name": "', '"}}]', "}}]",
    *TOOLS, *(f'{name}": ' for name in _ARGUMENTS), *(f'{name}": "' for name in _ARGUMENTS),
)  # fmt: skip

# A piece never spans a split. A blank before a small letter belongs to the word, and so does one
# before a number of one or two digits (`mug 12`, `, 3 steps`); one before a capital does not: so
# a name is the same tokens after a blank, a quote or a new line. What stands between the things of
# a list is a piece, and so is what stands between two sentences: which of a text's sentences is the
# one to go on with can be told from two tokens then, the last of a word and this one. Words with a
# capital are pairs of letters, each of which a model has met often: it copies names that are new to
# it as surely as known ones. Ids of memories are pairs of hexadecimal digits, all other numbers
# single digits.
_ID_PAIR = r"[0-9a-f]{2}(?=(?:[0-9a-f]{2}){0,3}-[0-9a-f]{4})"
_LAST_PAIR = (
    "(?:" + "|".join(rf"(?<=-[0-9a-f]{{{n}}})" for n in (0, 2, 4, 6, 8, 10)) + ")"
    r"[0-9a-f]{2}(?=(?:[0-9a-f]{2}){0,5}(?![0-9A-Za-z]))"
)
_NAME_PAIRS = "|".join(rf"(?<=\p{{Lu}}\p{{Ll}}{{{n}}})\p{{Ll}}{{1,2}}" for n in range(1, 24, 2))
_PAIRS_FROM = 1024  # tokens of a vocabulary from which on the pairs are worth their 256
_PAIRS_COUNT = 1000  # how often each is shown to the tokenizer's training: it is sure to be learned
_NEXT = r", (?:and )?an?(?= \p{Ll}+ \p{N})"
_COUNTED = r"(?<=[\p{Ll},]) \p{N}(?=\p{N}?(?!\p{N}))"
_BETWEEN = r"[^\s\p{L}\p{N}]+(?:\n+| (?=\p{Lu}))?"
_SPLIT = (
    rf"{_ID_PAIR}|{_LAST_PAIR}|{_NAME_PAIRS}|{_NEXT}|{_COUNTED}"
    rf"|\p{{N}}| ?\p{{Ll}}+|\p{{Lu}}\p{{Ll}}?|\p{{L}}+| (?=\p{{Lu}})|\s|{_BETWEEN}"
)

_COMPACT = (
    "{%- for message in messages -%}{%- if message['role'] != 'system' -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
_CHATML = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>\n' -}}{%- endif -%}"
)
TEMPLATES = {"compact": _COMPACT, "chatml": _CHATML}


def make_fresh(folder: Path, fresh: Fresh, texts: Iterable[str], seed: int) -> Path:
    """Write a checkpoint with random weights.

    Args:
        folder: Where to; made if it is not there.
        fresh: Sizes and style.
        texts: What the tokenizer is trained on; one that comes again counts once.
        seed: Of the weights.

    Returns:
        The folder, which `hf:FOLDER` loads.
    """
    tokenizer = make_tokenizer(fresh, texts)
    model = _model(fresh, tokenizer, seed)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer(fresh: Fresh, texts: Iterable[str]) -> Any:
    """A byte-level BPE tokenizer with a chat template.

    It writes every text back as it was; that of `qwen2` after Unicode's normal form C.

    Raises:
        UsageError: if the vocabulary has no room for the bytes and the protocol's tokens.
    """
    own = [*ROLES.values(), *TAGS, *PIECES]
    room = fresh.vocabulary - len(own) - 2
    if room < 256:
        least = 256 + len(own) + 2
        raise UsageError(f"recipe: model.fresh.vocabulary: at least {least}, for bytes and tags")
    tokenizer = tokenizers.Tokenizer(models.BPE())
    split = _SPLIT
    if fresh.architecture == "qwen2":  # transformers gives its models Qwen's, whatever was saved
        split, tokenizer.normalizer = qwen2.PRETOKENIZE_REGEX, normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(split), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=room, initial_alphabet=alphabet, show_progress=False, min_frequency=2
    )
    pairs = [f"{n:02x}-0000" for n in range(256)] * _PAIRS_COUNT
    shown = pairs if fresh.vocabulary >= _PAIRS_FROM else []
    tokenizer.train_from_iterator(itertools.chain(shown, _between(texts, own)), trainer)
    tokenizer.add_tokens([tokenizers.AddedToken(t, normalized=False) for t in own])
    # Special tokens vanish from decoded text; only what no reply holds may.
    tokenizer.add_special_tokens(
        [tokenizers.AddedToken(t, normalized=False, special=True) for t in (END, PAD)]
    )
    whole = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        unk_token=END if fresh.architecture == "qwen2" else None,  # else Qwen's adds one more
        clean_up_tokenization_spaces=False,
        model_max_length=fresh.positions,
    )
    whole.chat_template = TEMPLATES[fresh.style]
    return whole


def _between(texts: Iterable[str], own: list[str]) -> Iterator[str]:
    """What stands between the tokens that are given, so that nothing is learned across them."""
    cut = re.compile("|".join(re.escape(t) for t in sorted(own, key=len, reverse=True)))
    seen: set[int] = set()  # by hash: a message is in every prompt that shows it
    for text in texts:
        if (key := hash(text)) not in seen:
            seen.add(key)
            yield from (part for part in cut.split(text) if part)


def _model(fresh: Fresh, tokenizer: Any, seed: int) -> Any:
    """The model with weights as transformers draws them."""
    kinds = {
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    }
    make_config, make_model = kinds[fresh.architecture]
    config = make_config(
        vocab_size=len(tokenizer),
        hidden_size=fresh.hidden,
        num_hidden_layers=fresh.layers,
        num_attention_heads=fresh.heads,
        num_key_value_heads=fresh.kv_heads,
        intermediate_size=fresh.inner,
        max_position_embeddings=fresh.positions,
        head_dim=fresh.hidden // fresh.heads,
        tie_word_embeddings=True,
        initializer_range=fresh.deviation,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):  # no seed outside of here is touched
        torch.manual_seed(seed)
        model = make_model(config)
    if fresh.looks_back:
        with torch.no_grad():
            _look_back(model)
    return model


_BACK_PAIRS = 6  # of rotary frequencies, the fastest: enough to tell neighbours apart
_BACK_GAP = 5.0  # between the scores of the token before and of its neighbours
_BACK_SHARE = 4.0  # of the constant in an embedding, in deviations of the others


def _look_back(model: Any) -> None:
    """Let the first head attend to the token before each from the start.

    Copying takes two heads in a row, and the first, which tells each token what stands before it,
    is of no use until there is the second. So it is given. Rotary embeddings make a score depend on
    how far apart query and key are where both are constants: such are made of an entry that all
    embeddings share. All of it is ordinary weights, and free to change.
    """
    config, first = model.config, model.model.layers[0].self_attn
    size = config.hidden_size // config.num_attention_heads
    embedding = model.get_input_embeddings().weight
    embedding[:, 0] = _BACK_SHARE * config.initializer_range
    constant = float((embedding[:, 0] / embedding.pow(2).mean(1).sqrt()).mean())  # after the norm
    pairs = min(_BACK_PAIRS, size // 2)
    angles = model.model.rotary_emb.inv_freq[:pairs]
    score = _BACK_GAP * math.sqrt(size) / float((1 - torch.cos(angles)).sum())
    query, key = torch.zeros(size), torch.zeros(size)
    query[:pairs] = 1.0
    key[:pairs], key[size // 2 : size // 2 + pairs] = torch.cos(angles), torch.sin(angles)
    for weight, wanted in ((first.q_proj.weight, query), (first.k_proj.weight, key)):
        weight[:size] = 0.0
        weight[:size, 0] = math.sqrt(score) / constant * wanted
