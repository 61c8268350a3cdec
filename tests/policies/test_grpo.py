"""The equations of step-wise GRPO, by hand, by enumeration, by differences, and beside others."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from tiny_groups import group, some_groups, step, tiny_config, tiny_network

from agemem_eval.harness.errors import UsageError
from agemem_eval.policies.recipe import GrpoRecipe
from agemem_eval.policies.trajectory import Group

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from agemem_eval.policies.distributed import Engine  # noqa: E402
from agemem_eval.policies.forward import TokenScorer, pack_plain  # noqa: E402
from agemem_eval.policies.grpo import (  # noqa: E402
    Objective,
    advantages,
    divergence,
    lay_out,
    steps_of,
    surrogate,
    terms,
)

CPU = torch.device("cpu")
KLS, AGGREGATES = ("k1", "k2", "k3"), ("token-mean", "sequence-mean", "trajectory-mean")


def recipe(**values: Any) -> GrpoRecipe:
    return GrpoRecipe.model_validate(values)


# --- advantages -------------------------------------------------------------------------------


def test_advantages_are_distances_from_the_mean_in_unbiased_deviations() -> None:
    # mean 2, deviations -2, 0, 1, 1; squares 4 + 0 + 1 + 1 = 6, over K - 1 = 3: variance 2
    wanted = [-2 / math.sqrt(2), 0, 1 / math.sqrt(2), 1 / math.sqrt(2)]
    assert advantages([0, 2, 3, 3], "group") == pytest.approx(wanted, abs=1e-5)
    assert advantages([0, 2, 3, 3], "centred") == [-2, 0, 1, 1]


def test_rewards_that_are_all_equal_give_exactly_no_advantage() -> None:
    assert advantages([0.1] * 7, "group") == [0.0] * 7
    assert advantages([0.1] * 7, "centred") == [0.0] * 7


def by_trinity(experiences: list[dict[str, Any]]) -> list[float]:
    """Trinity-RFT's `multi_step_grpo` (0.6): the last step's reward of each run of a task, less
    their mean, over torch's deviation and 1e-6, goes to all steps of the run.
    """
    scores: list[float] = []
    for one in experiences:
        last = {e["run"]: e["reward"] for e in experiences if e["task"] == one["task"]}
        rewards = torch.tensor(list(last.values()), dtype=torch.float32)
        scores.append(float((last[one["run"]] - rewards.mean()) / (rewards.std() + 1e-6)))
    return scores


def test_ragged_groups_have_the_advantages_of_trinity() -> None:
    counts, rewards = (1, 4, 1, 4), (1.0, 0.0, 0.0, 1.0)
    ragged = group("a", *((r, [step([5], [6])] * n) for n, r in zip(counts, rewards, strict=True)))
    other = group("b", *((r, [step([5], [6])] * 2) for r in (0.2, 0.9, 0.4)))
    experiences = [
        {"task": g.task, "run": t.rollout, "reward": t.reward.total}
        for g in (ragged, other) for t in g.trajectories for _ in t.steps
    ]  # fmt: skip
    found = lay_out([ragged, other], recipe()).advantage.tolist()
    assert found == pytest.approx(by_trinity(experiences), abs=1e-5)
    # mean 1/2, deviation sqrt(4 * (1/2)^2 / 3) = 0.57735, (1/2) / 0.57735 = 0.86603
    assert found[:10] == pytest.approx([0.86602] + [-0.86602] * 5 + [0.86602] * 4, abs=1e-5)


# --- weights ----------------------------------------------------------------------------------


def two_trajectories() -> Group:
    """Rewards 1 and 0; steps of 2 and 1 trained tokens, and one step of 3 with 2 trained."""
    return group(
        "t",
        (1.0, [step([5], [6, 7]), step([5, 6], [8])]),
        (0.0, [step([5], [6, 7, 8], "x.x")]),
    )


@pytest.mark.parametrize(
    ("aggregate", "wanted"),
    [
        ("token-mean", [1 / 5, 1 / 5, 1 / 5, 1 / 5, 0, 1 / 5]),
        ("sequence-mean", [1 / 6, 1 / 6, 1 / 3, 1 / 6, 0, 1 / 6]),  # 3 steps
        ("trajectory-mean", [1 / 6, 1 / 6, 1 / 6, 1 / 4, 0, 1 / 4]),  # 2, of 3 and 2 tokens
    ],
)
def test_weights_are_those_of_the_mean_that_is_asked_for(
    aggregate: str, wanted: list[float]
) -> None:
    share = lay_out([two_trajectories()], recipe(aggregate=aggregate)).share
    assert (share / share.sum()).tolist() == pytest.approx(wanted)


def test_what_is_not_trained_counts_in_no_normaliser() -> None:
    groups = [
        group("t", (1.0, [step([5], [6], "."), step([5], [6])]), (0.0, [step([5], [6], ".")]))
    ]
    for aggregate in AGGREGATES:
        assert lay_out(groups, recipe(aggregate=aggregate)).share.tolist() == [0, 1, 0]


# --- a case by hand ---------------------------------------------------------------------------


def by_hand(new: list[float], old: list[float], reference: list[float], **said: Any) -> Any:
    """The loss of `two_trajectories` for probabilities of its five trained tokens."""
    objective = Objective([two_trajectories()], recipe(**said), Engine(), CPU)
    steps = objective.steps
    (packed,) = pack_plain(steps, 100)
    assert sorted(packed.order.tolist()) == [0, 1, 2, 3, 5]
    rank = {index: i for i, index in enumerate([0, 1, 2, 3, 5])}
    where = [rank[index] for index in packed.order.tolist()]

    def logs(values: list[float]) -> Any:
        found = torch.full((objective.size,), math.nan)
        found[[0, 1, 2, 3, 5]] = torch.tensor(values).log()
        return found

    objective.reference = logs(reference) if said.get("beta", 0.1) else None
    objective(packed, logs(old)[packed.order], torch.zeros(5))  # the first epoch takes these as old
    objective.epoch = 1
    given = torch.tensor(new).log()[where].requires_grad_()
    loss = objective(packed, given, torch.zeros(5))
    loss.backward()
    gradient = torch.empty(5)
    gradient[where] = given.grad
    return loss.item(), gradient.tolist()


def test_two_trajectories_by_hand() -> None:
    # Rewards 1 and 0: mean 1/2, deviation sqrt(2 * 1/4 / 1) = 0.70711, so A = +-0.70711.
    #     token      0     1     2     3     5
    #     new       .5    .3    .4    .2    .6      rho = new / old
    #     old       .4    .3    .5    .4    .4
    #     rho     1.25   1.0    .8    .5   1.5
    #     A      .7071 .7071 .7071 -.7071 -.7071
    # eps 0.2: min(rho A, clip(rho) A)
    #     0: min(1.25, 1.2) A = .84853 (clipped)    1: .70711    2: .8 A = .56569
    #     3: min(-.35355, .8 * -.70711) = -.56569 (clipped)      5: -1.06066
    # k3 with ref .25 .3 .4 .4 .3: d = log(ref / new)
    #     0: ratio .5, .5 - 1 + .69315 = .19315     1: 0    2: 0
    #     3: ratio 2, 2 - 1 - .69315 = .30685       5: ratio .5: .19315
    # -S + beta KL, beta .1, summed: -(.84853 + .70711 + .56569 - .56569 - 1.06066)
    #     = -.49498;  + .1 * (.19315 + .30685 + .19315) = .069315;  sum -.42567, over 5: -.08513
    new, old = [0.5, 0.3, 0.4, 0.2, 0.6], [0.4, 0.3, 0.5, 0.4, 0.4]
    reference = [0.25, 0.3, 0.4, 0.4, 0.3]
    loss, gradient = by_hand(new, old, reference, clip=0.2, beta=0.1, kl="k3")
    assert loss == pytest.approx(-0.42567 / 5, abs=1e-5)
    # d loss / d log new = (-rho A where not clipped, else 0) + beta (1 - ref / new), over 5
    #     0: 0 + .1 (1 - .5) = .05           1: -.70711               2: -.56569
    #     3: 0 + .1 (1 - 2) = -.1            5: 1.06066 + .1 (1 - .5) = 1.11066
    wanted = [0.05 / 5, -0.70711 / 5, -0.56569 / 5, -0.1 / 5, 1.11066 / 5]
    assert gradient == pytest.approx(wanted, abs=1e-5)
    # sequence-mean: weights 1/6 1/6 1/3 1/6 1/6 of
    #     -.84853 + .019315, -.70711, -.56569, .56569 + .030685, 1.06066 + .019315
    loss, _ = by_hand(new, old, reference, clip=0.2, beta=0.1, aggregate="sequence-mean")
    assert loss == pytest.approx(
        (-0.829215 - 0.70711 + 0.596375 + 1.079975) / 6 - 0.56569 / 3, 1e-4
    )
    # no clip, no KL: -(1.25 + 1 + .8 - .5 - 1.5) .70711 / 5
    loss, _ = by_hand(new, old, reference, beta=0.0)
    assert loss == pytest.approx(-1.05 * 0.70711 / 5, abs=1e-5)


def test_a_clipped_ratio_has_no_gradient_and_only_on_the_side_that_pays() -> None:
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1], requires_grad=True)
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    gain, clipped = surrogate(ratio, advantage, 0.2)
    gain.sum().backward()
    assert clipped.tolist() == [True, False, False, True, False]
    assert ratio.grad.tolist() == [0.0, -1.0, 1.0, 0.0, 1.0]


# --- the KL estimators, summed over a whole distribution ----------------------------------------


def of_distribution(kind: str) -> tuple[float, Any, Any, Any]:
    """E[value], E[gradient] of an estimator under pi, and pi's and pi_ref's logits."""
    draws = torch.Generator().manual_seed(1)
    logits = torch.randn(6, generator=draws, dtype=torch.float64).requires_grad_()
    reference = torch.randn(6, generator=draws, dtype=torch.float64)
    log_pi, log_ref = logits.log_softmax(0), reference.log_softmax(0)
    ratio = (log_pi - log_pi.detach()).exp()
    value, pull = divergence(log_pi, log_ref, ratio, kind)  # type: ignore[arg-type]
    weights = log_pi.exp().detach()
    ((gradient,)) = torch.autograd.grad((weights * pull).sum(), logits)
    return float((weights * value).sum()), gradient, logits, log_ref


def exact(direction: str, logits: Any, log_ref: Any) -> tuple[float, Any]:
    log_pi = logits.log_softmax(0)
    first, second = (log_pi, log_ref) if direction == "reverse" else (log_ref, log_pi)
    kl = (first.exp() * (first - second)).sum()
    return kl.item(), torch.autograd.grad(kl, logits)[0]


@pytest.mark.parametrize(
    ("kind", "direction"), [("k1", "reverse"), ("k2", "reverse"), ("k3", "forward")]
)
def test_the_mean_gradient_of_an_estimator_is_that_of_its_divergence(
    kind: str, direction: str
) -> None:
    value, gradient, logits, log_ref = of_distribution(kind)
    _, wanted = exact(direction, logits, log_ref)
    assert torch.allclose(gradient, wanted, atol=1e-12)
    if kind != "k2":  # biased in value
        assert value == pytest.approx(exact("reverse", logits, log_ref)[0])


def test_k1_merely_differentiated_would_hold_nothing_back() -> None:
    _, _, logits, log_ref = of_distribution("k1")
    log_pi = logits.log_softmax(0)
    mean = (log_pi.exp().detach() * (log_pi - log_ref)).sum()
    (gradient,) = torch.autograd.grad(mean, logits)
    assert gradient.abs().max() < 1e-12


# --- finite differences on a model ------------------------------------------------------------


def plain_kl(kind: str, new: Any, ref: Any, rho: Any, now: Any) -> Any:
    """`now` is log pi where the gradient is taken: k1 is a constant there."""
    if kind == "k1":
        return rho * (now - ref)
    return 0.5 * (new - ref) ** 2 if kind == "k2" else ref.sub(new).exp() - ref + new - 1


def plain_loss(model: Any, groups: list[Group], said: GrpoRecipe, kept: dict[str, Any]) -> Any:
    """The loss again, step by step as the equations read, by transformers' own logits."""
    total, count = 0.0, 0.0
    for g in groups:
        rewards = torch.tensor(g.rewards, dtype=torch.float64)
        scored = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        for t in g.trajectories:
            whole = sum(sum(s.mask) for s in t.steps)
            count += (whole > 0) if said.aggregate == "trajectory-mean" else 0
            for s in t.steps:
                count += sum(s.mask) if said.aggregate == "token-mean" else 0
                count += any(s.mask) if said.aggregate == "sequence-mean" else 0
                logits = model(torch.tensor([s.prompt_ids + s.completion_ids])).logits[0]
                rows = (logits / said.temperature).log_softmax(-1)
                for i, (token, trained) in enumerate(zip(s.completion_ids, s.mask, strict=True)):
                    if not trained:
                        continue
                    new = rows[len(s.prompt_ids) - 1 + i, token]
                    old, ref = kept["old"][id(s), i], kept["ref"][id(s), i]
                    rho, a = (new - old).exp(), scored[t.rollout]
                    gain = rho * a
                    if said.clip is not None:
                        gain = min(gain, rho.clamp(1 - said.clip, 1 + said.clip) * a)
                    kl = plain_kl(said.kl, new, ref, rho, kept["now"][id(s), i])
                    size = {"token-mean": 1, "sequence-mean": sum(s.mask), "trajectory-mean": whole}
                    total = total + (-gain + said.beta * kl) / size[said.aggregate]
    return total / count


