"""HotpotQA as an environment of the harness: questions that need several paragraphs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import ClassVar

from ...harness.errors import DataError, UsageError, unknown_name
from ...harness.types import EnvSpec, Gold, Json, Observation, SplitSpec, StepResult, Task
from ..staged.messages import Script, data_seed
from . import files, generator
from .changes import Revision, revise
from .distractors import distractors
from .experts import Oracle
from .forms import Form, Interactive, ThreeStage, exposure
from .gold import gold_of
from .instructions import INTERACTIVE, THREE_STAGE, citing
from .metrics import METRICS
from .options import read_options
from .reader import Reader
from .records import Question

_SPLITS = (
    SplitSpec("generated", generator.SIZES["generated"], "made by a seeded generator, for testing"),
    SplitSpec(
        "generated-train",
        generator.SIZES["generated-train"],
        "made by the same generator with other names, for training",
    ),
    SplitSpec("dev", files.SIZES["dev"], "official development questions, distractor setting"),
    SplitSpec("train", files.SIZES["train"], "official training questions"),
    SplitSpec("file", None, "the questions of any file in HotpotQA's form"),
)


class HotpotqaEnvironment:
    """One question at a time.

    `success` is an exact match of the answer by HotpotQA's own normalisation, and so is the
    reward of the step that answers. There is no notion of progress. The official scores are
    metrics (see `metrics`).
    """

    spec: ClassVar[EnvSpec] = EnvSpec(
        name="hotpotqa",
        version="1",
        splits=_SPLITS,
        default_split="generated",
        max_steps=15,
        instructions=INTERACTIVE,
        experts=("oracle", "reader"),
        has_valid_actions=False,  # what can be searched for is known only by reading
        metrics=METRICS,
        headline=("quality.j", "success"),
    )

    def __init__(
        self,
        data: str | None = None,
        form: str = "interactive",
        exposure: str = "together",
        distractors: str = "5",
        changes: str = "0",
        paragraphs: str = "10",
        cite: str = "optional",
        allow_short: str = "false",
    ) -> None:
        """Choose how questions are found and played.

        Args:
            data: a file or folder of questions, for the splits `dev`, `train` and `file`; None for
                what `agemem-eval data get` fetched.
            form: `interactive`, or `three-stage`: paragraphs, a new context, small talk, question.
            exposure: `together` tells the paragraphs in one message, `each` in one each.
            distractors: how many messages of small talk there are.
            changes: how many of the facts told are corrected later, among the small talk; the
                first turns the answer. Of generated questions only.
            paragraphs: how many of a question's ten paragraphs there are, 2 or more; those that
                support the answer are always among them. Of generated questions only.
            cite: `required` asks for the supporting facts with each answer, and scores 0 for facts
                that are not cited; `optional` does not score them.
            allow_short: `true` accepts an official split with fewer questions than it has.

        Raises:
            UsageError: a value that an option does not have.
        """
        self._options = read_options(
            form, exposure, distractors, changes, paragraphs, cite, allow_short
        )
        self._data = data
        self._adapt_spec()
        self._sources: dict[str, files.Source] = {}
        self._listed: dict[str, tuple[list[Task], str]] = {}  # tasks and hash of a split
        self._episode: Form | None = None
        self._oracle: Oracle | None = None
        self._reader: Reader | None = None
        self._unread: list[tuple[str, StepResult]] = []  # what the reader has yet to be shown

    def tasks(self, split: str) -> Sequence[Task]:
        """The tasks of a split in their fixed order; see `Environment.tasks`."""
        if split not in generator.SIZES:
            return self._list(split)[0]
        n_steps = self._n_steps(self._options.n_paragraphs if self._options.each else 1)
        return [
            Task(
                id=generator.task_id(split, index),
                split=split,
                type=generator.question_type(index),
                data={"index": index},
                max_steps=n_steps,
                oracle_steps=n_steps or 3,  # two paragraphs support each answer
            )
            for index in range(generator.SIZES[split])
        ]

    def data_hash(self, split: str) -> str:
        """The hash of a split's questions; see `Environment.data_hash`."""
        return generator.split_hash(split) if split in generator.SIZES else self._list(split)[1]

    def reset(self, task: Task, seed: int) -> Observation:
        """Start a question.

        Raises:
            UsageError: an unknown split.
            DataError: a question that is not there.
        """
        del seed  # a question begins the same way each time
        self._episode = self._oracle = self._reader = None
        self._unread = []
        episode = self._episode = self._play(task, self._read(task))
        return Observation(text=episode.text, goal=episode.goal, metrics=episode.scores)

    def gold(self, task: Task) -> Gold:
        """What a perfect memory of a task would hold in the end; plays nothing.

        Its facts are those sentences, each with the name of its paragraph where it lacks that, on
        which the answer rests; in place of a corrected one, what its correction says. What is
        stale stands in the order in which it is corrected.

        Raises:
            UsageError: an unknown split.
            DataError: a question that is not there.
        """
        question = self._read(task)
        revision = self._revise(task)
        if revision is None:
            return gold_of(question)
        return gold_of(revision.question, revision.changes)

    def step(self, action: str) -> StepResult:
        """Carry out one action."""
        result = self._playing().step(action)
        self._unread.append((action, result))
        return result

    def valid_actions(self) -> None:
        """None: titles and answers are for the agent to find."""
        self._playing()

    def expert_action(self, name: str = "oracle") -> str | None:
        """The next action of the `oracle` or the `reader`; None when the question is answered.

        The oracle knows the answer and opens the supporting paragraphs before it gives it. The
        reader knows what the agent has been shown since the start, all of it: in the three-stage
        form it remembers what the context has lost, which makes it a bound for a memory.

        Raises:
            UsageError: an unknown expert.
        """
        if name not in self.spec.experts:
            raise unknown_name("expert of hotpotqa:", name, self.spec.experts)
        episode = self._playing()
        if episode.over:
            return None
        if name == "oracle":
            self._oracle = self._oracle or Oracle(episode)
            return self._oracle.next_action()
        if self._reader is None:
            self._reader = Reader(episode.goal, episode.text)
        for action, result in self._unread:
            self._reader.observe(action, result.observation, result.goal)
        self._unread = []
        return self._reader.next_action()

    def close(self) -> None:
        """Forget the question."""
        self._episode = self._oracle = self._reader = None

    def _playing(self) -> Form:
        if self._episode is None:
            raise UsageError("no question is being played: reset a task first")
        return self._episode

    def _adapt_spec(self) -> None:
        """Own instructions, and as many steps as messages in the three-stage form."""
        own = THREE_STAGE if self._options.three_stage else INTERACTIVE
        own = citing(own) if self._options.cite else own
        n_steps = self._n_steps(self._options.n_paragraphs if self._options.each else 1)
        spec = type(self).spec
        if own is not spec.instructions:
            n_steps = n_steps or spec.max_steps
            vars(self)["spec"] = replace(spec, instructions=own, max_steps=n_steps)

    def _play(self, task: Task, question: Question) -> Form:
        if not self._options.three_stage:
            return Interactive(question, cite=self._options.cite)
        told = exposure(question, each=self._options.each)
        revision = self._revise(task)
        talk = self._small_talk(task, question, revision)
        question = question if revision is None else revision.question
        return ThreeStage(question, Script(told, talk), cite=self._options.cite)

    def _revise(self, task: Task) -> Revision | None:
        """The corrections of a generated question; None where nothing is corrected."""
        if not self._options.n_changes:
            return None
        options, index = self._options, task.data["index"]
        seed = data_seed(task)
        return revise(task.split, index, seed, options.n_changes, options.n_paragraphs)

    def _small_talk(
        self, task: Task, question: Question, revision: Revision | None
    ) -> tuple[str, ...]:
        """The distractors, which share nothing with the question, and corrections among them."""
        avoid = [question.text, question.answer, *(title for title, _ in question.facts)]
        changes = () if revision is None else revision.changes
        # The new answer is one of the values, or the other title, or yes or no.
        avoid += (text for c in changes for text in (c.fact[0], c.was.value, c.value))
        seed = data_seed(task)
        talk = distractors(task.id, seed, self._options.n_distractors, avoid)
        rng = Random(f"hotpotqa corrections {task.id} {seed}")
        places = sorted(rng.sample(range(len(talk) + len(changes)), len(changes)))
        for place, change in zip(places, changes, strict=True):
            talk.insert(place, change.message)
        return tuple(talk)

    # --- questions --------------------------------------------------------------------------

    def _list(self, split: str) -> tuple[list[Task], str]:
        """The tasks of a split in files, and the hash of its questions."""
        if split not in self._listed:
            source, total, tasks = self._source(split), hashlib.sha256(), []
            for question, place in source.questions():
                total.update(question.canonical())
                tasks.append(self._task(split, question, place))
            self._check_count(split, source, len(tasks))
            self._listed[split] = tasks, total.hexdigest()[:16]
        return self._listed[split]

    def _task(self, split: str, question: Question, place: Json) -> Task:
        options = self._options
        told = exposure(question, each=options.each) if options.three_stage else ()
        n_steps = self._n_steps(len(told))
        titles = {paragraph.title for paragraph in question.context}
        supporting = {title for title, _ in question.facts if title in titles}
        return Task(
            id=question.id,
            split=split,
            type=question.type,
            data=place,
            max_steps=n_steps,
            oracle_steps=n_steps or len(supporting) + 1,
        )

    def _n_steps(self, n_exposure: int) -> int | None:
        """The steps of a three-stage episode: one a message, and the answer."""
        options = self._options
        n_talk = options.n_distractors + options.n_changes
        return n_exposure + n_talk + 1 if options.three_stage else None

    def _check_count(self, split: str, source: files.Source, found: int) -> None:
        expected = files.SIZES.get(split)
        if found and expected in (None, found):
            return
        if found and expected is not None and found < expected and self._options.allow_short:
            return
        of = "questions" if expected is None else f"of the {expected} questions of {split}"
        hint = "complete the data, accept the short split with --allow-short, or use the split file"
        raise DataError(f"{source.path}: found {found} {of}; {hint}")

    def _source(self, split: str) -> files.Source:
        known = [spec.name for spec in self.spec.splits]
        if split not in known:
            raise unknown_name("split of hotpotqa:", split, known)
        self._refuse_generated_only(split)
        if split not in self._sources:
            self._sources[split] = files.open_source(self._data, split)
        return self._sources[split]

    def _refuse_generated_only(self, split: str) -> None:
        """Official questions are told as they are."""
        if self._options.n_changes:
            raise UsageError(
                f"changes are made in generated questions only, not in split {split!r}: choose "
                "--split generated, or leave changes out"
            )
        if self._options.n_paragraphs != generator.N_PARAGRAPHS:
            raise UsageError(
                f"paragraphs are left out of generated questions only, not of split {split!r}: "
                "choose --split generated, or leave paragraphs out"
            )

    def _read(self, task: Task) -> Question:
        if task.split in generator.SIZES:
            index = task.data.get("index")
            if not isinstance(index, int) or isinstance(index, bool):
                raise DataError(f"{task.id}: the task has no 'index'")
            game = generator.generate(task.split, index)
            return generator.shortened(game, self._options.n_paragraphs).question
        source = self._source(task.split)
        question = source.read(task.data)
        if question.id != task.id:
            raise DataError(
                f"{source.path}: holds {question.id} where {task.id} was: the file has changed"
            )
        return question
