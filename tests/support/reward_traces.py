"""Rollouts for rewards: made by hand on the harness's own context, and played for real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agemem_eval.harness.agent import run_episode
from agemem_eval.harness.build import build
from agemem_eval.harness.config import AgentConfig
from agemem_eval.harness.context import Context
from agemem_eval.harness.ledger import Ledger
from agemem_eval.harness.models import make_model
from agemem_eval.harness.plan import Models, close_memory, make_embedder, make_memory
from agemem_eval.harness.records import Episode, EpisodeKey
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import Environment, Gold, Model, Scores
from agemem_eval.harness.workers.pool import LocalEnv
from agemem_eval.policies.recipe import Recipe, RewardRecipe, make_recipe
from agemem_eval.policies.rewards import Evidence, Rewarder
from agemem_eval.policies.trajectory import Reward, stages_of

KEY = EpisodeKey("hotpotqa", "1", "d", "s", "t", "agemem", "m", "fake", "f", "p", 0, 0)
HERON = "Silver Heron: It was built in Port Tallow."
VELL = "Nora Vell: She was born in 1901."
QUESTION = "Where was the Silver Heron built?"
GOLD = Gold(QUESTION, "Port Tallow", (HERON, VELL))
STALE = "Silver Heron: It was built in Oldmere."
CORRECTED = replace(GOLD, stale=(STALE,), corrected=(HERON,))
JUNK = "Rain is expected on Friday."
BUDGET = 1000


class Rollout:
    """Builds the trace of a three-stage episode; a token is a word, a message costs 4 more."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.trace = Trace()
        self.context = Context(budget, lambda text: len(text.split()), self.trace)
        self.context.add("system", "system", "You manage your memory.", pinned=True)
        self.context.add("user", "goal", "Your goal: keep in mind", pinned=True)
        self.current: str | None = None
        self._ids = 0

    # --- the environment

    def observe(self, text: str) -> str:
        if self.current is not None:
            self.context.unpin(self.current)
        self.current = self.context.add("user", "observation", text, pinned=True).id
        return self.current

    def begin_anew(self) -> None:
        self.context.restart()
        self.current = None

    def ask(self, question: str = QUESTION) -> None:
        goal = self.context.find("goal")
        assert goal is not None
        self.context.unpin(goal.id)
        self.context.remove([goal.id], "new_goal")
        self.context.add("user", "goal", f"Your goal: answer the question: {question}", pinned=True)
        self.observe(f"I have a question for you now: {question}")

    def act(self, action: str = "ok", answer: str | None = None) -> None:
        self.trace.step += 1
        self.trace.emit("action", action=action, answer=answer, observation="", valid=True)

    # --- the agent

    def say(self, text: str = "<think>hm</think>", tokens: int | None = None) -> None:
        self.trace.turn += 1
        used = self.context.tokens if tokens is None else tokens
        self.trace.emit("completion", text=text, context_tokens=used, prompt_tokens=used)
        self.context.add("assistant", "assistant", text)

    def call(
        self, name: str, status: str = "success", *, changed: bool = True, **arguments: Any
    ) -> None:
        fields = {"arguments": arguments, "status": status, "data": {"changed": changed}}
        self.trace.emit("tool", name=name, content="", **fields)

    def add(self, content: str) -> str:
        self._ids += 1
        id_ = f"e{self._ids}"
        self.trace.emit("memory", op="add", ids=[id_], changed=True, content=content)
        self.call("Add_memory", content=content)
        return id_

    def update(self, id_: str, content: str, *, changed: bool = True) -> None:
        self.trace.emit("memory", op="update", ids=[id_], changed=changed, content=content)
        self.call("Update_memory", changed=changed, memory_id=id_, content=content)

    def delete(self, id_: str, content: str) -> None:
        self.trace.emit("memory", op="delete", ids=[id_], changed=True, content=content)
        self.call("Delete_memory", memory_id=id_, confirmation=True)

    def retrieve(self, *contents: str, query: str = "Silver Heron", ids: Sequence[str] = ()) -> str:
        found = {"ids": list(ids), "contents": list(contents), "query": query, "changed": False}
        self.trace.emit("memory", op="retrieve", **found)
        self.call("Retrieve_memory", query=query)
        text = f"[Retrieve_memory: success] {' '.join(contents)}"
        return self.context.add("tool", "tool_result", text).id

    def filter(self, *ids: str) -> None:
        removed = self.context.remove(ids, "filter")
        self.call("Filter_context", changed=bool(removed), criteria="rain")

    def summarise(self, text: str, *ids: str) -> None:
        self.context.summarise(ids, text)
        self.call("Summary_context", span="all")

    # --- what became of it

    def evidence(
        self,
        *,
        gold: Gold | None = GOLD,
        metrics: Scores | None = None,
        staged: bool = True,
        budget: int | None = None,
        **fields: Any,
    ) -> Evidence:
        values: dict[str, Any] = {
            "key": KEY, "task_type": "", "status": "completed", "success": True, "progress": None,
            "reward": 0.0, "steps": self.trace.step, "turns": self.trace.turn,
            "invalid_actions": 0, "malformed_outputs": 0, "forfeits": 0, "overflow_drops": 0,
            "tool_calls": {}, "tokens": {}, "memory_entries": 0, "wall_s": 0.0, "started_at": "",
            "metrics": {"f1": 1.0, "em": 1.0} if metrics is None else metrics,
        }  # fmt: skip
        events = tuple(self.trace.events)
        stages = stages_of(events, staged=staged)
        episode = Episode(**(values | fields))
        return Evidence(episode, events, gold, stages, budget or self.context.budget, 7)


