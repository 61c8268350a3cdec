"""Weights of a checkpoint as numpy arrays, from safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from ...errors import DataError
from ..inprocess.files import weight_files

_parse: Any = deserialize  # has no types
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


def read_weights(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The weights by name, in float32; those in bfloat16 and float16 lose nothing by that.

    Raises:
        DataError: for files that are missing, damaged or pickled, or numbers of another type.
    """
    weights: dict[str, NDArray[np.float32]] = {}
    for file in weight_files(folder):
        try:
            tensors = _parse(file.read_bytes())
        except (OSError, SafetensorError) as error:
            raise DataError(f"cannot read the weights {file.name}: {error}") from error
        for name, tensor in tensors:
            weights[name] = _floats(tensor["dtype"], tensor["data"], name).reshape(tensor["shape"])
    return weights


def _floats(dtype: str, content: bytes, name: str) -> NDArray[np.float32]:
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4")
    if dtype not in _DTYPES:
        raise DataError(f"the weight {name} is of type {dtype}, not floating-point numbers")
    return np.frombuffer(content, _DTYPES[dtype]).astype(np.float32)
