"""Activation maximisation: what it finds is answered to more than anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit import Graph, load_dataset
from cnnkit.attribution.maximisation import maximise
from cnnkit.errors import ConfigError
from cnnkit.network import INPUT
from cnnkit.registry import Registry
from tests.explanation.networks import network

REGISTRY = Path(__file__).parents[2] / "registry"


def test_images_beat_noise_and_all_samples() -> None:
    model = Registry(REGISTRY).load("digits-reference@1")
    node = next(node for node in model.nodes if node.name == "conv2d_2")
    channels = [0, 3, 17]
    images, reached = maximise(model, node, channels)
    assert images.shape == (3, 1, 8, 8)
    assert (images.min() >= 0) & (images.max() <= 16)
    means = model.trace(images)[node.index][range(3), channels].mean(axis=(1, 2))
    np.testing.assert_allclose(reached, means, rtol=1e-4)
    samples = model.trace(load_dataset("Digits()").test.x)[node.index][:, channels].mean(axis=(2, 3))
    assert (reached > samples.max(axis=0)).all()
    again, _ = maximise(model, node, channels[1:])
    np.testing.assert_allclose(again, images[1:], atol=0.2)  # alone as among others
    other, _ = maximise(model, node, channels, seed=1)
    assert np.abs(other - images).max() > 0.2


def test_a_layer_beside_which_others_are() -> None:
    nodes = {
        "one": ("Conv2D(2, 3)", "input"),
        "two": ("Conv2D(2, 3)", "input"),
        "sum": ("Add()", ["one", "two"]),
        "flat": "Flatten()",
        "scores": "Dense(2)",
    }
    model = Graph(nodes, (1, 20, 20))
    two = model.nodes[1]
    assert two.inputs == (INPUT,)
    images, reached = maximise(model, two, [0, 1])
    assert images.shape == (2, 1, 20, 20)
    assert (reached > model.trace(0.5 + 0 * images)[1].mean(axis=(2, 3)).diagonal()).all()


def test_no_images() -> None:
    model = network("Dense(3)", input_shape=(6,))
    with pytest.raises(ConfigError, match=r"takes inputs of shape \(6,\), and activation maximisation is for images"):
        maximise(model, model.nodes[0], [0])