def recipe(**values: Any) -> Recipe:
    """A recipe of three-stage HotpotQA."""
    given = {"name": "r", "model": {"path": "none"}, "sft": {}}
    return make_recipe({**given, **values})


async def play(
    chosen: Recipe, model: Model | str, number: int = 0, agent: AgentConfig | None = None
) -> Evidence:
    """Play a task for real and give all that is known of it."""
    acting = make_model(model) if isinstance(model, str) else model
    models = Models(acting, make_model("heuristic"), None, make_embedder("hashing"))
    config = chosen.run_config(split=chosen.tasks.split, episodes=None)
    options = config.options_of(chosen.tasks.env)
    built: Environment = build("envs", chosen.tasks.env, options)
    task = built.tasks(chosen.tasks.split)[number]  # and no hash of the split, which is long work
    env = LocalEnv(built)
    memory, meter = make_memory(config, chosen.tasks.memory, models)
    meter.point_to(Ledger(), Trace())
    used = agent or chosen.agent
    try:
        gold = await env.gold(task)
        episode = await run_episode(
            env, memory, acting, task, key=KEY, config=used, meter=meter, gold=None
        )
    finally:
        await close_memory(memory)
        await env.close()
    events = tuple(meter.trace.events)
    stages = stages_of(events, staged=chosen.staged)
    limit = task.max_steps or env.spec.max_steps
    return Evidence(episode, events, gold, stages, used.context_tokens, limit)


async def rewarded(evidence: Evidence, **recipe: Any) -> Reward:
    return await Rewarder(RewardRecipe(**recipe), make_embedder("hashing"), None)(evidence)


async def component(name: str, evidence: Evidence, **recipe: Any) -> float | None:
    return (await rewarded(evidence, **recipe)).components[name]


def to_the_question(*writes: str) -> Rollout:
    """Stage 1 with some additions, a distractor, and the question, not yet answered."""
    rollout = Rollout()
    rollout.observe(f"{HERON}\n{VELL}")
    rollout.say()
    for content in writes:
        rollout.add(content)
    rollout.act()
    rollout.begin_anew()
    rollout.observe(JUNK)
    rollout.say()
    rollout.act()
    rollout.ask()
    return rollout


def answered(rollout: Rollout, tokens: int | None = None) -> Rollout:
    rollout.say("<answer>Port Tallow</answer>", tokens)
    rollout.act("Port Tallow", answer="Port Tallow")
    return rollout
