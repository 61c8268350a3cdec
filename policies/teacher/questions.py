"""Questions about what was told: notes of each thing, mended where it is corrected, and answers.

What to do next is the expert's knowledge, who has seen only what the agent was shown. What the
teacher *writes* stands in the prompt: an answer is given only where what was retrieved supports
it, and nothing is looked for that no message names.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...envs.hotpotqa.generator import Query
from ...harness.models import prompt_tokens, refuse_writing
from ...harness.prompts import MEMORY_HEADING, goal_message, last_turn_message
from ...harness.tools import ToolCall, find_tool
from ...harness.types import ChatMessage, Completion, EpisodeView, ModelInfo, Request
from . import reading
from .lesson import (
    END,
    ENTRY,
    MAX_CALLS,
    OK,
    RESULT,
    SUMMARY_SHARE,
    TOLD,
    Act,
    Lesson,
)  # fmt: skip

UNKNOWN = "unknown"  # the answer where nothing supports one

_NAMED = re.compile(r"“([^”]+)”")
_FINISH = re.compile(r"finish\[(.*?)\](?: facts\[(.*)\])?$", re.S)
_QUESTION = "answer the question: "
_FACT = re.compile(r"(.*) # (\d+)")
_NUMBER = re.compile(r"\b\d[\d,]*\b")
_WITHDRAWN = re.compile(r"\b(?:I|me|my|not|never|forget|please)\b", re.I)  # no fact speaks so
_ASKS = "I have a question for you now"
_NO_TALK = (goal_message(""), MEMORY_HEADING, "Summary of ", "Format problem: ", _ASKS)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a prompt shows.

    Attributes:
        goal: The goal in force, without its heading.
        now: The newest observation.
        before: Small talk that is over and still stands in the context.
        recalled: What the memory shows by itself.
        results: Of the tools called since that observation: tool, status, content.
    """

    goal: str
    now: str
    before: tuple[str, ...]
    recalled: str
    results: tuple[tuple[str, str, str], ...]

    @property
    def entries(self) -> dict[str, str]:
        """Retrieved since the observation: content by id."""
        texts = [text for tool, _, text in self.results if tool == "Retrieve_memory"]
        return {id_: content for text in texts for id_, content in ENTRY.findall(text)}

    def note(self, name: str) -> str | None:
        """What is known of a thing: its note, as it was retrieved or shown; or None."""
        found = (entry for entry in self.entries.values() if entry.startswith(f"{name}: "))
        return next(found, None) or reading.shown_of(name, self.recalled)


