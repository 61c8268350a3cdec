"""The reader: an expert that knows only the texts the agent has been shown.

It opens what the question names, follows names from there, and answers by the rules of
`reading`. In the three-stage form it answers from its own notes of all it was told: what an agent
with a perfect memory could know, so it bounds a memory from above, for this way of reading. Where
a message corrects a sentence, the note is corrected too.
"""

from __future__ import annotations

import re

from ..staged.messages import OK
from .answers import write_answer
from .reading import find, mentions
from .text import content_stems

_ASKED = re.compile(r"answer the question: (.*)", re.S)
_NUMBERED = re.compile(r"\[\d+\] (.*)")
_HEADER = re.compile(r".*“(.+)”:")
_NAMED = re.compile(r"“([^”]+)”")
_END = re.compile(r"(?<=[.?!])\s+")
# Who takes something back speaks of himself, or says no; a fact is told without either.
_WITHDRAWN = re.compile(r"\b(?:I|me|my|not|never|forget|please)\b", re.I)
_MAX_SEARCHES = 12  # leaves room for the answer within the step cap


class Reader:
    """Plays a question by what it has read so far.

    Args:
        goal: the first goal.
        first_observation: the first text.
    """

    def __init__(self, goal: str, first_observation: str) -> None:
        self.notes: dict[str, tuple[str, ...]] = {}
        self._searched: set[str] = set()
        self._question = _question(goal)
        self._interactive = self._question is not None
        self._read(first_observation)

    def observe(self, action: str, observation: str, goal: str | None = None) -> None:
        """Take in what an action, one's own or another's, led to."""
        if action.startswith("search["):
            self._searched.add(action.removeprefix("search[").removesuffix("]"))
        if goal is not None:
            self._question = _question(goal)
        self._read(observation)

    def next_action(self) -> str:
        """The next action."""
        if self._question is None:
            return OK
        finding = find(self._question, self.notes)
        if self._interactive and len(self._searched) < _MAX_SEARCHES:
            for name in (*mentions(self._question), *finding.wanted[:4]):
                if name not in self._searched and name not in self.notes:
                    return f"search[{name}]"
        return write_answer(finding.answer or "unknown", finding.places)

    def _read(self, text: str) -> None:
        """Note the paragraphs in a text: numbered under a title, or told under a lead."""
        if not self._interactive and "\n" not in text:
            self._correct(text)
        lines = text.split("\n")
        for at, line in enumerate(lines):
            if line.startswith("[0] ") and at:
                numbered = map(_NUMBERED.fullmatch, lines[at:])
                self.notes[lines[at - 1]] = tuple(found[1] for found in numbered if found)
            elif not self._interactive and (header := _HEADER.fullmatch(line)):
                told = lines[at + 1 :]
                end = told.index("") if "" in told else len(told)
                self.notes[header[1]] = tuple(told[:end] or ("",))

    def _correct(self, text: str) -> None:
        """Correct the note of a paragraph that a message names and takes something back of."""
        named = _NAMED.search(text)
        note = self.notes.get(named[1]) if named is not None else None
        if named is None or note is None:
            return
        rest = [s for s in _END.split(text) if named[0] not in s]
        true = " ".join(s for s in rest if not _WITHDRAWN.search(s))
        withdrawn = content_stems(" ".join(s for s in rest if _WITHDRAWN.search(s)))
        common = [len(withdrawn & content_stems(sentence)) for sentence in note]
        if true and any(common):
            at = common.index(max(common))
            self.notes[named[1]] = (*note[:at], true, *note[at + 1 :])


def _question(goal: str) -> str | None:
    found = _ASKED.fullmatch(goal)
    return found[1] if found else None
