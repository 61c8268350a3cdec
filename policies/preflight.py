"""What is checked of a training before anything is loaded: tasks, model files, directory.

Needs neither torch nor transformers, but for a name of the Hugging Face hub, which is downloaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..harness.config import Execution
from ..harness.errors import DataError, MissingExtraError, UsageError, unknown_name
from ..harness.files import read_json, writable
from ..harness.ledger import Usage
from ..harness.models import ModelBase
from ..harness.models.weights import is_folder
from ..harness.options import check_options
from ..harness.plan import Models, env_options, make_plan
from ..harness.services import make_models
from ..harness.store import RunStore
from ..harness.tokens import read_tokenizer
from ..harness.types import Completion, ModelInfo, Request, Task
from ..harness.workers.pool import EnvPool, make_pool
from .checkpoints import END, check_header
from .mixture import shares, weights
from .recipe import Recipe
from .rollout import Player

TAGS = tuple(f"<{slash}{tag}>" for tag in ("think", "tool_call", "answer") for slash in ("", "/"))
NEEDED = ("torch", "transformers", "peft", "accelerate", "safetensors", "tensorboard")
Tasks = tuple[tuple[Task, ...], ...]  # of each source
_TEMPLATES = ("chat_template.jinja", "chat_template.json")


@dataclass(frozen=True, slots=True)
class Plan:
    """A training that may begin.

    Attributes:
        recipe: What is trained, and how.
        directory: Where to.
        model: The folder of the model; None where a fresh one is made.
        tasks: Trained on, of each source.
        held_out: Evaluated on, of each source.
        data_hash: Of what the environments' tasks are made of.
        resumed: Whether the directory holds this training already.
        ended: Why it shall not go on; None where it may.
    """

    recipe: Recipe
    directory: Path
    model: Path | None
    tasks: Tasks
    held_out: Tasks
    data_hash: str
    resumed: bool
    ended: str | None


async def make_plan_of(recipe: Recipe, directory: Path) -> Plan:
    """Check everything that can be told without the model's weights.

    Raises:
        UsageError: for names, options, tasks or sizes that cannot be, or a run that is not there;
            another recipe in the directory (`ConfigMismatchError`).
        DataError: for a model's files that are missing, damaged or pickled, or a directory that
            cannot be written to.
        MissingExtraError: without what a training needs.
    """
    training, held_out, data_hash = await _find_tasks(recipe, directory.parent)
    _check_number(recipe, training)
    model = _check_path(recipe)
    resumed = check_header(directory, recipe, data_hash)
    for source in recipe.sft.sources if recipe.sft is not None else ():
        if source.runs is not None and not resumed:
            RunStore.open(source.runs)
    writable(directory if directory.exists() else directory.parent)
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(f"what a training needs ({name})", "train")
    if recipe.wandb and importlib.util.find_spec("wandb") is None:
        raise MissingExtraError("wandb", "wandb")
    _check_sampler(recipe)
    if recipe.model.path is not None and model is None:  # a name of the hub
        from ..harness.models.hf import weights

        model = weights.find(recipe.model.path, None)
        check_model(recipe, model)
    if model is not None:
        _check_code(recipe, model)
    if model is not None:
        await check_room(recipe, model, held_out, directory.parent)
    ended = read_json(directory / END)["reason"] if (directory / END).is_file() else None
    return Plan(recipe, directory, model, training, held_out, data_hash, resumed, ended)


def check_model(recipe: Recipe, folder: Path) -> None:
    """Refuse a model that cannot be trained, by its files but the weights.

    Raises:
        DataError: for files that are missing, damaged or pickled.
        UsageError: for too few positions, a tokenizer without the protocol's tags, no template.
    """
    if not (folder / "config.json").is_file():
        raise DataError(f"{folder} is no model: it holds no config.json")
    if not list(folder.glob("*.safetensors")):
        pickled = sorted(p.name for kind in ("*.bin", "*.pt", "*.pth") for p in folder.glob(kind))
        held = f"only pickled weights ({pickled[0]})" if pickled else "no weights"
        raise DataError(
            f"{folder} holds {held}: weights in safetensors are needed, since a pickle can run code"
        )
    config = read_json(folder / "config.json")
    if not isinstance(config, dict):
        raise DataError(f"{folder / 'config.json'} is no JSON object")
    _check_positions(recipe, {**config, **(config.get("text_config") or {})}, folder)
    _check_tags(folder)
    _check_template(folder)


async def check_room(recipe: Recipe, folder: Path, tasks: Tasks, runs_dir: Path) -> None:
    """Refuse a context into which the first prompt of a source's first task does not fit.

    Args:
        recipe: Says how they are played.
        folder: Of the model.
        tasks: Of each source.
        runs_dir: Where the judge's replies are kept.

    Raises:
        UsageError: if it does not; so found by playing the task with the model's token counts.
    """
    player = Player(recipe, _Counting(read_tokenizer(folder / "tokenizer.json")), runs_dir)
    try:
        for number, (part, some) in enumerate(zip(recipe.parts, tasks, strict=True)):
            with _of_source(recipe, number):
                heard = await player.listen(some[0], repeat=0, source=number)
            if not heard.turns:
                limit = f"{recipe.limits_of(number)}.context_tokens {part.agent.context_tokens}"
                raise UsageError(
                    f"recipe: {limit}: what is told first in the task {some[0].id} does not fit: "
                    "raise it"
                )
    finally:
        await player.close()


async def _find_tasks(recipe: Recipe, runs_dir: Path) -> tuple[Tasks, Tasks, str]:
    """Tasks for training and evaluation, and the hash of their data; builds everything once."""
    execution, parts = recipe.execution(runs_dir), recipe.parts
    for number, part in enumerate(parts):
        # The policy takes no options: in the place of its name stands one that is there anyway.
        config = part.run_config(split=part.tasks.split, episodes=None)
        with _of_source(recipe, number):
            check_options(config.model_copy(update={"model": part.tasks.memory_model}))
    models = make_models(config, execution, _Nobody())
    pool = make_pool(execution)
    try:
        found = []
        for number in range(len(parts)):
            with _of_source(recipe, number):
                found.append(await _tasks_of(recipe, number, execution, pool, models))
        tasks, held_out, hashes = zip(*found, strict=True)
        _check_held_out(recipe, tasks, held_out)
        await _check_demonstrations(recipe, pool, execution, held_out)
    finally:
        await pool.close()
        await models.close()
    return tasks, held_out, "+".join(dict.fromkeys(hash_ for some in hashes for hash_ in some))


@contextlib.contextmanager
def _of_source(recipe: Recipe, number: int) -> Iterator[None]:
    """Say of which of several sources something is refused."""
    try:
        yield
    except UsageError as error:
        section = recipe.section(number)
        if not recipe.tasks.sources or section in str(error):
            raise
        raise UsageError(f"recipe: {section}: {error}") from error


async def _tasks_of(
    recipe: Recipe, number: int, execution: Execution, pool: EnvPool, models: Models
) -> tuple[tuple[Task, ...], tuple[Task, ...], list[str]]:
    """Tasks of a source, those that are held out, and hashes of their data."""
    part = recipe.parts[number]
    own, evaluation = part.tasks, part.evaluation
    wanted = (
        (recipe.section(number), own.split, own.first, own.episodes),
        (recipe.held_out_of(number), evaluation.split, evaluation.first, evaluation.episodes),
    )
    cells = {}
    for split in dict.fromkeys(split for _, split, _, _ in wanted):
        config = part.run_config(split=split, episodes=None)
        (cells[split],) = await make_plan(config, execution, pool, models)
    learned, evaluated = (_part(*one, cells[one[1]].tasks) for one in wanted)
    return learned, evaluated, [cell.base.data_hash for cell in cells.values()]


def _check_held_out(recipe: Recipe, tasks: Tasks, held_out: Tasks) -> None:
    """Refuse tasks that are both trained on and held out, in whichever form and source."""
    envs = [part.tasks.played for part in recipe.parts]
    for number, learned in enumerate(tasks):
        for other, evaluated in enumerate(held_out):
            if envs[number] == envs[other]:
                held = recipe.held_out_of(other)
                _check_overlap(recipe.section(number), learned, evaluated, held)


def _part(
    section: str, split: str, first: int, episodes: int | None, tasks: Sequence[Task]
) -> tuple[Task, ...]:
    last = len(tasks) if episodes is None else first + episodes
    if first >= len(tasks) or last > len(tasks):
        raise UsageError(
            f"recipe: {section}.first {first} and {section}.episodes {episodes}: the split "
            f"{split} has {len(tasks)} tasks"
        )
    return tuple(tasks[first:last])


def _check_overlap(
    section: str, learned: Sequence[Task], held_out: Sequence[Task], held: str
) -> None:
    known = {(task.split, task.id) for task in learned}
    both = [task.id for task in held_out if (task.split, task.id) in known]
    if both:
        raise UsageError(
            f"recipe: {len(both)} tasks of {section} are also tasks of {held}, {both[0]} for one: "
            f"choose another {held}.first, or lower {section}.episodes"
        )


def _check_number(recipe: Recipe, tasks: Tasks) -> None:
    """Refuse steps that need more tasks of a source than there are."""
    if recipe.grpo is None:
        return
    per_step = recipe.grpo.tasks_per_step
    counts = islice(shares(weights(recipe), per_step), recipe.grpo.steps)
    most = map(max, zip(*counts, strict=True))
    for number, (count, some) in enumerate(zip(most, tasks, strict=True)):
        if count > len(some):
            where = f"{recipe.section(number)}: " if recipe.tasks.sources else ""
            of_it = f", {count} of them its share" if recipe.tasks.sources else ""
            raise UsageError(
                f"recipe: {where}grpo.tasks_per_step {per_step}{of_it}, but there are {len(some)} "
                "tasks"
            )


async def _check_demonstrations(
    recipe: Recipe, pool: EnvPool, execution: Execution, held_out: Tasks
) -> None:
    """Refuse sources of demonstrations whose tasks or expert are not there, or are held out."""
    sources = recipe.sft.sources if recipe.sft is not None else ()
    for number, source in enumerate(sources):
        if source.runs is not None:
            continue
        section = f"sft.demonstrations{f'.{number}' if len(sources) > 1 else ''}"
        own = recipe.of(source)
        tasks = own.tasks
        config = own.run_config(split=tasks.split, episodes=None)
        check_options(config.model_copy(update={"model": tasks.memory_model}))
        options = env_options(config, execution, tasks.env)
        found = await pool.describe(tasks.env, options, tasks.split)
        shown = _part(section, tasks.split, tasks.first, source.episodes, found.tasks)
        for other, part in enumerate(recipe.parts):
            if tasks.played == part.tasks.played:
                _check_overlap(section, shown, held_out[other], recipe.held_out_of(other))
        if source.expert not in found.spec.experts:
            raise unknown_name(
                f"recipe value {section}.expert: of {tasks.env},", source.expert,
                found.spec.experts,
            )  # fmt: skip


def _check_path(recipe: Recipe) -> Path | None:
    """The folder of the model where it is one, checked."""
    path = recipe.model.path
    if path is None:
        return None
    try:
        local = is_folder(path)
    except UsageError as error:
        raise UsageError(f"recipe: model.path: {error}") from error
    if not local:
        return None
    folder = Path(path).expanduser()
    check_model(recipe, folder)
    return folder


def _check_positions(recipe: Recipe, config: dict[str, Any], folder: Path) -> None:
    most = config.get("max_position_embeddings")
    for number, agent in enumerate(part.agent for part in recipe.parts):
        if isinstance(most, int) and agent.context_tokens + agent.max_tokens > most:
            where = recipe.limits_of(number)
            raise UsageError(
                f"recipe: {where}.context_tokens {agent.context_tokens} and {where}.max_tokens "
                f"{agent.max_tokens} exceed the {most} positions of {folder}"
            )


def _check_tags(folder: Path) -> None:
    """Each tag must come back from its tokens, as the sampler reads them.

    A tag that is a special token does not: those vanish from decoded text.
    """
    tokenizer = read_tokenizer(folder / "tokenizer.json")
    for tag in TAGS:
        text = f"{tag}a{tag}"
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if "".join(tokenizer.decode(ids, skip_special_tokens=True).split()) != text:
            raise UsageError(
                f"the tokenizer of {folder} cannot write {tag}, so a model with it cannot speak "
                "the protocol: take one whose vocabulary has it, not as a special token"
            )


def _check_template(folder: Path) -> None:
    if any((folder / name).is_file() for name in _TEMPLATES):
        return
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else None
    if not isinstance(config, dict) or not config.get("chat_template"):
        raise UsageError(
            f"the tokenizer of {folder} has no chat template, which an instruct model has: put "
            f"one into {_TEMPLATES[0]} (Jinja)"
        )


def _check_code(recipe: Recipe, folder: Path) -> None:
    """Refuse a model that comes with code of its own, unless that is asked for."""
    config = json.loads((folder / "config.json").read_bytes())
    if "auto_map" not in config or recipe.model.trust_remote_code:
        return
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        raise UsageError(
            f"{folder} needs code of its own, which is not run: read it, and only then set "
            "model.trust_remote_code to true"
        )


def _check_sampler(recipe: Recipe) -> None:
    from .sampler import check_sampler

    check_sampler(recipe)


class _Nobody(ModelBase):
    """Stands where a policy will; it is never asked."""

    info = ModelInfo("policy", training="agemem")


class _Counting(ModelBase):
    """Counts tokens as a policy will, and says the same to everything.

    Args:
        tokenizer: Of the `tokenizers` library.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.info, self._tokenizer = _Nobody.info, tokenizer

    async def generate(self, _: Request) -> Completion:
        """An answer."""
        return Completion("<think></think><answer>ok</answer>", Usage(0, 0, estimated=True))

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)
