"""Models without weights: `scripted` and `random`, and building models by name."""

import itertools
import re

import pytest

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.ledger import Role
from agemem_eval.harness.models import make_model, prompt_tokens
from agemem_eval.harness.models.scripted import MAX_TOLD, MAX_TOLD_LENGTH
from agemem_eval.harness.protocol import parse_completion
from agemem_eval.harness.types import ChatMessage, Request, Sampling

from .fakes import MEMORY_TOOLS, FakeEnv, new_id, request, view

GOAL = "the desk"


async def play(model, env, tools, *, native=False, turns=200, budget=8192):
    """The agent loop in miniature; returns the parsed turns and all the messages."""
    bound = model.bind(view(env, tools, native=native, budget=budget))
    messages = [ChatMessage("system", "rules"), ChatMessage("user", f"Your goal: {GOAL}")]
    messages.append(ChatMessage("user", "A room."))
    parsed_turns, answers = [], 0
    for _ in range(turns):
        completion = await bound.generate(request(*messages, tools=tools if native else ()))
        assert completion.usage.estimated
        parsed = parse_completion(completion, native=native)
        assert not parsed.problems
        assert parsed.think
        parsed_turns.append(parsed)
        messages.append(ChatMessage("assistant", completion.text, completion.tool_calls))
        for call in parsed.calls:
            text = f"[{call.name}: success] {new_id() if call.name == 'Add_memory' else 'done'}"
            messages.append(ChatMessage("tool", text, tool_call_id=call.id))
        if parsed.answer is not None:
            answers += 1
            if not parsed.answer:
                break
            messages.append(ChatMessage("user", f"You see what {parsed.answer!r} does."))
    return parsed_turns, messages


async def test_oracle_plays_the_expert_and_ends_honestly():
    env = FakeEnv()
    turns, _ = await play(make_model("scripted"), env, ())
    assert [turn.answer for turn in turns] == [
        "go to shelf 1", "take book 1 from shelf 1", "go to desk 1", "move book 1 to desk 1", "",
    ]  # fmt: skip
    assert set(env.asked) == {"oracle"}


async def test_explorer_is_asked_for_by_name():
    env = FakeEnv()
    model = make_model("scripted:explorer")
    await play(model, env, ())
    assert set(env.asked) == {"explorer"}
    assert model.info.name == "scripted (explorer)"
    assert model.info.oracle
    assert not model.info.writes
    assert model.info.training == "none"


@pytest.mark.parametrize("native", [False, True])
async def test_rule_uses_all_six_tools_and_never_twice_before_an_action(native):
    route = [f"{verb} {n}" for n in range(8) for verb in ("go to shelf", "look at shelf")]
    turns, _ = await play(make_model("scripted"), FakeEnv(route), MEMORY_TOOLS, native=native)
    names = [turn.calls[0].name for turn in turns if turn.calls]
    assert set(names) == {tool.name for tool in MEMORY_TOOLS}
    assert all(len(turn.calls) <= 1 for turn in turns)
    assert not any(a.calls and b.calls for a, b in itertools.pairwise(turns))
    assert [turn.answer for turn in turns if turn.answer] == route


async def test_rule_names_only_ids_it_was_given():
    route = [f"{verb} {n}" for n in range(8) for verb in ("go to shelf", "look at shelf")]
    turns, messages = await play(make_model("scripted"), FakeEnv(route), MEMORY_TOOLS)
    given = set(
        re.findall(r"\[Add_memory: success\] (\S+)", "\n".join(m.content for m in messages))
    )
    calls = [call for turn in turns for call in turn.calls]
    used = [call.arguments["memory_id"] for call in calls if "memory_id" in call.arguments]
    assert used
    assert set(used) <= given
    deleted = [c.arguments["memory_id"] for c in calls if c.name == "Delete_memory"]
    assert len(deleted) == len(set(deleted))
    retrieved = [c.arguments["query"] for c in calls if c.name == "Retrieve_memory"]
    assert set(retrieved) == {"Your goal: the desk"}


async def test_a_nearly_full_context_is_summarised_at_once():
    turns, _ = await play(make_model("scripted"), FakeEnv(), MEMORY_TOOLS[4:5], budget=20)
    assert turns[0].calls[0].name == "Summary_context"


async def test_other_memories_tools_do_not_confuse_the_rule():
    turns, _ = await play(make_model("scripted"), FakeEnv(), MEMORY_TOOLS[3:4])
    assert {call.name for turn in turns for call in turn.calls} == {"Retrieve_memory"}
    assert turns[-1].answer == ""


