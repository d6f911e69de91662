"""Layers that only rearrange."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class Flatten(Layer):
    """All axes but the samples' in one, in C order, for dense layers.

    Forward:   y[n, (c*H + h)*W + w] = x[n, c, h, w]
    Backward:  dx[n, c, h, w] = dy[n, (c*H + h)*W + w]

    x: (N, C, H, W) or (N, F); y: (N, C*H*W), a view of x wherever its strides allow one.
    Source: ONNX operator Flatten.
    """

    passes_values_on = True
    lesson = (
        "All numbers are written one after the other, as one vector; nothing is computed.",
        "A dense layer takes a vector, and has a weight for each of its numbers.",
    )
    examples = (Example("Flatten()", (4, 9, 11), ""), Example("Flatten()", (13,), ""))
    twin = "torch.nn.Flatten"
    operators = ("Flatten",)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C*H*W,)."""
        return (math.prod(in_shape),)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A view of x where its strides allow one, else a copy that keeps the samples as the fastest axis."""
        features = math.prod(x.shape[1:])
        if x.flags.c_contiguous:
            return x.reshape(len(x), features), x.shape
        samples_last = x.transpose(*range(1, x.ndim), 0)
        if not samples_last.flags.c_contiguous:
            memory = ctx.empty(samples_last.shape)
            memory[...] = samples_last
            samples_last = memory
        return samples_last.reshape(features, len(x)).T, x.shape

    def backward(self, dy: Array, shape: Cache, ctx: Context) -> tuple[Array, Grads]:
        """A view of dy."""
        return dy.reshape(shape), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Flatten."""
        return graph.add("Flatten", x, axis=1)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed: the numbers only move")
