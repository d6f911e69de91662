"""Layers whose weights are computed from what is trained, by the kernel of the layer inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from cnnkit.components import Layer, Merge
from cnnkit.layers.reparametrised import _Reparametrised, inside_of, is_reparametrised
from cnnkit.network.kernels.conv_kernel import ConvKernel
from cnnkit.network.kernels.conv_transpose_kernel import ConvTransposeKernel
from cnnkit.network.kernels.dense_kernel import DenseKernel
from cnnkit.network.kernels.grouped_kernel import GroupedConvKernel
from cnnkit.network.kernels.signal_kernel import SignalConvKernel
from cnnkit.types import Array, Cache, Context, Grads

Weighted = ConvKernel | GroupedConvKernel | ConvTransposeKernel | SignalConvKernel | DenseKernel
KERNELS: tuple[type[Weighted], ...] = (
    ConvKernel,
    GroupedConvKernel,
    ConvTransposeKernel,
    SignalConvKernel,
    DenseKernel,
)
"""Those of layers with weights."""


class ReparametrisedKernel:
    """A layer such as WeightNorm, with as many layers behind it as the kernel of the one inside takes.

    Equals the plain layers one after another:

        y = layer.forward(x)
        if epilogue: y = epilogue.forward(y)

    Threads that run it at once give the layer inside equal weights, in memory that is no tile's.
    """

    def __init__(self, layer: _Reparametrised, inside: Layer, kernel: Weighted) -> None:
        self.layer = layer
        self.inside = inside
        self.kernel = kernel

    @classmethod
    def take(cls, layers: Sequence[Layer | Merge], needs_dx: bool, /) -> tuple[Self, int] | None:
        """What the kernel of the layer inside takes."""
        first = layers[0]
        if not is_reparametrised(first):
            return None
        inside = first.outline()
        for kernel in KERNELS:
            taken: tuple[Weighted, int] | None = kernel.take([inside, *layers[1:]], needs_dx)
            if taken:
                return cls(first, inside, taken[0]), taken[1]
        return None

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """With the weights that the parameters make now."""
        weight, kept = self.layer.computed()
        self.inside.params = self.layer.inside(weight).params
        y, cache = self.kernel.forward(x, inside_of(ctx))
        return y, (cache, kept)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array | None, Grads]:
        """The gradient of these weights is led on to what is trained."""
        inner_cache, kept = cache
        dx, grads = self.kernel.backward(dy, inner_cache, inside_of(ctx))
        dweight = grads.pop("weight")
        return dx, self.layer.trained_grads(dweight, kept, ctx) | grads
