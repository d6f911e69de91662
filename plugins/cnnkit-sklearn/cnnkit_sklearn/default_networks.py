"""The layers of an estimator that is given none, all but the last: chosen by the shape of a sample."""

from __future__ import annotations

from cnnkit.plugin import Shape, ShapeError

KERNEL = {1: 5, 2: 3}
"""How long a filter is along each axis, of signals and of images."""


def default_layers(shape: Shape) -> list[str]:
    """Expressions of layers for samples of this shape; they end in a row of numbers.

    (F,): one dense layer of 100 units, as scikit-learn's MLPClassifier has; (C, L) and (C, H, W): two convolutions with
    16 and 32 filters, and a dense layer of 64 units. Each convolution halves what is 4 or longer.
    Raises ShapeError for anything else.
    """
    if len(shape) == 1:
        return ["Dense(100)", "ReLU()"]
    axes = len(shape) - 1
    if axes not in KERNEL:
        raise ShapeError(f"a sample must be a row (F,), a signal (C, L) or an image (C, H, W), got {shape}")
    layers, shortest = [], min(shape[1:])
    for filters in (16, 32):
        layers += [f"Conv{axes}D({filters}, {KERNEL[axes]}, padding={KERNEL[axes] // 2})", "ReLU()"]
        if shortest >= 4:
            layers.append(f"MaxPool{axes}D(2)")
            shortest //= 2
    return [*layers, "Flatten()", "Dense(64)", "ReLU()"]
