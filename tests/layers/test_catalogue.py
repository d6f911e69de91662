"""Every built-in layer says all of itself that the product tells of it; what is missing is named."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cnnkit import layers
from cnnkit.components import Layer, Merge, installed_catalog
from cnnkit.components.declared import Declared
from cnnkit.components.expressions import parse
from cnnkit.explanation.formulas import describe
from cnnkit.layers import LAYERS, LeakyReLU
from cnnkit.layers.reparametrised import innermost
from cnnkit.network import Network
from cnnkit.onnx.export import to_onnx
from cnnkit.testing.single_layer import alone
from cnnkit.types import Example

NO_TWIN = {
    "Add": "torch.add is no module",
    "AddCoordinates": "PyTorch has no module that adds coordinates",
    "Average": "the mean of torch.stack is no module",
    "Clip": "torch.clamp is no module",
    "Concat": "torch.cat joins tensors, and is no module with branches",
    "DropPath": "torchvision has it as StochasticDepth, PyTorch itself has nothing of the kind",
    "GaussianNoise": "PyTorch has no module that adds noise",
    "Maximum": "torch.maximum is no module",
    "Multiply": "torch.mul is no module",
    "Permute": "torch.permute is no module",
    "Rescale": "PyTorch has no module for a fixed factor",
    "Residual": "PyTorch has no module that adds a shortcut",
    "ScaleShift": "timm has it as LayerScale, PyTorch itself has nothing of the kind",
    "SelfAttention2D": "torch.nn.MultiheadAttention takes rows of pixels, of which test_attention.py makes them",
    "SeparableConv2D": "in PyTorch it is two modules, and here two layers, each with a twin",
    "Slice": "an index of a tensor is no module",
    "SqueezeExcite": "torchvision has it as SqueezeExcitation; test_attention.py writes it in PyTorch",
    "Subtract": "torch.sub is no module",
    "WeightNorm": "in PyTorch a function that changes a module; test_reparametrised.py compares with it",
    "WeightStandardization": "PyTorch has none; test_reparametrised.py compares with its convolutions",
}
"""Layers that are compared with nothing in PyTorch, and why."""
AROUND = {"Add", "Identity", "Mul"}
"""What an export writes around the layers."""
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def built(cls: type[Layer | Merge], example: Example) -> Network:
    call = parse(example.expression)
    known = cls in LAYERS
    layer = installed_catalog().build("layer", call) if known else cls(*call.args, **call.kwargs)
    return alone(cast(Layer | Merge, layer), example.in_shape)


def written(model: Network) -> set[str]:
    """The operators of an export that no layer of it names."""
    named = {name for node in model.nodes for name in innermost(node.layer).operators}
    return {node.op_type for node in to_onnx(model).graph.node} - named - AROUND


def acts_on_each_number(model: Network) -> bool:
    """Whether in prediction another number in one place changes the output in that place alone."""
    if model.output_shape != model.input_shape:
        return False
    x = np.random.default_rng(0).normal(size=(1, *model.input_shape))
    other, middle = x.copy(), x.size // 2  # at the edges, a layer that moves numbers may leave some where they are
    other.flat[middle] += 3
    changed = (model.outputs(x) != model.outputs(other)).ravel()
    return not np.delete(changed, middle).any()


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
    if issubclass(cls, Layer) and not cls.pointwise and models and all(map(acts_on_each_number, models)):
        yield "pointwise, although each number of its output depends on that at its place alone"
    if cls.lower in (Layer.lower, Merge.lower):
        yield "lower, by which it is exported"
    elif any(written(model) for model in models):
        yield "name of an operator that it writes, in operators"


def faults(layers: Iterable[type[Layer | Merge]]) -> list[str]:
    return [f"{cls.__name__} has no {part}" for cls in layers for part in lacking(cls)]


def test_every_built_in_layer_says_all_of_itself() -> None:
    assert faults(LAYERS) == []
    assert NO_TWIN.keys() <= {cls.__name__ for cls in LAYERS}


def listed_nowhere(cls: type[Layer | Merge]) -> list[str]:
    """Lists that lack the name of a built-in layer."""
    lists = {
        "LAYERS in cnnkit/layers/__init__.py": [one.__name__ for one in LAYERS],
        "__all__ in cnnkit/layers/__init__.py": layers.__all__,
        "CHANGELOG.md": re.findall(r"\w+", CHANGELOG.read_text("utf-8")),
    }
    return [f"{cls.__name__} is not in {where}" for where, names in lists.items() if cls.__name__ not in names]


def written_layers() -> list[type[Layer | Merge]]:
    """The layers that the modules of cnnkit.layers define; those with an underscore are what others have in common."""
    modules = [importlib.import_module(f"cnnkit.layers.{one.name}") for one in pkgutil.iter_modules(layers.__path__)]
    return [
        cls
        for module in modules
        for name, cls in vars(module).items()
        if isinstance(cls, type) and issubclass(cls, Layer | Merge) and cls.__module__ == module.__name__
        if not name.startswith("_")
    ]


def test_every_layer_is_listed() -> None:
    assert [fault for cls in written_layers() for fault in listed_nowhere(cls)] == []
    assert listed_nowhere(type("Bent", (Layer,), {})) == [
        "Bent is not in LAYERS in cnnkit/layers/__init__.py",
        "Bent is not in __all__ in cnnkit/layers/__init__.py",
        "Bent is not in CHANGELOG.md",
    ]


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
        (without("pointwise"), ["pointwise, although each number of its output depends on that at its place alone"]),
        (without("lower"), ["lower, by which it is exported"]),
        (without("operators"), ["name of an operator that it writes, in operators"]),
    ],
)
def test_what_is_missing_is_named(cls: type[Layer], missing: list[str]) -> None:
    assert faults([*LAYERS, cls]) == [f"LeakyReLU has no {part}" for part in missing]


def test_with_all_of_it_nothing_is_missing() -> None:
    assert faults([*LAYERS, without("")]) == []
