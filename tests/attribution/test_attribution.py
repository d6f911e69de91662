"""Attribution: what it is of, loops that it equals, and what does not fit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Graph, Sequential, attribute, load_dataset
from cnnkit.architectures.residual import ResNet
from cnnkit.attribution import attribution
from cnnkit.attribution.grad_cam import enlarged
from cnnkit.components import Layer
from cnnkit.errors import CnnkitWarning, ConfigError, DataError, ShapeError
from cnnkit.network import Network
from cnnkit.registry import Registry
from cnnkit.types import Array, Cache, Context, Grads, Task
from tests.explanation.networks import image, network

REGISTRY = Path(__file__).parents[2] / "registry"
METHODS = ("gradient", "gradcam", "integrated-gradients", "occlusion")
DIGITS = load_dataset("Digits()").test


def reference() -> Network:
    return Registry(REGISTRY).load("digits-reference@1")


def logits(model: Network, x: Array, target: int) -> Array:
    return model.logits(x)[:, target].astype(np.float64)


@pytest.mark.parametrize(("window", "stride"), [(3, 1), ((2, 4), (2, 3)), (9, 5), (1, 2)])
def test_occlusion_is_that_of_a_plain_loop(window: Any, stride: Any) -> None:
    model = network("Conv2D(4, 3)", "ReLU()", "Flatten()", "Dense(5)", "Softmax()", input_shape=(2, 9, 11))
    x = image((2, 2, 9, 11))
    (high, wide), (down, across) = (pair if isinstance(pair, tuple) else (pair, pair) for pair in (window, stride))
    total, times = np.zeros((2, 9, 11)), np.zeros((9, 11))
    whole = logits(model, x, 3)
    for top, left in itertools.product(range(0, 9, down), range(0, 11, across)):
        if top >= 9 - high + down or left >= 11 - wide + across:
            continue
        covered = x.astype(np.float32)
        covered[:, :, top : top + high, left : left + wide] = 7
        total[:, top : top + high, left : left + wide] += (whole - logits(model, covered, 3))[:, None, None]
        times[top : top + high, left : left + wide] += 1
    expected = np.divide(total, times, out=np.zeros_like(total), where=times > 0)
    found = attribute(model, x, method="occlusion", target=3, window=window, stride=stride, fill=7)
    assert found.shape == (2, 9, 11)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_integrated_gradients_are_complete_on_a_model_that_ships() -> None:
    model, x = reference(), DIGITS.x[:40]
    found = attribution(model, x, method="integrated-gradients")
    assert found.maps.shape == (40, 1, 8, 8)
    assert np.array_equal(found.targets, model.predict(x))
    there, black = model.logits(x), model.logits(np.zeros_like(x[:1]))[0]
    difference = there[np.arange(40), found.targets] - black[found.targets]
    assert np.abs(found.maps.sum(axis=(1, 2, 3)) / difference - 1).max() < 0.01
    assert found.incompleteness is not None
    assert found.incompleteness.max() < 0.01
    with pytest.warns(CnnkitWarning, match=r"miss .* of the score's difference from the baseline: use more steps"):
        attribute(model, x, method="integrated-gradients", steps=1)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_samples_one_by_one_in_tiles_of_any_size(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = reference(), DIGITS.x[:5]
    together = attribute(model, x, method=method)
    alone = np.concatenate([attribute(model, x[at : at + 1], method=method) for at in range(5)])
    scale = np.abs(together).max()
    assert np.abs(together - alone).max() < 1e-5 * scale
    monkeypatch.setattr("cnnkit.attribution.passes.MOST_SAMPLES", 3)
    assert np.abs(together - attribute(model, x, method=method)).max() < 1e-5 * scale
    assert np.array_equal(x, DIGITS.x[:5])


def test_gradients_are_those_of_small_steps_where_ways_join() -> None:
    nodes = {
        "stem": 'Conv2D(3, 3, padding="same")',
        "curve": ("Tanh()", "stem"),
        "sum": ("Add()", ["stem", "curve"]),
        "flat": "Flatten()",
        "scores": "Dense(4)",
    }
    model = Graph(nodes, (1, 5, 4), dtype="float64")
    x = np.random.default_rng(0).normal(size=(1, 1, 5, 4))
    found = attribute(model, x, method="gradient", target=2)
    expected = np.zeros(20)
    for at, step in enumerate(1e-6 * np.eye(20)):
        expected[at] = (logits(model, x + step.reshape(x.shape), 2) - logits(model, x - step.reshape(x.shape), 2))[0]
    np.testing.assert_allclose(found.ravel(), expected / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("end", [(), ("Softmax()",), ("LogSoftmax()",)])
def test_what_makes_probabilities_is_left_out(end: tuple[str, ...]) -> None:
    plain, ended = (network("Flatten()", "Dense(5)", *more) for more in ((), end))
    x = image()[None]
    assert np.array_equal(attribute(plain, x, method="gradient"), attribute(ended, x, method="gradient"))


def test_labels_and_values() -> None:
    x = image((3, 2, 9, 7))
    labels = network("Flatten()", "Dense(5)", "Sigmoid()", labels=list("abcde"), task=Task("labels", from_logits=True))
    plain = network("Flatten()", "Dense(5)")
    found = attribution(labels, x, method="gradient")
    assert np.array_equal(found.targets, labels.predict_proba(x).argmax(axis=1))
    assert np.array_equal(found.maps, attribute(plain, x, method="gradient", target=found.targets))
    assert np.array_equal(
        attribute(labels, x, method="gradient", target="d"), attribute(labels, x, method="gradient", target=3)
    )
    values = network("Flatten()", "Dense(5)", task=Task("values", from_logits=False))
    with pytest.raises(
        ConfigError, match=r"the model gives 5 values: say of which one, as target=0 to 4, or --class 0"
    ):
        attribute(values, x, method="gradient")
    assert np.array_equal(
        attribute(values, x, method="gradient", target=1), attribute(plain, x, method="gradient", target=1)
    )
    one = network("Flatten()", "Dense(1)", task=Task("values", from_logits=False))
    assert attribution(one, x, method="occlusion").targets.tolist() == [0, 0, 0]


@pytest.mark.parametrize("task", [Task("classes", from_logits=True), Task("labels", from_logits=True)])
def test_of_each_pixel_those_that_are_predicted_so(task: Task) -> None:
    model = network('Conv2D(3, 3, padding="same")', task=task, input_shape=(2, 6, 5), dtype="float64")
    x = image((2, 2, 6, 5)).astype(np.float64)
    outputs = model.logits(x)
    there = outputs >= 0 if task.gives == "labels" else np.arange(3)[:, None, None] == outputs.argmax(axis=1)[:, None]
    found = attribution(model, x, method="gradient")
    assert np.array_equal(found.targets, there.sum(axis=(2, 3)).argmax(axis=1))
    for target in range(3):
        found = attribution(model, x, method="gradient", target=target)
        for at in range(2):
            mask = there[at, target] if there[at, target].any() else np.ones((6, 5), bool)
            assert found.scores[at] == pytest.approx(outputs[at, target][mask].mean())
            step = np.zeros_like(x)
            step[at, 1, 2, 3] = 1e-4
            change = (model.logits(x + step) - model.logits(x - step))[at, target][mask].mean() / 2e-4
            assert found.maps[at, 1, 2, 3] == pytest.approx(change, rel=1e-5)


def test_signals_and_vectors() -> None:
    signals = network("Conv1D(4, 3)", "ReLU()", "MaxPool1D(2)", "Flatten()", "Dense(3)", input_shape=(2, 20))
    x = image((2, 2, 20))
    shapes = {method: attribute(signals, x, method=method, target=0).shape for method in METHODS}  # type: ignore[arg-type]  # all are methods
    assert shapes == {
        "gradient": (2, 2, 20),
        "gradcam": (2, 20),
        "integrated-gradients": (2, 2, 20),
        "occlusion": (2, 20),
    }
    vectors = network("Dense(3)", input_shape=(6,))
    x = image((2, 6))
    for method in ("gradient", "integrated-gradients", "occlusion"):
        assert attribute(vectors, x, method=method).shape == (2, 6)
    without = x.copy()
    without[:, 4] = 0
    found = attribute(vectors, x, method="occlusion", target=1)
    np.testing.assert_allclose(found[:, 4], logits(vectors, x, 1) - logits(vectors, without, 1), rtol=1e-3, atol=1e-6)
    with pytest.raises(
        ConfigError, match=r"Grad-CAM needs a layer with maps, and no layer gives any for inputs of sha"
    ):
        attribute(vectors, x)


def test_maps_are_enlarged_and_reduced_between_their_centres() -> None:
    assert enlarged(np.array([[[1.0, 3.0]]]), (1, 4)).tolist() == [[[1.0, 1.5, 2.5, 3.0]]]
    assert enlarged(np.array([[[1.0, 3.0]]]), (2, 1)).tolist() == [[[2.0], [2.0]]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "gradcamm"}, "method must be one of 'gradcam', .* got 'gradcamm'; did you mean"),
        ({"steps": 3}, "the method gradcam takes layer, and not steps: remove it"),
        ({"method": "gradient", "fill": 0, "stride": 1}, "gradient takes no options, and not stride, fill: remove it"),
        (
            {"layer": "dense_1"},
            "the network has no layer 'dense_1' with maps of more than one pixel; choose one of conv",
        ),
        ({"target": 5}, "expected a class from 0 to 4, got 5; the model knows a, b, c, d, e"),
        ({"target": "f"}, "the model has no class 'f': expected one of: a, b, c, d, e"),
        ({"target": 1.5}, "target must be the index or the name of a class, or an index for each sample, got 1.5"),
        ({"method": "integrated-gradients", "steps": 0}, "steps must be a whole number, 1 or above, got 0"),
        ({"method": "integrated-gradients", "steps": 10**5}, "steps must be at most 10,000, got 100,000"),
        ({"method": "integrated-gradients", "baseline": "black"}, "baseline must be a finite number, or an array"),
        ({"method": "occlusion", "window": 8}, "a window of 8 x 8 is larger than the input, 9 x 7: use a smaller one"),
        ({"method": "occlusion", "window": (1, 2, 3)}, r"window must be a whole number, or 2 of them, got \(1, 2, 3\)"),
        ({"method": "occlusion", "fill": float("nan")}, "fill must be a finite number, got nan"),
    ],
)
def test_what_does_not_fit(arguments: dict[str, Any], message: str) -> None:
    model = network("Conv2D(3, 3)", "Flatten()", "Dense(5)", labels=list("abcde"))
    with pytest.raises(ConfigError, match=message):
        attribute(model, image()[None], **arguments)


def test_shapes_that_do_not_fit_and_numbers_that_are_none() -> None:
    model = network("Conv2D(3, 3)", "Flatten()", "Dense(5)")
    with pytest.raises(ShapeError, match="expected one target, or one for each of the 2 samples, got 3"):
        attribute(model, image((2, 2, 9, 7)), target=[0, 1, 2])
    with pytest.raises(ShapeError, match=r"expected a baseline of shape \(2, 9, 7\), or one number, got \(7,\)"):
        attribute(model, image()[None], method="integrated-gradients", baseline=np.zeros(7))
    with pytest.raises(ShapeError, match=r"expected inputs of shape \(N, 2, 9, 7\), got \(2, 9, 7\)"):
        attribute(model, image())
    with pytest.raises(DataError, match="gives NaN for sample 1"):
        attribute(model, np.stack([np.zeros(model.input_shape), np.full(model.input_shape, np.nan)]))
    with pytest.raises(ConfigError, match="the window has 40,401 places, and may have 10,000: use a larger stride"):
        attribute(
            Sequential(["GlobalAvgPool2D()", "Flatten()", "Dense(2)"], (1, 201, 201)),
            np.zeros((1, 1, 201, 201)),
            method="occlusion",
            window=1,
        )


SAME = 'Conv2D(4, 3, padding="same")'


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        (("Conv2D(4, 3)", "ReLU()", "Conv2D(6, (7, 5))"), "relu_1"),
        (("Conv2D(4, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(6, 1)", "GlobalAvgPool2D()"), "conv2d_2"),
        ((SAME, f"Residual({SAME})", f"Residual({SAME}, ReLU(), {SAME})", "GlobalAvgPool2D()"), "residual_2"),
        ((SAME, f"Residual({SAME}, shortcut={SAME})", "ReLU()", "GlobalAvgPool2D()"), "relu_1"),
        ((SAME, "Concat([Conv2D(4, 3), GlobalAvgPool2D()], [ReLU(), GlobalAvgPool2D()])"), "conv2d_1"),
        (("Concat([Conv2D(4, 3), GlobalAvgPool2D()], [ReLU(), GlobalAvgPool2D()])",), "relu_1"),
    ],
)
def test_the_usual_layer_is_the_last_with_maps_that_all_paths_go_through(layers: tuple[str, ...], name: str) -> None:
    model = network(*layers, "Flatten()", "Dense(5)")
    assert attribution(model, image()[None], method="gradcam").layer == name


def test_the_usual_layer_of_a_resnet_is_the_end_of_its_last_block() -> None:
    model = network(*map(repr, ResNet(8).layers()), input_shape=(1, 16, 16))
    names = [node.name for node in model.nodes]
    used = attribution(model, image((1, 1, 16, 16)), method="gradcam").layer
    assert names[names.index(str(used)) - 1 : names.index(str(used)) + 2] == [
        "residual_3",
        "relu_7",
        "global_avg_pool2d_1",
    ]


class OneWay(Layer):
    """A layer of a plugin that can only go back after a forward pass in training."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * 2, (x if ctx.training else None)

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * 2 * np.ones(x.shape), {}


def test_a_layer_that_cannot_go_back_is_named() -> None:
    model = network(OneWay(), "Flatten()", "Dense(5)")
    with pytest.raises(
        ConfigError, match=r"the backward pass of layer one_way_1 = OneWay\(\) failed in prediction mode"
    ):
        attribute(model, image()[None], method="gradient")
    assert attribute(model, image()[None], method="occlusion").shape == (1, 9, 7)
