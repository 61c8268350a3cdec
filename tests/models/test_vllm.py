"""How `vllm:MODEL` supervises its server, shown with a stand-in; tests/vllm has the real one."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from processes import alive, come_true, wait_for
from weights_fakes import write_adapter, write_model

from agemem_eval.harness import registry
from agemem_eval.harness.errors import ModelError, UsageError
from agemem_eval.harness.models import make_model
from agemem_eval.harness.models.vllm import VllmModel
from agemem_eval.harness.models.vllm.supervisor import MOST_DEATHS, ServerGivenUp
from agemem_eval.harness.types import ChatMessage, Request, Sampling

from .fakes import MEMORY_TOOLS, request

FAKE = Path(__file__).parent.parent / "support" / "fake_vllm"


@pytest.fixture(autouse=True)
def fake_vllm(monkeypatch):
    """The stand-in is what `import vllm` finds, here and in the server's process."""
    monkeypatch.syspath_prepend(str(FAKE))
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-key-of-a-test")

    def wish(**values) -> None:
        monkeypatch.setenv("FAKE_VLLM", json.dumps(values))

    wish()
    return wish


@pytest.fixture
def model_of(tmp_path):
    """Makes models of one directory, and closes them at the end."""
    folder = write_model(tmp_path / "tiny")
    made: list[VllmModel] = []

    def make(**options) -> VllmModel:
        given = {"runs_dir": str(tmp_path / "runs"), "max_retries": 0, **options}
        made.append(VllmModel(str(folder), **given))
        return made[-1]

    yield make
    assert all(model._server is None for model in made), "a test left a server open"


def said(completion) -> dict:
    return json.loads(completion.text)


def log_of(tmp_path: Path) -> str:
    logs = list((tmp_path / "runs/.cache/vllm").glob("*.log"))
    assert len(logs) <= 1
    return logs[0].read_text() if logs else ""


def processes(tmp_path: Path) -> list[int]:
    """Server and engine of each start, from what the stand-in prints."""
    lines = [line.split() for line in log_of(tmp_path).splitlines() if line.startswith("engine")]
    return [int(line[n]) for line in lines for n in (1, 3)]


# --- one server, from the first call to the last close -------------------------------------------


async def test_the_server_starts_with_the_first_call_and_ends_with_the_model(model_of, tmp_path):
    model = model_of()
    assert not (tmp_path / "runs").exists()
    reply = await model.generate(request())
    assert said(reply)["model"] == "tiny"
    pids = processes(tmp_path)
    assert len(pids) == 2
    assert all(map(alive, pids))
    await model.close()
    assert not any(map(alive, pids))


async def test_all_models_of_one_spec_share_a_server_and_the_last_ends_it(model_of, tmp_path):
    agent, judge = model_of(), model_of(seed=7)
    replies = await asyncio.gather(*(m.generate(request()) for m in (agent, judge, agent)))
    assert len({said(reply)["pid"] for reply in replies}) == 1
    await agent.close()
    assert said(await judge.generate(request()))["pid"] == said(replies[0])["pid"]
    await judge.close()
    assert not any(map(alive, processes(tmp_path)))


async def test_a_model_may_be_used_again_after_its_close(model_of):
    model = model_of()
    first = said(await model.generate(request()))["pid"]
    await model.close()
    assert said(await model.generate(request()))["pid"] != first
    await model.close()


async def test_a_server_that_ignores_sigterm_is_killed_with_its_children(
    model_of, tmp_path, fake_vllm, monkeypatch
):
    monkeypatch.setattr("agemem_eval.harness.models.vllm.process.GRACE_S", 0.5)
    fake_vllm(stubborn=True)
    model = model_of()
    await model.generate(request())
    await model.close()
    assert not any(map(alive, processes(tmp_path)))


async def test_a_cancelled_start_leaves_nothing(model_of, tmp_path, fake_vllm):
    fake_vllm(slow_s=3600)
    model = model_of()
    asking = asyncio.create_task(model.generate(request()))
    assert await come_true(lambda: (tmp_path / "runs").exists() and processes(tmp_path))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await model.close()
    assert not any(map(alive, processes(tmp_path)))


