"""How a token is drawn of a model of torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..inprocess.decoding import GREEDY, Prompt


def draw(
    logits: Tensor,
    prompts: Sequence[Prompt],
    generators: Sequence[torch.Generator],
    barred: Tensor | None = None,
) -> tuple[list[int], list[float]]:
    """The next token of each row, and its log-probability under the logits as they are.

    Args:
        logits: [rows, vocabulary], float32.
        prompts: Of the rows.
        generators: Of the rows; one whose temperature is not 0 gives one number.
        barred: [rows, vocabulary], true for tokens that may not be drawn; None: all may.

    Returns:
        Tokens, and natural logarithms; these are 0 where no row asks for them.
    """
    offered = logits if barred is None else logits.masked_fill(barred, -torch.inf)
    tokens = offered.argmax(-1)
    drawn = [i for i, prompt in enumerate(prompts) if prompt.temperature >= GREEDY]
    if drawn:
        exact = torch.float32 if logits.device.type == "mps" else torch.float64

        def column(values: Iterable[float]) -> Tensor:
            return torch.tensor([[v] for v in values], dtype=exact, device=logits.device)

        numbers = column(
            torch.rand((), generator=generators[i], dtype=torch.float64).item() for i in drawn
        )
        scaled = offered[drawn].to(exact) / column(prompts[i].temperature for i in drawn)
        top_p = column(prompts[i].top_p for i in drawn)
        tokens[drawn] = _invert(nucleus(scaled.softmax(-1), top_p), numbers)
    logprobs = [0.0] * len(prompts)
    if any(prompt.want_logprobs for prompt in prompts):
        logprobs = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0].tolist()
    return tokens.tolist(), logprobs


def nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """Probabilities, 0 for tokens outside the nucleus; they are not scaled up to 1 again.

    The nucleus is the smallest set of likeliest tokens with a probability of at least top_p
    (Holtzman et al., arXiv 1904.09751, section 3.1).

    Args:
        probabilities: [rows, vocabulary].
        top_p: [rows, 1], above 0; 1 takes every token.
    """
    if bool((top_p >= 1).all()):
        return probabilities
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    inside = (ordered.cumsum(-1) - ordered < top_p) | (top_p >= 1)
    return torch.zeros_like(probabilities).scatter(1, order, ordered * inside)


def _invert(weights: Tensor, numbers: Tensor) -> Tensor:
    """The token at each number in [0, 1) of the cumulated weights, in the vocabulary's order.

    In that order, not by weight, so that two weights that rounding swaps swap nothing else.
    """
    cumulated = weights.cumsum(-1)
    total = cumulated[:, -1:]
    below = torch.nextafter(total, torch.zeros_like(total))
    target = torch.minimum(numbers * total, below)
    return torch.searchsorted(cumulated, target, right=True)[:, 0]
