"""The vLLM server behind `vllm:MODEL`: its command line, its key, its adapters."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
from pathlib import Path

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic import Json as JsonText

from ...errors import ModelError, UsageError
from ...records import stable_hash
from ..weights import Adapter, is_folder
from .process import Launch, ServerProcess, choose_port
from .supervisor import Supervisor

# Not `vllm serve`: that command looks for the distribution's name, which builds for other
# processors than CUDA's do not have.
_SERVER = "vllm.entrypoints.openai.api_server"
_OURS = (
    "--model", "--served-model-name", "--host", "--port", "--uds", "--api-key", "--root-path",
    "--config", "--revision", "--dtype", "--max-model-len", "--gpu-memory-utilization",
    "--tensor-parallel-size", "-tp", "--enable-lora", "--no-enable-lora", "--max-lora-rank",
    "--lora-modules", "--chat-template", "--enable-auto-tool-choice", "--tool-call-parser",
    "--disable-log-stats", "--disable-uvicorn-access-log", "--ssl-keyfile", "--ssl-certfile",
)  # fmt: skip
_MEMORY = re.compile(
    r"out of memory|OutOfMemory|less than desired [CG]PU memory|Cannot allocate memory|"
    r"killed by SIGKILL",
    re.IGNORECASE,
)
_NO_CACHE = re.compile(r"No available memory|KV cache is needed")  # the weights fit, no more does


class ServerSpec(BaseModel):
    """How a server is started: models whose specs are equal share one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str  # a directory, or a name on the hub
    revision: str = ""
    dtype: str = Field("auto", pattern=r"^[a-z0-9]+$")
    max_model_len: int | None = Field(None, ge=1)
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1)
    tensor_parallel: int = Field(1, ge=1)
    port: int | None = Field(None, ge=1, le=65535)
    startup_timeout_s: float = Field(1200.0, gt=0)
    args: JsonText[tuple[str, ...]] = ()
    chat_template: str = ""
    tool_parser: str = Field("", pattern=r"^[\w-]*$")
    python: str = ""
    runs_dir: str = "runs"
    rank: int | None = None  # of the largest adapter to load; None: none is

    @field_validator("args")
    @classmethod
    def _leaves_ours(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        for argument in args:
            flag = argument.partition("=")[0].replace("_", "-")
            if flag.startswith("--trust"):
                raise ValueError("no code that comes with a model is run")
            # the beginning of a flag stands for the whole of it
            if len(flag) > 1 and flag.startswith("-") and any(o.startswith(flag) for o in _OURS):
                raise ValueError(f"{argument!r} is not for it to set: it has an option, or is ours")
        return args

    @property
    def served(self) -> str:
        """What the server calls the model."""
        return Path(self.source).resolve().name if is_folder(self.source) else self.source

    def command(self, port: int) -> list[str]:
        """The command line; it holds no secret."""
        command = [self.python or sys.executable, "-m", _SERVER]
        given = {
            "--model": str(Path(self.source).resolve()) if is_folder(self.source) else self.source,
            "--served-model-name": self.served,
            "--host": "127.0.0.1",
            "--port": port,
            "--revision": self.revision,
            "--dtype": self.dtype,
            "--max-model-len": self.max_model_len,
            "--gpu-memory-utilization": self.gpu_memory_utilization,
            "--tensor-parallel-size": self.tensor_parallel,
            "--chat-template": str(Path(self.chat_template).resolve()) * bool(self.chat_template),
            "--tool-call-parser": self.tool_parser,
            "--max-lora-rank": self.rank,
        }
        command += [
            str(part) for pair in given.items() if pair[1] not in (None, "") for part in pair
        ]
        command += ["--disable-log-stats", "--disable-uvicorn-access-log"]
        command += ["--enable-lora"] if self.rank else []
        command += ["--enable-auto-tool-choice"] if self.tool_parser else []
        return [*command, *self.args]


class VllmServer:
    """A supervised server, those who share it, and what it is told beside their calls."""

    def __init__(self, spec: ServerSpec) -> None:
        self.spec = spec
        self.users: set[int] = set()
        self.key_variable = f"AGEMEM_VLLM_KEY_{secrets.token_hex(8).upper()}"
        self.supervisor = Supervisor(self._launch, spec.startup_timeout_s, _hint)
        self._loaded: tuple[ServerProcess, set[str]] | None = None  # adapters of a process
        self._loading = asyncio.Lock()

    def _launch(self) -> Launch:
        # The key is in the environment of this process because that is where models read theirs.
        key = os.environ.setdefault(self.key_variable, secrets.token_urlsafe(32))
        port = choose_port(self.spec.port)
        theirs = {name: v for name, v in os.environ.items() if not _is_secret(name)}
        theirs |= {"VLLM_API_KEY": key, "VLLM_NO_USAGE_STATS": "1"}
        theirs["PYTHONSAFEPATH"] = "1"  # nothing that lies about here is imported
        if self.spec.rank:
            theirs["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        name = re.sub(r"[^\w.-]+", "-", self.spec.served)
        name += f"-{stable_hash(self.spec.model_dump(mode='json'), 8)}-{os.getpid()}.log"
        log = Path(self.spec.runs_dir, ".cache", "vllm", name).absolute()
        url = f"http://127.0.0.1:{port}"
        what = f"vLLM with {self.spec.served}"
        return Launch(what, self.spec.command(port), theirs, url, key, log)

    async def load(self, process: ServerProcess, adapter: Adapter, name: str) -> None:
        """Load an adapter, where it is not yet.

        Raises:
            UsageError: if the server refuses it.
            ModelError: if it cannot be asked.
        """
        async with self._loading:
            if self._loaded is None or self._loaded[0] is not process:
                self._loaded = process, set()
            if name in self._loaded[1]:
                return
            body = {"lora_name": name, "lora_path": str(adapter.folder.resolve())}
            status, said = await _tell(process, "load_lora_adapter", body)
            # One call may have gone while the server loaded it: the name holds the adapter's hash.
            if status != 200 and "has already been loaded" not in said:
                raise UsageError(f"vLLM refused the adapter {adapter.folder}: {said}")
            self._loaded[1].add(name)

    async def unload(self, name: str) -> None:
        """Unload an adapter, where it is loaded.

        Raises:
            ModelError: if the server cannot be asked.
        """
        async with self._loading:
            if self._loaded is None or name not in self._loaded[1]:
                return
            process, names = self._loaded
            names.discard(name)
            if not process.ended.is_set():  # else it is gone with the server
                await _tell(process, "unload_lora_adapter", {"lora_name": name})

    async def close(self) -> None:
        """End the server, and forget its key."""
        await self.supervisor.close()
        os.environ.pop(self.key_variable, None)


async def _tell(process: ServerProcess, path: str, body: dict[str, str]) -> tuple[int, str]:
    """Tell a server something of its adapters; the status and the beginning of what it says.

    Raises:
        ModelError: if it cannot be asked, or failed.
    """
    try:
        url = f"{process.launch.url}/v1/{path}"
        async with process.launch.session() as session, session.post(url, json=body) as response:
            status, text = response.status, await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        kind = type(error).__name__
        raise ModelError(f"the adapter cannot be loaded: {kind}", "connection") from None
    said = " ".join(text.split())[:400]
    if status >= 500 and not await process.healthy():
        raise ModelError(f"the adapter cannot be loaded: {said}", "server")
    return status, said


def _is_secret(name: str) -> bool:
    """Whether a variable is a key that the server has no business with."""
    return name.upper().endswith("_API_KEY") or name.startswith("AGEMEM_VLLM_KEY_")


def _hint(problem: str) -> str:
    """What to do about a server's failure."""
    if _NO_CACHE.search(problem):
        return "raise -o gpu_memory_utilization, or lower -o max_model_len"
    if _MEMORY.search(problem):
        return "if memory was short: lower -o gpu_memory_utilization or -o max_model_len"
    if "No module named 'vllm'" in problem:
        return "that interpreter has no vLLM: pip install vllm there"
    return ""
