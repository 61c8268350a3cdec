"""`hf.actions=restricted`: the same rule as in `numpy:`, and the same games."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answering import make_answering
from restricted_runs import play, told

pytestmark = pytest.mark.hf
ACTIONS = ["open drawer 1", "open drawer 10", "look", "\u00f6ffne T\u00fcr 1"]


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_answering(tmp_path_factory.mktemp("models") / "answering", seed=1)


def test_games_played_by_torch_and_by_numpy_are_the_same(answering: Path, tmp_path: Path) -> None:
    for actions, invalid in (("restricted", 0), ("free", 5)):
        ours, theirs = (
            play(provider, answering, tmp_path / provider, actions) for provider in ("numpy", "hf")
        )
        for (episode, events), (other, others) in zip(ours, theirs, strict=True):
            assert episode.invalid_actions == other.invalid_actions == invalid
            assert told(events, "completion", "text") == told(others, "completion", "text")
            assert episode.tokens["agent"] == other.tokens["agent"]
            label = " (restricted)" if actions == "restricted" else ""
            assert other.key.model == f"hf:answering{label}"


def test_drawn_answers_are_of_the_list_and_probabilities_those_of_transformers(
    answering: Path,
) -> None:
    import torch
    import transformers

    from agemem_eval.harness.models.hf.generate import Decoder
    from agemem_eval.harness.models.inprocess.answers import Answers
    from agemem_eval.harness.models.inprocess.chat import Chat
    from agemem_eval.harness.models.inprocess.decoding import Prompt
    from agemem_eval.harness.models.numpy.tokenizer import FileTokenizer
    from agemem_eval.harness.protocol import parse_text

    network = transformers.AutoModelForCausalLM.from_pretrained(answering, dtype=torch.float32)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(answering)
    spelling = Chat(tokenizer, None, {}, "tiny").spelling((2,))
    assert spelling.pieces == Chat(FileTokenizer(answering), None, {}, "").spelling((2,)).pieces
    ids = tuple(tokenizer.encode("Act now.\n", add_special_tokens=False))
    answers = Answers(spelling, ACTIONS)
    prompts = [
        Prompt(ids, 60, 1.0, 0.95 if seed % 2 else 1.0, seed, True, answers if seed % 3 else None)
        for seed in range(12)
    ]
    given = set()
    for prompt, reply in zip(prompts, Decoder(network.eval(), (2,)).generate(prompts), strict=True):
        text = tokenizer.decode(reply.tokens, skip_special_tokens=True)
        if prompt.answers is not None:
            given.add(parse_text(text).answer)
        whole = torch.tensor([ids + reply.tokens])
        with torch.no_grad():
            logits = network(whole, use_cache=False).logits[0, len(ids) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, whole[0, len(ids) :, None])[:, 0]
        assert np.allclose(reply.logprobs, expected.numpy(), atol=1e-3)
    assert given <= set(ACTIONS)
    assert len(given) > 1