class Questions(Lesson):
    """An episode in which questions are answered of what was told; or any other, by its expert.

    Args:
        info: Of the teacher.
        expert: Of the environment; it says what to do.
        noise: How often a sensible tool call is left out.
        draws: Say which.
        episode: What is played.
    """

    def __init__(
        self, info: ModelInfo, expert: str, noise: float, draws: random.Random, episode: EpisodeView
    ) -> None:
        super().__init__(info, noise, draws, episode)
        self._expert = expert

    async def generate(self, request: Request) -> Completion:
        """Calls of tools, or an answer."""
        refuse_writing(self.info, request)
        seen = read(request.messages)
        asked = TOLD not in seen.goal
        act: Act | None = None
        if self._episode.tools and request.messages[-1].content != last_turn_message():
            act = (None if asked else self._hear(seen)) or self._tidy(request, seen, asked=asked)
        if asked:
            action = await self._episode.env.expert_action(self._expert) or ""
            found = _FINISH.fullmatch(action)
            if found is not None:
                return self._reply(request, *self._ask(seen, found, act))
            if act is None:
                act = self._recall(seen)
            if act is None:
                return self._reply(request, f"Next: {action}", (), action)
        if act is not None:
            return self._reply(request, *act)
        return self._reply(request, _remark(seen.now), (), OK)

    # --- what is told ---------------------------------------------------------------------------

    def _hear(self, seen: _Seen) -> Act | None:
        """Note what is told, mend what is corrected."""
        told = notes(seen.now)
        if told:
            left = [name for name in told if name not in self._step.done][:MAX_CALLS]
            self._step.done.update(left)
            wanted = [name for name in left if self._wants(f"add {name}")]
            calls = [self._call("Add_memory", content=note(n, told[n])) for n in wanted]
            made = tuple(call for call in calls if call is not None)
            names = ", ".join(f"“{name}”" for name in wanted)
            return (f"This is about {names}.", made) if made else None
        named = _NAMED.search(seen.now)
        if named is None or not self._wants("mend"):
            return None
        return self._mend(seen, named[1])

    def _mend(self, seen: _Seen, name: str) -> Act | None:
        """Retrieve the note of a thing that a correction names, then update it."""
        if name not in self._step.queries:
            return self._retrieve(name, f"“{name}” is corrected.")
        found = next(((i, c) for i, c in seen.entries.items() if c.startswith(f"{name}: ")), None)
        if found is None or "mended" in self._step.done:
            return None
        self._step.done.add("mended")
        id_, content = found
        wrong, true = correction(seen.now, name, content)
        if not wrong or (call := self._call(
            "Update_memory", memory_id=id_, content=content.replace(wrong, true, 1)
        )) is None:  # fmt: skip
            return None
        return f"Not: {wrong} But: {true}", (call,)

    # --- the context ----------------------------------------------------------------------------

    def _tidy(self, request: Request, seen: _Seen, *, asked: bool) -> Act | None:
        """Filter small talk that is over, while more is told; summarise a long context."""
        for talk in seen.before if not asked else ():
            criteria = END.split(talk)[0]
            if criteria not in self._step.done and self._wants("filter"):
                self._step.done.add(criteria)
                if call := self._call("Filter_context", criteria=criteria):
                    return "The small talk is over.", (call,)
        full = SUMMARY_SHARE * self._episode.context_budget
        if prompt_tokens(request, self.count_tokens) > full and "summary" not in self._step.done:
            self._step.done.add("summary")
            if self._wants("summary") and (call := self._call("Summary_context", span="all")):
                return "The context is long.", (call,)
        return None

    # --- the question ---------------------------------------------------------------------------

    def _ask(
        self, seen: _Seen, found: re.Match[str], act: Act | None
    ) -> tuple[str, tuple[ToolCall, ...], str]:
        """Retrieve what the answer rests on, then answer if it supports it."""
        if act is not None:
            return *act, ""
        wanted = reading.sought(seen.goal.removeprefix(_QUESTION))
        if wanted is not None:
            return self._look_up(seen, wanted)
        answer, facts = found[1], _facts(found[2] or "")
        entries = list(seen.entries.values())
        proof = _proof(facts, entries)
        shown = " ".join([seen.goal, *entries])
        names = list(dict.fromkeys(name for name, _ in facts)) or [seen.goal]
        for name in names:
            if name in self._step.queries or name not in shown or not self._wants("retrieve"):
                continue
            said = f"{facts[len(proof) - 1][0]}: {proof[-1]} " if proof else ""
            if act := self._retrieve(name, f"{said}Look for {name}."):
                return *act, ""
        said = " ".join(entries).casefold()
        supported = len(proof) == len(facts) > 0
        if supported and (answer in ("yes", "no") or answer.casefold() in said):
            return _argue(answer, facts, proof), (), answer
        return f"Nothing is known of {names[-1]}.", (), UNKNOWN

    def _look_up(self, seen: _Seen, wanted: Query) -> tuple[str, tuple[ToolCall, ...], str]:
        """Retrieve one thing after the other, label what its note tells, then answer.

        Each thought begins with what is wanted, as the one before ended or began.
        """
        chain = wanted.form == "chain"
        aim = (
            ", then ".join(wanted.properties) if chain else f"{wanted.properties[0]}, {wanted.form}"
        )
        names, values, said = [wanted.things[0]], list[str](), f"Want {aim}. "
        for at, label in enumerate(wanted.properties * (3 - len(wanted.properties))):
            name, begins = names[at], f"Want {label}. " if chain and at else f"Want {aim}. "
            if at and find_tool(self._episode.tools, "Retrieve_memory") is None:
                begins = said  # no turn lies between
            note = seen.note(name)
            if note is None:
                again = f"{begins}Look again for {name}."
                times = self._step.queries.count(name)
                if times == 1 and (act := self._retrieve(name, again, 3)):
                    return *act, ""
                if not times and (at or self._wants("retrieve")):
                    later = f", then {wanted.things[1]}" if not chain and not at else ""
                    if act := self._retrieve(name, f"{said}Look for {name}{later}."):
                        return *act, ""
                return f"{said}Nothing is known of {name}.", (), UNKNOWN
            scan = reading.told(note, name)
            value = next((v for _, told in scan for key, v in told if key == label), None)
            if value is None:
                return f"{begins}{_scanned(scan)} No {label} is told of {name}.", (), UNKNOWN
            values.append(value)
            names.append(value if chain else wanted.things[-1])
            said = f"{begins}{_scanned(scan)} So {label}: {value}. "
            said += f"Want {wanted.properties[1]}. " if chain and not at else ""
        if chain:
            return f"{said}Answer: {values[1]}.", (), values[1]
        first, second = wanted.things
        end, answer = reading.compared(wanted.form, (first, second), (values[0], values[1]))
        return f"{said}{end} Answer: {answer}.", (), answer

    def _recall(self, seen: _Seen) -> Act | None:
        """At a new goal that is no question: what is held that may help."""
        if seen.goal in self._step.queries or not self._wants("retrieve"):
            return None
        return self._retrieve(seen.goal, "A new goal.") if _ASKS in seen.now else None

    # --- calls ----------------------------------------------------------------------------------

    def _retrieve(self, query: str, thought: str, top_k: int = 1) -> Act | None:
        self._step.queries.append(query)
        call = self._call("Retrieve_memory", query=query, top_k=top_k)
        return (thought, (call,)) if call is not None else None


