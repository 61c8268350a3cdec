"""Without the libraries, or with another version of one, the memories say what to install."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

from agemem_eval.baselines.langmem_lib import LangMemLibrary
from agemem_eval.baselines.mem0_lib import Mem0Library
from agemem_eval.harness.errors import MissingExtraError


@pytest.mark.parametrize(("make", "extra"), [(Mem0Library, "mem0"), (LangMemLibrary, "langmem")])
@pytest.mark.parametrize("version", ["2.0.1", None])
def test_a_missing_or_another_version_names_the_extra(
    make: Any, extra: str, version: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)
    with pytest.raises(MissingExtraError, match=rf"agemem-eval\[{extra}-lib\]") as error:
        make(None)
    assert version is None or version in str(error.value)
