r"""Step-wise GRPO: what is made small, written out.

A task is played K times by the policy that is trained; trajectory k earns one reward r_k at its
end. A *step* is one model call, with its own exact prompt, since the context is edited between two
calls; its completion tokens are its action (AgeMem, arXiv 2601.01885, section 3.3). All steps of
all three stages share the advantage of their trajectory.

Advantage (GRPO, arXiv 2402.03300, section 4.1.2; over trajectories, not over steps):

    (1)  A_k = (r_k - mean(r)) / (std(r) + 1e-6)      std unbiased: divided by K - 1
    (1') A_k = r_k - mean(r)                          advantage: centred

Ratio of token t of a step, pi at the temperature of the draws, given the step's own prompt:

    (2)  rho_t = pi_theta(t) / pi_old(t)

Surrogate (PPO, arXiv 1707.06347, equations 6 and 7):

    (3)  S_t = rho_t A                                           no clip
    (3') S_t = min(rho_t A, clip(rho_t, 1 - eps, 1 + eps) A)     clip: eps

KL to the frozen reference (Schulman, "Approximating KL divergence", 2020), with
d_t = log pi_ref(t) - log pi_theta(t):

    (4)  k1 = -d_t       k2 = d_t^2 / 2       k3 = exp(d_t) - 1 - d_t

What an estimator's value tends to and what its derivative tends to are two things. With tokens
drawn from pi_theta, the *value* of k1 and of k3 has the mean KL(pi_theta || pi_ref); that of k2 is
biased, little so near the reference. But the *derivative*, which is what trains,

    (5)  E[grad k1] = 0                     since E[grad log pi_theta] = 0
         E[grad k2] = E[-d_t grad log pi_theta]        = grad KL(pi_theta || pi_ref)
         E[grad k3] = E[(1 - exp d_t) grad log pi_theta] = grad KL(pi_ref || pi_theta)

So k1, merely differentiated, would hold nothing back, and only add noise. Here its gradient is
that of its mean, by the score function, with the value as a constant (sg: no gradient):

    (6)  KL_t = rho_t sg(k1)        grad = k1 grad log pi_theta, that of k2, while rho_t = 1

k2 and k3 are differentiated as they are, as GRPO does with k3. In later epochs (6) is reweighted
by rho and remains unbiased; k2 and k3 are not reweighted, as in GRPO.

Loss over the trained tokens of one update, with w_t from `aggregate`:

    (7)  L = sum_t w_t (-S_t + beta KL_t),     sum_t w_t = 1

    (8)  token-mean        w_t = 1 / tokens
         sequence-mean     w_t = 1 / (steps * tokens of t's step)
         trajectory-mean   w_t = 1 / (trajectories * tokens of t's trajectory)

Under token-mean and sequence-mean a trajectory weighs as its tokens and as its steps are many;
under trajectory-mean all weigh the same. The w_t are known before the first forward, so L may be
computed in any parts, and their gradients added are the gradient of the whole.

Groups whose rewards are all equal have A = 0. They stay: the KL term still holds them, and they
count in (8), so that an update of which half is flat moves half as far; resampling them is the
caller's choice. A token that is not trained has w_t = 0 and counts in no mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ..harness.errors import UsageError
from .distributed import Engine, Tally
from .forward import Packed
from .recipe import GrpoRecipe
from .trajectory import Group, Step

EPSILON = 1e-6  # of equation (1)

Kl = Literal["k1", "k2", "k3"]


def advantages(rewards: Sequence[float], kind: Literal["group", "centred"]) -> list[float]:
    """Equations (1) and (1').

    Args:
        rewards: Of the K trajectories of one task.
        kind: `group` divides by the deviation, `centred` does not.

    Returns:
        Of each trajectory; exactly 0 where all rewards are equal.
    """
    if len(rewards) < 2 or max(rewards) - min(rewards) < 1e-9:  # as `Group.flat`
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    centred = [reward - mean for reward in rewards]
    if kind == "centred":
        return centred
    deviation = math.sqrt(math.fsum(c * c for c in centred) / (len(rewards) - 1))
    return [c / (deviation + EPSILON) for c in centred]


def steps_of(groups: Sequence[Group]) -> list[Step]:
    """All steps, in the canonical order of their completion tokens."""
    return [step for group in groups for t in group.trajectories for step in t.steps]


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of every completion token before a forward, in canonical order [n].

    Attributes:
        advantage: That of its trajectory.
        share: Its weight in equation (8), before it is divided by the sum of all of the update;
            0 if it is not trained.
        sampled: Its log-probability as the sampler told it; NaN where it did not.
    """

    advantage: Tensor
    share: Tensor
    sampled: Tensor


def lay_out(groups: Sequence[Group], grpo: GrpoRecipe) -> Layout:
    """Advantages and weights of all completion tokens, float64.

    The sum of the shares is the number of tokens, steps or trajectories that are trained: the
    normaliser of equation (8), which processes that train together add up.
    """
    advantage: list[float] = []
    share: list[float] = []
    sampled: list[float] = []
    for group in groups:
        scored = advantages(group.rewards, grpo.advantage)
        for value, trajectory in zip(scored, group.trajectories, strict=True):
            whole = sum(sum(step.mask) for step in trajectory.steps)
            for step in trajectory.steps:
                size = {
                    "token-mean": 1, "sequence-mean": sum(step.mask), "trajectory-mean": whole
                }[grpo.aggregate]  # fmt: skip
                advantage += [value] * len(step.mask)
                share += [1 / size if trained else 0.0 for trained in step.mask]
                sampled += step.logprobs or [math.nan] * len(step.mask)
    return Layout(*(torch.tensor(v, dtype=torch.float64) for v in (advantage, share, sampled)))


@dataclass(frozen=True, slots=True)
class Terms:
    """The summands of equation (7), token by token [n]; `loss` alone carries the gradient.

    Attributes:
        loss: -S + beta KL.
        surrogate: S.
        kl: The estimator's value; 0 without a reference.
        ratio: rho.
        clipped: Whether the clip ends its gradient.
    """

    loss: Tensor
    surrogate: Tensor
    kl: Tensor
    ratio: Tensor
    clipped: Tensor


def terms(
    logprobs: Tensor, old: Tensor, reference: Tensor | None, advantage: Tensor, grpo: GrpoRecipe
) -> Terms:
    """Equations (2) to (7) of some tokens, without the weights.

    Args:
        logprobs: log pi_theta of the tokens drawn [n], with gradient.
        old: log pi_old [n]. In the first update after the draws that is `logprobs.detach()`:
            the ratio is then 1 and its gradient that of log pi_theta.
        reference: log pi_ref [n]; None where beta is 0.
        advantage: [n].
        grpo: clip, kl and beta.
    """
    ratio = (logprobs - old.detach()).exp()  # (2)
    gain, clipped = surrogate(ratio, advantage, grpo.clip)
    if reference is None:
        kl, loss = torch.zeros_like(gain), -gain
    else:
        kl, pull = divergence(logprobs, reference, ratio, grpo.kl)
        loss = -gain + grpo.beta * pull  # (7)
    return Terms(loss, gain.detach(), kl, ratio.detach(), clipped)


def surrogate(ratio: Tensor, advantage: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """Equations (3) and (3').

    Returns:
        S [n], and whether the clip ends its gradient [n].
    """
    plain = ratio * advantage
    if clip is None:
        return plain, torch.zeros_like(plain, dtype=torch.bool)
    held = ratio.clamp(1 - clip, 1 + clip) * advantage
    return torch.minimum(plain, held), (held < plain).detach()


def divergence(
    logprobs: Tensor, reference: Tensor, ratio: Tensor, kind: Kl
) -> tuple[Tensor, Tensor]:
    """Equations (4) and (6).

    Returns:
        The estimator's value [n], without gradient, and what to differentiate [n].
    """
    d = reference.detach() - logprobs
    if kind == "k1":
        value = -d.detach()
        return value, ratio * value  # (6)
    pull = d.square() / 2 if kind == "k2" else d.exp() - 1 - d
    return pull.detach(), pull


class Objective:
    """Equation (7) of an update, pack by pack, and what is reported of it.

    Args:
        groups: All of the update.
        grpo: What the equations leave open.
        engine: Adds the normalisers of equation (8) up over processes.
        device: Of the model.

    Attributes:
        steps: In canonical order. Those that cannot have a gradient, as their advantage and beta
            are 0, are marked as not trained; they still count in equation (8).
        size: Completion tokens of all steps.
        reference: log pi_ref of all completion tokens [size]; wanted where beta is not 0.
        epoch: From 0. In the first the weights are those that drew the tokens: there old
            log-probabilities are taken from its own forward, unless the sampler's are wanted.

    Raises:
        UsageError: where the sampler's log-probabilities are wanted, and it told none.
    """

    def __init__(
        self, groups: Sequence[Group], grpo: GrpoRecipe, engine: Engine, device: torch.device
    ) -> None:
        if not groups:
            raise ValueError("no groups")
        layout = lay_out(groups, grpo)
        trained = layout.share > 0
        if grpo.old_logprobs == "sampled" and bool(layout.sampled[trained].isnan().any()):
            raise UsageError(
                "grpo.old_logprobs sampled: the sampler told no log-probabilities; use recomputed"
            )
        self.size, self.epoch = len(trained), 0
        self.reference: Tensor | None = None
        self.steps = steps_of(groups) if grpo.beta else _with_advantage(groups, layout.advantage)
        self._grpo, self._engine, self._tally = grpo, engine, Tally()
        total = engine.sum(float(layout.share.sum()))
        self._weight = (layout.share / (total or 1.0)).float().to(device)
        self._advantage = layout.advantage.float().to(device)
        self._sampled = layout.sampled.float().to(device)
        self._old = self._sampled.clone()
        self._counts = {
            "tokens": int(trained.sum()),
            "tokens_plain": sum(step.length for step in self.steps if any(step.mask)),
            "groups": len(groups),
            "flat_groups": sum(group.flat for group in groups),
        }

    def __call__(self, packed: Packed, logprobs: Tensor, entropies: Tensor) -> Tensor:
        """A pack's part of the loss.

        Args:
            packed: Says which tokens.
            logprobs: Theirs, with gradient [n].
            entropies: Of the distributions they were drawn from [n].
        """
        at, tally = packed.order, self._tally
        if not self.epoch and self._grpo.old_logprobs == "recomputed":
            self._old[at] = logprobs.detach()
        reference = None if self.reference is None else self.reference[at]
        found = terms(logprobs, self._old[at], reference, self._advantage[at], self._grpo)
        tally.add(
            surrogate=found.surrogate, kl=found.kl, ratio=found.ratio,
            clipped=found.clipped, entropy=entropies,
        )  # fmt: skip
        tally.most(ratio_max=found.ratio)
        if not self.epoch and self._grpo.temperature == 1.0:  # the sampler's are before temperature
            off = (self._sampled[at] - logprobs.detach()).abs()
            off = off[~off.isnan()]
            tally.add(mismatch=off)
            tally.most(mismatch_max=off)
        return (self._weight[at] * found.loss).sum()

    def metrics(self) -> dict[str, float]:
        """Means over the tokens that were computed, and counts; of all processes and epochs."""
        counts = {name: self._engine.sum(count) for name, count in self._counts.items()}
        found = self._tally.result(self._engine)
        if "mismatch" not in found:  # the sampler told nothing
            found.pop("mismatch_max", None)
        return {**found, **counts}


def _with_advantage(groups: Sequence[Group], advantage: Tensor) -> list[Step]:
    """All steps, those without advantage marked as not trained."""
    steps = steps_of(groups)
    parts = advantage.split([len(step.mask) for step in steps])
    return [
        step if bool(part.any()) else replace(step, mask=(False,) * len(step.mask))
        for step, part in zip(steps, parts, strict=True)
    ]
