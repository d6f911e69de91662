"""Kernels made of products of matrices, with machine code of our own for these in place of BLAS.

Each equals the one that it is derived from, up to the order in which products are added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from cnnkit.components import Layer, Merge
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
        return super().take(layers, needs_dx) if _is_float32(layers[0]) else None


class CompiledConvTransposeKernel(ConvTransposeKernel):
    """As `ConvTransposeKernel`, in float32."""

    products = MACHINE

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """What `ConvTransposeKernel` takes."""
        return super().take(layers, needs_dx) if _is_float32(layers[0]) else None


class CompiledDenseKernel(DenseKernel):
    """As `DenseKernel`, in float32."""

    products = MACHINE

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """What `DenseKernel` takes."""
        return super().take(layers, needs_dx) if _is_float32(layers[0]) else None

    def _weight_gradient(self, dy: Array, x: Array, ctx: Context) -> Array:
        gradient = ctx.gradient("weight", (len(dy), len(x)))
        self.products.product(dy, x.T, gradient, ctx)
        return gradient


def _is_float32(layer: Any) -> bool:
    """Whether its weights are."""
    weight = getattr(layer, "params", {}).get("weight")
    return weight is not None and weight.dtype == np.float32
