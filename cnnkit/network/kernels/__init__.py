"""Fast ways through runs of built-in layers; each kernel equals the plain layers that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cnnkit.components import Layer, Merge
from cnnkit.components.checks import pair
from cnnkit.layers import AvgPool2D, BatchNorm2D, Conv2D, Dense, MaxPool2D, ReLU, Residual
from cnnkit.network.kernels.conv import ConvKernel
from cnnkit.network.kernels.dense import DenseKernel
from cnnkit.network.kernels.grouped import GroupedConvKernel
from cnnkit.network.kernels.norm import BatchNormKernel
from cnnkit.network.kernels.pool import AvgPoolKernel, MaxPoolKernel
from cnnkit.network.kernels.rectifier import RectifierKernel, ResidualKernel
from cnnkit.types import Array, Cache, Context, Grads

__all__ = ["Kernel", "kernel_for"]


class Kernel(Protocol):
    """Runs one or more layers at once, with the forward and backward of a layer."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """As `Layer.forward`, of all its layers."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """As `Layer.backward`; dx may be None where nobody needs it, grads are those of its first layer."""


def kernel_for(layers: Sequence[Layer | Merge], needs_dx: bool) -> tuple[Kernel | Merge, int] | None:
    """The kernel for as many of these consecutive layers as it can take, and how many they are; None for none."""
    first = layers[0]
    relu = len(layers) > 1 and type(layers[1]) is ReLU
    if type(first) is Conv2D and pair("dilation", first.dilation) == (1, 1):
        if first.groups > 1:
            return GroupedConvKernel(first, relu=relu, needs_dx=needs_dx), 1 + relu
        pool, relu, used = _pool_and_relu(layers[1:3])
        return ConvKernel(first, relu=relu, pool=pool, needs_dx=needs_dx), 1 + used
    if type(first) is Dense:
        return DenseKernel(first, relu=relu, needs_dx=needs_dx), 1 + relu
    if type(first) is BatchNorm2D:
        return BatchNormKernel(first, relu=relu), 1 + relu
    if type(first) is Residual and len(first.branches) == 2 and relu:
        return ResidualKernel(), 2
    if type(first) is ReLU:
        return RectifierKernel(), 1
    if type(first) is MaxPool2D and (size := _side_by_side(first)) > 1:
        return MaxPoolKernel(first, size), 1
    if type(first) is AvgPool2D and (size := _side_by_side(first)) and not _left_over(first, size):
        return AvgPoolKernel(size), 1
    return None


def _pool_and_relu(layers: Sequence[Layer | Merge]) -> tuple[int, bool, int]:
    """The size of a maximum pooling, 1 for none, and whether there is a rectifier, in any order; how many they are."""
    pool, relu, used = 1, False, 0
    for layer in layers:
        if type(layer) is ReLU and not relu:
            relu = True
        elif type(layer) is MaxPool2D and pool == 1 and (size := _side_by_side(layer)):
            pool = size
        else:
            break
        used += 1
    return pool, relu, used


def _side_by_side(layer: MaxPool2D | AvgPool2D) -> int:
    """The size of square windows that neither overlap nor leave gaps, or 0."""
    rows, columns = layer.window.rows, layer.window.columns
    size = rows.size
    fits = rows.before == rows.after == columns.before == columns.after == 0
    return size if fits and {rows.stride, columns.size, columns.stride} == {size} else 0


def _left_over(layer: MaxPool2D | AvgPool2D, size: int) -> int:
    """Rows and columns at the end that fill no window."""
    return layer.window.rows.length % size + layer.window.columns.length % size
