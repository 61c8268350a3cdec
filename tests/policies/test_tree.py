"""Steps packed as trees give what each step gives in a row of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from agemem_eval.policies.recipe import make_recipe
from agemem_eval.policies.trajectory import Step

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.train

from tiny_groups import tiny_config, tiny_network  # noqa: E402

from agemem_eval.policies.forward import Packed, logprobs, pack_plain, trained_offsets  # noqa: E402
from agemem_eval.policies.tree import pack_tree  # noqa: E402

ALPHABET = 3  # so few that random sequences share beginnings
WHOLE = 10**9  # a width from which on trees would be cut: never


@pytest.fixture(scope="module")
def network() -> Any:
    return tiny_network(tiny_config("qwen2"))


def a_step(prompt: Sequence[int], completion: Sequence[int], mask: Sequence[bool] = ()) -> Step:
    trained = tuple(mask) or (True,) * len(completion)
    return Step(tuple(prompt), tuple(completion), None, trained[: len(completion)], 3)


tokens = some.lists(some.integers(1, ALPHABET), min_size=1, max_size=9)
steps = some.lists(
    some.builds(a_step, tokens, tokens, some.lists(some.booleans(), min_size=9, max_size=9)),
    max_size=14,
)


def computed(packs: Sequence[Packed]) -> int:
    return sum(packed.computed for packed in packs)


def distinct(given_steps: Sequence[Step]) -> int:
    """Nodes of the trie of all paths, counted one by one."""
    nodes = set()
    for step, _, offsets in trained_offsets(given_steps):
        path = step.prompt_ids + step.completion_ids[: offsets[-1]]
        nodes |= {path[:depth] for depth in range(1, len(path) + 1)}
    return len(nodes)


def learned(model: Any, packs: Sequence[Packed], size: int) -> tuple[Any, Any]:
    """Log-probabilities in canonical order, and the gradient of a loss that weighs each its own."""
    weights = torch.linspace(-1, 1, size)
    found, loss = torch.zeros(size), torch.zeros(())
    for packed in packs:
        of_pack = logprobs(model, packed, 0.7)
        found[packed.order] = of_pack.detach()
        loss = loss + (of_pack * weights[packed.order]).sum()
    model.zero_grad()
    if packs:
        loss.backward()
    gradient = [p.grad.flatten() if p.grad is not None else torch.zeros(p.numel())
                for p in model.parameters()]  # fmt: skip
    return found, torch.cat(gradient)


def assert_the_same(model: Any, given_steps: Sequence[Step], packs: Sequence[Packed]) -> None:
    size = sum(len(step.completion_ids) for step in given_steps)
    expected, slope = learned(model, pack_plain(given_steps, 512), size)
    found, slope_found = learned(model, packs, size)
    assert (found - expected).abs().max() < 1e-5
    assert (slope_found - slope).abs().max() < 1e-5 * max(1.0, float(slope.abs().max()))


@settings(max_examples=40, deadline=None)
@given(steps.filter(bool), some.sampled_from([8, 24, 64, 4096]), some.sampled_from([1, 16, WHOLE]))
def test_log_probabilities_and_gradients_are_those_of_plain_rows(
    network: Any, given_steps: list[Step], batch_tokens: int, even_width: int
) -> None:
    assert_the_same(network, given_steps, pack_tree(given_steps, batch_tokens, even_width))


@settings(max_examples=100, deadline=None)
@given(steps, some.integers(1, 80), some.sampled_from([1, 16, WHOLE]))
def test_each_trained_token_is_predicted_once_by_what_stands_before_it(
    given_steps: list[Step], batch_tokens: int, even_width: int
) -> None:
    expected = {
        first + offset: (
            step.prompt_ids + step.completion_ids[:offset], step.completion_ids[offset]
        )
        for step, first, offsets in trained_offsets(given_steps) for offset in offsets
    }  # fmt: skip
    found = {}
    for packed in pack_tree(given_steps, batch_tokens, even_width):
        width = packed.ids.shape[1]
        places = zip(packed.sources.tolist(), packed.targets.tolist(), packed.order.tolist(),
                     strict=True)  # fmt: skip
        for source, target, order in places:
            row, column = divmod(source, width)
            assert packed.mask is not None
            seen = packed.mask[row, 0, column].nonzero()[:, 0]
            assert packed.positions[row, seen].tolist() == list(range(len(seen)))
            assert order not in found
            found[order] = tuple(packed.ids[row, seen].tolist()), target
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(steps, some.integers(1, 80))
def test_packs_stay_within_their_tokens_but_for_a_path_that_is_longer(
    given_steps: list[Step], batch_tokens: int
) -> None:
    longest = max((step.length for step in given_steps), default=0)
    for packed in pack_tree(given_steps, batch_tokens):
        rows, width = packed.ids.shape
        assert rows * width <= batch_tokens or (rows == 1 and width <= longest)
        assert packed.mask is not None
        assert packed.mask.diagonal(dim1=2, dim2=3).all()


@settings(max_examples=100, deadline=None)
@given(steps, some.integers(9, 80))
def test_where_all_fits_each_node_is_computed_once_and_cut_no_more_than_plain_rows(
    given_steps: list[Step], batch_tokens: int
) -> None:
    assert computed(pack_tree(given_steps, 10_000, WHOLE)) == distinct(given_steps)
    cut = computed(pack_tree(given_steps, batch_tokens, WHOLE))
    assert distinct(given_steps) <= cut <= computed(pack_plain(given_steps, batch_tokens))


def test_a_trie_is_cut_where_least_is_repeated() -> None:
    beginning, other = [1] * 20, [2] * 20  # two families, each of three paths of 21 tokens
    family = [a_step([*beginning, i], [7]) for i in range(3, 6)]
    rest = [a_step([*other, i], [7]) for i in range(3, 6)]
    mixed = [family[0], rest[0], family[1], rest[1], rest[2], family[2]]
    packs = pack_tree(mixed, 24, WHOLE)
    assert sorted(packed.computed for packed in packs) == [23, 23]
    assert computed(pack_tree(mixed, 22, WHOLE)) == 22 + 21 + 22 + 21  # a beginning twice each


def test_a_position_with_several_children_predicts_a_token_for_each() -> None:
    twins = [a_step([1, 2], [3, 4]), a_step([1, 2], [5]), a_step([1, 2], [3, 4])]
    (packed,) = pack_tree(twins, 64)
    assert packed.ids.tolist() == [[1, 2, 3]]
    assert sorted(zip(packed.order.tolist(), packed.sources.tolist(), packed.targets.tolist(),
                      strict=True)) == [
        (0, 1, 3), (1, 2, 4), (2, 1, 5), (3, 1, 3), (4, 2, 4),
    ]  # fmt: skip


def test_what_is_not_trained_is_not_computed() -> None:
    untrained = a_step([1, 2, 3], [4, 5], [False, False])
    cut = a_step([1, 2, 3], [4, 5, 6], [True, False, False])
    assert pack_tree([untrained], 64) == []
    (packed,) = pack_tree([untrained, cut], 64)
    assert packed.ids.tolist() == [[1, 2, 3]]
    assert packed.order.tolist() == [2]


def test_a_trained_completion_after_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="empty prompt"):
        pack_tree([a_step([], [1, 2])], 64)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Step]]:
    """Three rollouts of a generated three-stage task, by a model that knows nothing yet."""
    from agemem_eval.harness.models.hf.live import LiveModel
    from agemem_eval.harness.models.hf.weights import load
    from agemem_eval.harness.models.inprocess.chat import Chat
    from agemem_eval.harness.types import ModelInfo
    from agemem_eval.policies.fresh import make_fresh
    from agemem_eval.policies.mixture import Pick
    from agemem_eval.policies.recipe import Fresh
    from agemem_eval.policies.rollout import Player

    sizes = Fresh(
        vocabulary=600, hidden=32, layers=2, heads=2, kv_heads=1, inner=48, positions=8192
    )
    words = ["She was born in 1902 in the town of Gurnemo, and worked as a playwright."] * 3
    folder: Path = make_fresh(tmp_path_factory.mktemp("models") / "tiny", sizes, words, 0)
    recipe = make_recipe({
        "name": "tree", "model": {"path": "tiny"}, "grpo": {"rollouts": 3},
        "agent": {"shots": 0, "context_tokens": 7000, "max_tokens": 8, "max_turns_per_step": 3},
    })  # fmt: skip
    loaded = load(folder, None, "float32", "cpu", 1)
    model = LiveModel(loaded, ModelInfo("tiny"), Chat(loaded.tokenizer, None, {}, "tiny"))

    async def play() -> list[Step]:
        player = Player(recipe, model)
        try:
            tasks = await player.tasks("generated-train", 0, 1)
            picks = [Pick(task) for task in tasks]
            batch = await player.groups(picks, rollouts=3, temperature=1.0, round_=0)
        finally:
            await player.close()
            await model.close()
        return [s for g in batch.groups for t in g.trajectories for s in t.steps]

    return loaded.model.requires_grad_(True), asyncio.run(play())


def test_real_groups_give_the_same_and_compute_a_fraction(played: tuple[Any, list[Step]]) -> None:
    model, found = played
    assert len(found) >= 12
    packs = pack_tree(found, 8192)
    assert_the_same(model, found, packs)
    assert computed(packs) < 0.6 * computed(pack_plain(found, 8192))


def test_packing_is_the_same_each_time(played: tuple[Any, list[Step]]) -> None:
    _, found = played
    once, again = pack_tree(found, 4096), pack_tree(found, 4096)
    assert len(once) == len(again)
    for one, other in zip(once, again, strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert np.array_equal(one.order, other.order)
