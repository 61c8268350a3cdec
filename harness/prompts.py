"""What the agent is told; `PROMPT_VERSION` is part of every result's identity."""

from __future__ import annotations

import json

from .config import AgentConfig
from .tools import Tool, ToolArguments, ToolResult
from .types import Instructions

PROMPT_VERSION = "1"


class NoArguments(ToolArguments):
    """A tool that takes no arguments."""


VALID_ACTIONS = Tool(
    "Valid_actions",
    "List the actions that the environment would accept right now.",
    NoArguments,
    kind="env",
)


def system_prompt(
    instructions: Instructions, memory_help: str, tools: tuple[Tool, ...], config: AgentConfig
) -> str:
    """The whole system message: environment, output format, memory, tools, example."""
    parts = [
        "You act in an environment, one action at a time, until a goal is reached.",
        f"# Environment\n{instructions.text.strip()}",
        f"# Output\n{_output_format(bool(tools), config)}",
    ]
    if tools and memory_help:
        parts.append(f"# Memory\n{memory_help.strip()}")
    if tools and config.transport == "prompt":
        schemas = "\n".join(
            json.dumps(tool.schema()["function"], ensure_ascii=False) for tool in tools
        )
        parts.append(f"# Tools\nOne JSON schema a line:\n{schemas}")
    if config.shots:
        parts.append(f"# Example\n{instructions.example.strip()}")
    return "\n\n".join(parts)


MEMORY_HEADING = "What your memory holds that may matter now:"  # of what a memory shows by itself


def goal_message(goal: str) -> str:
    """The pinned message that holds the goal."""
    return f"Your goal: {goal}"


def observation_message(text: str, valid_actions: list[str] | None) -> str:
    """An observation, with the valid actions where they are to be shown."""
    if valid_actions is None:
        return text
    return f"{text}\nValid actions: {'; '.join(valid_actions)}"


def tool_message(result: ToolResult) -> str:
    """A tool's result as the agent reads it."""
    return f"[{result.name}: {result.status.value}] {result.content}"


def problem_message(problems: tuple[str, ...], usable: bool) -> str:
    """What was wrong with an output, and what became of it."""
    fate = "The rest was carried out." if usable else "Nothing was carried out."
    return f"Format problem: {'; '.join(problems)}. {fate}"


def last_turn_message() -> str:
    """Said before the last turn of a step."""
    return "This is the last turn of this step: give an <answer> now, or the step is lost."


def _output_format(has_tools: bool, config: AgentConfig) -> str:
    think = "First <think>…</think>: briefly, what you know and what to do next."
    answer = "<answer>…</answer> with your next action, written as the action grammar says"
    if not has_tools:
        return f"Each turn has two parts and nothing else. {think} Then {answer}."
    if config.transport == "native":
        how = "either call functions, or give"
    else:
        how = (
            'exactly one of: <tool_call>[{"name": …, "arguments": {…}}, …]</tool_call>, a JSON '
            f"array of at most {config.max_calls_per_turn} calls whose results come back before "
            "you go on; or"
        )
    return (
        f"Each turn has two parts and nothing else. {think} Then {how} {answer}. "
        f"A step has at most {config.max_turns_per_step} turns; only an answer moves the "
        "environment on, and a step without one is lost."
    )
