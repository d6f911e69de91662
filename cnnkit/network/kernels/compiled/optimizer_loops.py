"""Updates of the parameters in one pass, where NumPy makes eight or ten; each equals it bit for bit."""

from __future__ import annotations

from cnnkit.network.kernels.compiled.vector_code import square_root
from cnnkit.types import Array


def adam(
    params: Array,
    grads: Array,
    mean: Array,
    square: Array,
    largest: Array,
    count: int,
    beta1: float,
    beta2: float,
    epsilon: float,
    rate: float,
    shrinks_by: float,
    decay: float,
    decays: int,
    keeps_largest: int,
) -> None:
    """`Adam.update` and `AdamW.update`; largest: of amsgrad, else anything."""
    for i in range(count):
        p = params[i] * shrinks_by
        g = grads[i]
        if decays != 0:
            g += decay * p
        m = mean[i] * beta1 + g
        mean[i] = m
        v = square[i] * beta2 + g * g
        square[i] = v
        if keeps_largest != 0:
            v = v if v > largest[i] or v != v else largest[i]
            largest[i] = v
        params[i] = p - m / (square_root(v) + epsilon) * rate


def gradient_descent(
    params: Array,
    grads: Array,
    velocity: Array,
    count: int,
    rate: float,
    momentum: float,
    decay: float,
    has_momentum: int,
    decays: int,
    looks_ahead: int,
) -> None:
    """`SGD.update`; velocity: with momentum, else anything."""
    for i in range(count):
        p, g = params[i], grads[i]
        if decays != 0:
            g += decay * p
        move = g
        if has_momentum != 0:
            move = velocity[i] * momentum + g
            velocity[i] = move
        if looks_ahead != 0:
            move = g + momentum * move
        params[i] = p - move * rate
