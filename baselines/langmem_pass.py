"""What LangMem's manager does with one exchange: told by its calls, and in `Request.work`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..harness.tools import ToolCall
from ..harness.types import Json
from .langmem_prompts import ManageReply
from .longterm import Found
from .store import Entry
from .structured import read


class Pass:
    """What happens while the manager learns from one exchange."""

    def __init__(
        self,
        messages: Sequence[Json] = (),
        query_limit: int = 0,
        deletes: bool = False,
        typed: bool = False,
    ) -> None:
        self._messages, self._query_limit = messages, query_limit
        self._deletes, self._typed = deletes, typed
        self.found: Found = []
        self._ids: dict[str, str] = {}  # the ids the library shows, by the short ones of `work`
        self.asked: tuple[ToolCall, ...] = ()
        self.malformed: tuple[str, ...] = ()
        self.done: dict[str, list[str]] = {"added": [], "updated": [], "removed": []}

    def searched(self, found: Found) -> None:
        """The library looked for entries."""
        known = {entry.id for entry, _ in self.found}
        self.found += [(entry, score) for entry, score in found if entry.id not in known]

    def work(self, shown_id: Callable[[str], str]) -> Json:
        """The request in machine-readable form, with the entries that the library shows."""
        best = sorted(self.found, key=lambda hit: hit[1], reverse=True)[: self._query_limit]
        shown = [entry for entry, _ in best]
        self._ids = {str(n): shown_id(entry.id) for n, entry in enumerate(shown)}
        memories = [
            {"id": str(n), "kind": _kind(entry), "content": entry.content}
            for n, entry in enumerate(shown)
        ]
        messages = [dict(message) for message in self._messages]
        return {
            "do": "manage",
            "messages": messages,
            "memories": memories,
            "deletes": self._deletes,
        }

    def calls(self, text: str) -> tuple[ToolCall, ...]:
        """A reply in the JSON of `work` as calls of the library's tools; none for any other."""
        reply = read(text, ManageReply)
        if isinstance(reply, str):
            return ()
        made: list[tuple[str, Json]] = []
        for new in reply.insert:
            kind = new.kind.capitalize() if self._typed else "Memory"
            made.append((kind, {"content": new.content}))
        for patch in reply.patch:
            edit = {"op": "replace", "path": "/content", "value": patch.content}
            id_ = self._ids.get(patch.id, patch.id)
            made.append(("PatchDoc", {"json_doc_id": id_, "planned_edits": "", "patches": [edit]}))
        made += [("RemoveDoc", {"json_doc_id": self._ids.get(s, s)}) for s in reply.remove]
        return tuple(ToolCall(name, given, f"call_{n}") for n, (name, given) in enumerate(made))

    def problems(self) -> list[str]:
        """What the model asked for in vain; the library only logs it, if that."""
        problems = list(self.malformed)
        new = [call for call in self.asked if call.name not in ("PatchDoc", "RemoveDoc")]
        missing = len(new) - len(self.done["added"])
        problems += [f"{missing} of {len(new)} new memories were not stored"] * (missing > 0)
        for name, op in (("PatchDoc", "updated"), ("RemoveDoc", "removed")):
            asked = {str(c.arguments.get("json_doc_id")) for c in self.asked if c.name == name}
            missing = len(asked) - len(self.done[op])
            problems += [f"{missing} of {len(asked)} memories were not {op}"] * (missing > 0)
        return problems


def _kind(entry: Entry) -> str:
    kind = str(entry.metadata.get("kind", "")).lower()
    return kind if kind in ("episodic", "procedural") else "semantic"