class Talk(FakeEnv):
    """An environment whose expert says a word to each message."""

    async def expert_action(self, name="oracle"):
        self.asked.append(name)
        return "ok" if len(self.asked) <= 80 else ""


async def test_messages_to_keep_in_mind_are_noted_up_to_a_bound_and_a_length(monkeypatch):
    monkeypatch.setattr(f"{play.__module__}.GOAL", "keep in mind what you are told")
    turns, _ = await play(make_model("scripted"), Talk(), MEMORY_TOOLS)
    names = [turn.calls[0].name if turn.calls else "answer" for turn in turns]
    notes = [turn.calls[0].arguments["content"] for turn in turns if "Add_memory" in str(turn)]
    assert notes[:2] == ["A room.", "You see what 'ok' does."]
    assert names.count("Add_memory") == len(notes) == MAX_TOLD
    assert "Delete_memory" not in names
    assert {"Retrieve_memory", "Summary_context", "Filter_context"} < {*names}
    between = [len(list(run)) for key, run in itertools.groupby(names, "answer".__eq__) if not key]
    assert max(between) == 2
    bound = make_model("scripted").bind(view(Talk(), MEMORY_TOOLS))
    told = [ChatMessage("user", text) for text in ("Your goal: keep in mind that", "x" * 9000)]
    turn = parse_completion(await bound.generate(request(*told)), native=False)
    assert turn.calls[0].arguments["content"] == "x" * MAX_TOLD_LENGTH


async def test_same_episode_same_outputs():
    route = [f"go to shelf {n}" for n in range(12)]
    first, _ = await play(make_model("scripted"), FakeEnv(route), MEMORY_TOOLS[4:])
    second, _ = await play(make_model("scripted"), FakeEnv(route), MEMORY_TOOLS[4:])
    assert first == second


def test_unknown_expert_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'explorer'"):
        make_model("scripted:explore").bind(view(FakeEnv()))


@pytest.mark.parametrize("spec", ["scripted", "random"])
async def test_only_acts_and_only_within_an_episode(spec):
    model = make_model(spec)
    with pytest.raises(UsageError, match="within an episode"):
        await model.generate(request())
    bound = model.bind(view(FakeEnv(actions=["look"])))
    writing = Request([ChatMessage("user", "sum up")], Sampling(), Role.MEMORY_WRITE)
    with pytest.raises(UsageError, match="memory_write"):
        await bound.generate(writing)
    await model.close()


async def draws(model, n=20, actions=("look", "wait", "jump"), **episode):
    bound = model.bind(view(FakeEnv(actions=list(actions)), **episode))
    outputs = [await bound.generate(request()) for _ in range(n)]
    return [parse_completion(output, native=False).answer for output in outputs]


async def test_random_is_fixed_by_task_seed_and_repeat():
    model = make_model("random")
    base = await draws(model)
    assert base == await draws(model)
    assert set(base) == {"look", "wait", "jump"}
    for other in ({"task": "t2"}, {"seed": 1}, {"repeat": 1}):
        assert await draws(model, **other) != base


async def test_random_without_valid_actions_says_so():
    model = make_model("random")
    with pytest.raises(UsageError, match="fake cannot list them"):
        model.bind(view(FakeEnv(listed=False)))
    with pytest.raises(UsageError, match="fake cannot list them"):
        await model.bind(view(FakeEnv(actions=None))).generate(request())
    assert await draws(model, 1, actions=[]) == [""]


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("scriptd", {}, "unknown model 'scriptd'; did you mean 'scripted'"),
        ("random:x", {}, "takes no name"),
        ("random", {"seed": "1"}, "unknown option of random 'seed'"),
        ("no.such.module:Thing", {}, "cannot be loaded"),
    ],
)
def test_wrong_names_and_options(spec, options, message):
    with pytest.raises(UsageError, match=message):
        make_model(spec, options)


def test_an_explicit_class_with_a_name():
    spec = "agemem_eval.harness.models.scripted:ScriptedModel:explorer"
    assert make_model(spec).info.name == "scripted (explorer)"


def test_prompt_tokens_count_tools_and_calls():
    plain = request(ChatMessage("user", "go"))
    assert prompt_tokens(plain, len) == 2 + 4
    with_tools = request(ChatMessage("user", "go"), tools=MEMORY_TOOLS)
    assert prompt_tokens(with_tools, len) > 500
