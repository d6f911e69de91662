"""Functions of single numbers, and those over channels that end a network: Softmax and LogSoftmax."""

from __future__ import annotations

import math
from collections.abc import Callable

from cnnkit.components import Layer
from cnnkit.layers import (
    CELU,
    ELU,
    GELU,
    SELU,
    Clip,
    Dropout,
    Flatten,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    LogSoftmax,
    Mish,
    Multiply,
    PReLU,
    ReLU,
    ReLU6,
    Rescale,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from cnnkit.onnx.importing.draft import UntranslatableError, Value
from cnnkit.onnx.importing.matching import EXACT
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.step import Step

PLAIN: dict[str, type[Layer]] = {
    "HardSwish": HardSwish,
    "Mish": Mish,
    "Relu": ReLU,
    "Sigmoid": Sigmoid,
    "Softplus": Softplus,
    "Softsign": Softsign,
    "Tanh": Tanh,
}
"""Operators that are one layer without arguments."""
WITH_ALPHA: dict[str, tuple[Callable[[float], Layer], float]] = {
    "Celu": (CELU, 1.0),
    "Elu": (ELU, 1.0),
    "LeakyRelu": (LeakyReLU, 0.01),
}
"""Those that have one number, with what it is if the file does not say."""
SELU_ALPHA, SELU_GAMMA = 1.6732632, 1.0507010
"""The values that Klambauer et al. (2017) derive, which the layer SELU has."""


@translates(*PLAIN)
def plain(step: Step) -> Value:
    """One layer."""
    return step.add(PLAIN[step.node.operator](), step.value())


@translates(*WITH_ALPHA)
def with_alpha(step: Step) -> Value:
    """One layer with a number."""
    layer, default = WITH_ALPHA[step.node.operator]
    return step.add(layer(step.number("alpha", default)), step.value())


@translates("Gelu")
def gelu(step: Step) -> Value:
    """GELU, exact or by tanh."""
    return step.add(GELU(step.text("approximate", "none")), step.value())


@translates("Selu")
def selu(step: Step) -> Value:
    """SELU, which has the constants of its paper alone; with others, an ELU and a factor."""
    alpha, gamma = step.number("alpha", SELU_ALPHA), step.number("gamma", SELU_GAMMA)
    if not (math.isclose(alpha, SELU_ALPHA, rel_tol=EXACT) and math.isclose(gamma, SELU_GAMMA, rel_tol=EXACT)):
        return step.add(Rescale(gamma), step.add(ELU(alpha), step.value()))
    return step.add(SELU(), step.value())


@translates("Swish")
def swish(step: Step) -> Value:
    """SiLU, x * sigmoid(alpha * x) with alpha 1."""
    if (alpha := step.number("alpha", 1.0)) != 1:
        raise UntranslatableError(f"it has alpha {alpha}; SiLU has 1")
    return step.add(SiLU(), step.value())


@translates("PRelu")
def prelu(step: Step) -> Value:
    """PReLU with one slope, or one for each channel."""
    x, slope = step.value(), step.weights(1)
    if slope.size > 1:
        if step.opset < 7 and slope.ndim == 1:
            slope = slope.reshape(-1, *[1] * (len(x.order) - 1))  # of the channels, wherever these are
        shape = (1,) * (len(x.order) + 1 - slope.ndim) + slope.shape
        along = [axis for axis, length in enumerate(shape) if length > 1]
        if len(along) != 1 or along[0] == 0 or len(shape) != len(x.order) + 1:
            raise UntranslatableError(f"it has slopes of shape {slope.shape}; PReLU has one, or one for each channel")
        x = step.with_channels(x, along[0])
    return step.add(PReLU(slope.size), x, weight=slope.reshape(-1))


@translates("HardSigmoid")
def hard_sigmoid(step: Step) -> Value:
    """HardSigmoid where it has the slope 1/6, else a straight line and bounds."""
    alpha, beta = step.number("alpha", 0.2), step.number("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=EXACT) and beta == 0.5:
        return step.add(HardSigmoid(), step.value())
    return step.add(Clip(0.0, 1.0), step.add(Rescale(alpha, beta), step.value()))


@translates("Clip")
def clip(step: Step) -> Value:
    """Clip, or ReLU6, whose bounds were attributes before opset 11."""
    bounds: list[float | None] = []
    for place, name in ((1, "min"), (2, "max")):
        if name in step.node.attributes:
            bound: float | None = step.number(name, 0.0)
        else:
            bound = step.single(place)
        bounds.append(None if bound is None or abs(bound) >= 3.4e38 else bound)
    low, high = bounds
    if low is None and high is None:
        return step.value()
    return step.add(ReLU6() if (low, high) == (0, 6) else Clip(low, high), step.value())


@translates("Softmax", "LogSoftmax")
def softmax(step: Step) -> Value:
    """Over one axis; below opset 13 over all axes from one on, which are flat for it."""
    layer = Softmax() if step.node.operator == "Softmax" else LogSoftmax()
    x = step.value()
    if step.opset >= 13:
        return step.add(layer, step.with_channels(x, step.integer("axis", -1)))
    axis = step.integer("axis", 1)
    axis = axis if axis >= 0 else axis + len(x.order) + 1
    over = x.axes[axis - 1 :]
    if axis >= 1 and math.prod(over) == over[0]:
        return step.add(layer, step.with_channels(x, axis))
    if axis != 1:
        raise UntranslatableError(f"it works along all axes from {axis} on together; a Softmax along one")
    return step.reshaped(step.add(layer, step.add(Flatten(), step.x())), x.axes)


@translates("Dropout")
def dropout(step: Step) -> Value:
    """Dropout, which does nothing in prediction."""
    ratio = step.single(1)
    rate = step.number("ratio", 0.5) if ratio is None else ratio
    return step.add(Dropout(rate), step.value()) if 0 < rate < 1 else step.value()


@translates("Pow")
def power(step: Step) -> Value:
    """A number times itself."""
    times = step.single(1)
    if times not in (1, 2, 3):
        raise UntranslatableError("layers have the exponents 1, 2 and 3 alone, as products")
    x = y = step.value()
    for _ in range(int(times) - 1):
        y = step.add(Multiply(), y, x)
    return y
