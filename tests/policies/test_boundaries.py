"""What training must not do: play past the agent loop, or be needed where nothing is trained."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import agemem_eval

ROOT = Path(agemem_eval.__file__).parent
POLICIES = sorted((ROOT / "policies").rglob("*.py"))
HEAVY = ("torch", "transformers", "peft", "accelerate", "tensorboard")
# Optimizers are stepped and models' own `generate` is what a served model's class is made of.
OPTIMIZERS = {"_inner", "_optimizer", "_zero", "optimizer", "schedule"}


def calls(path):
    """The attribute calls of a file: the name called, and what it is called on."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, ast.unparse(node.func.value), node.lineno


def plays_past_the_loop(path):
    """Calls of an environment's `step` or of a model's `generate`."""
    for name, on, line in calls(path):
        owner = on.rpartition(".")[2]
        if name == "step" and owner not in OPTIMIZERS:
            yield f"{path.name}:{line}: {on}.{name}"
        if name == "generate" and not delegates(path, line):
            yield f"{path.name}:{line}: {on}.{name}"


def delegates(path, line):
    """Whether a call stands in a model's own `generate`: a wrapper passes requests on."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "generate":
            last = node.end_lineno or node.lineno
            if node.lineno <= line <= last:
                return True
    return False


def test_policies_step_no_environment_and_ask_no_model_themselves():
    assert POLICIES
    assert [found for path in POLICIES for found in plays_past_the_loop(path)] == []


def test_the_check_sees_what_it_looks_for(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("async def f(env, model):\n    await env.step('a')\n    model.generate(1)\n")
    assert len(list(plays_past_the_loop(bad))) == 2


def imports(path):
    """Modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_the_harness_does_not_import_policies():
    for path in (ROOT / "harness").rglob("*.py"):
        for name in imports(path):
            assert "policies" not in name.split("."), f"{path}: {name}"


@pytest.mark.parametrize("module", [
    "recipe", "trajectory", "rewards", "rollout", "command", "preflight", "checkpoints", "collapse",
])  # fmt: skip
def test_what_comes_before_training_imports_nothing_heavy(module):
    code = (
        f"import sys, agemem_eval.policies.{module}\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_nothing_is_pickled_and_no_text_is_run(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in ("eval", "exec", "torch.load", "torch.save", "pickle.load"), name
    assert "pickle" not in set(imports(path))
