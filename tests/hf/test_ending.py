"""How `hf:` ends amid a forward, and how it is told that memory ran out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.hf
LEAVES = Path(__file__).parent.parent / "support" / "leave_amid.py"


def test_a_process_that_closes_nothing_ends_with_its_own_code_and_no_abort(tiny: Path) -> None:
    command = [sys.executable, str(LEAVES), f"hf:{tiny}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "terminate" not in done.stderr
    assert done.returncode == 3


def test_a_forward_ends_before_its_next_layer_and_leaves_no_hook(tiny: Path) -> None:
    from agemem_eval.harness.models import make_model
    from agemem_eval.harness.models.inprocess.batch import Interrupted
    from agemem_eval.harness.models.inprocess.decoding import Prompt

    decoder = make_model(f"hf:{tiny}")._asked.decoder  # type: ignore[attr-defined]
    first, second = decoder.model.model.layers
    begun = []
    hook = first.register_forward_hook(lambda *_: setattr(decoder, "interrupted", True))
    second.register_forward_hook(lambda *_: begun.append(1))
    with pytest.raises(Interrupted):
        decoder.generate([Prompt((5, 6, 7), 3)])
    assert not begun
    assert not first._forward_pre_hooks
    decoder.reset()
    decoder.interrupted = False
    hook.remove()
    decoder.generate([Prompt((5, 6, 7), 3)])
    assert len(begun) >= 1


def test_memory_that_ran_out_on_a_gpu_is_known_as_that() -> None:
    import torch

    from agemem_eval.harness.models.inprocess.schedule import _is_memory

    assert _is_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
