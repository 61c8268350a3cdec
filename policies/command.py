"""What `agemem-eval train` does; imported when it runs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..harness.commands import DRAIN_S, INTERRUPTED, STOPPED, TERM_S, TERMINATED, CutOffError
from ..harness.errors import UsageError, unknown_name
from ..harness.observe.text import say
from ..harness.store import check_name
from ..harness.yaml_files import parse_yaml
from .checkpoints import HEADER, kept
from .launched import leads
from .mixture import weights
from .preflight import Plan, make_plan_of
from .recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from .session import Stop, Trained

log = logging.getLogger("agemem_eval.train")


def train_command(
    recipe: str | None,
    settings: list[str],
    *,
    runs_dir: Path,
    name: str | None = None,
    resume: bool = True,
    seed: int | None = None,
    scheme: str | None = None,
    data: Path | None = None,
    dry_run: bool = False,
    list_: bool = False,
    as_json: bool = False,
) -> int:
    """`train`: exit code 0 if the training is complete, 1 if it collapsed, 130 or 143 if stopped.

    Args:
        recipe: A file, or the name of a recipe of the package.
        settings: `key=value` over the recipe's; values as in YAML.
        runs_dir: Where runs are kept.
        name: Of the run; None: recipe, scheme and seed.
        resume: Whether to go on with a run of that name.
        seed: Over the recipe's.
        scheme: Of the reward, over the recipe's.
        data: Where the environment's files are, over the recipe's.
        dry_run: Check everything, and train nothing.
        list_: Show the recipes of the package.
        as_json: Print one JSON object.

    Raises:
        AgememError: for what is wrong with the recipe or files; without the extra `train`.
    """
    if list_:
        return _list(as_json)
    given = {"seed": seed, "reward.scheme": scheme, "tasks.data": data}
    read = _read(recipe, settings, {key: v for key, v in given.items() if v is not None})
    plan = asyncio.run(make_plan_of(read, _directory(read, runs_dir, name, resume)))
    if dry_run:
        return _tell_plan(plan, as_json)
    return _begin(plan, as_json)


def _read(recipe: str | None, settings: list[str], given: dict[str, Any]) -> Recipe:
    if recipe is None:
        raise UsageError(f"name a recipe: a file, or one of {', '.join(own_recipes())}")
    return read_recipe(find_recipe(recipe), {**dict(map(_setting, settings)), **given})


def _directory(recipe: Recipe, runs_dir: Path, name: str | None, resume: bool) -> Path:
    """Where a training goes, which nobody may have begun unless it may be gone on with."""
    found = runs_dir / check_name(name or f"{recipe.name}-{recipe.reward.scheme}-{recipe.seed}")
    if not resume and (found / HEADER).exists() and kept(found):
        raise UsageError(
            f"the training {found.name} exists: leave out --no-resume to go on with it, or "
            "choose another --name"
        )
    return found


def _begin(plan: Plan, as_json: bool) -> int:
    if plan.ended is not None:
        raise _Collapsed(
            f"{plan.directory.name} has ended: {plan.ended}; change the recipe, and choose another "
            "--name"
        )
    if not leads():
        return _follow(plan)
    return _tell(_carry_out(plan, quiet=as_json), as_json)


class _Collapsed(UsageError):
    """A training that has collapsed, and would again."""

    exit_code = 1


def own_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name[-5:] == ".yaml")


def find_recipe(recipe: str) -> Path:
    """The file of a recipe: its path, or that of one of the package's by name.

    Raises:
        UsageError: if there is neither, naming the nearest.
    """
    path = Path(recipe).expanduser()
    if path.is_file() or path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        return path
    names = own_recipes()
    if recipe not in names:
        raise unknown_name("recipe", recipe, names)
    return Path(str(resources.files(__package__) / "recipes" / f"{recipe}.yaml"))


def _setting(pair: str) -> tuple[str, Any]:
    key, equals, value = pair.partition("=")
    if not equals or not all(key.split(".")):
        raise UsageError(f"-o {pair!r} is not of the form key=value, e.g. grpo.steps=20")
    try:
        return key, parse_yaml(value)
    except ValueError as error:
        raise UsageError(f"-o {key}: the value is no YAML: {error}") from error


def _follow(plan: Plan) -> int:
    """Do the share of a process that another one leads, which alone hears signals and writes."""
    from .launched import launched_team
    from .team import check_team, follow

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    team = launched_team()
    check_team(plan.recipe, team)
    asyncio.run(follow(team, plan.recipe))
    return 0


def _carry_out(plan: Plan, *, quiet: bool) -> Trained:
    """Train, shown on the terminal; signals end it as `_stoppable` tells."""
    from .progress import make_observer
    from .session import Stop

    stop, observer = Stop(), make_observer(quiet)
    try:
        return asyncio.run(_stoppable(plan, stop, observer))
    except (asyncio.CancelledError, KeyboardInterrupt):
        observer.close()
        reason = stop.reason or INTERRUPTED
        print(f"agemem-eval: error: {CutOffError(reason)}", file=sys.stderr, flush=True)
        # An update may still compute in its thread, and Python's end would wait for it, or crash
        # under it. What is kept is on disk already.
        os._exit(STOPPED[reason])
    finally:
        observer.close()


async def _stoppable(plan: Plan, stop: Stop, observer: Any) -> Trained:
    """The training; it ends when asked to, and goes on from its last checkpoint.

    The first Ctrl-C finishes the step under way and writes a checkpoint, the second one ends at
    once. SIGTERM does the same as the first, and as the second after the seconds that schedulers
    leave before they kill.
    """
    from .train import train

    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if stop.reason is None and stop.busy:
            stop.reason = INTERRUPTED
            say("agemem-eval: stopping after this step; Ctrl-C again stops now")
        else:
            task.cancel()

    def terminated() -> None:
        stop.reason = TERMINATED
        say(f"agemem-eval: SIGTERM: stopping within {TERM_S:g} s, from a checkpoint")
        loop.call_later(DRAIN_S if stop.busy else 0, task.cancel)

    if os.name == "posix":
        loop.add_signal_handler(signal.SIGINT, interrupted)
        loop.add_signal_handler(signal.SIGTERM, terminated)
    return await train(plan, stop, observer)


def _tell_plan(plan: Plan, as_json: bool) -> int:
    recipe = plan.recipe
    parts = {
        "run": plan.directory.name,
        "directory": str(plan.directory),
        "recipe": recipe.name,
        "recipe_hash": recipe.hash,
        "data_hash": plan.data_hash,
        "resumes": plan.resumed,
        "tasks": sum(map(len, plan.tasks)),
        "held_out": sum(map(len, plan.held_out)),
        **_sources(plan),
        "phases": [p for p in ("sft", "grpo") if getattr(recipe, p) is not None],
        "rollouts": recipe.grpo.steps * recipe.grpo.tasks_per_step * recipe.grpo.rollouts
        if recipe.grpo is not None
        else 0,
    }
    if as_json:
        print(json.dumps(parts))
        return 0
    for label, told in parts.pop("sources", {}).items():
        print(f"source {label}: {', '.join(f'{key} {value}' for key, value in told.items())}")
    for key, value in parts.items():
        print(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
    print("all is in order; nothing was trained (--dry-run)")
    return 0


def _sources(plan: Plan) -> dict[str, Any]:
    """What is told of several sources of tasks; nothing where there is one."""
    recipe = plan.recipe
    if not recipe.tasks.sources:
        return {}
    total = sum(weights(recipe))
    found = {
        label: {
            "env": part.tasks.env,
            "split": part.tasks.split,
            "tasks": len(learned),
            "held_out": len(evaluated),
            "task_score": part.reward.task_score,
            "share": round(weight / total, 4),
        }
        for label, part, learned, evaluated, weight in zip(
            recipe.labels, recipe.parts, plan.tasks, plan.held_out, weights(recipe), strict=True
        )
    }
    return {"sources": found}


def _tell(trained: Trained, as_json: bool) -> int:
    from .logs import EVALUATION, read_lines

    evaluations = read_lines(trained.directory / EVALUATION)
    if as_json:
        value = {**asdict(trained), "run": trained.directory.name}
        value["evaluation"] = evaluations
        print(json.dumps(value, default=str))
    else:
        _say_how_it_went(trained, evaluations)
    if trained.collapsed:
        return 1
    return STOPPED[trained.stopped] if trained.stopped is not None else 0


def _say_how_it_went(trained: Trained, evaluations: list[dict[str, Any]]) -> None:
    from .progress import evaluation_text

    if evaluations:
        best = max(evaluations, key=lambda line: line["reward"])
        for title, line in (("first", evaluations[0]), ("last", evaluations[-1]), ("best", best)):
            print(f"{title}: step {line['step']}, {evaluation_text(line)}")
    if trained.collapsed:
        kept = trained.last_good or "none was kept"
        say(f"agemem-eval: collapsed at {trained.stopped}; the last good checkpoint: {kept}")
    elif trained.stopped is not None:
        say(
            f"agemem-eval: stopped by {trained.stopped} at {trained.phase} step {trained.step} of "
            f"{trained.total}; the same command resumes"
        )
    else:
        print(f"{trained.final}")


def _list(as_json: bool) -> int:
    recipes: dict[str, Recipe] = {n: read_recipe(find_recipe(n)) for n in own_recipes()}
    if as_json:
        print(json.dumps({name: recipe.identity for name, recipe in recipes.items()}))
        return 0
    for name, recipe in recipes.items():
        phases = " and ".join(p for p in ("sft", "grpo") if getattr(recipe, p) is not None)
        origin = recipe.model.path or "a fresh model"
        envs = ", ".join(dict.fromkeys(part.tasks.env for part in recipe.parts))
        print(f"{name:24} {phases} of {origin} on {envs} ({recipe.series})")
    return 0
