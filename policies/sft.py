"""Supervised fine-tuning on demonstrations: the loss is on what is replied, never on prompts.

A demonstration is the very tokens that generation would see and draw: the prompt by the same chat
template, the reply, and the token that ends it.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, groupby
from typing import Any

from ..harness.errors import UsageError
from ..harness.models.hf.weights import Loaded
from ..harness.models.inprocess.chat import Chat
from ..harness.types import ChatMessage, Request, Sampling
from .demonstrations import Demonstration
from .drills import rehearsal
from .learner import Learner
from .recipe import Recipe, SftRecipe
from .trajectory import Step

LOOKS = 20  # how often, over all updates, the accuracy on held-out demonstrations is measured
_HELD = 16  # episodes held out for that, at most, and at most one in 20
_FORWARD = {"cpu": 1024}  # tokens of a forward, padding included: what stays in the caches
_FORWARD_ELSEWHERE = 16_384
_CHECKS = 32  # prompts that are encoded as a whole too
_KINDS = ("think", "tool", "arguments", "answer", "format")
# What of a reply each kind of token is; what no group matches is format.
_PARTS = re.compile(
    r"<think>(?P<think>.*?)</think>|\"name\": \"(?P<tool>[^\"]*)\""
    r"|\"arguments\": \{(?P<arguments>.*?)\}(?=\}[,\]])|<answer>(?P<answer>.*?)</answer>",
    re.DOTALL,
)

Watch = Callable[[int, int, dict[str, float]], None]  # updates done, of how many, numbers


@dataclass(frozen=True, slots=True)
class Lesson:
    """An episode as tokens.

    Attributes:
        steps: Its calls; those whose prompt goes on where the one before ended are one step, the
            prompts between them not trained on: the same loss, and each token computed once.
        kinds: What each trained token is, in the canonical order of trained tokens.
        tokens: Of all steps.
        slips: Of each step, where replies stand that are no demonstrations, mistakes made on
            purpose: first token and the one after the last, counted from the prompt's first.
            Empty: there are none.
    """

    steps: tuple[Step, ...]
    kinds: tuple[str, ...]
    tokens: int
    slips: tuple[tuple[tuple[int, int], ...], ...] = ()

    def shown(self, share: float, draws: random.Random) -> list[Step]:
        """Its steps, of which some of what is shown is learned too; see `with_prompt`."""
        if not share:
            return list(self.steps)
        slips = self.slips or ((),) * len(self.steps)
        return [with_prompt(s, share, draws, own) for s, own in zip(self.steps, slips, strict=True)]


def sft(
    recipe: Recipe,
    learner: Learner,
    demonstrations: Sequence[Demonstration],
    watch: Watch,
    start: int = 0,
) -> None:
    """Fine-tune a model.

    Args:
        recipe: Its `sft` says how.
        learner: Whose weights are changed; with its optimizer as after update `start`.
        demonstrations: What is learned, and what for measuring is held out: the last episodes.
        watch: Told of each update, the number of all updates, and numbers: those of
            `Learner.sft_update`; now and then `accuracy_…`, for each kind of token the chance that
            one drawn at temperature 1 is the demonstrated one, on what is held out.
        start: Updates done. All that follows is decided by their number and the recipe's seed.

    Raises:
        UsageError: where no demonstration fits the model.
    """
    assert recipe.sft is not None
    lessons = lessons_of(demonstrations, learner.loaded, str(recipe.model.path or "fresh"))
    n_held = min(_HELD, len(lessons) // 20)
    held, learned = lessons[len(lessons) - n_held :], lessons[: len(lessons) - n_held]
    batches = list(batches_of(learned, recipe.sft, recipe.seed))
    every = max(1, len(batches) // LOOKS)
    for update in range(start, len(batches)):
        share = max(0.0, recipe.sft.prompts * (1 - 2 * update / len(batches)))
        draws = random.Random(f"prompts {recipe.seed} {update}")
        steps = [step for number in batches[update] for step in learned[number].shown(share, draws)]
        steps += _rehearsed(recipe, learner, update)
        numbers = learner.sft_update(
            steps,
            learning_rate(recipe.sft, update, len(batches)),
            recipe.sft.max_grad_norm,
            weight_decay=recipe.sft.weight_decay,
            muon=recipe.sft.muon,
            batch_tokens=_forward(learner),
        )
        done = update + 1
        if held and (done % every == 0 or done == len(batches)):
            numbers = {**numbers, **accuracy(learner, held)}
        watch(done, len(batches), numbers)


def _rehearsed(recipe: Recipe, learner: Learner, update: int) -> list[Step]:
    """What of the drills is learned in an update of the demonstrations."""
    assert recipe.sft is not None
    if recipe.sft.drills is None or not recipe.sft.drills.kept:
        return []
    tokens = round(recipe.sft.batch_tokens * recipe.sft.drills.kept)
    return rehearsal(learner, tokens, random.Random(f"rehearsed {recipe.seed} {update}"))


def learning_rate(recipe: SftRecipe, update: int, updates: int) -> float:
    """The rate of an update, counted from 0: a linear warm-up, then constant or a half cosine."""
    warm = max(1, round(recipe.warmup * updates))
    if update < warm:
        return recipe.learning_rate * (update + 1) / warm
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = (update - warm + 1) / (updates - warm + 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def with_prompt(
    step: Step, share: float, draws: random.Random, slips: Sequence[tuple[int, int]] = ()
) -> Step:
    """A step of which, beside what is replied, some of what is shown is learned.

    Args:
        step: Its prompt's first token stays a prompt, since nothing foretells it.
        share: Chance of each token that is shown.
        draws: Say which.
        slips: What is shown and never learned; see `Lesson`.
    """
    ids = step.prompt_ids + step.completion_ids
    never = {at for start, end in slips for at in range(start, end)}
    shown = (False,) * len(step.prompt_ids) + step.mask
    mask = tuple(
        replied or (draws.random() < share and at not in never)
        for at, replied in enumerate(shown)
        if at
    )
    return replace(step, prompt_ids=ids[:1], completion_ids=ids[1:], mask=mask)


def batches_of(lessons: Sequence[Lesson], recipe: SftRecipe, seed: int) -> Iterator[list[int]]:
    """The lessons of each update, by number: whole episodes, shuffled anew each epoch."""
    wanted = recipe.epochs * sum(lesson.tokens for lesson in lessons)
    spent, size, batch, epoch = 0, 0, list[int](), 0
    while spent < wanted:
        order = list(range(len(lessons)))
        random.Random(f"sft {seed} {epoch}").shuffle(order)
        for number in order:
            batch.append(number)
            size += lessons[number].tokens
            if size >= recipe.batch_tokens or spent + size >= wanted:
                yield batch
                spent, size, batch = spent + size, 0, []
                if spent >= wanted:
                    return
        epoch += 1


def accuracy(learner: Learner, lessons: Sequence[Lesson]) -> dict[str, float]:
    """For each kind of token the chance that one drawn at temperature 1 is the demonstrated one."""
    steps = [step for lesson in lessons for step in lesson.steps]
    found = learner.logprobs(steps, batch_tokens=_forward(learner)).exp().tolist()
    trained = [trained for step in steps for trained in step.mask]
    chances = [chance for chance, kept in zip(found, trained, strict=True) if kept]
    kinds = [kind for lesson in lessons for kind in lesson.kinds]
    numbers = {}
    for kind in _KINDS:
        own = [c for c, k in zip(chances, kinds, strict=True) if k == kind]
        if own:
            numbers[f"accuracy_{kind}"] = math.fsum(own) / len(own)
    numbers["accuracy"] = math.fsum(chances) / len(chances)
    return numbers


def _forward(learner: Learner) -> int:
    return _FORWARD.get(learner.loaded.model.device.type, _FORWARD_ELSEWHERE)


# --- tokens -----------------------------------------------------------------------------------


def lessons_of(demonstrations: Sequence[Demonstration], loaded: Loaded, where: str) -> list[Lesson]:
    """Demonstrations as tokens, episode by episode.

    Args:
        demonstrations: Those of an episode follow each other.
        loaded: Whose tokenizer it is; what exceeds the model's positions is left out.
        where: The model, for errors.

    Raises:
        UsageError: if nothing is left.
    """
    prompts = _Prompts(Chat(loaded.tokenizer, None, {}, where), loaded.tokenizer)
    lessons = []
    for _, turns in groupby(demonstrations, key=lambda one: one.episode):
        parts = [_part(one, prompts, loaded) for one in turns]
        fitting = [p for p in parts if loaded.positions is None or p.length <= loaded.positions]
        if fitting:
            lessons.append(_lesson(fitting, prompts))
    if not lessons:
        raise UsageError(
            f"no demonstration fits the {loaded.positions} positions of {where}: lower "
            "agent.context_tokens, or choose a larger model"
        )
    return lessons


@dataclass(frozen=True, slots=True)
class _Part:
    """One demonstration as tokens."""

    messages: tuple[ChatMessage, ...]
    text: str
    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    kinds: tuple[str, ...]
    stage: int

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.reply)


class _Prompts:
    """Encodes prompts, each message of an episode once.

    A tokenizer reads what stands between special tokens by itself, unless it marks where a text
    begins; so the first prompts are read as a whole too, and all of them where that differs.
    """

    def __init__(self, chat: Chat, tokenizer: Any) -> None:
        self._chat, self._tokenizer, self._checks = chat, tokenizer, 0
        special = sorted(map(re.escape, tokenizer.all_special_tokens), key=len, reverse=True)
        self._cut = re.compile(f"({'|'.join(special)})") if special else None
        self.read = lru_cache(maxsize=4096)(self._ids)  # a text's tokens, by itself

    def encode(self, messages: tuple[ChatMessage, ...]) -> tuple[int, ...]:
        request = Request(messages, Sampling())
        if self._cut is None:
            return self._chat.encode(request)
        parts = self._cut.split(self._chat.text(request))
        ids = tuple(chain.from_iterable(self.read(part) for part in parts if part))
        if self._checks < _CHECKS:
            self._checks += 1
            if ids != (whole := self._chat.encode(request)):
                self._cut = None
                return whole
        return ids

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))


def _part(one: Demonstration, prompts: _Prompts, loaded: Loaded) -> _Part:
    prompt = prompts.encode(one.messages)
    ids, kinds = _reply(one.text, loaded.tokenizer)
    own = loaded.tokenizer.eos_token_id
    end = own if own in loaded.stop else loaded.stop[0]
    return _Part(one.messages, one.text, prompt, (*ids, end), (*kinds, "format"), one.stage)


def _reply(text: str, tokenizer: Any) -> tuple[list[int], list[str]]:
    """The tokens of a reply, and of which kind each is: that of its first character."""
    read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    spans = [
        (found.start(kind), found.end(kind), kind)
        for found in _PARTS.finditer(text)
        for kind in _KINDS[:-1]
        if found[kind] is not None
    ]
    kinds, at = [], 0
    for start, end in read["offset_mapping"]:
        while at < len(spans) and start >= spans[at][1]:
            at += 1
        # A token that begins before a span is format, however much of the span it holds.
        inside = at < len(spans) and spans[at][0] <= start < max(end, start + 1)
        kinds.append(spans[at][2] if inside else "format")
    return read["input_ids"], kinds


def _lesson(parts: Sequence[_Part], prompts: _Prompts) -> Lesson:
    """The parts of an episode, those joined that go on where the one before ended."""
    steps: list[Step] = []
    slips: list[list[tuple[int, int]]] = []
    replies, read = {part.text for part in parts}, 0
    for part in parts:
        last = steps[-1] if steps else None
        so_far = (*last.prompt_ids, *last.completion_ids) if last is not None else ()
        if last is not None and part.prompt[: len(so_far)] == so_far:
            between = part.prompt[len(so_far) :]
            ids = (*last.completion_ids, *between, *part.reply)
            mask = (*last.mask, *(False,) * len(between), *(True,) * len(part.reply))
            steps[-1] = Step(last.prompt_ids, ids, None, mask, last.stage)
        else:
            mask, read = (True,) * len(part.reply), 0
            steps.append(Step(part.prompt, part.reply, None, mask, part.stage))
            slips.append([])
        slips[-1] += _slips(part, read, replies, prompts)
        read = len(part.messages)
    kinds = tuple(kind for part in parts for kind in part.kinds)
    length = sum(step.length for step in steps)
    return Lesson(tuple(steps), kinds, length, tuple(map(tuple, slips)))


def _slips(
    part: _Part, read: int, replies: Collection[str], prompts: _Prompts
) -> Iterator[tuple[int, int]]:
    """Where in a prompt, from message `read` on, replies stand that are none of the episode's."""
    for at, message in enumerate(part.messages[read:], read):
        if message.role == "assistant" and message.content not in replies:
            before = prompts.encode(part.messages[:at])  # up to where the reply begins
            if part.prompt[: len(before)] == before:
                yield len(before), len(before) + len(prompts.read(message.content)) + 1
