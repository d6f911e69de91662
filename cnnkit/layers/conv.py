"""Convolution of images: with all channels, with each by itself, and with one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from cnnkit.components import Initializer, Layer, Merge, Weights, initializer_of
from cnnkit.components.checks import pair, true_or_false, whole
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.initializers import GLOROT_UNIFORM
from cnnkit.layers.window import Padding, Pair, Window, check_padding, image_shape, window_over
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape, blocks


class Conv2D(Layer):
    """Convolution of images with learned filters (cross-correlation, as everywhere in the field).

    Forward:   y[n,o,p,q] = bias[o] + sum over c,i,j of weight[o,c,i,j] * x[n, c, p*stride + i*dilation - padding, ...]
    Backward:  dweight[o,c,i,j] = sum over n,p,q of dy[n,o,p,q] * x[n, c, p*stride + i*dilation - padding, ...],
               dbias[o] = sum over n,p,q of dy[n,o,p,q], dx = every dy * weight, added where that x was read

    x: (N, C, H, W); weight: (filters, C/groups, kh, kw); bias: (filters,); y: (N, filters, oh, ow) with
    oh = floor((H + padding - dilation*(kh-1) - 1) / stride) + 1. kernel, stride, dilation: a number or (height, width);
    padding: one or a pair for both ends, or "same" (oh = ceil(H / stride)), or "valid" (0). Filter block g of `groups`
    sees channel block g only. Weights start as the initializer says, biases at zero.
    Raises ConfigError for arguments out of range, ShapeError if the window or `groups` do not fit the input.
    Source: Dumoulin, Visin (2016), A guide to convolution arithmetic for deep learning; ONNX operator Conv.
    """

    lesson = (
        "A filter is laid on every place of the input; there, each number under it is multiplied with the weight on "
        "it, and all products and the filter's bias are added up.",
        "The same few weights look for one pattern everywhere, and find it wherever it is.",
    )
    examples = (
        Example("Conv2D(3, 3)", (2, 6, 5), "2, 3, 3"),
        Example("Conv2D(3, 1, padding=1)", (2, 6, 5), "2, 3, 1, padding=1"),
        Example("Conv2D(2, (2, 3), stride=(1, 2), padding='same')", (2, 6, 7)),
        Example("Conv2D(2, 3, padding='same', dilation=2)", (2, 6, 7), "2, 2, 3, padding='same', dilation=2"),
        Example(
            "Conv2D(6, (3, 2), (2, 1), (2, 1), 1, 2, False)", (4, 7, 5), "4, 6, (3, 2), (2, 1), (2, 1), 1, 2, False"
        ),
        Example("Conv2D(8, 3, groups=4, initializer=HeNormal())", (4, 6, 5), "4, 8, 3, groups=4"),
    )
    twin = "torch.nn.Conv2d"
    operators = ("Conv", "Pad")
    window: Window
    """Where the kernel lands on the images that the layer was built for."""
    _over: Callable[..., Window] = staticmethod(window_over)

    def __init__(
        self,
        filters: int,
        kernel: int | Pair,
        stride: int | Pair = 1,
        padding: Padding = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        initializer: Initializer = GLOROT_UNIFORM,
    ) -> None:
        for name, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
            pair(name, value)
        self.filters = whole("filters", filters)
        self.kernel = kernel
        self.stride = stride
        self.padding = check_padding(padding)
        self.dilation = dilation
        self.groups = whole("groups", groups)
        self.bias = true_or_false("bias", bias)
        self.initializer = initializer_of(initializer)
        if filters % groups:
            raise ConfigError(f"filters must be a multiple of groups, got {filters} filters in {groups} groups")

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (filters, oh, ow)."""
        channels, image = image_shape(type(self).__name__, in_shape)
        if channels % self.groups:
            raise ShapeError(
                f"{type(self).__name__} expects a number of input channels that is a multiple of its {self.groups} "
                f"groups, got {channels} channels; change groups, or the filters of the layer before it"
            )
        self.window = self._over(type(self).__name__, image, self.kernel, self.stride, self.padding, self.dilation)
        shape = (self.filters, channels // self.groups, *(axis.size for axis in self.window.axes))
        kernel = math.prod(shape[2:])
        weights = Weights(shape, shape[1] * kernel, self._seen_by * kernel, self.groups)
        self.params = {"weight": self.initializer.make(weights, rng)}
        if self.bias:
            self.params["bias"] = np.zeros(self.filters)
        return self.filters, *self.window.out_size

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Copy the patches under the window, then one product for each group."""
        samples, channels = x.shape[:2]
        rows, columns = self.window.rows, self.window.columns
        padded = self.window.pad(x, 0, ctx)
        patches = ctx.empty((channels, rows.size, columns.size, *self.window.out_size, samples))
        patches[...] = self.window.seen(padded)
        flat = patches.reshape(self.groups, channels // self.groups * rows.size * columns.size, -1)
        y = ctx.empty((self.groups, self.filters // self.groups, flat.shape[2]))
        np.matmul(self._matrices(), flat, out=y)  # (g, out/g, in/g*kh*kw) @ (g, in/g*kh*kw, oh*ow*N)
        if self.bias:
            y += self.params["bias"].reshape(self.groups, -1, 1)
        return y.reshape(self.filters, *self.window.out_size, samples).transpose(3, 0, 1, 2), patches

    def backward(self, dy: Array, patches: Cache, ctx: Context) -> tuple[Array, Grads]:
        """One product for the weights, one for the patches; then every patch is added back to where it came from.

        That is done for some groups at a time: what comes back for all patches would be as large as these.
        """
        channels, samples = patches.shape[0], patches.shape[-1]
        flat_dy = dy.transpose(1, 2, 3, 0).reshape(self.groups, self.filters // self.groups, -1)
        flat = patches.reshape(self.groups, -1, flat_dy.shape[2])
        weight = self.params["weight"]
        grads = {"weight": np.matmul(flat_dy, flat.transpose(0, 2, 1)).reshape(weight.shape)}
        if self.bias:
            grads["bias"] = flat_dy.sum(axis=2).reshape(self.filters)
        dpadded = self.window.padded_zeros(channels, samples, ctx)
        turned, parts, width = self._matrices().transpose(0, 2, 1), list(blocks(flat)), channels // self.groups
        memory = ctx.empty(flat[parts[0]].shape)
        for groups in parts:
            part = slice(groups.start * width, groups.stop * width)
            dflat = np.matmul(turned[groups], flat_dy[groups], out=memory[: groups.stop - groups.start])
            dpatches = dflat.reshape(patches[part].shape)
            into = dpadded[part]
            for i, j, met in self.window.slices():
                into[met] += dpatches[:, i, j]
        return self.window.crop(dpadded), grads

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Conv; what pads a kernel of 1 x 1 is a Pad before it, because OpenCV 5.0 mistakes those pads."""
        window = self.window.onnx
        if set(window["kernel_shape"]) == {1} and any(window["pads"]):
            x = graph.add("Pad", x, self.window.onnx_pads)
            del window["pads"]
        dilations = [axis.dilation for axis in self.window.axes]
        return graph.add("Conv", x, *self.params.values(), **window, dilations=dilations, group=self.groups)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        rows, columns = self.window.rows, self.window.columns
        kernel, places = rows.size * columns.size, math.prod(self.window.out_size)
        patches = in_shapes[0][0] * kernel * places
        padded = math.prod(axis.length + axis.before + axis.after for axis in (rows, columns))
        return LayerCost.of_products(
            self.filters // self.groups * patches,
            seen=patches,
            scratch=in_shapes[0][0] * padded + patches,
            rounds=kernel,
            touched=patches,
        )

    @property
    def _seen_by(self) -> int:
        """Filters by which the initial weights count a channel as seen."""
        return self.filters

    def _matrices(self) -> Array:
        """The weights as one matrix for each group: (groups, out/groups, in/groups*kh*kw)."""
        weight = self.params["weight"]
        return weight.reshape(self.groups, self.filters // self.groups, math.prod(weight.shape[1:]))


class DepthwiseConv2D(Conv2D):
    """Convolution of each channel by itself.

    Forward:   y[n,o,p,q] = bias[o] + sum over i,j of weight[o,0,i,j] * x[n, c, p*stride + i*dilation - padding, ...]
               with c = floor(o / multiplier)
    Backward:  dweight[o,0,i,j] = sum over n,p,q of dy[n,o,p,q] * x[n, c, p*stride + i*dilation - padding, ...],
               dbias[o] = sum over n,p,q of dy[n,o,p,q], dx = every dy * weight, added where that x was read

    x: (N, C, H, W); weight: (C * multiplier, 1, kh, kw); bias: (C * multiplier,); y: (N, C * multiplier, oh, ow). The
    other arguments are those of Conv2D, of which it is the case of as many groups as channels. Weights start as the
    initializer says for the kernel's elements alone, biases at zero.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: Sifre, Mallat (2014), Rigid-Motion Scattering for Image Classification; ONNX operator Conv.
    """

    lesson = (
        "Every channel has filters of its own, which are laid on every place of this channel alone; channels do not "
        "mix.",
        "It looks for patterns with few weights and products; a convolution of 1 x 1 behind it mixes the channels.",
    )
    examples = (
        Example("DepthwiseConv2D(3)", (4, 6, 5), "4, 4, 3, groups=4"),
        Example("DepthwiseConv2D(3, padding='same', multiplier=2)", (3, 6, 5), "3, 6, 3, padding='same', groups=3"),
        Example(
            "DepthwiseConv2D((3, 2), (2, 1), (2, 1), bias=False)",
            (3, 7, 5),
            "3, 3, (3, 2), (2, 1), (2, 1), 1, 3, False",
        ),
        Example("DepthwiseConv2D(3, 2, 'same', bias=False)", (5, 9, 8)),
        Example("DepthwiseConv2D(3, padding=2, dilation=2)", (2, 6, 7), "2, 2, 3, 1, 2, 2, 2"),
        Example("DepthwiseConv2D(3)", (1, 5, 4), "1, 1, 3"),
    )
    twin = "torch.nn.Conv2d"
    operators = ("Conv", "Pad")
    cost = Conv2D.cost

    def __init__(
        self,
        kernel: int | Pair,
        stride: int | Pair = 1,
        padding: Padding = 0,
        dilation: int | Pair = 1,
        multiplier: int = 1,
        bias: bool = True,
        *,
        initializer: Initializer = GLOROT_UNIFORM,
    ) -> None:
        self.multiplier = whole("multiplier", multiplier)
        super().__init__(multiplier, kernel, stride, padding, dilation, 1, bias, initializer=initializer)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C * multiplier, oh, ow)."""
        self.groups, _ = image_shape(type(self).__name__, in_shape)
        self.filters = self.groups * self.multiplier
        return super().build(in_shape, rng)

    @property
    def _seen_by(self) -> int:
        """Those that see it."""
        return self.multiplier


class SeparableConv2D(Merge):
    """A convolution of each channel by itself, then one of 1 x 1 that mixes the channels.

    Forward:   z = DepthwiseConv2D(kernel, stride, padding, dilation, multiplier, bias=False)(x),
               y = Conv2D(filters, 1, bias=bias)(z)
    Backward:  that of the one, then that of the other

    x: (N, C, H, W); y: (N, filters, oh, ow). It has (kh*kw + filters) * C * multiplier weights, where Conv2D has
    kh*kw*C*filters. The layers of both are nodes of the network, with their own weights, which start as the initializer
    says.
    Raises ConfigError for arguments out of range, ShapeError if the window does not fit the input.
    Source: Chollet (2017), Xception: Deep Learning with Depthwise Separable Convolutions.
    """

    lesson = (
        "First each channel is convolved by itself, then every place by itself: there, each output is a weighted sum "
        "of the channels.",
        "Together they do what a full convolution does with a fraction of its weights and products.",
    )
    examples = (
        Example("SeparableConv2D(3, 3)", (2, 6, 5)),
        Example("SeparableConv2D(5, (2, 3), 2, 'same', multiplier=2, bias=False)", (3, 6, 7)),
        Example("SeparableConv2D(2, 3, padding=2, dilation=2)", (4, 5, 6)),
    )
    operators = ("Conv", "Pad")

    def __init__(
        self,
        filters: int,
        kernel: int | Pair,
        stride: int | Pair = 1,
        padding: Padding = 0,
        dilation: int | Pair = 1,
        multiplier: int = 1,
        bias: bool = True,
        *,
        initializer: Initializer = GLOROT_UNIFORM,
    ) -> None:
        self.filters = filters
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.multiplier = multiplier
        self.bias = bias
        self.initializer = initializer
        depthwise = DepthwiseConv2D(kernel, stride, padding, dilation, multiplier, bias=False, initializer=initializer)
        self.branches = [[depthwise, Conv2D(filters, 1, bias=bias, initializer=initializer)]]

    def merge_shape(self, in_shapes: Sequence[Shape]) -> Shape:
        """The shape that the second convolution gives."""
        return in_shapes[0]

    def forward(self, xs: Sequence[Array], ctx: Context) -> tuple[Array, Cache]:
        """What the second convolution gives."""
        return xs[0], None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> Sequence[Array]:
        """Dy itself."""
        return [dy]

    def lower(self, graph: OnnxGraph, xs: Sequence[str]) -> str:
        """The two convolutions are all."""
        return xs[0]

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed beside its two convolutions")


CONVOLUTIONS: tuple[type[Layer], ...] = (Conv2D, DepthwiseConv2D)
"""The layers that compute just what `Conv2D` does: what a kernel or a lesson has for one, it has for each."""
