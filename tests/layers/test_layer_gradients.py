"""Every built-in layer against finite differences, on its examples, and some over random configurations, too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.layers import (
    LAYERS,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    MaxPool2D,
    ReLU,
    Residual,
    Softmax,
)
from cnnkit.testing import check_layer, gradient_check
from cnnkit.types import Example, Shape

EXAMPLES = [example for cls in LAYERS for example in cls.examples]
CONFIGURATIONS = 50
SEEDS = 5

Rng = np.random.Generator
Case = tuple[Layer | Merge, Shape]


def pick(rng: Rng, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def image(rng: Rng, low: int = 1, high: int = 6) -> Shape:
    return pick(rng, 1, 3), pick(rng, low, high), pick(rng, low, high)


def conv(rng: Rng) -> Case:
    groups = pick(rng, 1, 3)
    padding: list[int | tuple[int, int] | str] = [0, 1, (2, 1), "same", "valid"]
    layer = Conv2D(
        groups * pick(rng, 1, 2),
        (pick(rng, 1, 3), pick(rng, 1, 3)),
        stride=(pick(rng, 1, 3), pick(rng, 1, 2)),
        padding=padding[pick(rng, 0, 4)],
        dilation=pick(rng, 1, 2),
        groups=groups,
        bias=bool(rng.integers(2)),
    )
    return layer, (groups * pick(rng, 1, 2), pick(rng, 5, 7), pick(rng, 5, 7))


def pool(cls: type[MaxPool2D | AvgPool2D], rng: Rng) -> Case:
    size = pick(rng, 1, 3), pick(rng, 1, 3)
    padding: list[tuple[int, int] | str] = [(pick(rng, 0, size[0] - 1), pick(rng, 0, size[1] - 1)), "same", "valid"]
    stride = None if rng.random() < 0.3 else (pick(rng, 1, 3), pick(rng, 1, 3))
    options = {"ceil_mode": bool(rng.integers(2))}
    if cls is AvgPool2D:
        options["count_include_pad"] = bool(rng.integers(2))
    return cls(size, stride, padding[pick(rng, 0, 2)], **options), image(rng, 3, 7)


def residual(rng: Rng) -> Case:
    in_shape = channels, *_ = image(rng, 2, 4)
    if rng.random() < 0.5:
        return Residual(Conv2D(channels, 3, padding="same"), ReLU()), in_shape
    return Residual(Conv2D(2, 3, 2, "same"), shortcut=[Conv2D(2, 1, 2), BatchNorm2D()]), in_shape


def concat(rng: Rng) -> Case:
    branches: list[list[Layer | Merge]] = [[], [Conv2D(2, 3, padding="same")], [Conv2D(1, 1), Softmax()], [ReLU()]]
    chosen = rng.permutation(len(branches))[: pick(rng, 2, 4)]
    return Concat(*(branches[i] for i in chosen)), image(rng, 1, 4)


def conv_transpose(rng: Rng) -> Case:
    groups, stride = pick(rng, 1, 2), (pick(rng, 1, 3), pick(rng, 1, 2))
    layer = ConvTranspose2D(
        groups * pick(rng, 1, 2),
        (pick(rng, 2, 3), pick(rng, 1, 3)),
        stride,
        (pick(rng, 0, 1), 0),
        (pick(rng, 0, stride[0] - 1), pick(rng, 0, stride[1] - 1)),
        pick(rng, 1, 2),
        groups,
        bool(rng.integers(2)),
    )
    return layer, (groups * pick(rng, 1, 2), pick(rng, 2, 5), pick(rng, 2, 5))


RANDOM: dict[type[Layer | Merge], Callable[[Rng], Case]] = {
    AvgPool2D: lambda rng: pool(AvgPool2D, rng),
    BatchNorm2D: lambda rng: (BatchNorm2D(epsilon=float(10 ** rng.uniform(-5, -1))), image(rng, 2, 5)),
    Concat: concat,
    Conv2D: conv,
    ConvTranspose2D: conv_transpose,
    Dense: lambda rng: (Dense(pick(rng, 1, 5), bias=bool(rng.integers(2))), (pick(rng, 1, 8),)),
    MaxPool2D: lambda rng: pool(MaxPool2D, rng),
    Residual: residual,
}
"""Layers with so many configurations that examples cannot have all that matter."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.expression} {example.in_shape}")
def test_gradient_of_the_examples(example: Example) -> None:
    layer: Layer | Merge = installed_catalog().build("layer", example.expression)  # type: ignore[assignment]  # the catalog gives components of every kind
    for seed in range(SEEDS):
        report = gradient_check(layer, example.in_shape, batch=2 + seed, seed=seed)
        assert report.ok, f"seed {seed}: {report}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.expression} {example.in_shape}")
def test_conformance_of_the_examples(example: Example) -> None:
    check_layer(example.expression, example.in_shape)


@pytest.mark.parametrize("cls", RANDOM, ids=lambda cls: cls.__name__)
def test_gradient_over_random_configurations(cls: type[Layer | Merge]) -> None:
    for seed in range(CONFIGURATIONS):
        layer, in_shape = RANDOM[cls](np.random.default_rng(seed))
        report = gradient_check(layer, in_shape, batch=2 + seed % 4, seed=seed)
        assert report.ok, f"seed {seed}, inputs {in_shape}: {report}"


@pytest.mark.parametrize("cls", RANDOM, ids=lambda cls: cls.__name__)
def test_conformance_over_random_configurations(cls: type[Layer | Merge]) -> None:
    for seed in range(3):
        check_layer(*RANDOM[cls](np.random.default_rng(100 + seed)))
