"""A network with every kind of layer, moved off its initial values, and an image for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkit.network import Sequential
from cnnkit.types import Array, Preprocessing

LAYERS = (
    'Conv2D(4, 3, padding="same", bias=False)',
    "BatchNorm2D()",
    "ReLU()",
    'Residual(Conv2D(4, 3, padding="same", groups=2), BatchNorm2D())',
    "Concat(Conv2D(3, 1), [AvgPool2D(3, stride=1, padding=1)])",
    'MaxPool2D(2, padding="same")',
    "Flatten()",
    "Dropout(0.5)",
    "Dense(5)",
)
SHAPE = (2, 9, 7)


def network(*layers: Any, **options: Any) -> Sequential:
    """These layers, all of the above without any, with random parameters and running statistics."""
    options = {"preprocessing": Preprocessing(1 / 255, (0.1,), (0.5,))} | options
    model = Sequential(layers or LAYERS, options.pop("input_shape", SHAPE), **options)
    rng = np.random.default_rng(3)
    state = {name: value + rng.uniform(0, 0.3, value.shape) for name, value in model.state().items()}
    model.load_state(state)
    return model


def image(shape: tuple[int, ...] = SHAPE) -> Array:
    """Random pixels."""
    return np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)
