"""Losses and gradients of graphs against the same graphs in PyTorch, in float32."""

from __future__ import annotations

import copy
from typing import Any

import networks  # type: ignore[import-not-found]  # beside this file
import numpy as np
import pytest

from cnnkit import Graph
from cnnkit.losses import CrossEntropy
from cnnkit.network import INPUT, Network, Objective, training_session
from cnnkit.optimizers import SGD
from cnnkit.types import Samples

torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")

GRAPHS = {
    "resnet-20": networks.resnet(3, 16),
    "inception": networks.inception(),
    "siamese": networks.siamese(),
    "unet": networks.unet(),
    "everything": networks.everything(),
}


def applied(layer: Any, p: dict[str, Any], xs: list[Any]) -> Any:
    """What PyTorch makes of the inputs; p: the layer's parameters."""
    functions = torch.nn.functional
    match type(layer).__name__:
        case "Conv2D":
            return functions.conv2d(xs[0], p["weight"], p.get("bias"), layer.stride, layer.padding, 1, layer.groups)
        case "Dense":
            return functions.linear(xs[0], p["weight"], p["bias"])
        case "BatchNorm2D":
            return functions.batch_norm(xs[0], None, None, p["gamma"], p["beta"], training=True, eps=layer.epsilon)
        case "ReLU":
            return functions.relu(xs[0])
        case "MaxPool2D":
            return functions.max_pool2d(xs[0], layer.size, layer.stride, layer.padding)
        case "AvgPool2D":
            return functions.avg_pool2d(xs[0], layer.size)
        case "Upsample2D":
            return functions.interpolate(xs[0], scale_factor=layer.size)
        case "Flatten":
            return xs[0].flatten(1)
        case "Add" | "Residual":
            return sum(xs[1:], xs[0])
        case "Multiply":
            return xs[0] * xs[1]
        case "Concat":
            return torch.cat(xs, 1)
    raise AssertionError(layer)


def theirs(model: Network, data: Samples) -> tuple[float, dict[str, Any]]:
    """The loss of the batch, and the gradient of each array of parameters, by name."""
    state = {name: torch.tensor(value, requires_grad=True) for name, value in model.state().items()}
    values = {INPUT: torch.tensor(data.x)}
    owners: dict[int, str] = {}
    for node in model.nodes:
        owner = owners.setdefault(id(node.layer), node.name)
        parameters = {name.partition(".")[2]: value for name, value in state.items() if name.startswith(f"{owner}.")}
        values[node.index] = applied(node.layer, parameters, [values[source] for source in node.inputs])
    loss = torch.nn.functional.cross_entropy(values[model.nodes[-1].index], torch.tensor(data.y))
    loss.backward()
    return loss.item(), {name: value.grad.numpy() for name, value in state.items() if value.grad is not None}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_step_is_that_of_pytorch(name: str) -> None:
    rng = np.random.default_rng(0)
    model = Graph(copy.deepcopy(GRAPHS[name]), (1, 28, 28), seed=1)
    x = rng.normal(size=(16, 1, 28, 28)).astype(np.float32)
    classes, *pixels = model.output_shape
    data = Samples(x, rng.integers(0, classes, (16, *pixels)))
    loss, expected = theirs(model, data)
    objective = Objective(CrossEntropy(), ())
    with training_session(model.engine(logits=True), data, objective, SGD(0.1), 16, 1) as session:
        ours = session.step(np.arange(16), (0, 0, 0)).loss / 16
        gradient = session.gradient.copy()
    assert ours == pytest.approx(loss, rel=1e-5)
    entries = list(model.parameters)
    assert len(entries) == len(expected)
    scale = float(np.abs(gradient).max())
    for entry in entries:
        found = model.parameters.view(gradient, entry)
        assert np.abs(found - expected[f"{model.nodes[entry.node].name}.{entry.name}"]).max() <= 1e-5 * scale