@pytest.fixture(scope="module")
def model() -> Any:
    """A GPT-2: the norms of Qwen and Llama are computed in float32, whatever the weights are."""
    pytest.importorskip("transformers")
    return tiny_network(tiny_config("gpt2", n_embd=16, n_layer=2, n_head=2)).double()


@pytest.mark.parametrize("clip", [None, 0.2])
@pytest.mark.parametrize(("kl", "aggregate"), list(itertools.product(KLS, AGGREGATES)))
def test_the_gradient_is_that_of_finite_differences(
    model: Any, kl: str, aggregate: str, clip: float | None
) -> None:
    groups = some_groups([[0.0, 1.0, 0.3], [0.5, 0.2]], seed=5)
    said = recipe(kl=kl, aggregate=aggregate, clip=clip, beta=0.3, temperature=0.8)
    objective = Objective(groups, said, Engine(), CPU)
    steps, size = objective.steps, objective.size
    scorer, packs = TokenScorer(model), pack_plain(steps, 60)
    now = torch.full((size,), math.nan, dtype=torch.float64)
    with torch.no_grad():
        for packed in packs:
            now[packed.order] = scorer(packed, 0.8)[0]
    draws = torch.Generator().manual_seed(2)
    old = now + 0.2 * torch.randn(size, generator=draws, dtype=torch.float64)
    ref = now + 0.3 * torch.randn(size, generator=draws, dtype=torch.float64)
    objective._old, objective.reference, objective.epoch = old, ref, 1
    objective._weight = objective._weight.double()
    objective._advantage = lay_out(groups, said).advantage
    model.zero_grad()
    for packed in packs:  # in parts: the sum of their gradients
        objective(packed, *scorer(packed, 0.8, True)).backward()

    places = [(id(s), i) for s in steps for i in range(len(s.completion_ids))]
    kept = {
        "old": dict(zip(places, old, strict=True)), "ref": dict(zip(places, ref, strict=True)),
        "now": dict(zip(places, now, strict=True)),
    }  # fmt: skip
    parameters = list(model.parameters())
    start = [p.detach().clone() for p in parameters]
    way = [torch.randn(p.shape, generator=draws, dtype=torch.float64) for p in parameters]
    slope = sum(float((p.grad * w).sum()) for p, w in zip(parameters, way, strict=True))
    losses = []
    with torch.no_grad():
        for sign in (1, -1):
            for p, s, w in zip(parameters, start, way, strict=True):
                p.copy_(s + sign * 1e-6 * w)
            losses.append(float(plain_loss(model, groups, said, kept)))
        for p, s in zip(parameters, start, strict=True):
            p.copy_(s)
    assert slope == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-5, abs=1e-7)


