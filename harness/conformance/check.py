"""`agemem-eval check`: the suites, run on what somebody else has written."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from .. import registry
from ..errors import UsageError, unknown_name
from ..plan import make_embedder
from ..types import EnvSpec
from .bench import Bench
from .environments import EnvironmentConformance
from .memories import MemoryConformance
from .suite import Suite, wait


def suite_for(target: str, options: Mapping[str, str]) -> Suite:
    """The suite that a registered name, or the class at `package.module:Class`, has to pass.

    Raises:
        UsageError: for an unknown name or option, or a class that is neither an environment nor
            a memory.
        MissingExtraError: where a prerequisite is missing, since nothing could be checked then.
    """
    target = registry.canonical("envs", target)
    names = {group: [p.name for p in registry.plugins(group)] for group in _GROUPS}
    group = next((group for group in _GROUPS if target in names[group]), None)
    if group is None and ":" not in target:
        raise unknown_name("environment or memory", target, [*names["envs"], *names["memories"]])
    found = registry.load(group or "envs", target)
    about = {"target": target, "options": dict(options)}
    # Each is built once before: what is missing is one error then, not one a check.
    if isinstance(getattr(found, "spec", None), EnvSpec):
        env_suite: EnvironmentConformance = type("Checked", (EnvironmentConformance,), about)()
        env = env_suite.make()
        with contextlib.suppress(Exception):  # a check of the suite will tell
            env.close()
        return env_suite
    if all(hasattr(found, name) for name in ("begin", "call", "snapshot", "entries")):
        suite: MemoryConformance = type("Checked", (MemoryConformance,), about)()
        bench = Bench(suite.make, suite.model(), make_embedder("hashing"))
        with contextlib.suppress(Exception):
            wait(bench.memory.close())
        return suite
    raise UsageError(
        f"{target} is neither an environment (a class with a `spec`) nor a memory (a class "
        "with `begin`, `call`, `entries` and `snapshot`)"
    )


_GROUPS: tuple[registry.Group, ...] = ("envs", "memories")
