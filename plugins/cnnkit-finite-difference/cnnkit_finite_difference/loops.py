"""Convolution as it stands in the textbook."""

from __future__ import annotations

from itertools import product

import numpy as np

from cnnkit.layers import Conv2D
from cnnkit.plugin import Array, Cache, Context, Grads


class LoopConv2D(Conv2D):
    """The convolution Conv2D with stride 1, in plain loops over samples, filters, channels and pixels: slow, and clear.

    for every sample n, filter o, row p and column q of the output, channel c, row i and column j of the kernel:

    Forward:   y[n,o,p,q] = bias[o] + sum over c,i,j of weight[o,c,i,j] * x[n, c, p+i-padding, q+j-padding]
    Backward:  dbias[o] += dy[n,o,p,q];  dweight[o,c,i,j] += dy[n,o,p,q] * x[n, c, p+i-padding, q+j-padding]
               dx[n, c, p+i-padding, q+j-padding] += dy[n,o,p,q] * weight[o,c,i,j]

    x: (N, C, H, W), zeros outside; weight: (filters, C, kh, kw); bias: (filters,); y: (N, filters, oh, ow) with
    oh = H + 2 padding - kh + 1. kernel, padding, initial weights, errors and the ONNX form are those of Conv2D.
    Source: Dumoulin, Visin (2016), A guide to convolution arithmetic for deep learning.
    """

    def __init__(
        self,
        filters: int,
        kernel: int | tuple[int, int],
        padding: int | tuple[int, int] | str = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(filters, kernel, padding=padding, bias=bias)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Seven loops: where a value of the output is, and where under the kernel its terms are."""
        weight, padded = self.params["weight"], self._padded(x, ctx)
        y = ctx.empty((len(x), self.filters, *self.window.out_size))
        for n, o, p, q in _everywhere(y):
            total = self.params["bias"][o] if self.bias else y.dtype.type(0)
            for c, i, j in _everywhere(weight[o]):
                total += weight[o, c, i, j] * padded[n, c, p + i, q + j]
            y[n, o, p, q] = total
        return y, padded

    def backward(self, dy: Array, padded: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The loops of `forward`: each term adds to the gradients of its two factors."""
        weight = self.params["weight"]
        grads = {name: np.zeros_like(value) for name, value in self.params.items()}
        dpadded = np.zeros_like(padded)
        for n, o, p, q in _everywhere(dy):
            d = dy[n, o, p, q]
            if self.bias:
                grads["bias"][o] += d
            for c, i, j in _everywhere(weight[o]):
                grads["weight"][o, c, i, j] += d * padded[n, c, p + i, q + j]
                dpadded[n, c, p + i, q + j] += d * weight[o, c, i, j]
        return self.window.crop(dpadded.transpose(1, 2, 3, 0)), grads

    def _padded(self, x: Array, ctx: Context) -> Array:
        return self.window.pad(x, 0, ctx).transpose(3, 0, 1, 2)  # (C, H + padding, W + padding, N) -> (N, C, ...)


def _everywhere(x: Array) -> product[tuple[int, ...]]:
    """The places of an array, as loops over its axes, one in the other."""
    return product(*map(range, x.shape))
