"""Every built-in layer says all of itself that the product tells of it; what is missing is named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.components.declared import Declared
from cnnkit.components.expressions import parse
from cnnkit.explanation.formulas import describe
from cnnkit.layers import LAYERS
from cnnkit.network import Network
from cnnkit.onnx.export import to_onnx
from cnnkit.testing.alone import alone
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

NO_TWIN = {
    "Add": "torch.add is no module",
    "Concat": "torch.cat joins tensors, and is no module with branches",
    "Multiply": "torch.mul is no module",
    "Residual": "PyTorch has no module that adds a shortcut",
}
"""Layers that are compared with nothing in PyTorch, and why."""
AROUND = {"Add", "Identity", "Mul"}
"""What an export writes around the layers."""


def built(cls: type[Layer | Merge], example: Example) -> Network:
    call = parse(example.expression)
    known = cls in LAYERS
    layer = installed_catalog().build("layer", call) if known else cls(*call.args, **call.kwargs)
    return alone(layer, example.in_shape)  # type: ignore[arg-type]


def written(model: Network) -> set[str]:
    """The operators of an export that no layer of it names."""
    named = {name for node in model.nodes for name in node.layer.operators}
    return {node.op_type for node in to_onnx(model).graph.node} - named - AROUND


def lacking(cls: type[Layer | Merge]) -> Iterable[str]:
    said, models = describe(cls), [built(cls, example) for example in cls.examples]
    if not models:
        yield "examples"
    if cls.cost is Declared.cost or any(model.nodes[-1].cost is None for model in models):
        yield "cost"
    if not all(cls.lesson):
        yield "lesson"
    if not all(word in said.formulas for word in ("Forward:", "Backward:")):
        yield "formula"
    if not said.source:
        yield "source"
    if not cls.twin and cls.__name__ not in NO_TWIN:
        yield "twin in PyTorch, and no reason for that in NO_TWIN"
    if cls.twin and cls.examples and all(one.twin is None for one in cls.examples):
        yield "example with arguments of its twin"
    if any(written(model) for model in models):
        yield "name of an operator that it writes, in operators"


def faults(layers: Iterable[type[Layer | Merge]]) -> list[str]:
    return [f"{cls.__name__} has no {part}" for cls in layers for part in lacking(cls)]


def test_every_built_in_layer_says_all_of_itself() -> None:
    assert faults(LAYERS) == []
    assert NO_TWIN.keys() <= {cls.__name__ for cls in LAYERS}


class LeakyReLU(Layer):
    """Rectifier that lets a little of the negative side through.

    Forward:   y = max(x, 0) + slope * min(x, 0)
    Backward:  dx = dy where x > 0, slope * dy elsewhere

    Source: Maas, Hannun, Ng (2013), Rectifier Nonlinearities Improve Neural Network Acoustic Models.
    """

    pointwise = True
    lesson = ("Every number below 0 shrinks.", "No number loses its gradient.")
    examples = (Example("LeakyReLU(0.2)", (5,), "0.2"),)
    twin = "torch.nn.LeakyReLU"
    operators = ("LeakyRelu",)

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return np.where(x > 0, x, self.slope * x), x

    def backward(self, dy: Array, x: Cache, ctx: Context) -> tuple[Array, Grads]:
        return np.where(x > 0, dy, self.slope * dy), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("LeakyRelu", x, alpha=self.slope)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost.each(out_shape, 2, "a comparison and a multiplication for each number")


def without(name: str, **changed: Any) -> type[Layer]:
    """The class without one of its parts."""
    parts = {key: value for key, value in vars(LeakyReLU).items() if key not in (name, "__dict__", "__weakref__")}
    return type("LeakyReLU", (Layer,), parts | changed)


def no_line(start: str) -> type[Layer]:
    lines = (LeakyReLU.__doc__ or "").splitlines()
    return without("__doc__", __doc__="\n".join(line for line in lines if not line.strip().startswith(start)))


@pytest.mark.parametrize(
    ("cls", "missing"),
    [
        (without("cost"), ["cost"]),
        (without("lesson"), ["lesson"]),
        (no_line("Forward:"), ["formula"]),
        (no_line("Backward:"), ["formula"]),
        (no_line("Source:"), ["source"]),
        (without("__doc__"), ["formula", "source"]),
        (without("twin"), ["twin in PyTorch, and no reason for that in NO_TWIN"]),
        (without("examples"), ["examples"]),
        (without("", examples=(Example("LeakyReLU(0.2)", (5,)),)), ["example with arguments of its twin"]),
        (without("operators"), ["name of an operator that it writes, in operators"]),
    ],
)
def test_what_is_missing_is_named(cls: type[Layer], missing: list[str]) -> None:
    assert faults([*LAYERS, cls]) == [f"LeakyReLU has no {part}" for part in missing]


def test_with_all_of_it_nothing_is_missing() -> None:
    assert faults([*LAYERS, LeakyReLU, without("")]) == []
