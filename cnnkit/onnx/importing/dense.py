"""Gemm and MatMul."""

from __future__ import annotations

import numpy as np

from cnnkit.layers import Dense, Softmax
from cnnkit.onnx.importing.convolutions import pointwise
from cnnkit.onnx.importing.draft import UntranslatableError, Value, as_float32
from cnnkit.onnx.importing.operators import translates
from cnnkit.onnx.importing.patterns import TWO_CLASSES
from cnnkit.onnx.importing.step import Step, spread

TWO_COMPUTED = (
    "it multiplies two values that are computed, as attention does; of the layers only SelfAttention2D does so"
)


@translates("Gemm")
def gemm(step: Step) -> Value:
    """Dense: y = alpha * x B + beta * c."""
    x, weight = step.x(), step.weights(1)
    if step.integer("transA", 0):
        raise UntranslatableError("it transposes the samples (transA=1), so that they mix")
    if len(x.shape) != 1:
        raise UntranslatableError(f"it takes samples of shape {x.axes}; a Dense takes vectors")
    weight = weight if step.integer("transB", 0) else weight.T
    alpha, beta = step.number("alpha", 1.0), step.number("beta", 1.0)
    arrays = {"weight": weight if alpha == 1 else as_float32(weight * np.float32(alpha))}
    if step.has(2):
        bias = step.weights(2)
        if bias.ndim == 2 and len(bias) > 1:
            raise UntranslatableError(f"it adds a constant of shape {bias.shape}, another one to each sample")
        bias = spread(bias.reshape(-1), (len(weight),))
        arrays["bias"] = as_float32(bias if beta == 1 else bias * np.float32(beta))
    return step.add(Dense(len(weight), "bias" in arrays), x, **arrays)


@translates("MatMul")
def matmul(step: Step) -> Value:
    """Dense on vectors; on images and signals, whose last axis it works along, a convolution of one pixel."""
    if step.is_constant(0) or not step.is_constant(1):
        raise UntranslatableError(
            TWO_COMPUTED
            if not step.is_constant(0)
            else "a constant stands before the samples; a layer has its weights behind them"
        )
    x, weight = step.value(), step.weights(1)
    if weight.ndim != 2:
        raise UntranslatableError(f"its weights have shape {weight.shape}; a Dense has a matrix")
    bias = step.weights(2) if step.has(2) else None  # which a pattern has put there
    if len(x.shape) == 1:
        arrays = {"weight": weight.T} | ({} if bias is None else {"bias": bias})
        return step.add(Dense(weight.shape[1], bias is not None), x, **arrays)
    return pointwise(step, step.with_channels(x, -1), weight.T, bias)


@translates(TWO_CLASSES)
def two_classes(step: Step) -> Value:
    """A Softmax of 0 and the number, which is 1 - p and p for its sigmoid p."""
    scores = step.add(Dense(2, bias=False), step.x(), weight=np.array([[0], [1]], np.float32))
    return step.add(Softmax(), scores)
