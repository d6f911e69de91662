"""Fast ways through runs of built-in layers; each kernel equals the plain layers that it stands for.

A kernel claims its layers itself: `take` is given consecutive layers, and says how many of them it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from cnnkit.components import Layer, Merge
from cnnkit.network.kernels.activation_kernel import ActivationKernel, SumKernel
from cnnkit.network.kernels.compiled.batch_norm_kernel import CompiledBatchNormKernel
from cnnkit.network.kernels.compiled.depthwise_kernel import DepthwiseKernel
from cnnkit.network.kernels.compiled.direct_conv_kernel import DirectConvKernel
from cnnkit.network.kernels.compiled.product_kernels import (
    CompiledConvKernel,
    CompiledConvTransposeKernel,
    CompiledDenseKernel,
)
from cnnkit.network.kernels.compiled.sample_norm_kernel import SampleNormKernel
from cnnkit.network.kernels.conv_kernel import ConvKernel
from cnnkit.network.kernels.conv_transpose_kernel import ConvTransposeKernel
from cnnkit.network.kernels.dense_kernel import DenseKernel
from cnnkit.network.kernels.grouped_kernel import GroupedConvKernel
from cnnkit.network.kernels.norm_kernel import BatchNormKernel
from cnnkit.network.kernels.pool_kernel import AvgPoolKernel, MaxPoolKernel
from cnnkit.network.kernels.reparametrised_kernel import ReparametrisedKernel
from cnnkit.network.kernels.signal_kernel import SignalConvKernel
from cnnkit.types import Array, Cache, Context, Grads

__all__ = ["KERNELS", "Kernel", "kernel_for"]


class Kernel(Protocol):
    """Runs one or more layers at once, with the forward and backward of a layer."""

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """The kernel for as many of these consecutive layers as it can run, and how many they are; None for none.

        layers: of cnnkit's own classes or others, one at least; needs_dx: whether someone needs the gradient of the
        input.
        """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """As `Layer.forward`, of all its layers."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """As `Layer.backward`; dx may be None where nobody needs it, grads are those of its first layer."""


KERNELS: tuple[type[Kernel] | type[SumKernel], ...] = (
    ConvKernel,
    GroupedConvKernel,
    ConvTransposeKernel,
    SignalConvKernel,
    DenseKernel,
    ReparametrisedKernel,
    BatchNormKernel,
    MaxPoolKernel,
    AvgPoolKernel,
    SumKernel,
    ActivationKernel,
)


COMPILED: tuple[type[Kernel], ...] = (
    DepthwiseKernel,
    DirectConvKernel,
    CompiledConvKernel,
    CompiledConvTransposeKernel,
    CompiledDenseKernel,
    CompiledBatchNormKernel,
    SampleNormKernel,
)
"""Those that take layers before the others do, where machine code may be used."""


def kernel_for(
    layers: Sequence[Layer | Merge], needs_dx: bool, *, compiled: bool = False
) -> tuple[Kernel | Merge, int] | None:
    """The kernel for as many of these consecutive layers as it can take, and how many they are; None for none."""
    kernels = (*COMPILED, *KERNELS) if compiled else KERNELS
    return next((taken for kernel in kernels if (taken := kernel.take(layers, needs_dx))), None)
