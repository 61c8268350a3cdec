"""What holds of every reward, whatever an agent does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reward_traces import CORRECTED, GOLD, HERON, JUNK, STALE, VELL, Rollout

from agemem_eval.harness.plan import make_embedder
from agemem_eval.policies.recipe import RewardRecipe
from agemem_eval.policies.rewards import Rewarder
from agemem_eval.policies.trajectory import Reward

TEXTS = (HERON, VELL, STALE, JUNK, "Tea is better than coffee.")
KINDS = (
    "add", "update", "delete", "retrieve", "filter", "summary", "say", "act", "observe", "flood",
    "failed", "forfeit",
)  # fmt: skip
Move = tuple[str, int, int]
moves = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 4), st.integers(0, 4)))
rollouts = st.tuples(moves, moves, moves)
quick = settings(max_examples=60, deadline=None)
REWARDERS = {
    name: Rewarder(RewardRecipe(**values), make_embedder("hashing"), None)
    for name, values in {
        "paper": {},
        "release": {"profile": "release"},
        "strict": {"storage": "sentences", "maintenance": "better", "max_rounds": 6},
        "alone": {"scheme": "answer-only"},
    }.items()
}


class Player:
    """Carries moves out."""

    def __init__(self, word: str) -> None:
        self.rollout, self.word = Rollout(120), word
        self.held: dict[str, str] = {}

    def move(self, kind: str, which: int, other: int) -> None:
        rollout, text = self.rollout, TEXTS[which]
        ids = list(self.held)
        id_ = ids[other % len(ids)] if ids else None
        messages = [m.id for m in rollout.context.messages][other:]
        if kind == "add":
            self.held[rollout.add(text)] = text
        elif kind == "update" and id_ is not None:
            rollout.update(id_, text, changed=self.held[id_] != text)
            self.held[id_] = text
        elif kind == "delete" and id_ is not None:
            rollout.delete(id_, self.held.pop(id_))
        elif kind == "noop" and id_ is not None:
            rollout.update(id_, self.held[id_], changed=False)
        elif kind == "lose":
            gold = [i for i, said in self.held.items() if said in GOLD.facts]
            others = list(self.held.values())
            if gold and others.count(self.held[gold[0]]) == 1:
                rollout.delete(gold[0], self.held.pop(gold[0]))
        elif kind == "retrieve":
            rollout.retrieve(*list(self.held.values())[: other + 1])
        elif kind == "filter":
            rollout.filter(*messages)
        elif kind == "summary":
            rollout.summarise(f"Summary of some messages:\n{text}", *messages)
        elif kind == "flood":
            rollout.observe("word " * 60)
            rollout.context.fit()
        else:
            self._other(kind, text)

    def _other(self, kind: str, text: str) -> None:
        rollout = self.rollout
        if kind == "say":
            rollout.say(f"<think>{self.word}</think>", 40)
        elif kind == "act":
            rollout.act()
        elif kind == "observe":
            rollout.observe(text)
        elif kind == "failed":
            rollout.call("Update_memory", "not_found", memory_id="e99")
        elif kind == "forfeit":
            rollout.trace.emit("forfeit", reason="no answer within the turns of a step")


def played(
    stages: tuple[list[Move], list[Move], list[Move]], *, answer: bool, word: str = "hm"
) -> Rollout:
    player = Player(word)
    rollout = player.rollout
    for number, of_stage in enumerate(stages):
        if number == 1:
            rollout.begin_anew()
        if number == 2:
            rollout.ask()
        else:
            rollout.observe(f"Message {number}")
        rollout.say(f"<think>{word}</think>", 30)
        for move in of_stage:
            player.move(*move)
        rollout.act()
    if answer:
        rollout.say(f"<think>{word}</think><answer>x</answer>", 50)
        rollout.act("x", answer="x")
    return rollout


async def rewarded(rollout: Rollout, name: str, **fields: Any) -> Reward:
    values = {"gold": CORRECTED, "metrics": {"f1": 0.5}, **fields}
    return await REWARDERS[name](rollout.evidence(**values))


@quick
@given(rollouts, st.booleans(), st.sampled_from(sorted(REWARDERS)))
async def test_components_and_totals_lie_in_their_ranges(
    stages: tuple[list[Move], list[Move], list[Move]], answer: bool, name: str
) -> None:
    rollout = played(stages, answer=answer)
    reward = await rewarded(rollout, name)
    lowest = {"task": -1, "penalty": -1.5, "tool": -0.5, "tool.rate": -0.1, "tool.brevity": -9}
    lowest |= {"penalty.rounds": -1, "penalty.overflow": -0.5}
    for part, score in reward.components.items():
        assert score is not None, part
        assert lowest.get(part, 0) <= score <= 1, part
    assert all(0 <= sign <= 1 for sign in reward.hacks.values())
    low = {"paper": -1 / 3 - 1.5, "strict": -1 / 3 - 1.5}.get(name, -1)
    assert low <= reward.total <= 1
    again = await rewarded(rollout, name)
    assert again == reward, "the same evidence, the same reward"


@quick
@given(rollouts, st.sampled_from(sorted(REWARDERS)))
async def test_to_name_tools_in_messages_changes_nothing(
    stages: tuple[list[Move], list[Move], list[Move]], name: str
) -> None:
    quiet = await rewarded(played(stages, answer=True), name)
    for word in ("Retrieve_memory", "Summary_context", "<tool_call>[]</tool_call>"):
        loud = await rewarded(played(stages, answer=True, word=word), name)
        assert loud.total == quiet.total
        assert loud.components == quiet.components


def with_one_more(
    stages: tuple[list[Move], list[Move], list[Move]], kind: str, where: tuple[int, int]
) -> tuple[list[Move], list[Move], list[Move]]:
    of_stage, place = where
    more = [list(moves) for moves in stages]
    more[of_stage].insert(min(place, len(more[of_stage])), (kind, 0, 0))
    return more[0], more[1], more[2]


places = st.tuples(st.integers(0, 2), st.integers(0, 8))


@quick
@given(rollouts, places, st.sampled_from(sorted(REWARDERS)))
async def test_an_update_that_changes_nothing_never_pays(
    stages: tuple[list[Move], list[Move], list[Move]], where: tuple[int, int], name: str
) -> None:
    before = await rewarded(played(stages, answer=True), name)
    after = await rewarded(played(with_one_more(stages, "noop", where), answer=True), name)
    assert after.total <= before.total + 1e-9


@quick
@given(moves, st.integers(0, 8))
async def test_to_delete_the_only_entry_with_a_gold_fact_never_pays(
    talk: list[Move], place: int
) -> None:
    """Nothing is retrieved or changed after it, so that only the deletion itself differs."""
    writes = [("add", which, 0) for _, which, _ in talk]
    first = played((writes, [], []), answer=True)
    lost = played(with_one_more((writes, [], []), "lose", (1, place)), answer=True)
    for name in ("paper", "strict"):
        before, after = await rewarded(first, name), await rewarded(lost, name)
        assert after.components["memory.maintenance"] == 0
        assert after.total <= before.total + 1e-9


@quick
@given(st.lists(st.integers(0, 2)), st.lists(st.integers(3, 4), min_size=1))
async def test_to_store_more_that_says_nothing_or_the_same_never_pays(
    good: list[int], junk: list[int]
) -> None:
    writes = [("add", which, 0) for which in good]
    again = [("add", which, 0) for which in [*junk, *good]]
    before = await rewarded(played((writes, [], []), answer=True), "paper")
    after = await rewarded(played((writes + again, [], []), answer=True), "paper")
    assert after.total <= before.total + 1e-9


@pytest.mark.parametrize("name", sorted(REWARDERS))
async def test_an_episode_in_which_nothing_happened_is_rewarded_all_the_same(name: str) -> None:
    reward = await rewarded(Rollout(), name, status="limit", reason="context_overflow")
    assert -1.84 < reward.total < 0
