"""Random networks from all built-in layers give the same answers on every runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.errors import ShapeError
from cnnkit.layers import (
    LAYERS,
    Add,
    Average,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Maximum,
    MaxPool2D,
    Multiply,
    ReLU,
    Residual,
    Softmax,
    Subtract,
)
from cnnkit.network import Graph
from cnnkit.onnx.export import export_onnx
from cnnkit.onnx.validate import validate_onnx
from cnnkit.types import Array, Preprocessing

OPSETS = (13, 17, 21)


def fits(expression: str) -> bool:
    """Whether a layer takes any image of two channels; a slope for each of many channels does not."""
    try:
        cast(Layer, installed_catalog().build("layer", expression)).build((2, 4, 5), np.random.default_rng(0))
    except ShapeError:
        return False
    return True


POINTWISE = [one.expression for cls in LAYERS if cls.pointwise for one in cls.examples if fits(one.expression)]
"""Layers that fit anywhere; each stands in two networks."""
BEHIND_IMAGES = [
    "AdaptiveAvgPool2D(3)",
    "AdaptiveMaxPool2D((2, 3))",
    "AddCoordinates(True)",
    "ChannelShuffle(2)",
    "ConvTranspose2D(3, 3, 2, 1, 1)",
    "Crop2D(((0, 1), (1, 0)))",
    "DepthwiseConv2D(3, 2, 'same')",
    "GLU()",
    "GlobalAvgPool2D(True)",
    "GlobalMaxPool2D(True)",
    "GroupNorm(2)",
    "InstanceNorm2D(affine=True)",
    "LPPool2D(2, 3, 2, 1)",
    "LayerNorm('channels')",
    "LayerNorm()",
    "LocalResponseNorm(3, 0.5)",
    "LogSoftmax()",
    "Pad2D((2, 1), 'edge')",
    "Permute((1, 3, 2))",
    "PixelShuffle(2)",
    "PixelUnshuffle(1)",
    "RMSNorm('channels')",
    "Reshape((2, 2, -1))",
    "SelfAttention2D(2)",
    "SeparableConv2D(3, (3, 2), padding=1)",
    "Slice(1, 3)",
    "SqueezeExcite(2)",
    "WeightNorm(Conv2D(4, 3, padding='same'))",
    "WeightStandardization(DepthwiseConv2D(3, padding=1))",
]
"""Layers that fit behind any image of four channels; each stands in two networks."""
BEHIND_SIGNALS = [
    "AvgPool1D(3, 2, 1)",
    "BatchNorm1D()",
    "GlobalAvgPool1D(True)",
    "GlobalMaxPool1D()",
    "InstanceNorm1D()",
    "MaxPool1D(2)",
]
"""Layers that fit behind signals of four channels; a third of the networks end in one."""
JOINS: tuple[type[Merge], ...] = Add, Average, Maximum, Multiply, Subtract
SEEDS = max(24, 2 * len(POINTWISE), 2 * len(BEHIND_IMAGES))
BATCH = 8  # the first sample runs alone, the others as a batch of 7


def convolution(rng: np.random.Generator) -> Conv2D:
    groups = int(rng.integers(1, 3))
    return Conv2D(
        groups * int(rng.integers(1, 4)),
        (int(rng.integers(1, 4)), int(rng.integers(1, 4))),
        stride=int(rng.integers(1, 3)),
        padding="same" if rng.random() < 0.5 else int(rng.integers(0, 3)),
        dilation=int(rng.integers(1, 3)),
        groups=groups,
        bias=bool(rng.integers(2)),
    )


def layer(rng: np.random.Generator) -> Layer | Merge:
    match rng.integers(8):
        case 0:
            return convolution(rng)
        case 1:
            return MaxPool2D(int(rng.integers(2, 4)), int(rng.integers(1, 3)), 1)
        case 2:
            return AvgPool2D(int(rng.integers(2, 4)), int(rng.integers(1, 3)), 1)
        case 3:
            return BatchNorm2D(epsilon=float(rng.choice([1e-5, 1e-2])))
        case 4:
            return Dropout(0.5)
        case 5:
            return Residual(Conv2D(4, 3, padding="same"), ReLU(), shortcut=Conv2D(4, 1))
        case 6:
            return Concat([], [Conv2D(1, 1), ReLU()], [MaxPool2D(3, 1, 1)])
        case _:
            return ReLU()


def network(seed: int) -> Graph:
    """A chain, with a join behind it; an even number of channels before every convolution, so that two groups fit."""
    rng = np.random.default_rng(seed)
    body: list[Layer | Merge | str] = ["Conv2D(2, 1)", POINTWISE[seed % len(POINTWISE)]]
    for _ in range(rng.integers(1, 5)):
        body += [layer(rng), Conv2D(4, 1)]
    body += [BEHIND_IMAGES[seed % len(BEHIND_IMAGES)], Conv2D(4, 1)]
    if seed % 3 == 1:
        body += ["Reshape((4, -1))", "Conv1D(4, 3, padding=2)", BEHIND_SIGNALS[seed // 3 % len(BEHIND_SIGNALS)]]
    end: list[Layer | Merge] = [Flatten(), Dense(int(rng.integers(2, 12)), bias=bool(rng.integers(2)))]
    end += [Softmax()] if rng.random() < 0.3 else []
    uint8 = rng.random() < 0.5
    chain = {f"n{place}": one for place, one in enumerate(body)}
    join = JOINS[seed % len(JOINS)]()
    if seed % 6 == 0:
        chain["larger"] = "Upsample2D((1, 2))"
    joined = {"bent": "ReLU()", "joined": (join, [*[*chain][-1:], "bent"])}
    model = Graph(
        chain | joined | {f"end{place}": one for place, one in enumerate(end)},
        (2, int(rng.integers(12, 20)), int(rng.integers(12, 20))),
        preprocessing=Preprocessing(1 / 255 if uint8 else 1.0, (0.4, 0.6), (0.2, 0.3)),
        input_dtype="uint8" if uint8 else "float32",
        seed=seed,
    )
    spread = {name: (array + 0.2 * rng.random(array.shape)).astype(np.float32) for name, array in model.state().items()}
    model.load_state(spread)  # also what starts as zeros and ones: biases and running statistics
    return model


def inputs(model: Graph, seed: int) -> Array:
    rng = np.random.default_rng([seed, 1])
    shape = (BATCH, *model.input_shape)
    return rng.integers(0, 256, shape, np.uint8) if model.input_dtype == "uint8" else rng.random(shape, np.float32)


def check(seed: int, path: Path) -> None:
    model = network(seed)
    export_onnx(model, path, opset=OPSETS[seed % len(OPSETS)])
    report = validate_onnx(path, model, inputs(model, seed))
    assert report.ok, f"network {seed}: {model!r}\n{report}"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_networks_agree(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path / "model.onnx")


@pytest.mark.full
@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 200))
def test_many_random_networks_agree(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path / "model.onnx")


def test_the_random_networks_have_every_built_in_layer_input_and_opset() -> None:
    models = [network(seed) for seed in range(SEEDS)]
    counts = Counter(type(node.layer) for model in models for node in model.nodes)
    assert min(counts[cls] for cls in LAYERS) >= 2
    assert {(model.input_dtype, OPSETS[i % 3]) for i, model in enumerate(models)} == {
        (dtype, opset) for dtype in ("uint8", "float32") for opset in OPSETS
    }
