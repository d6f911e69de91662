"""What the machine is, and how fast it is at this moment."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.network import available_cores
from cnnkit.network.execution.threads import one_blas_thread

SIDE = 1024
PRODUCTS = 8


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Keep processes that are started inside on the first `count` of the cores that this one may use."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def sgemm_peak(threads: int) -> float:
    """GFLOP/s of NumPy's float32 products of 1024x1024 matrices, in as many threads with one BLAS thread each."""
    rng = np.random.default_rng(0)
    a, b = rng.random((2, SIDE, SIDE), np.float32)
    outs = [np.empty_like(a) for _ in range(threads)]

    def products(out: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        for _ in range(PRODUCTS):
            np.matmul(a, b, out=out)

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(products, outs))  # warm: threads, caches, clock
        began = time.perf_counter()
        list(pool.map(products, outs))
        seconds = time.perf_counter() - began
    return 2 * SIDE**3 * PRODUCTS * threads / seconds / 1e9


def description() -> dict[str, Any]:
    """Processor, cores, load before the measurement, and what Python and NumPy are."""
    return {
        "cpu": cpu_model(),
        "cores": available_cores(),
        "load_average": list(os.getloadavg()),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "environment": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("OMP_", "KMP_", "OPENBLAS_", "MKL_", "TF_", "XLA_", "JAX_", "NUMBA_"))
        },
    }


def cpu_model() -> str:
    """The processor's name, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
