"""The agent loop: what happens to good, bad and missing outputs, and how episodes end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from agent_plays import KEY, NOTE, SPEC, WAIT, WIN, CountdownEnv, ListModel, NoteMemory, play

from agemem_eval.harness.agent import MAX_FORFEITS, run_episode
from agemem_eval.harness.config import AgentConfig
from agemem_eval.harness.context import MESSAGE_OVERHEAD, Context
from agemem_eval.harness.errors import ModelError, UsageError
from agemem_eval.harness.ledger import Ledger, Usage
from agemem_eval.harness.metering import Meter
from agemem_eval.harness.tools import ToolCall, ToolResult, ToolStatus
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import (
    Completion,
    Instructions,
    Observation,
    Outcome,
    StepResult,
    Task,
)


async def test_a_solved_episode() -> None:
    memory = NoteMemory()
    episode, trace = await play(ListModel(WAIT, NOTE, WIN), memory=memory)
    assert (episode.status, episode.reason, episode.success) == ("completed", "solved", True)
    assert (episode.steps, episode.turns, episode.progress, episode.reward) == (2, 3, 1.0, 1.0)
    assert episode.tool_calls == {"Note": {"success": 1}}
    assert episode.memory_entries == 1
    assert episode.tokens["agent"].calls == 3
    assert episode.tokens["agent"].prompt_tokens == 30
    assert memory.outcome == Outcome("completed", True, 1.0)
    assert [turn.action for turn in memory.turns] == ["wait", None, "win"]
    assert memory.turns[1].results[0].ok
    assert [e["action"] for e in trace.of("action")] == ["wait", "win"]


async def test_the_prompt_holds_goal_tools_example_and_result() -> None:
    model = ListModel(NOTE, WIN)
    await play(model)
    prompt = model.prompt()
    for part in ("Say win.", "Take notes.", '"name": "Note"', "EXAMPLE", "Your goal: say win"):
        assert part in prompt
    assert "[Note: success] noted" in prompt
    assert [m.role for m in model.requests[1].messages] == [
        "system", "user", "user", "assistant", "tool",
    ]  # fmt: skip


async def test_shots_0_leaves_the_example_out() -> None:
    model = ListModel(WIN)
    await play(model, shots=0)
    assert "EXAMPLE" not in model.prompt()


async def test_the_step_limit_is_a_scored_failure() -> None:
    episode, _ = await play(ListModel(WAIT), max_steps=3)
    assert (episode.status, episode.reason, episode.success) == ("limit", "step_limit", False)
    assert episode.steps == 3
    assert episode.scored


async def test_an_unusable_output_is_told_to_the_model_and_counted() -> None:
    model = ListModel("no tags at all", WIN)
    episode, trace = await play(model)
    assert episode.success
    assert episode.malformed_outputs == 1
    assert "Nothing was carried out" in model.prompt()
    assert len(trace.of("malformed")) == 1


async def test_an_agent_that_never_acts_loses_steps_and_then_the_episode() -> None:
    env = CountdownEnv()
    model = ListModel(NOTE)
    episode, trace = await play(model, env=env, max_turns_per_step=2)
    assert episode.status == "agent_error"
    assert episode.success is False
    assert episode.forfeits == MAX_FORFEITS == len(trace.of("forfeit"))
    assert env.actions == [""] * MAX_FORFEITS
    assert episode.turns == 2 * MAX_FORFEITS
    assert "last turn of this step" in model.prompt(1)


async def test_calls_beyond_the_limit_are_cancelled_and_unknown_tools_named() -> None:
    call = '{"name": "Note", "arguments": {"text": "a"}}'
    many = f"<tool_call>[{call}, {call}, {call}]</tool_call>"
    odd = '<tool_call>[{"name": "Nope", "arguments": {}}]</tool_call>'
    model = ListModel(many, odd, WIN)
    episode, _ = await play(model, max_calls_per_turn=2)
    assert episode.tool_calls == {
        "Nope": {"unknown_tool": 1},
        "Note": {"success": 2, "cancelled": 1},
    }
    assert "there is no tool 'Nope'; tools: Note" in model.prompt()


async def test_a_failed_endpoint_is_no_score() -> None:
    episode, _ = await play(ListModel(WAIT, ModelError("endpoint down")))
    assert episode.status == "infra_error"
    assert (episode.success, episode.progress, episode.reward) == (None, None, None)
    assert episode.reason == "ModelError: endpoint down"
    assert not episode.scored


async def test_a_dead_worker_is_no_score() -> None:
    episode, _ = await play(ListModel("<answer>crash</answer>"))
    assert episode.status == "infra_error"
    assert "worker 1 died" in episode.reason


@pytest.mark.parametrize("where", ["before_turn", "call"])
async def test_a_memory_that_raises_is_no_score(where: str) -> None:
    memory = NoteMemory()
    memory.raise_in = where
    episode, _ = await play(ListModel(NOTE, WIN), memory=memory)
    assert episode.status == "infra_error"
    assert episode.reason.startswith("MemoryBackendError: the memory failed in")
    assert "broken" in episode.reason


async def test_a_budget_below_the_system_prompt_is_the_users_mistake() -> None:
    class Wordy(CountdownEnv):
        spec = replace(SPEC, instructions=Instructions("1", "word " * 300, ""))

    with pytest.raises(UsageError, match="--context-tokens"):
        await play(ListModel(WIN), env=Wordy(), context_tokens=256)


async def test_one_task_that_does_not_fit_does_not_stop_the_others() -> None:
    class Long(CountdownEnv):
        async def reset(self, task: Task, seed: int) -> Observation:
            return Observation("word " * 300, "say win")

    memory = NoteMemory()
    episode, _ = await play(ListModel(WIN), env=Long(), memory=memory, context_tokens=256)
    assert (episode.status, episode.reason, episode.turns) == ("limit", "context_overflow", 0)
    assert memory.outcome == Outcome("limit", False, None)


async def test_a_turns_results_stay_together_within_the_budget() -> None:
    class Chatty(NoteMemory):
        async def call(self, call: ToolCall, context: Context) -> ToolResult:
            return ToolResult("Note", ToolStatus.SUCCESS, "word " * 2000)

    calls = tuple(ToolCall("Note", {"text": "a"}, f"c{i}") for i in range(8))
    model = ListModel(Completion("", Usage(1, 1), calls), Completion("win", Usage(1, 1)))
    episode, _ = await play(model, memory=Chatty(), transport="native", context_tokens=1000)
    assert episode.success
    assert sum(m.role == "tool" for m in model.requests[1].messages) == 8


async def test_seeds_and_repeats_never_share_their_draws() -> None:
    seeds = set()
    for seed, repeat in ((0, 0), (0, 1), (1, 0), (1, 1)):
        model = ListModel(WIN)
        key = replace(KEY, seed=seed, repeat=repeat)
        meter = Meter(Ledger(), Trace())
        task = Task("t", "test")
        await run_episode(
            CountdownEnv(), NoteMemory(), model, task, key=key, config=AgentConfig(), meter=meter
        )
        seeds.add(model.requests[0].sampling.seed)
    assert len(seeds) == 4


async def test_overflow_keeps_system_prompt_goal_and_current_observation() -> None:
    class Wordy(CountdownEnv):
        async def step(self, action: str) -> StepResult:
            result = await super().step(action)
            text = f"{result.observation} " + "word " * 60
            return StepResult(text, 0.0, 0.0, False, False)

    model = ListModel(WAIT)
    episode, _ = await play(model, env=Wordy(), context_tokens=450, max_steps=12)
    assert episode.status == "limit"
    assert episode.overflow_drops > 0
    last = model.requests[-1].messages
    assert last[0].role == "system"
    assert last[1].content == "Your goal: say win"
    assert last[-1].content.startswith("observation 11 ")


class Telling(CountdownEnv):
    """Each observation has fifty words."""

    async def step(self, action: str) -> StepResult:
        result = await super().step(action)
        return StepResult(f"{result.observation} " + "word " * 48, 0.0, 0.0, False, False)


@pytest.mark.parametrize("transport", ["prompt", "native"])
async def test_history_tokens_are_the_same_room_for_memories_with_and_without_tools(
    transport: str,
) -> None:
    class Bare(NoteMemory):
        instructions = ""
        tools = ()

    shown, fixed = [], []
    for memory in (NoteMemory(), Bare()):
        model = ListModel(WAIT)
        episode, trace = await play(
            model, env=Telling(), memory=memory, transport=transport, history_tokens=200,
            max_steps=12,
        )  # fmt: skip
        assert episode.overflow_drops > 0
        most = max(event["context_tokens"] for event in trace.of("completion"))
        system = model.count_tokens(model.requests[0].messages[0].content) + MESSAGE_OVERHEAD
        schemas = [tool.schema() for tool in memory.tools]
        system += model.count_tokens(json.dumps(schemas)) if transport == "native" else 0
        assert 150 < most - system <= 200
        shown.append([message.content for message in model.requests[-1].messages[1:]])
        fixed.append(system)
    assert shown[0] == shown[1]
    assert fixed[0] > fixed[1]


async def test_history_tokens_never_exceed_the_context() -> None:
    within = {"env": Telling(), "max_steps": 12, "context_tokens": 450}
    _, alone = await play(ListModel(WAIT), **within)
    within["env"] = Telling()
    _, capped = await play(ListModel(WAIT), history_tokens=100_000, **within)
    sizes = [[e["context_tokens"] for e in trace.of("completion")] for trace in (alone, capped)]
    assert sizes[0] == sizes[1]
    assert max(sizes[0]) <= 450


def test_settings_that_are_not_given_change_no_identity() -> None:
    assert not {"history_tokens", "context_kept"} & set(AgentConfig().model_dump())
    assert AgentConfig(history_tokens=500).model_dump()["history_tokens"] == 500


async def test_an_observation_larger_than_the_budget_ends_the_episode() -> None:
    class Flood(CountdownEnv):
        async def step(self, action: str) -> StepResult:
            await super().step(action)
            return StepResult("word " * 1000, 0.0, 0.0, False, False)

    episode, _ = await play(ListModel(WAIT), env=Flood(), context_tokens=500)
    assert (episode.status, episode.reason) == ("limit", "context_overflow")
    assert episode.success is False


async def test_a_flood_of_output_does_not_flood_the_context() -> None:
    model = ListModel("word " * 50_000, WIN)
    episode, _ = await play(model, max_tokens=20)
    assert episode.success
    assert episode.overflow_drops == 0
    assert "[… cut:" in model.prompt()


@pytest.mark.parametrize("mode", ["never", "on-request", "always"])
async def test_valid_actions_are_shown_as_asked(mode: str) -> None:
    ask = '<tool_call>[{"name": "Valid_actions", "arguments": {}}]</tool_call>'
    model = ListModel(ask, WIN)
    episode, _ = await play(model, show_valid_actions=mode)
    status = "success" if mode == "on-request" else "unknown_tool"
    assert episode.tool_calls == {"Valid_actions": {status: 1}}
    assert ("Valid actions: win; wait" in model.prompt(0)) == (mode == "always")
    assert ("win; wait" in model.prompt(1)) == (mode != "never")


async def test_valid_actions_are_shown_for_the_present_only() -> None:
    model = ListModel(WAIT, WAIT, WIN)
    _, trace = await play(model, show_valid_actions="always")
    assert [model.prompt(i).count("Valid actions: ") for i in range(3)] == [1, 1, 1]
    assert "observation 1" in model.prompt(2)
    assert [e["text"] for e in trace.of("rewrite")][1] == "observation 1"


async def test_native_calls_come_back_with_their_ids() -> None:
    def call(i: str) -> ToolCall:
        return ToolCall("Note", {"text": "a"}, i)

    model = ListModel(
        Completion("", Usage(1, 1), (call("c1"), call("c2")), "tool_calls"),
        Completion("win", Usage(1, 1)),
    )
    episode, trace = await play(model, transport="native")
    assert episode.success
    assert [t.name for t in model.requests[0].tools] == ["Note"]
    assert "JSON schema a line" not in model.prompt(0)
    answers = [m for m in model.requests[1].messages if m.role == "tool"]
    assert [m.tool_call_id for m in answers] == ["c1", "c2"]
    assert trace.of("completion")[0]["tool_calls"][0] == ["Note", {"text": "a"}, "c1"]


async def test_every_message_of_the_context_is_in_the_trace() -> None:
    model = ListModel(NOTE, "bad", WAIT, WIN)
    _, trace = await play(model)
    traced = [event["text"] for event in trace.of("message")]
    for message in model.requests[-1].messages:
        assert message.content in traced
