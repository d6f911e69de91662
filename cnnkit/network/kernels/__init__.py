"""Fast ways through runs of built-in layers; each kernel equals the plain layers that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cnnkit.components import Layer, Merge
from cnnkit.components.checks import pair
from cnnkit.layers import BatchNorm2D, Conv2D, MaxPool2D, ReLU
from cnnkit.network.kernels.conv import ConvKernel
from cnnkit.network.kernels.norm import BatchNormKernel
from cnnkit.types import Array, Cache, Context, Grads

__all__ = ["Kernel", "kernel_for"]


class Kernel(Protocol):
    """Runs one or more layers at once, with the forward and backward of a layer."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """As `Layer.forward`, of all its layers."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """As `Layer.backward`; dx may be None where nobody needs it, grads are those of its first layer."""


def kernel_for(layers: Sequence[Layer | Merge], needs_dx: bool) -> tuple[Kernel, int] | None:
    """The kernel for as many of these consecutive layers as it can take, and how many they are; None for none."""
    first = layers[0]
    if type(first) is Conv2D and first.groups == 1 and pair("dilation", first.dilation) == (1, 1):
        pool, relu, used = 1, False, 1
        for layer in layers[1:3]:
            if type(layer) is ReLU and not relu:
                relu = True
            elif pool == 1 and (size := _side_by_side(layer)):
                pool = size
            else:
                break
            used += 1
        return ConvKernel(first, relu=relu, pool=pool, needs_dx=needs_dx), used
    if type(first) is BatchNorm2D:
        relu = len(layers) > 1 and type(layers[1]) is ReLU
        return BatchNormKernel(first, relu=relu), 1 + relu
    return None


def _side_by_side(layer: Layer | Merge) -> int:
    """The size of a maximum pooling with square windows that neither overlap nor leave gaps, or 0."""
    if type(layer) is not MaxPool2D:
        return 0
    rows, columns = layer.window.rows, layer.window.columns
    size = rows.size
    fits = rows.before == rows.after == columns.before == columns.after == 0
    return size if fits and {rows.stride, columns.size, columns.stride} == {size} else 0
