"""What is checked of a training before anything is loaded: tasks, model files, directory.

Needs neither torch nor transformers, but for a name of the Hugging Face hub, which is downloaded.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..harness.config import Execution
from ..harness.errors import DataError, MissingExtraError, UsageError, unknown_name
from ..harness.files import read_json, writable
from ..harness.ledger import Usage
from ..harness.models import ModelBase
from ..harness.models.weights import is_folder
from ..harness.options import check_options
from ..harness.plan import env_options, make_plan
from ..harness.services import make_models
from ..harness.store import RunStore
from ..harness.tokens import read_tokenizer
from ..harness.types import Completion, ModelInfo, Request, Task
from ..harness.workers.pool import EnvPool, make_pool
from .checkpoints import END, check_header
from .recipe import Recipe
from .rollout import Player

TAGS = tuple(f"<{slash}{tag}>" for tag in ("think", "tool_call", "answer") for slash in ("", "/"))
NEEDED = ("torch", "transformers", "peft", "accelerate", "safetensors", "tensorboard")
_TEMPLATES = ("chat_template.jinja", "chat_template.json")


@dataclass(frozen=True, slots=True)
class Plan:
    """A training that may begin.

    Attributes:
        recipe: What is trained, and how.
        directory: Where to.
        model: The folder of the model; None where a fresh one is made.
        tasks: Trained on.
        held_out: Evaluated on.
        data_hash: Of what the environments' tasks are made of.
        resumed: Whether the directory holds this training already.
        ended: Why it shall not go on; None where it may.
    """

    recipe: Recipe
    directory: Path
    model: Path | None
    tasks: tuple[Task, ...]
    held_out: tuple[Task, ...]
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
        await check_room(recipe, model, held_out[0], directory.parent)
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


async def check_room(recipe: Recipe, folder: Path, task: Task, runs_dir: Path) -> None:
    """Refuse a context into which the first prompt of a task does not fit.

    Raises:
        UsageError: if it does not; so found by playing the task with the model's token counts.
    """
    player = Player(recipe, _Counting(read_tokenizer(folder / "tokenizer.json")), runs_dir)
    try:
        heard = await player.listen(task, repeat=0)
    finally:
        await player.close()
    if not heard.turns:
        raise UsageError(
            f"recipe: agent.context_tokens {recipe.agent.context_tokens}: what is told first in "
            f"the task {task.id} does not fit: raise it"
        )


async def _find_tasks(
    recipe: Recipe, runs_dir: Path
) -> tuple[tuple[Task, ...], tuple[Task, ...], str]:
    """Tasks for training and evaluation, and the hash of their data; builds everything once."""
    execution = recipe.execution(runs_dir)
    config = recipe.run_config(split=recipe.tasks.split, episodes=None)
    # The policy takes no options: in the place of its name stands one that is there anyway.
    check_options(config.model_copy(update={"model": recipe.tasks.memory_model}))
    models = make_models(config, execution, _Nobody())
    pool = make_pool(execution)
    try:
        own, evaluation = recipe.tasks, recipe.evaluation
        parts = (
            ("tasks", own.split, own.first, own.episodes),
            ("evaluation", evaluation.split, evaluation.first, evaluation.episodes),
        )
        cells = {}
        for split in dict.fromkeys(split for _, split, _, _ in parts):
            config = recipe.run_config(split=split, episodes=None)
            (cells[split],) = await make_plan(config, execution, pool, models)
        found = [_part(*part, cells[part[1]].tasks) for part in parts]
        _check_overlap("tasks", *found)
        await _check_demonstrations(recipe, pool, execution, found[1])
    finally:
        await pool.close()
        await models.close()
    return (
        found[0],
        found[1],
        "+".join(dict.fromkeys(cell.base.data_hash for cell in cells.values())),
    )


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


def _check_overlap(section: str, learned: Sequence[Task], held_out: Sequence[Task]) -> None:
    known = {(task.split, task.id) for task in learned}
    both = [task.id for task in held_out if (task.split, task.id) in known]
    if both:
        raise UsageError(
            f"recipe: {len(both)} tasks of {section} are also tasks of evaluation, {both[0]} for "
            f"one: choose another evaluation.first, or lower {section}.episodes"
        )


def _check_number(recipe: Recipe, tasks: Sequence[Task]) -> None:
    per_step = recipe.grpo.tasks_per_step if recipe.grpo is not None else 1
    if per_step > len(tasks):
        raise UsageError(
            f"recipe: grpo.tasks_per_step {per_step}, but there are {len(tasks)} tasks"
        )


async def _check_demonstrations(
    recipe: Recipe, pool: EnvPool, execution: Execution, held_out: Sequence[Task]
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
        if tasks.played == recipe.tasks.played:
            _check_overlap(section, shown, held_out)
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
    most, agent = config.get("max_position_embeddings"), recipe.agent
    if isinstance(most, int) and agent.context_tokens + agent.max_tokens > most:
        raise UsageError(
            f"recipe: agent.context_tokens {agent.context_tokens} and agent.max_tokens "
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
