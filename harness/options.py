"""From the command line and a YAML file to a checked configuration.

Options of environments, memories and models (`-o key=value`) are the keyword parameters of their
constructors, so a plug-in declares its options by writing them.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from . import registry
from .config import AgentConfig, Execution, RunConfig, make_config, split_model
from .errors import DataError, UsageError, unknown_name
from .yaml_files import read_yaml

PLACES = (
    "data",
    "base_url",
    "runs_dir",
)  # constructor options that `Execution` holds, not the identity


def resolve(
    given: dict[str, Any], values: dict[str, Any] | None = None
) -> tuple[RunConfig, Execution]:
    """The configuration from command-line values (those given) over those of `--config`.

    Under both are the settings that the model was trained with, if it has any.

    Args:
        given: From the command line.
        values: What `read_settings` gave, where that was read already.

    Raises:
        UsageError: for an unknown key, name or value; one line with the nearest known one.
        DataError: for a configuration file that cannot be read.
    """
    given = dict(given)
    file = given.pop("config", None)
    values = dict(values or {}) if file is None else read_settings(file)
    pairs = given.pop("option", None) or []
    agent = {
        **_take(values, AgentConfig.model_fields),
        **_section(values, "agent"),
        **_take(given, AgentConfig.model_fields),
    }
    execution = {**_take(values, Execution.model_fields), **_take(given, Execution.model_fields)}
    for plural, singular in (("envs", "env"), ("memories", "memory")):
        for source in (values, given):
            if singular in source:
                source[plural] = source.pop(singular)
        if isinstance(names := given.get(plural, values.get(plural)), str):
            values[plural] = tuple(part.strip() for part in names.split(",") if part.strip())
            given.pop(plural, None)
    if isinstance(seeds := given.get("order_seeds", values.get("order_seeds")), str):
        given["order_seeds"] = _numbers(seeds)
    if isinstance(of_names := values.get("options"), dict):
        values["options"] = {
            registry.canonical("envs", name): _strings(options)
            for name, options in of_names.items()
        }
    merged = {**values, **given}
    if isinstance(envs := merged.get("envs"), list | tuple):
        merged["envs"] = tuple(registry.canonical("envs", str(env)) for env in envs)
    for plural, flag in (("envs", "--env"), ("memories", "--memory")):
        if not merged.get(plural):
            raise UsageError(f"{flag} is missing; see: agemem-eval list {plural}")
    config = make_config(_with_model(merged, agent))
    options = _route(config, pairs)
    free = _free_options(config, options)
    execution = {**execution, "model_options": {**execution.get("model_options", {}), **free}}
    options = {name: values for name, values in options.items() if values}
    return config.model_copy(update={"options": options}), _execution(execution)


def _with_model(values: dict[str, Any], agent: dict[str, Any]) -> dict[str, Any]:
    """The values with a model, and with the agent's settings over those the model comes with.

    A model's class says by `agent_settings()` what it was trained with.
    """
    if "model" not in values:
        from .models.packaged import default_model  # not cheap, and few need it

        values["model"] = default_model()
    said: dict[str, Any] = {}
    if isinstance(values["model"], str):
        factory = registry.load("models", split_model(values["model"])[0])
        said = getattr(factory, "agent_settings", dict)()
    return {**values, "agent": {**said, **agent}}


def _free_options(config: RunConfig, options: dict[str, dict[str, str]]) -> dict[str, str]:
    """Take out the options of models that change no number, such as timeouts."""
    taken: dict[str, str] = {}
    for name in config.model_names:
        of_model = options.get(name, {})
        free = getattr(registry.load("models", name), "execution_options", ())
        taken |= {key: of_model.pop(key) for key in list(of_model) if key in free}
    return taken


def accepted(group: registry.Group, name: str) -> dict[str, Any]:
    """The options that a registered name's constructor takes, with their defaults."""
    skip = {"self", "services", "name", "allow_short", *PLACES}
    parameters = inspect.signature(registry.load(group, name)).parameters.values()
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {p.name: p.default for p in parameters if p.kind in kinds and p.name not in skip}


