"""How fast one worker is on this machine at best: at products of matrices, and at copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.network.execution.threads import one_blas_thread
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.kernels.compiled.machine_code import has_avx512
from cnnkit.network.kernels.compiled.machine_products import MACHINE

SIDE, COPIED_BYTES, TIMES = 512, 64 << 20, 25
"""Of the matrices, which are multiplied before another process has its turn; more bytes than a core's part of the cache
holds; and how often each is measured."""


FLOAT = np.dtype(np.float32)


@dataclass(frozen=True)
class MachineRates:
    """What bounds every step of a worker, as in the roofline model.

    A step that makes F operations and moves B bytes takes at least max(F / gflops, B / gb_per_second) nanoseconds. In
    other words, with an intensity of I = F / B it makes at most min(gflops, I * gb_per_second) GFLOP/s.
    Source: Williams, Waterman, Patterson (2009), Roofline: An Insightful Visual Performance Model for Multicore
    Architectures.
    """

    gflops: float
    """Of products of large matrices, in 1e9 operations a second."""
    gb_per_second: float
    """1e9 bytes, read and written, of a copy of an array that no cache holds."""

    def limit(self, intensity: float) -> float:
        """The most GFLOP/s with so many operations for each byte."""
        return min(self.gflops, intensity * self.gb_per_second)

    def least_ms(self, flops: float, nbytes: float) -> float:
        """The least milliseconds for so many operations and bytes."""
        return max(flops / self.gflops, nbytes / self.gb_per_second) / 1e6


def machine_rates(dtype: np.dtype[Any], *, compiled: bool = False) -> MachineRates:
    """Measure both, in less than 0.5 s, for numbers of this dtype; compiled: whether compiled products count."""
    return MachineRates(product_rate(dtype, compiled=compiled), copy_rate())


def product_rate(dtype: np.dtype[Any] = FLOAT, *, compiled: bool = False) -> float:
    """GFLOP/s of a product of two matrices, 512 x 512, by one BLAS thread; the best of 25.

    compiled: or by machine code, if that is faster.
    """
    a, b = np.random.default_rng(0).random((2, SIDE, SIDE), np.float32).astype(dtype, copy=False)
    y = np.empty_like(a)
    ctx = TileContext(Workspace(y.dtype), False, ())
    with one_blas_thread():
        seconds = _best(lambda: np.matmul(a, b, out=y))
        if compiled and has_avx512():
            seconds = min(seconds, _best(lambda: MACHINE.product(a, b, y, ctx)))
    return 2e-9 * SIDE**3 / seconds


def copy_rate() -> float:
    """GB/s of a copy of 64 MiB, by one thread, both the bytes read and those written; the best of 25."""
    given, made = np.zeros((2, COPIED_BYTES), np.uint8)
    given.fill(1)  # what nobody has written is one page of zeros, which the cache holds
    return 2e-9 * COPIED_BYTES / _best(lambda: np.copyto(made, given))


def _best(work: Callable[[], object]) -> float:
    """The least seconds."""
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
