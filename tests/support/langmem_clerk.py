"""Rules that answer LangMem's manager, in the library's tool calls or in our JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from library_bench import STATEMENT

from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.tools import ToolCall
from agemem_eval.harness.types import Completion

Json = dict[str, Any]
_INSTANCE = re.compile(
    r"""<instance id=(\w+) schema_type="\w+">\s*\{'content': '([^']*)'\}\s*</instance>"""
)
_LINE = re.compile(r'"id": "(\d+)", "kind": "\w+", "content": "([^"]*)"')


class ManageClerk:
    """A server's policy: keeps every statement once, patches and removes what changed.

    Attributes:
        shown: Texts of the memories in each request.
        prompts: Each request's messages as one text.
    """

    def __init__(self) -> None:
        self.shown: list[list[str]] = []
        self.prompts: list[str] = []

    def __call__(self, body: Json) -> Completion | str:
        text = "\n".join(str(message["content"]) for message in body["messages"])
        self.prompts.append(text)
        pattern = _INSTANCE if "tools" in body else _LINE
        known = {content: id_ for id_, content in pattern.findall(text)}
        self.shown.append(list(known))
        names = {tool["function"]["name"] for tool in body.get("tools", ())}
        deletes = "RemoveDoc" in names if names else '"remove": ["0"]' in text
        plan = self._plan(pattern.sub("", text), known, deletes)
        if "tools" not in body:
            return json.dumps(plan)
        calls = [("Memory", {"content": new["content"]}) for new in plan["insert"]]
        for patch in plan["patch"]:
            edit = {"op": "replace", "path": "/content", "value": patch["content"]}
            given = {"json_doc_id": patch["id"], "planned_edits": "set it", "patches": [edit]}
            calls.append(("PatchDoc", given))
        calls += [("RemoveDoc", {"json_doc_id": id_}) for id_ in plan["remove"]]
        made = tuple(
            ToolCall(name, given, f"c{len(self.shown)}_{n}")
            for n, (name, given) in enumerate(calls)
        )
        usage = Usage(len(text.split()), 3 + 7 * len(made))
        return Completion("", usage, made, "tool_calls" if made else "stop")

    def _plan(self, text: str, known: dict[str, str], deletes: bool) -> Json:
        plan: Json = {"insert": [], "patch": [], "remove": []}
        for match in dict.fromkeys(m.group(0) for m in STATEMENT.finditer(text)):
            about = match.rsplit(" is ", 1)[0]
            old = next((content for content in known if content.startswith(about)), None)
            if old is None:
                plan["insert"].append({"kind": "semantic", "content": match})
            elif old != match and match.endswith(" gone.") and deletes:
                plan["remove"].append(known[old])
            elif old != match:
                plan["patch"].append({"id": known[old], "content": match})
        return plan