PARENT = """
    import asyncio, signal, sys
    from agemem_eval.harness.models.vllm import VllmModel
    from agemem_eval.harness.types import ChatMessage, Request, Sampling

    async def main():
        model = VllmModel(sys.argv[1], runs_dir=sys.argv[2])
        await model.generate(Request([ChatMessage("user", "hi")], Sampling()))
        if "raise" in sys.argv:
            raise SystemExit("an error that closes nothing")
        print("asked", flush=True)
        await asyncio.sleep(3600)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    asyncio.run(main())
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, "raise"])
def test_no_server_outlives_its_parent(end, tmp_path):
    folder = write_model(tmp_path / "tiny")
    command = [sys.executable, "-c", textwrap.dedent(PARENT), str(folder), str(tmp_path / "runs")]
    command.append(str(end))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        if end != "raise":
            assert process.stdout.readline() == b"asked\n"
            assert all(map(alive, processes(tmp_path)))
            process.send_signal(end)
        process.wait(60)
    finally:
        process.kill()
        process.stdout.close()
    assert wait_for(lambda: not any(map(alive, processes(tmp_path))))


async def test_no_server_outlives_its_guard(model_of, tmp_path):
    model = model_of()
    await model.generate(request())
    server = processes(tmp_path)[1]
    its_guard = int(Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(its_guard, signal.SIGKILL)
    assert await come_true(lambda: not any(map(alive, processes(tmp_path))))
    assert said(await model.generate(request()))["pid"] != server
    await model.close()


# --- failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("Traceback\n  line\nValueError: no such thing", "ValueError: no such thing"),
        (
            "(EngineCore pid=7) ERROR 11-26 03:37:11 [core.py:790] torch.OutOfMemoryError: CUDA "
            "out of memory.\nRuntimeError: Engine core initialization failed. See root cause above",
            "CUDA out of memory. (log: ",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory.", "lower -o gpu_memory_utilization"),
        (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory…",
            "; raise -o gpu_memory_utilization, or lower -o max_model_len",
        ),
        (
            "pydantic.ValidationError: 1 validation error for ModelConfig\n  Value error, the "
            "length is too great [type=value_error, input_value=1]",
            "for ModelConfig: Value error, the length is too great (log",
        ),
        ("api_server.py: error: unrecognized arguments: --no-such", "arguments: --no-such"),
        ("", "did not start: exit code 1 (log: "),
    ],
)
async def test_a_failed_start_is_one_line_with_its_cause(
    model_of, fake_vllm, tmp_path, printed, told
):
    fake_vllm(fail=printed)
    model = model_of()
    with pytest.raises(UsageError) as caught:
        await model.generate(request())
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "runs/.cache/vllm") in str(caught.value)
    with pytest.raises(UsageError, match="did not start"):  # and it is not tried again
        await model.generate(request())
    assert log_of(tmp_path).strip() == printed
    await model.close()


async def test_a_start_that_takes_too_long_is_ended_and_told(model_of, fake_vllm, tmp_path):
    fake_vllm(slow_s=3600)
    model = model_of(startup_timeout_s=0.3)
    with pytest.raises(UsageError, match=r"did not answer within 0\.3 s"):
        await model.generate(request())
    assert not any(map(alive, processes(tmp_path)))
    await model.close()


async def test_a_long_start_says_that_it_goes_on(model_of, fake_vllm, monkeypatch, caplog):
    monkeypatch.setattr("agemem_eval.harness.models.vllm.process.TELL_S", 0.0)
    fake_vllm(slow_s=0.5)
    model = model_of()
    with caplog.at_level(logging.INFO, "agemem_eval.server"):
        await model.generate(request())
    await model.close()
    events = [record.fields["event"] for record in caplog.records]
    assert events[0] == "server_start"
    assert "server_starting" in events
    assert events[-1] == "server_ready"


async def test_a_server_that_died_is_started_again_by_the_next_call(
    model_of, fake_vllm, tmp_path, caplog
):
    deaths = tmp_path / "deaths"
    deaths.write_text("1")
    fake_vllm(deaths=str(deaths))
    model = model_of()
    with pytest.raises(ModelError, match="the engine core has died") as caught:
        await model.generate(request())
    assert caught.value.kind == "server"
    assert "exit code 1" in str(caught.value)
    assert said(await model.generate(request()))["model"] == "tiny"
    assert any("starts it again" in record.message for record in caplog.records)
    await model.close()


async def test_all_calls_in_flight_fail_at_once_when_the_server_is_killed(model_of, tmp_path):
    model = model_of(extra_body='{"hang": true}', timeout_s=600)
    calls = [asyncio.create_task(model.generate(request())) for _ in range(3)]
    assert await come_true(lambda: (tmp_path / "runs").exists() and processes(tmp_path))
    assert await come_true(lambda: model._endpoint is not None)
    os.kill(processes(tmp_path)[1], signal.SIGKILL)
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(outcome, "kind", outcome) for outcome in outcomes] == ["server"] * 3
    assert "killed by SIGKILL" in str(outcomes[0])
    assert not any(map(alive, processes(tmp_path)))
    await model.close()


async def test_a_server_that_dies_three_times_in_a_row_is_given_up_in_one_line(
    model_of, fake_vllm, tmp_path
):
    deaths = tmp_path / "deaths"
    deaths.write_text("99")
    fake_vllm(deaths=str(deaths))
    model = model_of()
    for _ in range(MOST_DEATHS):
        with pytest.raises(ModelError):
            await model.generate(request())
    with pytest.raises(ServerGivenUp, match=r"given up after 3 deaths in a row: .*the engine core"):
        await model.generate(request())
    assert deaths.read_text() == str(99 - MOST_DEATHS)
    await model.close()


async def test_a_taken_port_is_told_and_a_free_one_is_used(model_of):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        model = model_of(port=port)
        with pytest.raises(UsageError, match=f"port {port} cannot be used"):
            await model.generate(request())
        await model.close()
    model = model_of(port=port)
    arguments = said(await model.generate(request()))["arguments"]
    assert arguments[arguments.index("--port") + 1] == str(port)
    await model.close()


# --- what the server is told -------------------------------------------------------------------


async def test_options_become_arguments_and_no_secret_is_among_them(model_of, tmp_path):
    model = model_of(
        dtype="bfloat16",
        max_model_len="512",
        gpu_memory_utilization="0.5",
        tensor_parallel="2",
        tool_parser="hermes",
        args='["--max-num-seqs", "7"]',
    )
    line = " ".join(said(await model.generate(request()))["arguments"])
    for part in (
        f"--model {tmp_path / 'tiny'} --served-model-name tiny --host 127.0.0.1",
        "--dtype bfloat16 --max-model-len 512 --gpu-memory-utilization 0.5",
        "--tensor-parallel-size 2 --tool-call-parser hermes",
        "--enable-auto-tool-choice --max-num-seqs 7",
    ):
        assert part in line
    key = os.environ[model._server.key_variable]
    server = processes(tmp_path)[1]
    environment = Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    assert f"VLLM_API_KEY={key}".encode() in environment
    assert not any(b"sk-planted" in entry for entry in environment)
    assert key not in Path(f"/proc/{server}/cmdline").read_text()
    assert key not in log_of(tmp_path)
    await model.close()
    assert key not in os.environ.values()


async def test_an_adapter_is_loaded_before_the_first_call_of_each_server(model_of, tmp_path):
    adapter = write_adapter(tmp_path / "step-100", rank=9)
    (adapter / "card.json").write_text('{"training": "agemem"}')
    model = model_of(lora=str(adapter))
    assert model.info.training == "agemem"
    assert model.info.name == "vllm:tiny+step-100"
    replies = [said(reply) for reply in await asyncio.gather(*map(model.generate, [request()] * 4))]
    (name,) = {reply["model"] for reply in replies}
    assert name != "tiny"
    assert log_of(tmp_path).count(f"loaded {name}") == 1
    assert "--max-lora-rank 16 " in " ".join(replies[0]["arguments"])
    os.kill(replies[0]["pid"], signal.SIGKILL)
    assert await come_true(lambda: not alive(replies[0]["pid"]))
    await model._server.supervisor._process.ended.wait()
    assert said(await model.generate(request()))["model"] == name
    assert log_of(tmp_path).count(f"loaded {name}") == 2
    await model.close()


async def test_a_call_that_goes_while_the_adapter_loads_costs_the_next_one_nothing(
    model_of, fake_vllm, tmp_path
):
    fake_vllm(load_s=0.5)
    model = model_of(lora=str(write_adapter(tmp_path / "a")))
    asking = asyncio.create_task(model.generate(request()))
    assert await come_true(lambda: "loading" in log_of(tmp_path))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert said(await model.generate(request()))["model"].startswith("tiny-")
    assert log_of(tmp_path).count("loading") == 1
    await model.close()


async def test_no_more_calls_are_in_flight_than_are_allowed(model_of, fake_vllm):
    fake_vllm(answer_s=0.1)
    model = model_of(max_in_flight="2", rpm="100000", tpm="10000000")
    replies = await asyncio.gather(*(model.generate(request()) for _ in range(8)))
    assert max(said(reply)["calls"] for reply in replies) == 2
    await model.close()


async def test_an_adapter_that_the_server_refuses_ends_in_one_line(model_of, fake_vllm, tmp_path):
    fake_vllm(refuse_adapter=True)
    model = model_of(lora=str(write_adapter(tmp_path / "bad")))
    with pytest.raises(UsageError, match=r"vLLM refused the adapter .*bad: .*shapes differ"):
        await model.generate(request())
    await model.close()


async def test_native_calls_without_a_parser_are_refused(model_of, tmp_path):
    model = model_of()
    with pytest.raises(UsageError, match="-o tool_parser=NAME"):
        await model.generate(request(tools=MEMORY_TOOLS))
    assert not (tmp_path / "runs").exists()
    await model.close()


async def test_a_run_builds_it_by_name(tmp_path):
    registry._entry_points.cache_clear()
    folder = write_model(tmp_path / "tiny")
    spec = f"agemem_eval.harness.models.vllm:VllmModel:{folder}"
    model = make_model(spec, {"runs-dir": str(tmp_path / "runs"), "max-model-len": "64"})
    sampling = Sampling(max_tokens=7)
    reply = await model.generate(Request([ChatMessage("user", "hi")], sampling))
    assert "--max-model-len 64" in " ".join(said(reply)["arguments"])
    await model.close()
