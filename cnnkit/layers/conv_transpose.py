"""Transposed convolution: images become larger by learned filters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Initializer, Layer, Weights, initializer_of
from cnnkit.components.checks import pair, true_or_false, whole
from cnnkit.components.sums import sum_over
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.initializers import GLOROT_UNIFORM
from cnnkit.layers.window import Axis, Pair, Window, image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape


class ConvTranspose2D(Layer):
    """Transposed convolution of images: every pixel lays its multiple of the filters on a larger image.

    Forward:   y[n,o,r,s] = bias[o] + sum over c,p,q,i,j of weight[c,o,i,j] * x[n,c,p,q]
               where r = p*stride + i*dilation - padding, s = q*stride + j*dilation - padding
    Backward:  dx[n,c,p,q] = sum over o,i,j of weight[c,o,i,j] * dy[n,o,r,s], the convolution whose dx is this forward,
               dweight[c,o,i,j] = sum over n,p,q of x[n,c,p,q] * dy[n,o,r,s], dbias[o] = sum over n,r,s of dy[n,o,r,s]

    x: (N, C, H, W); weight: (C, filters/groups, kh, kw); bias: (filters,); y: (N, filters, oh, ow) with
    oh = (H - 1)*stride - 2*padding + dilation*(kh - 1) + output_padding + 1. kernel, stride, padding, output_padding,
    dilation: a number or (height, width); padding is what is cut off at both ends of an axis, output_padding what is
    added at its end alone, below the stride. Channel block g of `groups` makes filter block g only. Weights start
    as the initializer says, biases at zero.
    Raises ConfigError for arguments out of range, ShapeError if `groups` do not fit the input, or nothing is left.
    Source: Dumoulin, Visin (2016), A guide to convolution arithmetic for deep learning; ONNX operator ConvTranspose.
    """

    lesson = (
        "Every number of the input is multiplied with a filter and laid on the larger image; where filters overlap, "
        "their numbers are added up.",
        "It learns how details look that a smaller image only hints at: a convolution backwards, as on the way up of a "
        "network that gives images.",
    )
    examples = (
        Example("ConvTranspose2D(3, 2, 2)", (2, 4, 3), "2, 3, 2, 2"),
        Example("ConvTranspose2D(3, 3, 2, 1, 1)", (2, 4, 5), "2, 3, 3, 2, 1, 1"),
        Example(
            "ConvTranspose2D(2, (2, 3), (3, 1), (1, 0), (2, 0), bias=False)",
            (3, 3, 4),
            "3, 2, (2, 3), (3, 1), (1, 0), (2, 0), bias=False",
        ),
        Example("ConvTranspose2D(4, 3, padding=2, dilation=2)", (2, 5, 4), "2, 4, 3, padding=2, dilation=2"),
        Example("ConvTranspose2D(6, 3, 2, groups=2)", (4, 3, 4), "4, 6, 3, 2, groups=2"),
        Example("ConvTranspose2D(2, 1, 3, initializer=LeCunNormal())", (2, 3, 2), "2, 2, 1, 3"),
        Example("ConvTranspose2D(4, 3, groups=4, bias=False)", (4, 3, 5), "4, 4, 3, groups=4, bias=False"),
    )
    twin = "torch.nn.ConvTranspose2d"
    operators = ("ConvTranspose", "Slice", "Concat")
    window: Window
    """Where the kernel lands on the output: that of the convolution which would take the output to the input."""

    def __init__(
        self,
        filters: int,
        kernel: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        initializer: Initializer = GLOROT_UNIFORM,
    ) -> None:
        self.filters = whole("filters", filters)
        for name, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
            pair(name, value)
        self.kernel = kernel
        self.stride = stride
        pair("padding", padding, at_least=0)
        self.padding = padding
        self.output_padding = output_padding
        self.dilation = dilation
        self.groups = whole("groups", groups)
        self.bias = true_or_false("bias", bias)
        self.initializer = initializer_of(initializer)
        if filters % groups:
            raise ConfigError(f"filters must be a multiple of groups, got {filters} filters in {groups} groups")
        more = pair("output_padding", output_padding, at_least=0)
        if any(p >= s for p, s in zip(more, pair("stride", stride), strict=True)):
            raise ConfigError(
                "output_padding must be smaller than stride, or there would be rows that no filter reaches; "
                f"got output_padding={shown(output_padding)} and stride={stride!r}"
            )

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (filters, oh, ow)."""
        channels, image = image_shape("ConvTranspose2D", in_shape)
        if channels % self.groups:
            raise ShapeError(
                f"ConvTranspose2D expects a number of input channels that is a multiple of its {self.groups} groups, "
                f"got {channels} channels; change groups, or the filters of the layer before it"
            )
        self.window = self._window(image)
        shape = (channels, self.filters // self.groups, *pair("kernel", self.kernel))
        kernel = math.prod(shape[2:])
        weights = Weights(shape, channels // self.groups * kernel, shape[1] * kernel, self.groups)
        self.params = {"weight": self.initializer.make(weights, rng)}
        if self.bias:
            self.params["bias"] = np.zeros(self.filters)
        return self.filters, self.window.rows.length, self.window.columns.length

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """One product for each group gives what each pixel lays down; it is added up where it lands."""
        samples = len(x)
        flat = self._flat(x, ctx)
        outputs = self._matrices().swapaxes(1, 2)
        made = np.matmul(outputs, flat, out=ctx.empty((self.groups, outputs.shape[1], flat.shape[2])))
        patches = made.reshape(self._patches_shape(samples))
        padded = self.window.padded_zeros(self.filters, samples, ctx)
        for i, j, met in self.window.slices():
            padded[met] += patches[:, i, j]
        y = self.window.crop(padded)
        if self.bias:
            y += self.params["bias"][:, None, None]
        return y, flat

    def backward(self, dy: Array, flat: Cache, ctx: Context) -> tuple[Array, Grads]:
        """A convolution of dy: the patches under the window, and one product of them for each gradient."""
        samples = len(dy)
        padded = self.window.pad(dy, 0, ctx)
        patches = ctx.empty(self._patches_shape(samples))
        for i, j, met in self.window.slices():
            patches[:, i, j] = padded[met]
        flat_dy = patches.reshape(self.groups, -1, flat.shape[2])
        weight = self.params["weight"]
        grads = {"weight": np.matmul(flat, flat_dy.swapaxes(1, 2)).reshape(weight.shape)}
        if self.bias:
            grads["bias"] = sum_over(dy, (0, 2, 3))
        dx = np.matmul(self._matrices(), flat_dy, out=ctx.empty(flat.shape))
        return dx.reshape(len(weight), *self.window.out_size, samples).transpose(3, 0, 1, 2), grads

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX ConvTranspose; of groups one for each, because ONNX's reference evaluator mistakes them."""
        window = self.window.onnx | {
            "dilations": list(pair("dilation", self.dilation)),
            "output_padding": list(pair("output_padding", self.output_padding, 0)),
        }
        if self.groups == 1:
            return graph.add("ConvTranspose", x, *self.params.values(), **window)
        inner, outer = len(self.params["weight"]) // self.groups, self.filters // self.groups
        made = []
        for group in range(self.groups):
            channels = slice(group * inner, (group + 1) * inner)
            part = graph.add("Slice", x, np.array([channels.start]), np.array([channels.stop]), np.array([1]))
            arrays = [self.params["weight"][channels]]
            if self.bias:
                arrays.append(self.params["bias"][group * outer : (group + 1) * outer])
            made.append(graph.add("ConvTranspose", part, *arrays, **window))
        return graph.add("Concat", *made, axis=1)

    def by_unit(self, weight: Array) -> tuple[Array, tuple[int, ...]]:
        """(C, filters/groups, kh, kw) -> (groups, C/groups, filters/groups, kh, kw); a filter has numbers of axis 1."""
        return weight.reshape(self.groups, -1, *weight.shape[1:]), (1, *range(3, weight.ndim + 1))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        rows, columns = self.window.rows, self.window.columns
        kernel = rows.size * columns.size
        patches = self.filters * kernel * math.prod(self.window.out_size)
        padded = math.prod(axis.length + axis.before + axis.after for axis in (rows, columns))
        return LayerCost.of_products(
            in_shapes[0][0] // self.groups * patches,
            seen=patches,
            scratch=self.filters * padded + patches,
            rounds=kernel,
            touched=patches,
        )

    def _window(self, image: Pair) -> Window:
        """Raises ShapeError if padding cuts everything off."""
        axes = []
        arguments = (self.kernel, self.stride, self.padding, self.output_padding, self.dilation)
        for length, size, stride, padding, more, dilation in zip(
            image, *(pair("", argument, 0) for argument in arguments), strict=True
        ):
            whole_length = (length - 1) * stride + dilation * (size - 1) + 1 + more
            axes.append(Axis(whole_length - 2 * padding, size, stride, dilation, padding, padding))
        if any(axis.length < 1 for axis in axes):
            made = [axis.length + axis.before + axis.after for axis in axes]
            raise ShapeError(
                f"ConvTranspose2D makes images of {made[0]} x {made[1]} from {image[0]} x {image[1]}, and "
                f"padding={self.padding!r} cuts off all of it at both ends; use less padding, or a larger kernel or "
                "stride"
            )
        return Window(*axes)

    def _patches_shape(self, samples: int) -> Shape:
        rows, columns = self.window.rows, self.window.columns
        return self.filters, rows.size, columns.size, *self.window.out_size, samples

    def _flat(self, x: Array, ctx: Context) -> Array:
        """(N, C, H, W) -> (groups, C/groups, H*W*N)."""
        inner = x.transpose(1, 2, 3, 0)
        memory = ctx.empty(inner.shape)
        memory[...] = inner
        return memory.reshape(self.groups, len(inner) // self.groups, -1)

    def _matrices(self) -> Array:
        """The weights as one matrix for each group: (groups, C/groups, filters/groups*kh*kw)."""
        weight = self.params["weight"]
        return weight.reshape(self.groups, len(weight) // self.groups, math.prod(weight.shape[1:]))
