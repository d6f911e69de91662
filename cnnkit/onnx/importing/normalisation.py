"""Normalisations, with their statistics as buffers where they have any."""

from __future__ import annotations

import numpy as np

from cnnkit.layers import (
    BatchNorm1D,
    BatchNorm2D,
    GroupNorm,
    InstanceNorm1D,
    InstanceNorm2D,
    LayerNorm,
    LocalResponseNorm,
)
from cnnkit.onnx.importing.draft import UntranslatableError, Value
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.patterns import LAYER_NORM
from cnnkit.onnx.importing.step import Step, along, decimal, spread
from cnnkit.onnx.importing.tensorflow_patterns import GROUP_NORM, NORM
from cnnkit.types import Array, Shape

MOMENTUM = 0.9
"""ONNX's default: what the old statistics count for."""


@translates("BatchNormalization")
def batch_norm(step: Step) -> Value:
    """BatchNorm1D and BatchNorm2D, with the statistics of the file; their momentum is what new ones count for."""
    trains = step.integer("training_mode", 0) or (step.opset < 7 and not step.integer("is_test", 0))
    if trains or not step.integer("spatial", 1):
        raise UntranslatableError("it normalises by the batch, or each number by itself; BatchNorm2D each channel")
    x = step.value()
    if len(x.order) not in (1, 2, 3):
        raise UntranslatableError(f"it takes samples of shape {x.axes}; layers take vectors, signals and images")
    x = step.with_channels(x, 1)
    share = decimal(1 - step.number("momentum", MOMENTUM))
    kind = BatchNorm2D if len(x.shape) == 3 else BatchNorm1D
    layer = kind(share if 0 < share < 1 else decimal(1 - MOMENTUM), step.number("epsilon", 1e-5))
    names = "gamma", "beta", "running_mean", "running_var"
    return step.add(layer, x, **{name: step.weights(place) for place, name in enumerate(names, 1)})


@translates("InstanceNormalization")
def instance_norm(step: Step) -> Value:
    """InstanceNorm1D and InstanceNorm2D."""
    x = step.x()
    if len(x.shape) not in (2, 3):
        raise UntranslatableError(f"it takes samples of shape {x.axes}; layers take signals and images")
    kind = InstanceNorm2D if len(x.shape) == 3 else InstanceNorm1D
    return step.add(kind(step.number("epsilon", 1e-5), True), x, gamma=step.weights(1), beta=step.weights(2))


@translates("GroupNormalization")
def group_norm(step: Step) -> Value:
    """GroupNorm; before opset 21 a scale belonged to a whole group."""
    x, groups = step.x(), step.integer("num_groups", 0)
    gamma, beta = (step.weights(place).reshape(-1) for place in (1, 2))
    if 0 < len(gamma) == groups != x.shape[0]:
        gamma, beta = (np.repeat(values, x.shape[0] // groups) for values in (gamma, beta))
    return step.add(GroupNorm(groups, step.number("epsilon", 1e-5)), x, gamma=gamma, beta=beta)


@translates("LayerNormalization")
def layer_norm(step: Step) -> Value:
    """LayerNorm over all numbers of a sample, or along one axis, which are its channels."""
    x = step.value()
    count = len(x.order)
    axis = step.integer("axis", -1)
    first = axis if axis >= 0 else axis + count + 1
    gamma = step.weights(1)
    beta = step.weights(2) if step.has(2) else np.zeros_like(gamma)
    epsilon = step.number("epsilon", 1e-5)
    if first == count:
        x = step.with_channels(x, first)
        gamma, beta = (along(values, -1, x.shape[0]) for values in (gamma, beta))
        axes = "all" if count == 1 else "channels"
        return step.add(LayerNorm(axes, epsilon), x, gamma=gamma, beta=beta)
    if first != 1:
        raise UntranslatableError(
            f"it works along the axes from {first} to {count}; LayerNorm along all, or the channels"
        )
    x = step.x()
    gamma, beta = (spread(values, x.shape) for values in (gamma, beta))
    return step.add(LayerNorm("all", epsilon), x, gamma=gamma, beta=beta)


@translates(LAYER_NORM)
def layer_norm_along(step: Step) -> Value:
    """LayerNorm along one axis, which are its channels."""
    given, axis = step.value(), step.integer("axis", -1)
    x = step.with_channels(given, axis)
    learned = _learned(step, x.shape[:1], axis if axis < 0 else axis - len(given.order) - 1)
    return step.add(LayerNorm("all" if len(x.shape) == 1 else "channels", step.number("epsilon", 1e-5)), x, **learned)


@translates(NORM)
def norm_over_axes(step: Step) -> Value:
    """LayerNorm along one axis or all, InstanceNorm along all but one, which has the channels."""
    x = step.value()
    count = len(x.order)
    over = {x.axis(axis) for axis in step.numbers("axes")}
    channels = [place for place, axis in enumerate(x.order, 1) if axis not in over]
    epsilon = step.number("epsilon", 1e-5)
    if len(over) == 1:
        axis = x.order.index(over.pop()) + 1
        x = step.with_channels(x, axis)
        learned = _learned(step, x.shape[:1], axis - count - 1)
        return step.add(LayerNorm("all" if count == 1 else "channels", epsilon), x, **learned)
    if not channels:
        x = step.x()
        return step.add(LayerNorm("all", epsilon), x, **_learned(step, x.shape))
    if len(channels) == 1 and count in (2, 3):
        x = step.with_channels(x, channels[0])
        kind = InstanceNorm2D if count == 3 else InstanceNorm1D
        return step.add(kind(epsilon, True), x, **_learned(step, x.shape[:1], channels[0] - count - 1))
    raise UntranslatableError(
        f"it normalises over {len(over)} of {count} axes; LayerNorm over all or one, InstanceNorm2D over all but one"
    )


@translates(GROUP_NORM)
def group_norm_of_last(step: Step) -> Value:
    """GroupNorm of the last axis, wherever that is in the network."""
    x = step.with_channels(step.value(), -1)
    layer = GroupNorm(step.integer("groups", 0), step.number("epsilon", 1e-5))
    return step.add(layer, x, **_learned(step, x.shape[:1]))


def _learned(step: Step, shape: Shape, axis: int = -1) -> dict[str, Array]:
    """Gamma and beta of a shape, 1 and 0 where the file has none; axis: that of their numbers where they have one."""
    given = {}
    for place, (name, plain) in enumerate((("gamma", 1), ("beta", 0)), 1):
        numbers = step.weights(place) if step.has(place) else np.full(1, plain, np.float32)
        while numbers.ndim > len(shape) > 1 and numbers.shape[0] == 1:
            numbers = numbers[0]
        given[name] = along(numbers, axis, shape[0]) if len(shape) == 1 else spread(numbers, shape)
    return given


@translates("LRN")
def local_response_norm(step: Step) -> Value:
    """LocalResponseNorm."""
    size, alpha = step.integer("size", 1), step.number("alpha", 1e-4)
    return step.add(LocalResponseNorm(size, alpha, step.number("beta", 0.75), step.number("bias", 1.0)), step.x())
