"""Without the extra the model says what to install."""

from __future__ import annotations

import sys

import pytest

from agemem_eval.harness.errors import MissingExtraError, UsageError
from agemem_eval.harness.models import hf, make_model


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if ".models.hf." in name]:
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.delattr(hf, module.rpartition(".")[2])
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'agemem-eval\[hf\]'") as error:
        make_model("hf:anything")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "int3"}, "dtype"),
        ({"max_batch": "0"}, "max_batch"),
        ({"max_wait_ms": "soon"}, "max_wait_ms"),
        ({"chat_template_kwargs": "[1]"}, "chat_template_kwargs"),
        ({"trust_remote_code": "true"}, "unknown option"),
    ],
)
def test_bad_options_are_told_before_anything_heavy_is_imported(
    options: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=said):
        make_model("hf:anything", options)


def test_a_name_is_needed() -> None:
    with pytest.raises(UsageError, match="hf:PATH"):
        make_model("hf")
