"""The six tools of AgeMem as the model sees them: names, words, argument types."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from ..harness.tools import Tool, ToolArguments

PROMPT_VERSION = 1  # changes with any wording below
MAX_TOP_K = 20
MAX_NESTING = 16  # levels of metadata


def _plain_json(value: dict[str, Any]) -> dict[str, Any]:
    if not _nested_within(value, MAX_NESTING):
        raise ValueError(f"nested more than {MAX_NESTING} levels deep")
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise ValueError("not plain JSON (NaN and infinity are none)") from error
    return value


def _nested_within(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_nested_within(item, levels - 1) for item in inner)


def _span(value: Any) -> Any:
    """A number written as text becomes one; everything else is left to the type check."""
    if isinstance(value, str):
        text = value.strip().lower()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    return value


JsonObject = Annotated[dict[str, Any], AfterValidator(_plain_json)]
Text = Annotated[str, Field(min_length=1)]


class AddArguments(ToolArguments):
    """Arguments of `Add_memory`."""

    content: Text = Field(description="The fact to keep, complete in itself.")
    metadata: JsonObject = Field(
        default_factory=dict, description="Labels to filter by later, e.g. source or tags."
    )
    memory_type: Text = Field("general", description="Kind of memory, in a word.")


class UpdateArguments(ToolArguments):
    """Arguments of `Update_memory`."""

    memory_id: Text = Field(description="Id of the memory to change.")
    content: Text = Field(description="The new text; replaces the old one.")
    metadata: JsonObject = Field(
        default_factory=dict, description="Labels to add or overwrite; others stay."
    )


class DeleteArguments(ToolArguments):
    """Arguments of `Delete_memory`."""

    memory_id: Text = Field(description="Id of the memory to delete.")
    confirmation: bool = Field(strict=True, description="Must be true, or nothing is deleted.")


class RetrieveArguments(ToolArguments):
    """Arguments of `Retrieve_memory`; `make_tools` sets the default of `top_k`."""

    query: Text = Field(description="What you want to know.")
    top_k: int = Field(3, strict=True, ge=1, le=MAX_TOP_K)
    metadata_filter: JsonObject = Field(
        default_factory=dict, description="Only memories whose labels equal all of these."
    )


class SummaryArguments(ToolArguments):
    """Arguments of `Summary_context`."""

    span: Annotated[
        Literal["all"] | Annotated[int, Field(strict=True, ge=1)], BeforeValidator(_span)
    ] = Field(description='"all", or the number of latest messages to condense.')

    @property
    def last(self) -> int | None:
        """How many messages from the end; None for all."""
        return None if self.span == "all" else self.span


class FilterArguments(ToolArguments):
    """Arguments of `Filter_context`."""

    criteria: Text = Field(description="What the messages to drop are about.")


@cache  # building a pydantic model costs more than an episode's whole bookkeeping
def make_tools(top_k: int, lt_tools: bool, st_tools: bool) -> tuple[Tool, ...]:
    """The tools that are switched on, in the paper's order."""
    description = f"How many at most, 1 to {MAX_TOP_K}."
    retrieve = create_model(
        "RetrieveArguments",
        __base__=RetrieveArguments,
        top_k=(int, Field(top_k, strict=True, ge=1, le=MAX_TOP_K, description=description)),
    )
    tools = (
        Tool(
            "Add_memory",
            "Write a fact into long-term memory, where it outlives this context. "
            "Answers with the new memory's id.",
            AddArguments,
            "ltm",
        ),
        Tool(
            "Update_memory",
            "Replace what a stored memory says, when it has become wrong or incomplete.",
            UpdateArguments,
            "ltm",
        ),
        Tool(
            "Delete_memory",
            "Remove a stored memory for good, when it is false or of no more use.",
            DeleteArguments,
            "ltm",
        ),
        Tool(
            "Retrieve_memory",
            "Bring the stored memories most similar to a query into the context, with their ids.",
            retrieve,
            "stm",
        ),
        Tool(
            "Summary_context",
            "Condense messages of the context into one summary that takes their place.",
            SummaryArguments,
            "stm",
        ),
        Tool(
            "Filter_context",
            "Drop the messages of the context that are about something you no longer need.",
            FilterArguments,
            "stm",
            aliases=("Clear_context",),
        ),
    )
    wanted = {"ltm": lt_tools, "stm": st_tools}
    return tuple(tool for tool in tools if wanted[tool.kind])


_LTM_HELP = """\
Long-term memory keeps what you store when your context is cut or the task is long. Add a memory \
when you learn something you will need later: where a thing is, what a place holds, what has been \
ruled out. Update it when it turns out different; delete it when it is false. One fact a memory."""
_STM_HELP = """\
Your context has limited room. Retrieve memories before you search for something you may have \
seen. When the context grows long, summarise what is settled; drop messages on a subject that is \
no longer of use. Your goal and the current observation always stay."""
_BOTH_HELP = (
    "Memory tools cost a turn but no step of the task: use them when they help, not always."
)


def make_instructions(lt_tools: bool, st_tools: bool) -> str:
    """When to use which tool, for the system prompt."""
    parts = [_LTM_HELP] * lt_tools + [_STM_HELP] * st_tools + [_BOTH_HELP]
    return "\n".join(parts)
