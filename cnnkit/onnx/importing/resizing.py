"""Larger images: Resize, Upsample, and pixels that come from channels."""

from __future__ import annotations

import math
from typing import cast

import numpy as np

from cnnkit.layers import ChannelShuffle, PixelShuffle, PixelUnshuffle, Upsample2D
from cnnkit.onnx.importing.draft import UntranslatableError, Value
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.patterns import SHUFFLE
from cnnkit.onnx.importing.step import Step, one_or_pair
from cnnkit.onnx.importing.tensorflow_patterns import REPEAT
from cnnkit.types import Array


@translates("Resize", "Upsample")
def resize(step: Step) -> Value:
    """Upsample2D by whole factors; a single pixel becomes an image in any mode."""
    x = step.x()
    if len(x.shape) not in (2, 3):
        raise UntranslatableError(f"it takes samples of shape {x.axes}; Upsample2D takes images")
    factors = _factors(step, x)
    if set(factors) == {1}:
        return x
    image = x if len(x.shape) == 3 else step.as_image(x)
    pair = factors if len(factors) == 2 else [1, *factors]
    mode = "nearest" if set(image.shape[1:]) == {1} else _mode(step, factors)
    y = step.add(Upsample2D(one_or_pair(pair), mode), image)
    return y if len(x.shape) == 3 else step.as_signal(y)


def _factors(step: Step, x: Value) -> list[int]:
    """How many times as long each axis becomes."""
    count = len(x.shape) + 1
    place = 2 if step.node.operator == "Resize" and step.opset >= 11 else 1
    scales = step.node.attributes.get("scales", step.constant(place))
    given = [] if scales is None else [float(scale) for scale in np.ravel(cast(Array, scales))]
    if not given and step.has(3):
        sizes = step.integers(3, "sizes") or []
        axes = step.numbers("axes", list(range(count)))
        lengths = (1, *x.shape)
        if len(sizes) != len(axes):
            raise UntranslatableError(f"it has {len(sizes)} sizes for {len(axes)} axes")
        sizes = [n if axis % count else 1 for n, axis in zip(sizes, axes, strict=True)]
        given = [n / lengths[axis % count] for n, axis in zip(sizes, axes, strict=True)]
    axes = step.numbers("axes", list(range(count)))
    if len(given) != len(axes):
        raise UntranslatableError("it has no scales and no sizes that are known before it runs")
    found = [1.0] * count
    for axis, scale in zip(axes, given, strict=True):
        found[axis % count] = scale
    if found[0] != 1 or found[1] != 1 or any(scale < 1 or scale != round(scale) for scale in found[2:]):
        raise UntranslatableError(f"it scales by {tuple(found)}; Upsample2D by whole numbers, height and width alone")
    return [round(scale) for scale in found[2:]]


def _mode(step: Step, factors: list[int]) -> str:
    """The mode of Upsample2D. Raises UntranslatableError for pixels that lie elsewhere than its own."""
    mode = step.text("mode", "nearest")
    default = "half_pixel" if step.node.operator == "Resize" and step.opset >= 11 else "asymmetric"
    place = step.text("coordinate_transformation_mode", default)
    rounding = step.text("nearest_mode", "round_prefer_floor") if default == "half_pixel" else "floor"
    centred = place in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
    if mode == "nearest":
        near = rounding in ("round_prefer_floor", "round_prefer_ceil")
        halves = rounding == "round_prefer_floor" and max(factors) <= 2
        of_tensorflow = place == "tf_half_pixel_for_nn" and rounding == "floor"  # (i + 0.5) / n, without - 0.5
        if (centred and near) or of_tensorflow or (place == "asymmetric" and (rounding == "floor" or halves)):
            return "nearest"
    elif mode in ("linear", "bilinear") and centred:
        return "bilinear"
    raise UntranslatableError(
        f"it has the mode {mode!r} with {place!r} and {rounding!r}; Upsample2D has nearest, and linear with half_pixel"
    )


@translates(REPEAT)
def repeat(step: Step) -> Value:
    """Upsample2D of the axes that are repeated, wherever they are in the network; signals as images."""
    given = step.value()
    x = Value(given.node, given.shape, tuple(given.axis(axis) for axis in step.numbers("perm")[1:]))
    times = dict(zip((x.axis(axis) for axis in step.numbers("axes")), step.numbers("times"), strict=True))
    if 0 in times:  # a layer repeats pixels: another axis is that of the channels
        (first,) = [axis for axis in range(len(x.shape)) if axis not in times][-1:] or [0]
        x = step.with_channels(x, x.order.index(first) + 1)
        times = dict(zip((x.axis(axis) for axis in step.numbers("axes")), step.numbers("times"), strict=True))
    if len(x.shape) not in (2, 3) or 0 in times:
        raise UntranslatableError(f"it repeats {len(times)} axes of samples of shape {x.axes}; Upsample2D of images")
    factors = [times.get(axis, 1) for axis in range(1, len(x.shape))]
    plain = x.as_node()
    if len(factors) == 2:
        y = step.add(Upsample2D(one_or_pair(factors)), plain)
    else:
        y = step.as_signal(step.add(Upsample2D((1, factors[0])), step.as_image(plain)))
    return Value(y.node, y.shape, x.order)


@translates("DepthToSpace")
def depth_to_space(step: Step) -> Value:
    """PixelShuffle; in the mode DCR the channels of one place are further apart, and put side by side first."""
    x, size = step.x(), step.integer("blocksize", 1)
    if step.text("mode", "DCR") == "DCR":
        x = step.add(ChannelShuffle(size * size), x)
    return step.add(PixelShuffle(size), x)


@translates("SpaceToDepth")
def space_to_depth(step: Step) -> Value:
    """PixelUnshuffle, then the channels apart as ONNX has them; CRD, which patterns write, leaves them."""
    x, size = step.x(), step.integer("blocksize", 1)
    channels = x.shape[0]
    y = step.add(PixelUnshuffle(size), x)
    return y if channels == 1 or step.text("mode", "DCR") == "CRD" else step.add(ChannelShuffle(channels), y)


@translates("Expand")
def expand(step: Step) -> Value:
    """A single pixel as an image; the batch axis stays."""
    x, target = step.value(), step.integers(1, "shape") or []
    wanted = ([1] * (len(x.order) + 1 - len(target)) + target)[1:]
    shape = tuple(max(n, length) for n, length in zip(wanted, x.axes, strict=False))
    if shape == x.axes:
        return x
    x = step.x()
    if len(x.shape) != 3 or shape[:1] != x.shape[:1] or math.prod(x.shape[1:]) != 1:
        raise UntranslatableError(f"it makes {tuple(target)} of samples of shape {x.axes}; Upsample2D repeats pixels")
    return step.add(Upsample2D(one_or_pair(shape[1:])), x)


@translates(SHUFFLE)
def channel_shuffle(step: Step) -> Value:
    """ChannelShuffle."""
    return step.add(ChannelShuffle(step.integer("groups", 1)), step.x())
