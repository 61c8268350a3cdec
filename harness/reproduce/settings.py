"""From the command line and its YAML to the configuration of each cell that a table needs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import registry
from ..build import takes
from ..config import AgentConfig, Execution, RunConfig, split_model
from ..errors import UsageError, unknown_name
from ..options import read_pair, read_settings, resolve
from ..plan import make_embedder
from .tables import METRICS, RECIPES, J, Play

BY_ENV = "by_env"  # a section of the YAML: settings of one environment alone
# What a table decides itself, and what would keep a second call from going on with the first.
_OWN = ("env", "envs", "memory", "memories", "model", "st_tools", "name", "resume")
_OF_JUDGE = ("judge", "judge_base_url")
_ELSEWHERE = (("judge", "judge_base_url"), ("memory_model", "memory_base_url"))
_WHOLE = "agemem"  # the recipe of a --trained that names none
_GROUPS: tuple[registry.Group, ...] = ("envs", "memories", "models")


@dataclass(frozen=True, slots=True)
class Spec:
    """A model as `--model` and `--trained` give it: its name, and options of its own.

    Attributes:
        name: As in `run`, e.g. `vllm:MODEL`.
        options: Of the model, e.g. `lora` and a folder.
        base_url: Where it is served; None: where all are.
    """

    name: str
    options: tuple[tuple[str, str], ...] = ()
    base_url: str | None = None

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.options)])


def read_spec(text: str) -> Spec:
    """A model and its options: `vllm:BASE lora=DIR`; quoted as in a shell where a blank is meant.

    Raises:
        UsageError: for anything else.
    """
    try:
        name, *pairs = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the model {text!r} cannot be read: {error or 'it is empty'}") from error
    options = dict(map(read_pair, pairs))
    base_url = options.pop("base_url", None)
    return Spec(name, tuple(options.items()), base_url)


def read_trained(texts: Sequence[str], n_models: int) -> list[dict[str, Spec]]:
    """The checkpoints of each model, by recipe: the n-th one of a recipe is the n-th model's.

    Args:
        texts: `SPEC`, or `RECIPE=SPEC` with one of `RECIPES`.
        n_models: How many models there are.

    Raises:
        UsageError: for an unknown recipe, or more checkpoints than models.
    """
    found: list[dict[str, Spec]] = [{} for _ in range(n_models)]
    given: dict[str, int] = {}
    for text in texts:
        recipe, equals, rest = text.partition("=")
        if not equals or ":" in recipe or " " in recipe:
            recipe, rest = _WHOLE, text
        if recipe not in RECIPES:
            raise unknown_name("training in --trained", recipe, RECIPES)
        n = given[recipe] = given.get(recipe, 0) + 1
        if n > n_models:
            raise UsageError(
                f"--trained {text}: the {n}. checkpoint of this training, and {n_models} --model"
            )
        found[n - 1][recipe] = read_spec(rest)
    return found


class Settings:
    """What the user wants of every cell.

    Args:
        given: What was given on the command line, as `options.resolve` takes it; it wins.
        file: The YAML of `--config`, with a section `by_env` beside the keys of `run`.

    Raises:
        UsageError: for unknown keys, and for those that a table sets itself.
        DataError: for a file that cannot be read.
    """

    def __init__(self, given: Mapping[str, Any], file: Path | None) -> None:
        self._given, self._file = dict(given), file
        values = read_settings(file, BY_ENV) if file is not None else {}
        by_env = values.pop(BY_ENV, None) or {}
        if not isinstance(by_env, dict):
            raise UsageError(f"{BY_ENV} in {file} must be a mapping of environments to settings")
        self._common = self._checked(values, "")
        self._by_env: dict[str, dict[str, Any]] = {}
        known = [plugin.name for plugin in registry.plugins("envs")]
        for name, of_env in by_env.items():
            env = registry.canonical("envs", str(name))
            if env not in known:
                raise unknown_name(f"environment in {BY_ENV} of {file}:", env, known)
            if not isinstance(of_env, dict):
                raise UsageError(f"{BY_ENV}.{name} in {file} must be a mapping of keys to values")
            self._by_env[env] = self._checked(of_env, f"{BY_ENV}.{name}.")

    @property
    def judge(self) -> str | None:
        """The model that scores answers and memories."""
        judge: str | None = self._given.get("judge", self._common.get("judge"))
        return judge

    def cell(self, play: Play, spec: Spec) -> tuple[RunConfig, Execution]:
        """The configuration of the run that plays one cell, and how it is carried out.

        Raises:
            UsageError: for unknown names and options, or an option that the table sets itself.
        """
        of_env = self._by_env.get(play.env, {})
        values = {**self._common, **of_env}
        given = {**self._given, "env": play.env, "memory": play.memory, "model": spec.name}
        if play.st_tools:
            given["st_tools"] = True
        if METRICS[play.env] != J:  # nothing there that is judged, so nobody need be asked
            for key in _OF_JUDGE:
                values.pop(key, None)
                given.pop(key, None)
        if spec.base_url is not None:
            _place_others(spec, values, given)
            given["base_url"] = spec.base_url
        options = merged_options(self._common.get("options"), of_env.get("options"))
        values["options"] = self._of_cell(options, play, values, given)
        embedder = given.get("embedder") or values.get("embedder") or _default("embedder")
        provider = split_model(spec.name)[0]
        given["option"] = [
            *(f"{provider}.{key}={value}" for key, value in spec.options),
            *(f"{key}={v}" for key, v in play.options if not _is_default(key, v, embedder)),
        ]
        return resolve(given, values)

    def _of_cell(
        self,
        options: dict[str, Any],
        play: Play,
        values: Mapping[str, Any],
        given: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The options of the file for whoever takes part in a cell."""
        for key, value in play.options:
            owner, _, bare = key.rpartition(".")
            of_owner = options.get(owner)
            own = of_owner.get(bare) if isinstance(of_owner, dict) else None
            if own is not None and str(own) != value:
                raise UsageError(f"this table sets {key} itself: leave it out of {self._file}")
        specs = [given.get(k) or values.get(k) for k in ("model", "memory_model", "judge")]
        names = {split_model(str(spec))[0] for spec in specs if spec}
        return {o: of for o, of in options.items() if o in {play.env, play.memory, *names}}

    def _checked(self, values: dict[str, Any], where: str) -> dict[str, Any]:
        """Settings without those that are no setting of a table; the agent's stand by themselves.

        A section `agent` would win over an agent's setting of `by_env` otherwise.
        """
        agent = values.get("agent")
        if isinstance(agent, dict):
            values = {**agent, **{k: v for k, v in values.items() if k != "agent"}}
        fields = {*RunConfig.model_fields, *AgentConfig.model_fields, *Execution.model_fields}
        for key in values:
            if key in _OWN:
                raise UsageError(
                    f"{where}{key} in {self._file}: a table sets that itself: leave it out"
                )
            if key not in fields:
                raise unknown_name(f"key in {self._file}", f"{where}{key}", fields)
        self._check_owners(values.get("options"))
        return values

    def _check_owners(self, options: Any) -> None:
        """An owner that no cell has is fine, for another table may have it; a typo is not."""
        if not isinstance(options, dict | None):
            raise UsageError(f"options in {self._file} must be a mapping of names to options")
        known = {plugin.name for group in _GROUPS for plugin in registry.plugins(group)}
        for owner in options or {}:
            name = registry.canonical("envs", str(owner))
            if name not in known and ":" not in name:  # a class of the user's own
                raise unknown_name(f"owner of options in {self._file}:", name, known)


