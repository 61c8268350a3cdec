"""The teacher in embodied environments: what it says and does follows from the prompt alone."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from lessons import lessons

from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.prompts import goal_message
from agemem_eval.harness.protocol import parse_text
from agemem_eval.harness.tools import find_tool
from agemem_eval.harness.types import ChatMessage, Completion, EpisodeView, Request, Sampling
from agemem_eval.policies.recipe import Recipe, make_recipe
from agemem_eval.policies.rollout import Heard, Player
from agemem_eval.policies.teacher import Slip, Teacher
from agemem_eval.policies.teacher.minds import KNOWN
from agemem_eval.policies.teacher.prompt import view
from agemem_eval.policies.teacher.slips import _PLACES, Slipping

BABYAI = pytest.param(
    "babyai", 3600,
    marks=pytest.mark.skipif(find_spec("minigrid") is None, reason="needs the extra babyai"),
)  # fmt: skip
SMALL = [("alfworld", 2700), BABYAI, ("pddl", 3000)]  # budgets that no long history fits into
_NAME = re.compile(r"\b[a-z]+ ?\d+\b")


def recipe(env: str, context: int, options: dict[str, str] | None = None) -> Recipe:
    return make_recipe({
        "name": "lesson", "model": {"fresh": {"positions": 65536}}, "sft": {},
        "agent": {"shots": 0, "context_tokens": context, "max_tokens": 512},
        "tasks": {"env": env, "options": {env: options or {}}},
        "reward": {"task_score": "success"},
    })  # fmt: skip


def calls(heard: list[Heard]) -> Counter[str]:
    return Counter(
        {
            name: sum(sum(h.episode.tool_calls.get(name, {}).values()) for h in heard)
            for name in {name for h in heard for name in h.episode.tool_calls}
        }
    )


def shown(messages: tuple[ChatMessage, ...]) -> str:
    return " ".join(m.content for m in messages if m.role != "system")


def check_names(heard: list[Heard]) -> None:
    """Every name in what is said stands in the prompt."""
    for h in heard:
        for messages, completion in h.turns:
            missing = set(_NAME.findall(completion.text)) - set(_NAME.findall(shown(messages)))
            assert not missing, (missing, completion.text)


@pytest.mark.parametrize(("env", "context"), SMALL)
def test_a_context_too_small_for_the_history_is_no_loss(env: str, context: int) -> None:
    heard = lessons(recipe(env, context), Teacher(KNOWN[env].expert), 12)
    # A map is lost with the texts it was drawn from: in BabyAI some ways are walked again.
    assert sum(bool(h.episode.success) for h in heard) >= (8 if env == "babyai" else 11)
    assert any(h.episode.overflow_drops or calls([h])["Summary_context"] for h in heard)
    for h in heard:
        assert h.episode.malformed_outputs == 0
        assert {s for by in h.episode.tool_calls.values() for s in by} <= {"success"}
    if env != "babyai":  # where numbers are counts of steps
        check_names(heard)


def check_function(chosen: Recipe, expert: str, most: int) -> None:
    """See that a teacher that has seen nothing of an episode but a prompt says the same to it."""

    async def play() -> None:
        player = Player(chosen, teacher := Teacher(expert))
        views: list[EpisodeView] = []
        bind = teacher.bind
        teacher.bind = lambda view: views.append(view) or bind(view)  # type: ignore[method-assign, func-returns-value]
        try:
            for task in await player.tasks("generated-train", 2, 4):
                heard = await player.listen(task, repeat=0)
                n = min(most, len(heard.turns))
                for messages, completion in random.Random(1).sample(heard.turns, n):
                    fresh = bind(views[-1])
                    again = await fresh.generate(Request(messages, Sampling()))
                    assert again.text == completion.text
        finally:
            await player.close()

    asyncio.run(play())


@pytest.mark.parametrize(("env", "context"), SMALL)
def test_what_is_said_and_done_is_a_function_of_the_prompt(env: str, context: int) -> None:
    check_function(recipe(env, context), KNOWN[env].expert, 4)


def test_so_it_is_where_a_memory_shows_by_itself_what_was_told() -> None:
    told = recipe("three-stage", 8192, {"env": "alfworld", "exposure": "world"})
    tasks = told.tasks.model_copy(update={"memory": "rag"})
    check_function(told.model_copy(update={"tasks": tasks}), "explorer", 12)


def test_what_was_told_before_is_retrieved_and_saves_the_search() -> None:
    told = recipe("three-stage", 8192, {"env": "alfworld", "exposure": "world"})
    heard = lessons(told, Teacher("explorer"), 8)
    assert all(h.episode.success for h in heard)
    used = calls(heard)
    assert min(used[t] for t in ("Add_memory", "Retrieve_memory", "Filter_context")) >= 8
    alone = lessons(recipe("alfworld", 8192), Teacher("explorer"), 8)
    steps = [h.episode.steps - 8 for h in heard]  # three messages are told, five are small talk
    assert sum(steps) < sum(h.episode.steps for h in alone)
    check_names(heard)


def test_notes_of_another_day_are_deleted_or_mended_where_they_hold_no_longer() -> None:
    told = recipe("three-stage", 8192, {"env": "alfworld", "exposure": "episode"})
    heard = lessons(told, Teacher("explorer"), 8)
    assert sum(bool(h.episode.success) for h in heard) >= 7
    assert calls(heard)["Delete_memory"] + calls(heard)["Update_memory"] > 0
    check_names(heard)


def test_every_call_has_arguments_that_its_tool_takes() -> None:
    async def play() -> None:
        player = Player(recipe("alfworld", 2700), teacher := Teacher("explorer"))
        views: list[EpisodeView] = []
        bind = teacher.bind
        teacher.bind = lambda view: views.append(view) or bind(view)  # type: ignore[method-assign, func-returns-value]
        try:
            for task in await player.tasks("generated-train", 0, 6):
                heard = await player.listen(task, repeat=0)
                for _, completion in heard.turns:
                    for call in parse_text(completion.text).calls:
                        tool = find_tool(views[-1].tools, call.name)
                        assert tool is not None
                        tool.check(call.arguments)
        finally:
            await player.close()

    asyncio.run(play())


def test_noise_leaves_calls_out_and_the_game_goes_on() -> None:
    whole = calls(lessons(recipe("alfworld", 2700), Teacher("explorer"), 8))
    some = calls(lessons(recipe("alfworld", 2700), Teacher("explorer", 1.0), 8))
    assert not some
    assert whole


def test_the_notes_in_a_prompt_are_those_whose_ids_it_shows() -> None:
    add = '<think>x</think><tool_call>[{"name": "Add_memory", "arguments": {"content": "a: b"}}'
    mend = '<think>x</think><tool_call>[{"name": "Update_memory", "arguments": '
    said: list[tuple[str, str]] = [
        ("user", "Your goal: put a mug in desk."),
        ("user", "You are here."),
        ("assistant", f"{add}]</tool_call>"),
        ("tool", "[Add_memory: success] Stored as memory id-1."),
        ("assistant", f'{mend}{{"memory_id": "id-1", "content": "a: c"}}}}]</tool_call>'),
        ("tool", "[Update_memory: success] Memory id-1 updated."),
        ("assistant", "<think>x</think><answer>go</answer>"),
        ("user", "You went."),
        ("tool", "[Retrieve_memory: success] [id-22] d: e"),
    ]
    seen = view([ChatMessage(role, text) for role, text in said])  # type: ignore[arg-type]
    assert seen.held == {"a": ("id-1", "a: c"), "d": ("id-22", "d: e")}
    assert [(e.head, e.text) for e in seen.seen] == [("", "You are here."), ("go", "You went.")]
    assert seen.since == ["Retrieve_memory"]
    assert seen.looked


@pytest.mark.parametrize(("env", "first"), [("alfworld", 40), ("pddl", 24)])
def test_mistakes_on_purpose_are_gone_on_from_and_are_no_examples(env: str, first: int) -> None:
    chosen = recipe(env, 8192)
    expert = KNOWN[env].expert

    async def play(slips: float) -> list[Heard]:
        player = Player(chosen, Teacher(expert, slips=slips))
        try:
            tasks = await player.tasks("generated-train", first, 8)
            return [await player.listen(task, repeat=0) for task in tasks]
        finally:
            await player.close()

    whole, slipped = asyncio.run(play(0.0)), asyncio.run(play(0.3))
    assert not any(isinstance(c, Slip) for h in whole for _, c in h.turns)
    kinds = Counter(isinstance(c, Slip) for h in slipped for _, c in h.turns)
    assert 0.15 < kinds[True] / kinds.total() < 0.45
    assert sum(bool(h.episode.success) for h in slipped) >= 7
    assert sum(h.episode.steps for h in slipped) > sum(h.episode.steps for h in whole)
    assert any(h.episode.invalid_actions for h in slipped), "some are not admissible"
    for h in slipped:
        for at, (_, completion) in enumerate(h.turns[:-1]):
            if isinstance(completion, Slip):  # the context tells of it as of any other action
                assert completion.text in [m.content for m in h.turns[at + 1][0]]


def test_the_thought_before_a_mistake_is_of_the_mistake() -> None:
    asked: list[list[str]] = []

    class Env:
        async def valid_actions(self) -> list[str]:
            asked.append(["look", "go to desk 1"])
            return asked[-1]

    said = "<think>Look at desk 1.</think><answer>go to desk 1</answer>"

    class Said(ModelBase):
        info = Teacher("explorer").info

        async def generate(self, request: Request) -> Completion:
            return Completion(self.text, Usage(1, 1))

        def thought(self, action: str) -> str:
            return f"Now {action}."

        text = said

    episode = SimpleNamespace(env=Env())
    inner = Said()
    request = Request((ChatMessage("user", "You see a desk 1."),), Sampling())

    def drawn(rate: float, seed: int) -> Completion:
        model = Slipping(inner, rate, random.Random(seed), episode)  # type: ignore[arg-type]
        return asyncio.run(model.generate(request))

    assert drawn(0.0, 1).text == said
    assert not asked
    found = {drawn(1.0, seed).text for seed in range(40)}
    assert found <= {
        f"<think>Now {wrong}.</think><answer>{wrong}</answer>"
        for wrong in (
            "look",
            *(f"go to desk {n}" for n in range(2, 6)),
            *(f"go to {kind} 1" for kind in _PLACES if kind != "desk"),
        )
    }
    assert len(found) > 2
    inner.text = "<think>Nothing to note.</think><answer>ok</answer>"
    assert not isinstance(drawn(1.0, 1), Slip), "what is told before the task is answered rightly"


def test_the_start_of_a_task_that_was_told_of_before_is_whole() -> None:
    told = [
        ChatMessage("user", goal_message("keep in mind what you are told")),
        ChatMessage("user", "I took a walk."),
        ChatMessage("assistant", "<think>Done.</think><answer>ok</answer>"),
        ChatMessage("user", goal_message("go to the red ball")),
        ChatMessage("user", "You see red ball 1, 2 steps ahead. You carry nothing."),
    ]
    assert [event.head for event in view(told).seen] == [""]


def test_a_mistake_may_be_the_last_action_again_and_again() -> None:
    class Env:
        async def valid_actions(self) -> list[str]:
            return ["look", "go to desk 1"]

    class Walks(ModelBase):
        info = Teacher("explorer").info

        async def generate(self, request: Request) -> Completion:
            return Completion("<think>On.</think><answer>go to desk 1</answer>", Usage(1, 1))

        def thought(self, action: str) -> str:
            return f"Now {action}."

    messages = (
        ChatMessage("user", "You see a desk 1."),
        ChatMessage("assistant", "<think>On.</think><answer>go to bed 1</answer>"),
        ChatMessage("user", "Nothing happens."),
    )
    request = Request(messages, Sampling())
    episode = SimpleNamespace(env=Env())
    longest = 0
    for seed in range(200):
        model = Slipping(Walks(), 1.0, random.Random(seed), episode)  # type: ignore[arg-type]
        said = "<think>Now go to bed 1.</think><answer>go to bed 1</answer>"
        row = 0
        while row < 9 and asyncio.run(model.generate(request)).text == said:
            row += 1
        longest = max(longest, row)
    assert longest >= 3


def test_a_mistake_may_be_to_go_to_what_only_other_rooms_have() -> None:
    class Env:
        async def valid_actions(self) -> list[str]:
            return ["go to desk 1", "go to shelf 1"]

    class Walks(ModelBase):
        info = Teacher("explorer").info

        async def generate(self, request: Request) -> Completion:
            return Completion("<think>On.</think><answer>go to desk 1</answer>", Usage(1, 1))

        def thought(self, action: str) -> str:
            return "Now."

    request, said = Request((ChatMessage("user", "You see a desk 1."),), Sampling()), set()
    for seed in range(100):
        episode = SimpleNamespace(env=Env())
        model = Slipping(Walks(), 1.0, random.Random(seed), episode)  # type: ignore[arg-type]
        said.add(parse_text(asyncio.run(model.generate(request)).text).answer)
    assert {"go to fridge 1", "go to bed 1", "go to shelf 1"} <= said
    assert "go to desk 1" not in said