# --- reading ----------------------------------------------------------------------------------


def read(messages: Sequence[ChatMessage]) -> _Seen:
    """What a prompt shows: the goal, the newest observation, and what came of it so far."""
    goal = now = recalled = ""
    before: list[str] = []
    results: list[tuple[str, str, str]] = []
    for message in messages:
        text = message.content
        if message.role == "tool" and (result := RESULT.match(text)):
            results.append((result[1], result[2], result[3]))
        elif message.role != "user" or text == last_turn_message():
            continue
        elif text.startswith(goal_message("")):
            goal = text.removeprefix(goal_message(""))
        elif text.startswith(MEMORY_HEADING):
            recalled = text
        elif not text.startswith(_NO_TALK) or text.startswith(_ASKS):
            if _is_talk(now):
                before.append(now)
            now, results = text, []
    return _Seen(goal, now, tuple(before), recalled, tuple(results))


def notes(text: str) -> dict[str, list[str]]:
    """What a message tells, if it does: sentences by the thing they are about."""
    told: dict[str, list[str]] = {}
    for part in text.split("\n\n"):
        lines = part.split("\n")
        if len(lines) > 1 and (header := reading.HEADER.fullmatch(lines[0])):
            told[header[1]] = lines[1:]
    return told


def note(name: str, sentences: Sequence[str]) -> str:
    """The memory of a thing: one entry, its name first, the sentences as they were told."""
    return f"{name}: {' '.join(sentences)}"


def correction(message: str, name: str, content: str) -> tuple[str, str]:
    """The sentence of a note that a message takes back, and the true one; empty if unclear."""
    rest = [s for s in END.split(message) if f"“{name}”" not in s]
    true = " ".join(s for s in rest if not _WITHDRAWN.search(s))
    for sentence, labels in reading.told(content, name):
        if labels and [label for label, _ in labels] == [key for key, _ in reading.labelled(true)]:
            return sentence, true
    withdrawn = set(_words(" ".join(s for s in rest if _WITHDRAWN.search(s))))
    best, most = "", 0
    for sentence in END.split(content.removeprefix(f"{name}: ")):
        own = {word for word in _words(sentence) if word[0].isupper() or word[0].isdigit()}
        common = len(withdrawn & own) * 100 + len(withdrawn & set(_words(sentence)))
        if common > most:
            best, most = sentence, common
    return (best, true) if true else ("", "")


def _words(text: str) -> list[str]:
    return re.findall(r"\w[\w,]*\w|\w", text)


def _is_talk(text: str) -> bool:
    """Whether an observation is small talk: it tells nothing, and corrects nothing."""
    return bool(text) and "“" not in text and not text.startswith(_NO_TALK)


def _remark(text: str) -> str:
    """The thought beside an `ok`."""
    return "This is small talk." if _is_talk(text) else "Done."


def _facts(text: str) -> list[tuple[str, int]]:
    """The facts of `Title # 0 | Other # 2`."""
    found = (_FACT.fullmatch(item.strip()) for item in text.split("|"))
    return [(fact[1], int(fact[2])) for fact in found if fact is not None]


def _proof(facts: Sequence[tuple[str, int]], entries: Sequence[str]) -> list[str]:
    """Of each fact, in order, its sentence as the retrieved entries have it, until one lacks."""
    proof = []
    for name, at in facts:
        entry = next((e for e in entries if e.startswith(f"{name}: ")), None)
        sentences = END.split(entry.removeprefix(f"{name}: ")) if entry is not None else []
        if at >= len(sentences):
            break
        proof.append(sentences[at])
    return proof


def _scanned(told: Sequence[tuple[str, tuple[tuple[str, str], ...]]]) -> str:
    """Sentences, behind each what it tells."""
    return " ".join(
        f"{sentence} ({', '.join(f'{label}: {value}' for label, value in labels) or '-'})"
        for sentence, labels in told
    )


def _argue(answer: str, facts: Sequence[tuple[str, int]], proof: Sequence[str]) -> str:
    """The thought that ends in an answer: the sentences, or the numbers that are compared."""
    names = [name for name, _ in facts]
    if answer in ("yes", "no"):
        said = list(proof)
    elif answer in names and len(names) > 1:
        numbers = [_NUMBER.findall(sentence)[:1] for sentence in proof]
        said = [f"{found[0]}." if found else s for found, s in zip(numbers, proof, strict=True)]
    else:
        names, said = names[-1:], list(proof[-1:])
    return " ".join(f"{name}: {sentence}" for name, sentence in zip(names, said, strict=True))
