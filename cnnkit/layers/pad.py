"""Edges of images: padding adds them, cropping cuts them off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import finite, one_of, whole
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers.layout import empty_pixels
from cnnkit.layers.window import Pair, image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

Edges = int | Pair | tuple[Pair, Pair]
MODES = ("constant", "reflect", "edge")


def edges(name: str, value: Any) -> tuple[Pair, Pair]:
    """Return the argument `name` as ((top, bottom), (left, right)).

    It is one whole number, 0 or above, for all of them, or two for both axes, or four. Raises ConfigError otherwise.
    """
    given = value if isinstance(value, list | tuple) else (value, value)
    axes = [one if isinstance(one, list | tuple) else (one, one) for one in given]
    if [len(one) for one in axes] != [2, 2]:
        raise ConfigError(
            f"{name} must be a whole number, a pair of them (height, width), or a pair for each axis ((top, bottom), "
            f"(left, right)), got {shown(value)}"
        )
    (top, bottom), (left, right) = ([whole(name, one, 0) for one in ends] for ends in axes)
    return (top, bottom), (left, right)


class Pad2D(Layer):
    """Images with more pixels at their edges.

    Forward:   y[n,c,p,q] = x[n, c, r(p - top), s(q - left)] with r, s the place in the image that counts for one beyond
               it: "edge" the last pixel, "reflect" the one as far inside of the last; in mode "constant" y is `value`
    Backward:  dx = dy added up over the places that took an element

    x: (N, C, H, W); y: (N, C, H + top + bottom, W + left + right). padding: a number, or (height, width), or
    ((top, bottom), (left, right)).
    Raises ConfigError for arguments out of range, ShapeError for inputs that are not images, and for a reflection that
    is as long as the image or longer.
    Source: ONNX operator Pad; PyTorch's ConstantPad2d, ReflectionPad2d and ReplicationPad2d.
    """

    lesson = (
        "The image gets a frame: of one number, of its mirror image, or of its outermost pixels.",
        "A window can then stand over the edge; pixels there count as much as others, and the image need not shrink.",
    )
    examples = (
        Example("Pad2D(1)", (2, 3, 4), "1, 0.0"),
        Example("Pad2D((2, 0), value=-1.5)", (3, 4, 3), "(0, 0, 2, 2), -1.5"),
        Example("Pad2D(((1, 0), (2, 3)))", (2, 3, 5), "(2, 3, 1, 0), 0.0"),
        Example("Pad2D(((1, 2), (3, 0)), 'reflect')", (2, 4, 5)),
        Example("Pad2D(((1, 2), (3, 0)), 'edge')", (2, 3, 2)),
        Example("Pad2D(2, 'edge')", (1, 1, 1)),
    )
    twin = "torch.nn.ConstantPad2d"
    operators = ("Pad",)

    def __init__(self, padding: Edges, mode: str = "constant", value: float = 0.0) -> None:
        self.padding = padding
        self.mode = one_of("mode", mode, MODES)
        self.value = finite("value", value)
        self._edges = edges("padding", padding)
        if mode != "constant" and value:
            raise ConfigError(f"value is for mode='constant' alone, got value={shown(value)} with mode={mode!r}")

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C, H + top + bottom, W + left + right)."""
        channels, (height, width) = image_shape("Pad2D", in_shape)
        (top, bottom), (left, right) = self._edges
        if self.mode == "reflect" and (max(top, bottom) >= height or max(left, right) >= width):
            raise ShapeError(
                f"Pad2D reflects less than an image has, of one with {height} x {width} pixels up to {height - 1} rows "
                f"and {width - 1} columns, got padding={self.padding!r}; use less, or mode='edge'"
            )
        return channels, height + top + bottom, width + left + right

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """The image inside; then rows and columns beyond it are copies of others."""
        (top, bottom), (left, right) = self._edges
        height, width = x.shape[2:]
        y = empty_pixels((*x.shape[:2], height + top + bottom, width + left + right), ctx)
        if self.mode == "constant":
            y[...] = self.value
            y[:, :, top : top + height, left : left + width] = x
            return y, None
        rows, columns = self._places(height, width)
        np.take(x.transpose(2, 3, 1, 0), columns, axis=1, out=y.transpose(2, 3, 1, 0)[top : top + height], mode="clip")
        for place in self._beyond(0, height):
            y[:, :, place] = y[:, :, top + rows[place]]
        return y, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """What is beyond the image is added where it came from: rows first, then columns."""
        (top, bottom), (left, right) = self._edges
        height, width = dy.shape[2] - top - bottom, dy.shape[3] - left - right
        if self.mode == "constant":
            return dy[:, :, top : top + height, left : left + width], {}
        rows, columns = self._places(height, width)
        lines = empty_pixels((*dy.shape[:2], height, dy.shape[3]), ctx)
        lines[...] = dy[:, :, top : top + height]
        for place in self._beyond(0, height):
            lines[:, :, rows[place]] += dy[:, :, place]
        dx = empty_pixels((*dy.shape[:2], height, width), ctx)
        dx[...] = lines[:, :, :, left : left + width]
        for place in self._beyond(1, width):
            dx[:, :, :, columns[place]] += lines[:, :, :, place]
        return dx, {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Pad."""
        (top, bottom), (left, right) = self._edges
        pads = np.array([0, 0, top, left, 0, 0, bottom, right])
        values = [np.array(self.value, np.float32)] if self.value else []
        return graph.add("Pad", x, pads, *values, mode=self.mode)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed: the numbers only move", rounds=sum(sum(ends) for ends in self._edges))

    def _places(self, height: int, width: int) -> tuple[Array, Array]:
        """Where in the image the rows and columns of the output come from."""
        (top, bottom), (left, right) = self._edges
        return self._of_axis(height, top, bottom), self._of_axis(width, left, right)

    def _of_axis(self, length: int, before: int, after: int) -> Array:
        """Where in an axis of this length the elements of a padded one come from."""
        places = np.arange(-before, length + after)
        if self.mode == "reflect":
            places = np.abs(places)
            return np.minimum(places, 2 * (length - 1) - places)
        return np.clip(places, 0, length - 1)

    def _beyond(self, axis: int, length: int) -> list[int]:
        """The elements of a padded axis that are not of the image."""
        before, after = self._edges[axis]
        return [*range(before), *range(before + length, before + length + after)]


class Crop2D(Layer):
    """Images without some pixels at their edges.

    Forward:   y[n,c,p,q] = x[n, c, p + top, q + left]
    Backward:  dx[n,c,p,q] = dy[n, c, p - top, q - left], 0 where nothing was taken

    x: (N, C, H, W); y: (N, C, H - top - bottom, W - left - right), a view of x. crop: a number, or (height, width), or
    ((top, bottom), (left, right)).
    Raises ConfigError for arguments out of range, ShapeError for inputs that are not images, and if nothing is left.
    Source: Ronneberger, Fischer, Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation; ONNX
    operator Slice.
    """

    lesson = (
        "Pixels at the edges are left out.",
        "Images of two sizes then fit each other, such as those of two paths through a network that are to be joined.",
    )
    examples = (
        Example("Crop2D(1)", (2, 5, 4), "-1"),
        Example("Crop2D((2, 0))", (3, 5, 3), "(0, 0, -2, -2)"),
        Example("Crop2D(((1, 0), (2, 3)))", (2, 3, 7), "(-2, -3, -1, 0)"),
    )
    twin = "torch.nn.ZeroPad2d"
    operators = ("Slice",)

    def __init__(self, crop: Edges) -> None:
        self.crop = crop
        self._edges = edges("crop", crop)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """(C, H, W) -> (C, H - top - bottom, W - left - right)."""
        channels, (height, width) = image_shape("Crop2D", in_shape)
        left_over = [length - sum(ends) for length, ends in zip((height, width), self._edges, strict=True)]
        if min(left_over) < 1:
            raise ShapeError(
                f"Crop2D cuts off all of an image of {height} x {width} pixels, got crop={self.crop!r}; use less"
            )
        return channels, *left_over

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """A view of x."""
        return x[self._inside(x.shape)], x.shape

    def backward(self, dy: Array, shape: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Dy, with zeros around it."""
        dx = empty_pixels(shape, ctx)
        dx[...] = 0
        dx[self._inside(shape)] = dy
        return dx, {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Slice of both axes."""
        _, _, rows, columns = self._inside((0, 0, *graph.shape(x)[1:]))
        starts, stops = (np.array([rows.start, columns.start]), np.array([rows.stop, columns.stop]))
        return graph.add("Slice", x, starts, stops, np.array([2, 3]))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed: some numbers are left out")

    def _inside(self, shape: Shape) -> tuple[slice, slice, slice, slice]:
        """Of an array (N, C, H, W)."""
        (top, bottom), (left, right) = self._edges
        return slice(None), slice(None), slice(top, shape[2] - bottom), slice(left, shape[3] - right)
