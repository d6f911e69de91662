"""Kernels made of products of matrices, with machine code of our own for these in place of BLAS.

Each equals the one that it is derived from, up to the order in which products are added. They are for processors with
AVX-512. On an AMD EPYC (Zen 5), for which OpenBLAS takes its kernels for AVX2, they are twice as fast as these with a
tile of samples; where it takes its own for AVX-512, 0.7 to 1.4 times. With vectors of 8 numbers, they are about equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.network.kernels.compiled.machine_code import has_avx512
from cnnkit.network.kernels.compiled.machine_products import MACHINE
from cnnkit.network.kernels.conv_kernel import ConvKernel
from cnnkit.network.kernels.conv_transpose_kernel import ConvTransposeKernel
from cnnkit.network.kernels.dense_kernel import DenseKernel
from cnnkit.types import Array, Context


class CompiledConvKernel(ConvKernel):
    """As `ConvKernel`, in float32."""

    products = MACHINE

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """What `ConvKernel` takes."""
        return super().take(layers, needs_dx) if _is_worth(layers[0]) else None


class CompiledConvTransposeKernel(ConvTransposeKernel):
    """As `ConvTransposeKernel`, in float32."""

    products = MACHINE

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """What `ConvTransposeKernel` takes."""
        return super().take(layers, needs_dx) if _is_worth(layers[0]) else None


class CompiledDenseKernel(DenseKernel):
    """As `DenseKernel`, in float32."""

    products = MACHINE

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """What `DenseKernel` takes."""
        return super().take(layers, needs_dx) if _is_worth(layers[0]) else None

    def _weight_gradient(self, dy: Array, x: Array, ctx: Context) -> Array:
        gradient = ctx.gradient("weight", (len(dy), len(x)))
        self.products.product(dy, x.T, gradient, ctx)
        return gradient


def _is_worth(layer: Any) -> bool:
    """Whether its weights are of float32, and the processor is one that gains."""
    weight = getattr(layer, "params", {}).get("weight")
    return has_avx512() and weight is not None and weight.dtype == np.float32