def _place_others(spec: Spec, values: Mapping[str, Any], given: dict[str, Any]) -> None:
    """Where a model has an address of its own, its judge and writer stay where all are served."""
    common = given.get("base_url") or values.get("base_url")
    for role, url in _ELSEWHERE:
        name = given.get(role) or values.get(role)
        if not name or given.get(url) or values.get(url):
            continue
        if takes("models", split_model(str(name))[0], "base_url"):
            if common is None:
                raise UsageError(
                    f"{spec} is served at an address of its own: {url} (in --config) must say "
                    f"where {name} is"
                )
            given[url] = common


def merged_options(common: Any, of_env: Any) -> dict[str, Any]:
    """Options by owner, those of an environment's section over the others."""
    found: dict[str, Any] = {}
    for options in (common or {}, of_env or {}):
        for owner, of_owner in options.items():
            name = registry.canonical("envs", str(owner))
            both = isinstance(of_owner, dict) and isinstance(found.get(name), dict)
            found[name] = {**found[name], **of_owner} if both else of_owner
    return found


def _default(field: str) -> Any:
    return RunConfig.model_fields[field].default


def _is_default(key: str, value: str, embedder: str) -> bool:
    """Whether it is what a cell without the option has: then it is the same cell."""
    return key.endswith(".theta_f") and float(value) == make_embedder(embedder).theta_f
