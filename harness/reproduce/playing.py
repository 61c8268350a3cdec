"""Runs of one cell each, played one after the other; and what they will take, told before."""

from __future__ import annotations

from collections.abc import Sequence

from ..commands import STOPPED, CutOffError, play
from ..errors import AgememError
from ..observe.text import escape, say
from ..runner import RunResult
from ..store import RunStore
from .jobs import Job

# Of an endpoint that answers nobody: whatever else asks there will fare alike.
_DEAD = frozenset({"connection", "tls", "refused", "rate_limit", "server", "endpoint"})
_INCOMPLETE = "{scored} of {planned} episodes scored; the same command resumes"


def play_jobs(jobs: Sequence[Job]) -> int:
    """Play what is owed, a run after the other; one that fails does not keep others from theirs."""
    code = 0
    dead: dict[tuple[str, str | None], str] = {}  # who answered nobody, and in which run
    for number, job in enumerate(jobs, 1):
        asked = (job.config.model, job.execution.base_url)
        if asked in dead:
            job.problem = f"not played: {job.config.model} answered nobody in {dead[asked]}"
            code = 1
            continue
        result = _play_one(job, f"run {number} of {len(jobs)}, {job.name}")
        if isinstance(result, RunResult):
            if result.stopped in STOPPED and not (result.complete and number == len(jobs)):
                return STOPPED[result.stopped]
            if _nobody_answered(result):
                dead[asked] = job.name
        elif result is not None:
            return result
        code = 1 if job.problem is not None else code
    return code


def _play_one(job: Job, about: str) -> RunResult | int | None:
    """Play a run and note what became of it.

    Returns:
        What came of it; None where there was nothing to play, or it failed as a whole; the exit
        code where it was cut off.
    """
    result: RunResult | None = None
    try:
        if job.scored() == job.planned:
            say(f"{about}: there already")
            return None
        say(about)
        result = play(job.config, job.execution)
    except CutOffError as error:
        job.problem = "stopped; the same command resumes"
        return error.exit_code
    except AgememError as error:
        job.problem = str(error)
    else:
        if result.complete:
            return result
        job.problem = _INCOMPLETE.format(scored=result.scored, planned=result.planned)
        if result.stopped is not None:
            job.problem += f" ({result.stopped})"
    say(f"agemem-eval: {job.name}: {escape(job.problem)}")
    return result


def _nobody_answered(result: RunResult) -> bool:
    """Whether a run ended since its endpoint served nothing at all."""
    if result.scored or result.stopped is None or result.stopped in STOPPED:
        return False
    faults = {episode.fault for episode in RunStore.open(result.directory).records()}
    return bool(faults) and faults <= _DEAD


def told(jobs: Sequence[Job], n_cells: int) -> list[str]:
    """What would be played, and how much that is at most.

    Args:
        jobs: Each run once.
        n_cells: How many cells they are for.
    """
    lines: list[str] = []
    owed, steps, calls, prompt, output = 0, 0, 0, 0, 0
    for job in jobs:
        key, scored = job.cell.base, job.scored()
        left = job.planned - scored
        lines.append(
            f"{job.name}: {key.env} {key.split}, {key.memory}, {key.model}: {job.planned} episodes "
            f"({len(job.cell.tasks)} of {job.n_split} tasks), {scored} scored already"
        )
        agent, own = job.config.agent, job.steps * left // job.planned
        owed, steps, calls = owed + left, steps + own, calls + own * agent.max_turns_per_step
        prompt += own * agent.max_turns_per_step * agent.context_tokens
        output += own * agent.max_turns_per_step * agent.max_tokens
    lines.append(f"{len(jobs)} runs for {n_cells} cells, {owed} episodes to play")
    lines.append(
        f"at most {steps:,} steps, {calls:,} calls of the agent, {prompt:,} prompt and {output:,} "
        "reply tokens: what the caps allow, known before; most episodes end far earlier"
    )
    lines.append(
        "calls of memories and of a judge come on top; how many is not known before: "
        "try --episodes 5 and multiply"
    )
    return lines