# --- what an update is told -------------------------------------------------------------------


def test_flat_groups_stay_for_the_kl_term_and_are_left_out_without_it() -> None:
    groups = some_groups([[0.5, 0.5], [0.0, 1.0]], masked=0.0)
    flat = [s for t in groups[0].trajectories for s in t.steps]
    held = Objective(groups, recipe(beta=0.1), Engine(), CPU)
    free = Objective(groups, recipe(beta=0.0), Engine(), CPU)
    assert held.steps == steps_of(groups)
    assert [any(s.mask) for s in free.steps] == [s not in flat for s in steps_of(groups)]
    assert held.metrics()["flat_groups"] == free.metrics()["flat_groups"] == 1
    assert torch.equal(held._weight, free._weight)  # they count in the normaliser either way


def test_log_probabilities_of_the_sampler_are_refused_where_it_told_none() -> None:
    with pytest.raises(UsageError, match="told no log-probabilities"):
        Objective(some_groups([[0, 1]]), recipe(old_logprobs="sampled"), Engine(), CPU)


def test_in_the_first_epoch_the_ratio_is_exactly_1_and_its_gradient_that_of_the_policy() -> None:
    new = torch.tensor([-0.3, -2.0], requires_grad=True)
    found = terms(new, new.detach(), None, torch.tensor([2.0, -1.0]), recipe(clip=0.2, beta=0))
    found.loss.sum().backward()
    assert found.ratio.tolist() == [1.0, 1.0]
    assert new.grad.tolist() == [-2.0, 1.0]


def test_the_sampler_mismatch_is_reported_where_the_temperature_is_1() -> None:
    given = {"logprobs": (-1.0, -2.0)}
    groups = [group("t", (1.0, [step([5], [6, 7], **given)]), (0.0, [step([5], [8, 9], **given)]))]
    (packed,) = pack_plain(steps_of(groups), 100)
    for temperature, wanted in ((1.0, 0.25), (0.5, None)):
        said = recipe(beta=0, temperature=temperature)
        objective = Objective(groups, said, Engine(), CPU)
        objective(packed, torch.tensor([-1.0, -2.5, -1.5, -2.0]), torch.zeros(4))
        found = objective.metrics()
        assert found.get("mismatch") == wanted
        assert ("mismatch_max" in found) == (wanted is not None)
