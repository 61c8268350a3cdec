"""The few errors of the project, each one line that says what is wrong and what to do.

Two families: what the *user* can mend (`UsageError`, `DataError`, `MissingExtraError`), shown as
one line with an exit code; and what the *infrastructure* did (`InfraError`), which ends an episode
as `infra_error` and is never scored.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator


class AgememError(Exception):
    """Base of every error this project raises on purpose; `str(error)` is one line."""

    exit_code = 2


class UsageError(AgememError):
    """Something the user wrote is wrong: an unknown name, option or value."""


class ConfigMismatchError(UsageError):
    """A run directory was made with another configuration."""


class DataError(AgememError):
    """A data file is missing, broken or not what it should be; the message names the file."""


class MissingExtraError(AgememError):
    """A prerequisite is not installed; the message holds the pip command."""

    exit_code = 3

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed: pip install 'agemem-eval[{extra}]'")
        self.extra = extra


class InfraError(AgememError):
    """The infrastructure failed, not the agent: the episode is owed again, never scored."""

    exit_code = 1
    kind = "infrastructure"  # what failed, in one word; counted and shown


class ModelError(InfraError):
    """The model endpoint failed for good (after its retries).

    Args:
        message: One line.
        kind: What failed, where that is known: `rate_limit`, `timeout`, `connection`, `tls`,
            `malformed`, `server` or `refused`.
    """

    kind = "endpoint"

    def __init__(self, message: str = "", kind: str | None = None) -> None:
        super().__init__(message)
        if kind is not None:
            self.kind = kind


class WorkerError(InfraError):
    """An environment worker died, broke its protocol or raised."""

    kind = "worker"


class EpisodeTimeout(InfraError):
    """An environment or an episode took longer than it may."""

    kind = "timeout"


class MemoryBackendError(InfraError):
    """A memory backend raised: a bug of the backend, so the episode is not scored."""

    kind = "memory"


@contextlib.contextmanager
def backend_errors(what: str) -> Iterator[None]:
    """Whatever a memory raises by mistake is a `MemoryBackendError`: its failure, never a score."""
    try:
        yield
    except AgememError:
        raise
    except Exception as error:  # a third party's backend may raise anything
        raise MemoryBackendError(
            f"the memory failed in {what}: {type(error).__name__}: {error}"
        ) from error


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """A `UsageError` for an unknown name that proposes the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")
