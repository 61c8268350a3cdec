"""The two forms in which a question is played; see the instructions for what the agent is told."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol

from ...harness.types import Scores, StepResult
from ..common import readable
from ..staged import messages
from ..staged.messages import Script, Telling
from .answers import Answer, find_finish, read_answer, read_command, unwrapped
from .library import Library
from .metrics import score
from .records import Paragraph, Question, one_line

MAX_ACTION = 2000  # characters; an answer may cite many facts
MAX_MESSAGE = 16_000  # characters of one message of exposure; a real context seldom has so many
_MAX_ECHO = 100
_HOW = "Write search[…], lookup[…] or finish[…]."


class Form(Protocol):
    """An episode of one form.

    Attributes:
        question: what is asked.
        text: the first observation.
        goal: the first goal.
        scores: as they stand now.
        over: whether the episode has ended.
    """

    question: Question
    text: str
    goal: str
    scores: Scores
    over: bool

    def step(self, action: str) -> StepResult:
        """Carry out one action."""
        ...


def question_goal(question: Question) -> str:
    """The goal that asks the question."""
    return f"answer the question: {one_line(question.text)}"


class _Scored:
    """What both forms share: an answer ends the episode and is scored."""

    def __init__(self, question: Question, *, cite: bool) -> None:
        self.question = question
        self.over = False
        self._cite = cite  # whether facts that are not cited score 0
        self.scores = score(None, None, question.answer, question.facts, required=cite)

    def _say(
        self, observation: str, *, valid: bool = True, goal: str | None = None, anew: bool = False
    ) -> StepResult:
        return StepResult(
            observation=observation,
            reward=0.0,
            progress=None,
            success=self.scores["em"] == 1.0,
            terminated=self.over,
            valid=valid,
            metrics=self.scores,
            goal=goal,
            new_context=anew,
        )

    def _answer(self, answer: Answer) -> StepResult:
        self.over = True
        gold = self.question
        self.scores = score(answer.text, answer.facts, gold.answer, gold.facts, required=self._cite)
        return StepResult(
            observation=f"You answered: {answer.text}",
            reward=float(self.scores["em"] == 1.0),
            progress=None,
            success=self.scores["em"] == 1.0,
            terminated=True,
            metrics=self.scores,
            answer=answer.text,
        )


class Interactive(_Scored):
    """The paragraphs are searched and read one at a time."""

    def __init__(self, question: Question, *, cite: bool = False) -> None:
        super().__init__(question, cite=cite)
        self.library = Library(question.context)
        self.goal = question_goal(question)
        n = len(question.context)
        self.text = f"There {'is 1 paragraph' if n == 1 else f'are {n} paragraphs'} to search."
        self.opened: set[int] = set()  # paragraphs read so far
        self._current: int | None = None
        self._lookup: tuple[str, int] = ("", 0)  # the words, and how many results were shown

    def step(self, action: str) -> StepResult:
        """See `Form.step`."""
        if self.over:
            return self._say("The question has been answered.", valid=False)
        text = readable(action, MAX_ACTION)
        if text is None:
            return self._say(f"That is no action. {_HOW}", valid=False)
        command = read_command(text)
        if command is None:
            return self._say(f"There is no such action. {_HOW}", valid=False)
        verb, body = command
        if verb == "finish":
            answer = read_answer(body, self.question.context)
            if answer.text:
                return self._answer(answer)
            return self._say("The answer is empty. Write finish[your answer].", valid=False)
        if not body:
            return self._say(f"A {verb} needs words. Write {verb}[words].", valid=False)
        return self._search(body) if verb == "search" else self._look_up(body)

    def _search(self, query: str) -> StepResult:
        number = self.library.titled(query)
        if number is not None:
            return self._say(self._open(number))
        ranking = self.library.search(query)
        if not ranking:
            echo = _cut(query)
            return self._say(f"No paragraph is titled “{echo}”, and none has any of these words.")
        lines = [f"No paragraph is titled “{_cut(query)}”. The nearest is this one."]
        if similar := self.library.similar(ranking):
            lines.append(f"Also similar: {' | '.join(similar)}.")
        return self._say("\n".join([*lines, "", self._open(ranking[0])]))

    def _open(self, number: int) -> str:
        self._current, self._lookup = number, ("", 0)
        self.opened.add(number)
        return self.library.show(number)

    def _look_up(self, query: str) -> StepResult:
        if self._current is None:
            return self._say("No paragraph is open. Open one with search[…].", valid=False)
        found = self.library.lookup(self._current, query)
        before, shown = self._lookup
        shown = shown if before == query else 0
        if shown >= len(found):
            self._lookup = ("", 0)
            more = "no further sentence" if shown else "no sentence"
            return self._say(f"The open paragraph has {more} with “{_cut(query)}”.")
        self._lookup = (query, shown + 1)
        at = found[shown]
        sentence = one_line(self.question.context[self._current].sentences[at])
        return self._say(f"(Result {shown + 1} / {len(found)}) [{at}] {sentence}")


class ThreeStage(_Scored):
    """The paragraphs are told first, small talk follows, and then comes the question.

    See `staged.messages` for what is said before it.
    """

    def __init__(self, question: Question, script: Script, *, cite: bool = False) -> None:
        super().__init__(question, cite=cite)
        self.goal = messages.GOAL
        self._telling = Telling(script)
        self.text = self._telling.first

    @property
    def asked(self) -> bool:
        """Whether the question has been put."""
        return self._telling.over

    def step(self, action: str) -> StepResult:
        """See `Form.step`."""
        if self.over:
            return self._say("The question has been answered.", valid=False)
        if self.asked:
            text = readable(action, MAX_ACTION)
            answer = read_answer(_body(text or ""), self.question.context)
            if answer.text:
                return self._answer(answer)
            self.over = True
            return self._say("You gave no answer.", valid=False)
        heard = self._telling.answer(action)
        if heard.message is not None:
            return self._say(heard.note + heard.message, valid=heard.valid, anew=heard.anew)
        # The message holds it too, for memories that look up what is said now.
        asked = one_line(self.question.text)
        now = f"{heard.note}I have a question for you now, and it is your new goal: {asked}"
        goal = question_goal(self.question)
        return self._say(now, valid=heard.valid, goal=goal, anew=heard.anew)


def _cut(query: str) -> str:
    """What was asked for, short enough to repeat."""
    return query if len(query) <= _MAX_ECHO else f"{query[:_MAX_ECHO].rstrip()}…"


def _body(action: str) -> str:
    """What follows `finish[`, at the beginning or anywhere, or the whole of a bare answer."""
    for text in (action, find_finish(action)):
        command = read_command(text or "")
        if command is not None and command[0] == "finish":
            return command[1]
    return unwrapped(action)


# --- the exposure -----------------------------------------------------------------------------

_GREETINGS = (
    "I have been reading a lot lately, and here is what I came across.",
    "Let me tell you about a few things I read the other day.",
    "I spent the evening with an encyclopedia. This is what it says.",
    "A friend sent me some notes, and I would like to share them with you.",
)
_FIRST_LEADS = ("There is something about “{}”:", "This is about “{}”:", "It begins with “{}”:")
_LEADS = (
    *_FIRST_LEADS[:2],
    "Then I read about “{}”:",
    "And here is “{}”:",
    "Another page was on “{}”:",
)


def exposure(question: Question, *, each: bool) -> tuple[str, ...]:
    """The paragraphs told as casual talk, a sentence a line.

    Args:
        question: whose paragraphs; it is not mentioned.
        each: whether every paragraph is a message. Otherwise they are one, or as few as keep to
            `MAX_MESSAGE`.
    """
    rng = Random(f"hotpotqa exposure {question.id}")
    greeting = rng.choice(_GREETINGS)
    told = [
        _told(paragraph, rng.choice(_LEADS if number else _FIRST_LEADS))
        for number, paragraph in enumerate(question.context)
    ]
    told[0] = f"{greeting}\n\n{told[0]}"
    return tuple(told) if each else tuple(_packed(told))


def _told(paragraph: Paragraph, lead: str) -> str:
    return "\n".join([lead.format(paragraph.name), *(paragraph.lines or ["(nothing)"])])


def _packed(texts: Sequence[str]) -> list[str]:
    """The texts joined into as few messages as the limit allows, in their order."""
    messages = [texts[0]]
    for text in texts[1:]:
        if len(messages[-1]) + len(text) + 2 > MAX_MESSAGE:
            messages.append(text)
        else:
            messages[-1] += f"\n\n{text}"
    return messages
