"""One harness plays the load benchmark's conversations in a process of its own.

    python load_players.py ours|inspect URL CONCURRENCY EPISODES FOLDER

prints what it cost as JSON. Its start-up (interpreter, imports) is not measured: CPU and wall
clock run from the call that starts the run to its return, worker processes included.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from load_env import ACTIONS, FIRST, GOAL, LoadEnv

TURNS = 10
Play = Callable[[], dict[str, Any]]


def ours(url: str, concurrency: int, episodes: int, folder: Path) -> Play:
    """This project's `run` command: native tool calls, environment in worker processes."""
    from agemem_eval.harness.commands import run_command

    env = "load_env:LoadEnv"
    given: dict[str, Any] = {
        "env": env,
        "memory": "none",
        "model": "openai:load",
        "option": [f"tasks={episodes}"],
        "transport": "native",
        "show_valid_actions": "on-request",
        "max_turns_per_step": TURNS + 1,  # the last turn of a step is told to be the last
        "runs_dir": folder,
        "name": "r",
        "base_url": url,
        "concurrency": concurrency,
        "as_json": True,
    }

    def play() -> dict[str, Any]:
        table = io.StringIO()
        with redirect_stdout(table):
            run_command(given)
        (row,) = json.loads(table.getvalue())["rows"]
        return {"scored": row["n_scored"], "success": row["success_rate"]}

    return play


def inspect(url: str, concurrency: int, episodes: int, folder: Path) -> Play:
    """Inspect AI: the plain `generate()` tool loop, logging as it does by default."""
    os.environ |= {"LOAD_BASE_URL": url, "LOAD_API_KEY": "none", "INSPECT_DISABLE_CTL": "1"}
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import get_model
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate, system_message, use_tools
    from inspect_ai.tool import tool

    from agemem_eval.harness.config import AgentConfig
    from agemem_eval.harness.prompts import VALID_ACTIONS, goal_message, system_prompt

    @tool
    def Valid_actions() -> Any:  # the name that the endpoint calls
        async def execute() -> str:
            """List the actions that the environment would accept right now."""
            return "; ".join(ACTIONS)

        return execute

    agent = AgentConfig(transport="native")
    prompt = system_prompt(LoadEnv.spec.instructions, "", (VALID_ACTIONS,), agent)
    samples = [Sample(f"{goal_message(GOAL)}\n{FIRST}", target="done") for _ in range(episodes)]
    task = Task(
        MemoryDataset(samples),
        solver=[system_message(prompt), use_tools(Valid_actions()), generate()],
        scorer=includes(),
    )
    model = get_model("openai-api/load/load")

    def play() -> dict[str, Any]:
        # Faster than the defaults: no display, no live view of the log, no copies of raw calls.
        (log,) = eval(
            task,
            model=model,
            display="none",
            log_dir=str(folder),
            log_realtime=False,
            log_model_api=False,
            score_display=False,
            ctl_server=False,
            temperature=0.0,
            max_tokens=1024,
            max_samples=concurrency,
            max_connections=concurrency,
        )
        assert log.status == "success", log.error
        assert log.results is not None
        metric = log.results.scores[0].metrics["accuracy"].value
        return {"scored": log.results.completed_samples, "success": metric}

    return play


def cpu() -> tuple[float, float]:
    """CPU seconds of this process so far, and of its children that have ended."""
    own, others = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return own.ru_utime + own.ru_stime, others.ru_utime + others.ru_stime


def main() -> None:
    """Play, and print what it cost."""
    name, url, concurrency, episodes, folder = sys.argv[1:]
    make = {"ours": ours, "inspect": inspect}[name]
    play = make(url, int(concurrency), int(episodes), Path(folder))
    before, clock = cpu(), time.perf_counter()
    found = play()
    wall, after = time.perf_counter() - clock, cpu()
    found |= {
        "wall_s": wall,
        "cpu_s": after[0] - before[0],
        "children_cpu_s": after[1] - before[1],
        "startup_cpu_s": before[0],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
