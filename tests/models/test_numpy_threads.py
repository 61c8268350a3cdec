"""Threads of BLAS while a network computes; what they are is read off numpy's own library."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import ThreadpoolController, threadpool_info

from agemem_eval.harness.models.inprocess.decoding import Prompt
from agemem_eval.harness.models.numpy.decoder import Decoder
from agemem_eval.harness.models.numpy.network import Network, load_network
from agemem_eval.harness.models.numpy.threads import _blas, threads_for


def now() -> set[int]:
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three threads, whatever the machine has, and nothing said by the environment."""
    for name in ("OPENBLAS", "MKL", "BLIS", "OMP"):
        monkeypatch.delenv(f"{name}_NUM_THREADS", raising=False)
    _blas.cache_clear()  # other tests may have loaded more libraries since: scipy has its own BLAS
    with ThreadpoolController().limit(limits=3, user_api="blas"):
        if now() != {3}:
            pytest.skip(f"this numpy's BLAS does not let its threads be set: {threadpool_info()}")
        yield


def test_a_small_network_computes_in_one_and_leaves_them_as_they_were() -> None:
    with threads_for(192):
        assert now() == {1}
        with threads_for(192):
            assert now() == {1}
        assert now() == {1}
    assert now() == {3}


def test_also_where_it_fails() -> None:
    with pytest.raises(ArithmeticError), threads_for(192):
        raise ArithmeticError
    assert now() == {3}


def test_a_large_network_takes_what_there_is() -> None:
    with threads_for(1024):
        assert now() == {3}


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_the_environment_is_obeyed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "3")
    with threads_for(192):
        assert now() == {3}


def test_several_at_once_leave_them_as_they_were() -> None:
    """Whoever leaves last: it is the one that came first that set it."""
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with threads_for(192):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with threads_for(192):
        thread.start()
        assert inside.wait(10)
        assert now() == {1}
    leave.set()
    thread.join(10)
    assert now() == {3}


def test_the_decoder_computes_so(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    whole = Network.forward

    def forward(self: Network, *given: object, **named: object) -> object:
        seen.append(now())
        return whole(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Network, "forward", forward)
    decoder = Decoder(load_network(tiny), ())
    decoder.generate([Prompt((5, 6, 7), 3)])
    assert seen
    assert all(threads == {1} for threads in seen)
    assert now() == {3}
