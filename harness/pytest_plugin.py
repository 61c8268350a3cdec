"""The pytest plug-in: `agemem_eval`, a fixture that plays a small cell and asserts no regression.

It is found by every pytest where agemem-eval is installed, so it imports nothing but pytest
before the fixture is used.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .compare.fixture import Evaluations

_UPDATED = pytest.StashKey[list[str]]()  # baselines written, in this process and in xdist's workers
_TOLD = "agemem_eval_baselines"  # the key under which a worker tells its own


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("agemem-eval", "evaluation of agent memories")
    group.addoption(
        "--agemem-update-baselines",
        action="store_true",
        help="Pin the runs of these tests as their baselines instead of comparing with them.",
    )
    group.addoption(
        "--agemem-runs-dir",
        metavar="DIR",
        help="Keep the runs below this folder, each session's apart, to look at them later.",
    )
    parser.addini(
        "agemem_baselines",
        "Folder of pinned baselines, from the rootdir [results/baselines].",
        default="results/baselines",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Nothing was written yet."""
    config.stash[_UPDATED] = []


@pytest.fixture(scope="session")
def agemem_eval(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Evaluations:
    """Plays small cells: `agemem_eval.run(env="alfworld", memory="my_memory:MyMemory")`."""
    from .compare.fixture import Evaluations

    config = request.config
    kept = config.getoption("--agemem-runs-dir")
    return Evaluations(
        runs_dir=_fresh(Path(kept)) if kept else tmp_path_factory.mktemp("agemem-eval"),
        root=config.rootpath,
        baselines=config.rootpath / config.getini("agemem_baselines"),
        update=config.getoption("--agemem-update-baselines"),
        updated=config.stash[_UPDATED],
    )


def _fresh(folder: Path) -> Path:
    """A new folder in it: a run of yesterday's code must not be taken for one of today's."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="session-", dir=folder.absolute()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that asked xdist for this one."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_TOLD] = session.config.stash[_UPDATED]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear what a worker of xdist has written."""
    told = getattr(node, "workeroutput", {}).get(_TOLD, [])
    node.config.stash[_UPDATED].extend(told)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which baselines were written: they are to be looked at and committed."""
    updated = config.stash[_UPDATED]
    for path in sorted(set(updated)):
        terminalreporter.write_line(f"agemem-eval: pinned {path}")
