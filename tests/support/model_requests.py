"""What tests ask models that run in this process, and folders of checkpoints spoilt for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from agemem_eval.harness.tools import Tool, ToolArguments
from agemem_eval.harness.types import ChatMessage, Request, Sampling

SAY = (
    ChatMessage("system", "You are an agent in a household."),
    ChatMessage("user", "Put a clean mug on the desk."),
)


class Query(ToolArguments):
    query: str


RETRIEVE = Tool("Retrieve_memory", "Look something up.", Query, kind="ltm")


def ask(*messages: ChatMessage, **sampling: Any) -> Request:
    return Request(messages or SAY, Sampling(**{"max_tokens": 12, **sampling}))


def changed_copy(folder: Path, to: Path, **files: Any) -> Path:
    """A copy with some of its JSON files changed: fields are set, None takes one out."""
    shutil.copytree(folder, to)
    for name, fields in files.items():
        path = to / f"{name}.json"
        value = json.loads(path.read_text()) | fields
        gone = {key for key, new in fields.items() if new is None}
        path.write_text(json.dumps({k: v for k, v in value.items() if k not in gone}))
    return to
