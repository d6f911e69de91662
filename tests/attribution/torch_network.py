"""The same network in PyTorch, in evaluation, with the gradients that it finds itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.network import INPUT, Network
from cnnkit.types import Array

torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")


def _applied(layer: Any, xs: list[Any]) -> Any:
    functions = torch.nn.functional
    p = {name: torch.tensor(value) for name, value in (layer.params | layer.buffers).items()}
    match type(layer).__name__:
        case "Conv2D":
            padding = layer.padding
            return functions.conv2d(xs[0], p["weight"], p.get("bias"), layer.stride, padding, 1, layer.groups)
        case "Dense":
            return functions.linear(xs[0], p["weight"], p["bias"])
        case "BatchNorm2D":
            return functions.batch_norm(
                xs[0], p["running_mean"], p["running_var"], p["gamma"], p["beta"], eps=layer.epsilon
            )
        case "ReLU":
            return functions.relu(xs[0])
        case "MaxPool2D":
            return functions.max_pool2d(xs[0], layer.size, layer.stride)
        case "AvgPool2D":
            return functions.avg_pool2d(xs[0], layer.size, layer.stride, layer.padding)
        case "Flatten":
            return xs[0].flatten(1)
        case "Dropout" | "Softmax":
            return xs[0]
        case "Residual":
            return xs[0] + xs[1]
        case "Concat":
            return torch.cat(xs, 1)
    raise AssertionError(layer)


def run(model: Network, x: Any) -> dict[int, Any]:
    """The output of each node; x: a tensor in the dataset's own units. A Softmax or Dropout passes its input on."""
    factor, offset = model.preprocessing.affine(np.dtype(model.dtype), len(model.input_shape))
    values = {INPUT: x * torch.tensor(factor) + torch.tensor(offset)}
    for node in model.nodes:
        values[node.index] = _applied(node.layer, [values[source] for source in node.inputs])
    return values


def gradients(model: Network, x: Array, target: Array, at: int | None = None) -> tuple[Array, Array]:
    """The output of a node, and the gradient of the targets' logits with respect to it; at: None for the raw input."""
    raw = torch.tensor(x.astype(model.dtype), requires_grad=True)
    values = run(model, raw)
    wanted = raw if at is None else values[at]
    logits = values[model.nodes[-1].index]
    (found,) = torch.autograd.grad(logits[torch.arange(len(x)), torch.tensor(target)].sum(), wanted)
    return wanted.detach().numpy(), found.numpy()
