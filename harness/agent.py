"""The agent loop, once: every environment, memory and model, in evaluation and in training.

Words as used here: a *step* is one action of the environment; a *turn* is one call of the model;
a step may take several turns, since tool calls come back to the model before it answers.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from .config import AgentConfig
from .context import MESSAGE_OVERHEAD, Context, ContextOverflow
from .errors import InfraError, UsageError
from .hooks import Hooks
from .ledger import Role
from .metering import Meter, telling_failure
from .prompts import (
    VALID_ACTIONS,
    goal_message,
    last_turn_message,
    observation_message,
    problem_message,
    system_prompt,
    tool_message,
)
from .protocol import ParsedTurn, parse_completion
from .records import Episode, EpisodeKey
from .tools import Tool, ToolCall, ToolFailure, ToolResult, ToolStatus, find_tool
from .types import (
    Completion,
    EnvClient,
    EpisodeView,
    Gold,
    Json,
    Memory,
    Model,
    Outcome,
    Request,
    Sampling,
    Scope,
    Scorer,
    Scores,
    Status,
    StepResult,
    Task,
    Turn,
)

MAX_FORFEITS = 3  # steps in a row without any action, after which the agent has failed


async def run_episode(
    env: EnvClient,
    memory: Memory,
    model: Model,
    task: Task,
    *,
    key: EpisodeKey,
    config: AgentConfig,
    meter: Meter,
    scope_id: str | None = None,
    position: int | None = None,
    gold: Gold | None = None,
    scorer: Scorer | None = None,
) -> Episode:
    """Play one task and return its record; the events are in `meter.trace`.

    Args:
        env: The environment; not closed here.
        memory: The memory; not closed here.
        model: The model; bound to this episode here.
        task: What to play.
        key: The identity of the result; its seed seeds the environment.
        config: Limits, transport and prompts.
        meter: Points to this episode's fresh ledger and trace.
        scope_id: The memory's scope; None means the episode itself.
        position: Of the episode in a stream that shares the memory, from 1.
        gold: What a memory that is a control is told; None for any other.
        scorer: Rates the memory once the episode has ended.

    Returns:
        The episode. A failure of the infrastructure is its status, never an exception.

    Raises:
        UsageError: for what no retry can mend, e.g. a context budget below the first prompt.
    """
    id_ = scope_id or key.scope_id
    scope = Scope(id_, "", meter.trace, position=position, gold=gold)
    return await _Loop(env, memory, model, task, key, config, meter, scope).run(scorer)


class _Loop:
    """The state of one episode while it is played."""

    def __init__(
        self,
        env: EnvClient,
        memory: Memory,
        model: Model,
        task: Task,
        key: EpisodeKey,
        config: AgentConfig,
        meter: Meter,
        scope: Scope,
    ) -> None:
        self.env, self.task, self.key, self.config, self.scope = env, task, key, config, scope
        self.trace, self.ledger = meter.trace, meter.ledger
        self.memory = Hooks(memory, meter.ledger, meter.trace)
        self.instructions, self.native = memory.instructions, config.transport == "native"
        self.tools = memory.tools + self._environment_tools()
        self.system = system_prompt(env.spec.instructions, self.instructions, self.tools, config)
        schemas = json.dumps([tool.schema() for tool in self.tools]) if self.native else ""
        reserved = model.count_tokens(schemas)
        fixed = reserved + model.count_tokens(self.system) + MESSAGE_OVERHEAD
        budget, trace = config.budget(fixed), self.trace
        view = EpisodeView(env, key, task, self.tools, self.native, budget, trace)
        self.model = model.bind(view)
        meter.bind(model, self.model)
        self.context = Context(budget, self.model.count_tokens, trace, config.context_kept)
        self.context.reserved = reserved
        self.sampling = Sampling(
            config.max_tokens, config.temperature, config.top_p, key.sampling_seed
        )
        self.max_steps = config.max_steps or task.max_steps or env.spec.max_steps
        self.last: StepResult | None = None
        self.answer: str | None = None
        self.before: dict[str, str] = {}  # entries when the episode began
        self.metrics: Scores = {}
        self.current: tuple[str, str] | None = None  # id and bare text of the observation
        self.reward = 0.0
        self.invalid = self.malformed = self.forfeits = self.overflow = 0
        self.calls: dict[str, Counter[str]] = {}

    # --- the episode ------------------------------------------------------------------------

    async def run(self, scorer: Scorer | None) -> Episode:
        """Play to the end, and turn however it ended into a record."""
        entries: list[Json] | None = None
        quality: tuple[Scores, str | None] = {}, None
        fault: str | None = None
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
        try:
            try:
                await self._begin()
                status, reason = await self._play()
            except ContextOverflow:
                status, reason = "limit", "context_overflow"
            success = self._success(status)
            await self.memory.end_episode(Outcome(status, success, self._progress()))
            entries = self.memory.entries()
            if scorer is not None:
                quality = await scorer(self.before, entries, self.trace, success, self.answer)
        except InfraError as error:
            status, reason = "infra_error", f"{type(error).__name__}: {error}"
            fault = error.kind
        return Episode(
            key=self.key,
            task_type=self.task.type,
            status=status,
            success=self._success(status),
            progress=None if status == "infra_error" else self._progress(),
            metrics={} if status == "infra_error" else self.metrics,
            reward=None if status == "infra_error" else self.reward,
            steps=self.trace.step,
            turns=self.trace.turn,
            invalid_actions=self.invalid,
            malformed_outputs=self.malformed,
            forfeits=self.forfeits,
            overflow_drops=self.overflow,
            tool_calls={name: dict(by) for name, by in sorted(self.calls.items())},
            tokens=self.ledger.roles,
            memory_entries=None if entries is None else len(entries),
            wall_s=time.perf_counter() - clock,
            started_at=started,
            reason=reason,
            fault=fault,
            quality=quality[0],
            loss=quality[1],
            memory_costs=self.memory.costs,
            memory_faults=dict(Counter(e["op"] for e in self.trace.of("memory_fault"))),
            judge_faults=len(self.trace.of("judge_fault")),
        )

    async def _begin(self) -> None:
        first = await self.env.reset(self.task, self.key.seed)
        self.metrics = first.metrics
        scope = replace(self.scope, goal=first.goal, observation=first.text)
        await self.memory.begin(scope)
        self.before = {entry["id"]: entry["content"] for entry in self.memory.entries()}
        self.context.add("system", "system", self.system, pinned=True)
        if self.context.tokens > self.context.budget:  # no task could be played
            raise UsageError(
                f"the system prompt needs {self.context.tokens} tokens, the context budget is "
                f"{self.context.budget}: raise --context-tokens"
            )
        self._set_goal(first.goal)
        await self._observe(first.text)

    async def _play(self) -> tuple[Status, str]:
        """Steps until the task is over or a limit is reached."""
        in_a_row = 0
        while self.trace.step < self.max_steps:
            acted = await self._step()
            in_a_row = 0 if acted else in_a_row + 1
            assert self.last is not None
            if self.last.terminated:
                return "completed", "solved" if self.last.success else "failed"
            if self.last.truncated:
                return "limit", "environment_limit"
            if in_a_row == MAX_FORFEITS:
                return "agent_error", f"no action in {MAX_FORFEITS} steps in a row"
        return "limit", "step_limit"

    async def _step(self) -> bool:
        """Turns until there is an action; False if the step was lost without one."""
        for left in range(self.config.max_turns_per_step, 0, -1):
            if left == 1 and self.config.max_turns_per_step > 1:
                self.context.add("user", "error", last_turn_message())
            parsed, text = await self._turn()
            if parsed.answer is not None:
                await self._act(parsed.answer, text)
                return True
        self.forfeits += 1
        self.trace.emit("forfeit", reason="no answer within the turns of a step")
        await self._act("", "")
        return False

    # --- one turn ---------------------------------------------------------------------------

    async def _turn(self) -> tuple[ParsedTurn, str]:
        """One model call, and the tool calls it makes."""
        await self.memory.before_turn(self.context)
        self.overflow += len(self.context.fit())
        completion = await self._generate()
        parsed = parse_completion(completion, native=self.native)
        if parsed.calls:
            results = await self._call_tools(parsed, completion)
            turn = Turn(self.trace.turn, self.trace.step, completion.text, results)
            await self.memory.after_turn(turn)
        else:
            self.context.add("assistant", "assistant", self._clipped(completion.text))
        if parsed.problems:
            self.malformed += 1
            self.trace.emit("malformed", problem="; ".join(parsed.problems))
            self.context.add("user", "error", problem_message(parsed.problems, parsed.usable))
        return parsed, completion.text

    async def _generate(self) -> Completion:
        prompt, tools = self.context.prompt(), self.tools if self.native else ()
        clock = time.perf_counter()
        with telling_failure(self.trace, Role.AGENT, self.key.model):
            completion = await self.model.generate(Request(prompt, self.sampling, tools=tools))
        self.ledger.add(Role.AGENT, completion.usage)
        self.trace.turn += 1
        self.trace.emit(
            "completion",
            text=completion.text,
            tool_calls=[[call.name, call.arguments, call.id] for call in completion.tool_calls],
            prompt_tokens=completion.usage.prompt_tokens,
            completion_tokens=completion.usage.completion_tokens,
            estimated=completion.usage.estimated,
            context_tokens=self.context.tokens,
            malformed=list(completion.malformed),
            finish=completion.finish,
            latency_s=round(time.perf_counter() - clock, 6),
        )
        return completion

    async def _call_tools(
        self, parsed: ParsedTurn, completion: Completion
    ) -> tuple[ToolResult, ...]:
        """Answer every call; the message that made them stays in the context until they are."""
        native_calls = completion.tool_calls if self.native else ()
        text = self._clipped(completion.text)
        asked = self.context.add(
            "assistant", "assistant", text, pinned=True, tool_calls=native_calls
        )
        results = []
        for index, call in enumerate(parsed.calls):
            clock = time.perf_counter()
            result = await self._call(call, index)
            results.append(result)
            self.calls.setdefault(result.name, Counter())[result.status.value] += 1
            self.trace.emit(
                "tool",
                name=result.name,
                arguments=call.arguments,
                status=result.status.value,
                content=result.content,
                data=result.data,
                latency_s=round(time.perf_counter() - clock, 6),
            )
        room = self.context.budget // max(4, 2 * len(results))  # half the budget for all of them
        for result in results:  # after all calls, so that no call removes another's result
            call_id = result.call_id if native_calls else ""
            text = self.context.clip(tool_message(result), room)
            self.context.add("tool", "tool_result", text, tool_call_id=call_id)
        self.context.unpin(asked.id)
        return tuple(results)

    def _clipped(self, output: str) -> str:
        """An endpoint that ignores the limit on its output must not flood the context."""
        return self.context.clip(output, 2 * self.config.max_tokens)

    async def _call(self, call: ToolCall, index: int) -> ToolResult:
        tool = find_tool(self.tools, call.name)
        name = tool.name if tool is not None else call.name
        if index >= self.config.max_calls_per_turn:
            limit = f"only {self.config.max_calls_per_turn} calls a turn are carried out"
            return ToolResult(name, ToolStatus.CANCELLED, limit, call.id)
        if tool is None:
            names = ", ".join(t.name for t in self.tools) or "none"
            message = f"there is no tool {call.name!r}; tools: {names}"
            return ToolResult(name, ToolStatus.UNKNOWN_TOOL, message, call.id)
        if tool is VALID_ACTIONS:
            return await self._list_valid_actions(tool, call)
        result = await self.memory.call(tool.name, call, self.context)
        return replace(result, call_id=call.id)

    async def _list_valid_actions(self, tool: Tool, call: ToolCall) -> ToolResult:
        try:
            tool.check(call.arguments)
        except ToolFailure as failure:
            return ToolResult(tool.name, failure.status, str(failure), call.id)
        actions = await self.env.valid_actions() or []
        return ToolResult(tool.name, ToolStatus.SUCCESS, "; ".join(actions), call.id)

    # --- the environment --------------------------------------------------------------------

    async def _act(self, action: str, completion: str) -> None:
        """Carry out an action and show what it did."""
        clock = time.perf_counter()
        result = self.last = await self.env.step(action)
        self.trace.step += 1
        self.reward += result.reward
        self.metrics = result.metrics
        self.answer = result.answer if result.answer is not None else self.answer
        self.invalid += not result.valid
        self.trace.emit(
            "action",
            action=action,
            valid=result.valid,
            reward=result.reward,
            progress=result.progress,
            metrics=result.metrics,
            success=result.success,
            done=result.terminated or result.truncated,
            observation=result.observation,
            answer=result.answer,
            latency_s=round(time.perf_counter() - clock, 6),
        )
        if result.new_context:
            self.context.restart()
            self.current = None
        if result.goal is not None:
            self._set_goal(result.goal)
        await self._observe(result.observation)
        turn = Turn(self.trace.turn, self.trace.step, completion, (), action, result.observation)
        await self.memory.after_turn(turn)

    def _set_goal(self, goal: str) -> None:
        """Pin the goal, in place of the one before."""
        old = self.context.find("goal")
        if old is not None:
            self.context.unpin(old.id)
            self.context.remove([old.id], "new_goal")
        self.context.add("user", "goal", goal_message(goal), pinned=True)

    async def _observe(self, text: str) -> None:
        """Put an observation into the context; only the current one is pinned.

        The valid actions shown with it go when it is no longer current: they no longer hold.
        """
        if self.current is not None:
            self.context.unpin(*self.current)
        always = self.config.show_valid_actions == "always"
        actions = await self.env.valid_actions() if always else None
        shown = observation_message(text, actions)
        self.current = self.context.add("user", "observation", shown, pinned=True).id, text

    def _environment_tools(self) -> tuple[Tool, ...]:
        listed = self.config.show_valid_actions == "on-request"
        return (VALID_ACTIONS,) if listed and self.env.spec.has_valid_actions else ()

    # --- scores -----------------------------------------------------------------------------

    def _success(self, status: Status) -> bool | None:
        """An episode that ended unsolved is a failure; one the infrastructure broke has none."""
        if status == "infra_error":
            return None
        return bool(self.last is not None and self.last.success)

    def _progress(self) -> float | None:
        return self.last.progress if self.last is not None else None
