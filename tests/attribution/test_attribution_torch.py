"""Input gradients, Grad-CAM and integrated gradients against PyTorch's own gradients of the same network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit import attribute, load_dataset
from cnnkit.layers import MaxPool2D
from cnnkit.network import INPUT, Network
from cnnkit.registry import Registry
from cnnkit.types import Array
from tests.explanation.networks import image, network

torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")

from tests.attribution.torch_network import gradients  # noqa: E402  # needs torch

REGISTRY = Path(__file__).parents[2] / "registry"
CLOSE = 1e-4
TARGET = np.array([3, 0, 1])


def reference(name: str) -> tuple[Network, Array]:
    """A model that ships, and three images for it: digits, enlarged for a model of larger ones.

    With noise, as of equal numbers in a window of a pooling, rounding would say which one is the largest.
    """
    x = load_dataset("Digits()").test.x[:3]
    if name.startswith("mnist"):
        x = np.pad(np.kron(x * 14, np.ones((1, 1, 3, 3), np.uint8)), ((0, 0), (0, 0), (2, 2), (2, 2)))
        x += np.random.default_rng(1).integers(0, 30, x.shape, dtype=np.uint8)
    return Registry(REGISTRY).load(f"{name}-reference@1"), x


def subject(name: str) -> tuple[Network, Array]:
    if name != "branches":
        return reference(name)
    branches = [
        'Conv2D(4, 3, padding="same", bias=False)',
        "BatchNorm2D()",
        "ReLU()",
        'Residual(Conv2D(4, 3, padding="same", groups=2), BatchNorm2D())',
        "Concat(Conv2D(3, 1), [AvgPool2D(3, stride=1, padding=1)])",
        "MaxPool2D(2)",
        "Flatten()",
        "Dense(5)",
        "Softmax()",
    ]
    return network(*branches), image((3, 2, 9, 7))


def relative(found: Array, expected: Array) -> float:
    """The largest difference, as a part of the largest number."""
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def leads_around(model: Network, at: int) -> bool:
    """Whether a path from the input to the end avoids a node."""
    reached = {INPUT}
    for node in model.nodes:
        if node.index != at and reached & {*node.inputs}:
            reached.add(node.index)
    return len(model.nodes) - 1 in reached


NAMES = ("digits", "mnist-compact", "branches")


@pytest.mark.parametrize("name", NAMES)
def test_input_gradients(name: str) -> None:
    model, x = subject(name)
    _, expected = gradients(model, x, TARGET)
    assert relative(attribute(model, x, method="gradient", target=TARGET), expected) < CLOSE
    assert relative(1.001 * attribute(model, x, method="gradient", target=TARGET), expected) > CLOSE


@pytest.mark.parametrize("name", NAMES)
def test_grad_cam_of_each_layer_with_maps(name: str) -> None:
    model, x = subject(name)
    last = ""
    for node in model.nodes:
        if len(node.out_shape) != 3:
            continue
        maps, gradient = map(torch.tensor, gradients(model, x, TARGET, node.index))
        cam = torch.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
        size = model.input_shape[1:]
        expected = torch.nn.functional.interpolate(cam, size, mode="bilinear", align_corners=False)[:, 0].numpy()
        if expected.max() > 0:
            assert relative(attribute(model, x, target=TARGET, layer=node.name), expected) < CLOSE, node
        pools = isinstance(node.layer, MaxPool2D)
        if max(node.out_shape[1:]) > 1 and not pools and not leads_around(model, node.index):
            last = node.name
    assert np.array_equal(attribute(model, x, target=TARGET), attribute(model, x, target=TARGET, layer=last))


@pytest.mark.filterwarnings("ignore:the integrated gradients miss")
@pytest.mark.parametrize("name", NAMES)
def test_integrated_gradients(name: str) -> None:
    model, x = subject(name)
    baseline = np.random.default_rng(5).uniform(0, 8, model.input_shape).astype(np.float32)
    steps = 20
    expected = np.zeros(x.shape)
    for step in range(steps):
        way = baseline + np.float32((step + 0.5) / steps) * (x - baseline)
        expected += gradients(model, way, TARGET)[1]
    expected *= (x - baseline) / steps
    found = attribute(model, x, method="integrated-gradients", target=TARGET, baseline=baseline, steps=steps)
    assert relative(found, expected) < CLOSE
