"""`vllm:MODEL`: starts a vLLM server on this machine, asks it, and ends it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import BaseModel, Field

from ...errors import DataError, MissingExtraError, UsageError
from ...types import Completion, ModelInfo, Request
from .. import ModelBase
from ..openai import OpenAIModel, checked_options
from ..weights import Adapter, check_base, file_hash, is_folder, model_hash, read_adapter
from .process import ServerProcess
from .server import ServerSpec, VllmServer

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM takes as --max-lora-rank


class _Later(BaseModel):
    max_lora_rank: int | None = Field(None, ge=1, le=_RANKS[-1])


_servers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[ServerSpec, VllmServer]]
_servers = WeakKeyDictionary()


class VllmModel(ModelBase):
    """A model that a vLLM server on this machine serves, for as long as the run asks it.

    The server starts with the first call, so a run that is planned, or whose replies are all
    cached, starts none. Agent, memory and judge of one spec share it. One that dies is started
    again; the calls in flight fail as the infrastructure's. It listens on this machine alone, to
    holders of a random key, and ends with this process, however that ends.

    The identity is what the weights are and how they are asked: not where they lie, nor what
    machine serves them.

    Args:
        name: A directory with weights in safetensors, or a name on the hub.
        lora: The directory of a LoRA checkpoint (PEFT) to load.
        max_lora_rank: Of adapters that are to be taken later (`take`), where there are any.
        revision: Of a model on the hub.
        dtype: As vLLM takes it; `auto` is the weights' own.
        max_model_len: The longest prompt and completion, in tokens.
        gpu_memory_utilization: Share of the memory to take; on a CPU, of the machine's.
        tensor_parallel: GPUs to split the model over.
        port: Of the server; a free one if left out.
        startup_timeout_s: How long a start may take, download included.
        args: A JSON list of further arguments of vLLM's server.
        chat_template: A file to use instead of the model's own template.
        tool_parser: vLLM's name of the model's tool-call format, for the native transport.
        python: An interpreter that has vLLM, where this one does not.
        tokenizer: A `tokenizer.json` to count with; the directory's own, if it has one.
        card: A JSON file that says what the weights are: `{"training": "agemem" | "none"}`;
            without it `card.json` of the adapter, or of the model where there is none.
        seed: Sent where a request has none of its own.
        extra_body: A JSON object of further fields of each request.
        timeout_s: Of one try of a call.
        max_retries: Further tries of a call after one that failed and may pass.
        max_in_flight: The most calls at once, of all who share the server; likewise the next two.
        rpm: The most requests a minute.
        tpm: The most tokens a minute.
        runs_dir: Where runs are; the server's log is in `.cache/vllm` there.

    Raises:
        UsageError: for an option's bad value, a missing directory, an adapter of another base.
        DataError: for unreadable weights, adapter, card or tokenizer.
        MissingExtraError: without vLLM.
    """

    cacheable = True
    execution_options = (
        "max_model_len", "gpu_memory_utilization", "tensor_parallel", "port", "startup_timeout_s",
        "python", "timeout_s", "max_retries", "max_in_flight", "rpm", "tpm",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        lora: str = "",
        max_lora_rank: str | int | None = None,
        revision: str = "",
        dtype: str = "auto",
        max_model_len: str | int | None = None,
        gpu_memory_utilization: str | float | None = None,
        tensor_parallel: str | int = 1,
        port: str | int | None = None,
        startup_timeout_s: str | float = 1200.0,
        args: str = "[]",
        chat_template: str = "",
        tool_parser: str = "",
        python: str = "",
        tokenizer: str = "",
        card: str = "",
        seed: str | int | None = None,
        extra_body: str = "{}",
        timeout_s: str | float = 300.0,
        max_retries: str | int = 5,
        max_in_flight: str | int | None = None,
        rpm: str | float | None = None,
        tpm: str | float | None = None,
        runs_dir: str = "runs",
    ) -> None:
        if not name:
            raise UsageError("the model 'vllm' needs a name: vllm:MODEL, of the hub or a directory")
        folder = Path(name).expanduser() if is_folder(name) else None
        if folder is not None and revision:
            raise UsageError("option revision is for models on the hub, and this is a directory")
        self._adapter = read_adapter(Path(lora).expanduser()) if lora else None
        if self._adapter is not None:
            check_base(self._adapter, name)
        later = checked_options(_Later, max_lora_rank=max_lora_rank).max_lora_rank
        self._spec = checked_options(
            ServerSpec,
            source=str(folder or name),
            revision=revision,
            dtype=dtype,
            max_model_len=max_model_len,
            gpu_memory_utilization=gpu_memory_utilization,
            tensor_parallel=tensor_parallel,
            port=port,
            startup_timeout_s=startup_timeout_s,
            args=args,
            chat_template=chat_template,
            tool_parser=tool_parser,
            python=python,
            runs_dir=runs_dir,
            rank=_rank(self._adapter, later),
        )
        _require_vllm(python)
        self._calling: dict[str, Any] = {
            "seed": seed,
            "extra_body": extra_body,
            "timeout_s": timeout_s,
            "max_retries": max_retries,
            "max_in_flight": max_in_flight,
            "rpm": rpm,
            "tpm": tpm,
            "token_ids": True,
            "tokenizer": tokenizer or _within(folder, "tokenizer.json"),
            "card": card or _within(Path(lora).expanduser() if lora else folder, "card.json"),
        }
        # Checks the options of calls and counts tokens; it is never asked, since no server runs.
        self._unasked = OpenAIModel(
            "m", base_url="http://127.0.0.1:1/v1", api_key_env="AGEMEM_VLLM_KEY", **self._calling
        )
        self._folder = folder
        self.info = self._about()
        self._endpoint: tuple[ServerProcess, str, OpenAIModel] | None = None
        self._server: VllmServer | None = None

    def _about(self) -> ModelInfo:
        spec, adapter, calls = self._spec, self._adapter, self._unasked.info
        folder = self._folder
        template = spec.chat_template
        identity = {
            "provider": "vllm",
            "model": spec.source if folder is None else model_hash(folder),
            "revision": spec.revision,
            "dtype": spec.dtype,
            "lora": adapter.hash if adapter is not None else None,
            "args": list(spec.args),
            "chat_template": file_hash(Path(template)) if template else None,
            "tool_parser": spec.tool_parser,
            **{key: calls.identity[key] for key in ("decoding", "tokens", "card")},
        }
        label = f"vllm:{spec.served}" + (f"+{adapter.folder.resolve().name}" if adapter else "")
        return ModelInfo(label, training=calls.training, identity=identity)

    async def generate(self, request: Request) -> Completion:
        """Ask the server; the first call starts it.

        Raises:
            UsageError: if the server does not start, or cannot do what is asked.
            ModelError: when the call failed for good, or the server died.
        """
        if request.tools and not self._spec.tool_parser and not self._forces_calls():
            raise UsageError(
                "native tool calls need -o tool_parser=NAME, vLLM's name of the model's format, "
                "e.g. hermes; or use --transport prompt"
            )
        server = self._join()
        process = await server.supervisor.process()
        return await server.supervisor.watch(process, self._ask(server, process, request))

    async def take(self, lora: Path) -> None:
        """Answer with another adapter from the next call on; no call may be under way.

        The one before is unloaded. The folder must stay as it is while it is in use: a server that
        dies and is started again reads it anew.

        Raises:
            UsageError: for an adapter of another base, or of a rank beyond `max_lora_rank`.
            DataError: if it cannot be read.
            ModelError: if the server cannot be asked.
        """
        adapter = read_adapter(lora)
        check_base(adapter, self._spec.source)
        if adapter.rank > (self._spec.rank or 0):
            raise UsageError(
                f"the adapter {lora} has rank {adapter.rank}: the server must be started for it, "
                f"with -o max_lora_rank={adapter.rank}"
            )
        before, self._adapter = self._asked_as(), adapter
        self.info = self._about()
        if self._server is not None and before not in (self._spec.served, self._asked_as()):
            await self._server.unload(before)

    def count_tokens(self, text: str) -> int:
        """Tokens by the model's tokenizer, or estimated where it is not at hand."""
        return self._unasked.count_tokens(text)

    async def close(self) -> None:
        """Close the connections; the last of those who share the server ends it."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint[2].close()
        server, self._server = self._server, None
        if server is None:
            return
        server.users.discard(id(self))
        if not server.users:
            _servers.get(asyncio.get_running_loop(), {}).pop(self._spec, None)
            await server.close()

    # --- inside -----------------------------------------------------------------------------

    def _join(self) -> VllmServer:
        if self._server is None:
            mine = _servers.setdefault(asyncio.get_running_loop(), {})
            self._server = mine.setdefault(self._spec, VllmServer(self._spec))
            self._server.users.add(id(self))
        return self._server

    async def _ask(
        self, server: VllmServer, process: ServerProcess, request: Request
    ) -> Completion:
        name, old = self._asked_as(), self._endpoint
        if self._adapter is not None:
            await server.load(process, self._adapter, name)
        if old is not None and old[:2] == (process, name):
            return await old[2].generate(request)
        url, key = f"{process.launch.url}/v1", server.key_variable
        model = OpenAIModel(name, base_url=url, api_key_env=key, **self._calling)
        self._endpoint = process, name, model
        if old is not None:
            await old[2].close()
        return await model.generate(request)

    def _asked_as(self) -> str:
        """The server's name for the model with its adapter."""
        served, adapter = self._spec.served, self._adapter
        return served if adapter is None else f"{served}-{adapter.hash}"

    def _forces_calls(self) -> bool:
        identity = self._unasked.info.identity
        return "tool_choice" in identity["decoding"]["extra_body"]


def _require_vllm(python: str) -> None:
    if python:
        if not (Path(python).is_file() and os.access(python, os.X_OK)):
            raise UsageError(f"option python: {python} is no interpreter")
    elif importlib.util.find_spec("vllm") is None:
        raise MissingExtraError(
            "vLLM (one that runs already is reached by openai:NAME with --base-url, one in "
            "another environment by -o python=PATH)",
            "vllm",
        )


def _rank(adapter: Adapter | None, later: int | None) -> int | None:
    """The least of the ranks that vLLM can be started for and that all adapters fit in."""
    if adapter is None and later is None:
        return None
    most = max(adapter.rank if adapter is not None else 0, later or 0)
    fitting = [rank for rank in _RANKS if rank >= most]
    if fitting:
        return fitting[0]
    what = f"the adapter {adapter.folder} has" if adapter is not None else "option max_lora_rank:"
    raise DataError(f"{what} rank {most}, more than vLLM takes")


def _within(folder: Path | None, name: str) -> str:
    """The path of a file of a directory; empty if it has none."""
    return str(folder / name) if folder is not None and (folder / name).is_file() else ""