def _of_env(name: str, given: dict[str, str], pairs: list[str]) -> dict[str, Any]:
    """The options of an environment; one that wraps another takes that one's, too.

    An environment says by `wraps` which of its options names the other.
    """
    own = accepted("envs", name)
    option = getattr(registry.load("envs", name), "wraps", None)
    if option is None:
        return own
    named = {**given, **dict(map(read_pair, pairs))}
    inner = named.get(f"{name}.{option}", named.get(option))
    return own if not inner else {**accepted("envs", registry.canonical("envs", inner)), **own}


def check_options(config: RunConfig) -> None:
    """See that all options belong to something that the configuration names.

    Raises:
        UsageError: if one does not, naming the nearest.
    """
    _route(config, [])


def _route(config: RunConfig, pairs: list[str]) -> dict[str, dict[str, str]]:
    """Give each option to the one it belongs to; also checks those from the file."""
    owners = {name: _of_env(name, config.options.get(name, {}), pairs) for name in config.envs}
    owners |= {name: accepted("memories", name) for name in config.memories}
    owners |= {name: accepted("models", name) for name in config.model_names}
    routed: dict[str, dict[str, str]] = {}
    for name, options in config.options.items():
        if name not in owners:
            raise unknown_name("owner of options", name, owners)
        for key, value in options.items():
            _check(key, name, owners[name])
            routed.setdefault(name, {})[key] = value
    for key, value in map(read_pair, pairs):
        owner, dot, bare = key.rpartition(".")
        owner = registry.canonical("envs", owner)
        if dot:
            if owner not in owners:
                raise unknown_name("owner of options", owner, owners)
            _check(bare, owner, owners[owner])
            routed.setdefault(owner, {})[bare] = value
            continue
        takers = [name for name, keys in owners.items() if key in keys]
        if not takers:
            raise unknown_name("option", key, {k for keys in owners.values() for k in keys})
        for taker in takers:
            routed.setdefault(taker, {})[key] = value
    # A default that was written out changes nothing, so it is no part of the identity.
    return {
        name: {key: value for key, value in given.items() if value != owners[name][key]}
        for name, given in routed.items()
    }


def read_pair(pair: str) -> tuple[str, str]:
    """Key and value of `-o key=value`.

    Raises:
        UsageError: if it is not of that form.
    """
    key, equals, value = pair.partition("=")
    if not equals or not key:
        raise UsageError(f"-o {pair!r} is not of the form key=value")
    return key, value


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise UsageError(f"--order-seeds takes whole numbers, e.g. 0,1,2 (given: {text!r})")
    return tuple(map(int, parts))


def _check(key: str, owner: str, keys: dict[str, Any]) -> None:
    if key not in keys:
        raise unknown_name(f"option of {owner}", key, keys)


def read_settings(path: Path, *more: str) -> dict[str, Any]:
    """The settings of a YAML file, by their keys.

    Args:
        path: The file.
        more: Keys that a command knows beside those of `run`.

    Raises:
        DataError: for a file that cannot be read, or is no mapping.
        UsageError: for an unknown key; it names the nearest.
    """
    values = read_yaml(path, "the configuration")
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise DataError(f"the configuration {path} must be a mapping of keys to values")
    fields = (RunConfig.model_fields, AgentConfig.model_fields, Execution.model_fields)
    known = {"env", "memory", *more, *(key for group in fields for key in group)}
    for key in values:
        if key not in known:
            raise unknown_name(f"key in {path}", key, known)
    return values


def _section(values: dict[str, Any], key: str) -> dict[str, Any]:
    section = values.pop(key, None) or {}
    if not isinstance(section, dict):
        raise UsageError(f"configuration: {key} must be a mapping (given: {section!r})")
    return section


def _strings(options: Any) -> Any:
    """Options are strings, as `-o key=value` gives them; YAML reads `5` and `true` as values."""
    if not isinstance(options, dict):
        return options
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in options.items()}


def _take(values: dict[str, Any], fields: Any) -> dict[str, Any]:
    """Move the values that belong to these fields out of a dict."""
    return {key: values.pop(key) for key in list(values) if key in fields}


def _execution(values: dict[str, Any]) -> Execution:
    try:
        return Execution.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']} (given: {first['input']!r})"
        ) from error
