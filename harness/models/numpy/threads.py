"""How many threads a matrix product takes.

BLAS spreads a product over as many threads as there are cores, and they wait for each other by
spinning. The products of a small network are done before that has paid: with two cores that other
work has, too, games took four times as long as in one thread (docs/serving.md).
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache

from threadpoolctl import ThreadpoolController

_SMALL = 1024  # units of a layer; narrower ones gain nothing by a second thread
_TOLD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


def threads_for(hidden: int) -> AbstractContextManager[object]:
    """Bounds the threads of the products inside, for a network with so many hidden units.

    One thread for a small network; what BLAS does by itself for a large one, or where the
    environment's variables say how many there are. Most builds of BLAS know one number for the
    whole process: of several threads that are in here, the first one sets it and takes it back.
    """
    told = any(os.environ.get(name) for name in _TOLD)
    if told or hidden >= _SMALL:
        return nullcontext()
    limit: AbstractContextManager[object] = _blas().limit(limits=1, user_api="blas")
    return limit


@cache
def _blas() -> ThreadpoolController:
    """The libraries that are loaded; numpy's is."""
    return ThreadpoolController()
