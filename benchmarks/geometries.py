"""Small networks that cover every layer in the geometries in which runtimes differ, for `benchmarks.runtimes`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from cnnkit import Graph, Sequential
from cnnkit.components import installed_catalog
from cnnkit.layers import LAYERS
from cnnkit.network import Network
from cnnkit.types import Array, Preprocessing, Shape

IMAGE = (4, 9, 11)
"""Channels that two groups share, and sides that no stride divides evenly."""
JOINS = {"Add()", "Average()", "Concat()", "Maximum()", "Multiply()", "Subtract()"}
SAMPLES = 4
"""One is executed alone, the others together."""


@dataclass(frozen=True)
class Geometry:
    """One network; `layer` is the one that it is about."""

    layer: str
    layers: tuple[str, ...]
    input_shape: Shape = IMAGE
    input_dtype: str = "float32"

    def __str__(self) -> str:
        return f"{' '.join(self.layers)} on {self.input_shape} {self.input_dtype}"

    def model(self) -> Network:
        """The network, with parameters and running statistics that are neither 0 nor 1.

        A layer that joins values joins the one before it with what ReLU makes of that.
        """
        preprocessing = Preprocessing(1 / 255, (0.4,), (0.2,)) if self.input_dtype == "uint8" else Preprocessing()
        options: dict[str, Any] = {"preprocessing": preprocessing, "input_dtype": self.input_dtype}
        if JOINS.isdisjoint(self.layers):
            model: Network = Sequential(self.layers, self.input_shape, **options)
        else:
            model = Graph(self._nodes(), self.input_shape, **options)
        rng = np.random.default_rng(1)
        model.load_state({name: array + rng.uniform(0.1, 0.5, array.shape) for name, array in model.state().items()})
        return model

    def _nodes(self) -> dict[str, Any]:
        nodes: dict[str, Any] = {}
        for place, layer in enumerate(self.layers):
            if layer in JOINS:
                before = [*nodes][-1] if nodes else "input"
                nodes |= {f"bent_{place}": ("ReLU()", before), f"layer_{place}": (layer, [before, f"bent_{place}"])}
            else:
                nodes[f"layer_{place}"] = layer
        return nodes

    def inputs(self) -> Array:
        """Samples; negative numbers prevail, so that a padding of 0 among maxima shows."""
        rng = np.random.default_rng(2)
        shape = (SAMPLES, *self.input_shape)
        if self.input_dtype == "uint8":
            return rng.integers(0, 256, shape, np.uint8)
        return rng.normal(-0.5, 1, shape).astype(np.float32)


def geometries() -> list[Geometry]:
    """All of them, each layer's together; those of HadamardDense if its plugin is installed."""
    plugin = _hadamard() if "HadamardDense" in installed_catalog().names("layer") else ()
    listed = [*_convolutions(), *_poolings(), *_others()]
    return [*listed, *_examples({one.layer for one in listed}), *plugin, *_folded(), *_networks()]


def _convolutions() -> Iterator[Geometry]:
    kernels, strides = ("1", "3", "(2, 3)", "(1, 4)"), ("1", "2", "(2, 1)")
    for kernel, stride, padding in product(kernels, strides, ("0", "1", "(1, 0)", "'same'")):
        yield Geometry("Conv2D", (f"Conv2D(3, {kernel}, {stride}, {padding})",))
    for padding, dilation in product(("0", "2", "'same'"), ("2", "(1, 3)")):
        yield Geometry("Conv2D", (f"Conv2D(3, 3, 1, {padding}, {dilation})",))
    for groups, padding in product((2, 4), ("0", "'same'")):
        yield Geometry("Conv2D", (f"Conv2D(8, (3, 2), 1, {padding}, 1, {groups}, False)",))


def _poolings() -> Iterator[Geometry]:
    sizes, strides = ("2", "3", "(2, 3)", "(3, 4)"), ("None", "1", "2", "(1, 2)")
    for layer in ("MaxPool2D", "AvgPool2D"):
        for size, stride, padding in product(sizes, strides, ("0", "1", "(1, 0)", "(0, 1)", "'same'")):
            yield Geometry(layer, (f"{layer}({size}, {stride}, {padding})",))
        yield Geometry(layer, (f"{layer}(8, 1, 'same')",), (2, 5, 3))
        yield Geometry(layer, (f"{layer}((9, 11))",))


def _others() -> Iterator[Geometry]:
    for units, bias in product((1, 7), (True, False)):
        yield Geometry("Dense", (f"Dense({units}, bias={bias})",), (13,))
    yield Geometry("Flatten", ("Flatten()", "Dense(5)"))
    yield Geometry("Flatten", ("Flatten()",), (13,))
    yield Geometry("Dropout", ("Dense(5)", "Dropout(0.5)", "Dense(3)"), (13,))
    for shape in (IMAGE, (13,)):
        yield Geometry("ReLU", ("ReLU()",), shape)
        yield Geometry("Softmax", ("Softmax()",), shape)
    yield Geometry("Softmax", ("Conv2D(3, 1)", "Softmax()"))
    yield Geometry("Softmax", ("Flatten()", "Dense(5)", "Softmax()"))
    yield Geometry("BatchNorm2D", ("BatchNorm2D()",))
    yield Geometry("BatchNorm2D", ("Conv2D(4, 3)", "BatchNorm2D(epsilon=0.01)", "ReLU()"))
    yield Geometry("BatchNorm2D", ("BatchNorm2D()", "Conv2D(3, 3, padding=1)"))
    yield Geometry("Residual", ("Residual(Conv2D(4, 3, padding='same'), ReLU())", "ReLU()"))
    yield Geometry("Residual", ("Residual(Conv2D(6, 3, 2, 'same'), shortcut=Conv2D(6, 1, 2))",))
    yield Geometry("Residual", ("Residual(Dense(13), ReLU())",), (13,))
    yield Geometry("Concat", ("Concat([], [Conv2D(3, 1), ReLU()], MaxPool2D(3, 1, 1))",))
    yield Geometry("Concat", ("Concat(Dense(3), Dense(4))",), (13,))


def _examples(listed: set[str]) -> Iterator[Geometry]:
    """Of built-in layers that have no geometries of their own yet."""
    for cls in LAYERS:
        if cls.__name__ not in listed:
            yield from (Geometry(cls.__name__, (one.expression,), one.in_shape) for one in cls.examples)


def _hadamard() -> Iterator[Geometry]:
    for features, units in ((13, 5), (8, 8), (5, 13), (16, 9)):
        for depth in (1, 4):
            yield Geometry("HadamardDense", (f"HadamardDense({units}, depth={depth})",), (features,))
    yield Geometry("HadamardDense", ("HadamardDense(8, bias=False)", "ReLU()", "HadamardDense(3)"), (20,))


def _folded() -> Iterator[Geometry]:
    """Normalisations that are folded into the weights before them."""
    for layer in (
        "Conv2D(6, 3, 2, padding='same')",
        "Conv2D(6, (2, 3), groups=2, bias=False)",
        "DepthwiseConv2D(3, padding=1, multiplier=2)",
        "SeparableConv2D(3, 3)",
        "ConvTranspose2D(3, 3, 2)",
        "AvgPool2D(3, 2, 1)",
    ):
        yield Geometry("folded", (layer, "BatchNorm2D()", "ReLU()"))
    yield Geometry("folded", ("Flatten()", "Dense(7)", "BatchNorm1D()", "ReLU()"))


def _networks() -> Iterator[Geometry]:
    """Neighbours that runtimes like to fuse, between an input and classes."""
    bodies: list[tuple[str, ...]] = [
        ("Conv2D(4, 3)", "ReLU()", "MaxPool2D(2)"),
        ("Conv2D(4, 3, padding='same')", "BatchNorm2D()", "ReLU()", "AvgPool2D(3, 2, 1)"),
        ("AvgPool2D(2, 1, 'same')", "Conv2D(4, 3)", "ReLU()", "MaxPool2D((3, 2), 1, 'same')", "Conv2D(4, 2)"),
        ("Conv2D(4, 3, 2)", "ReLU()", "Residual(Conv2D(4, 3, padding=1), BatchNorm2D(), ReLU())", "MaxPool2D(2, 1, 1)"),
        ("Concat(AvgPool2D(3, 1, 'same'), MaxPool2D(2, 1, 'same'), Conv2D(2, 1))", "Conv2D(4, 1)", "ReLU()"),
    ]
    for body, input_dtype in product(bodies, ("float32", "uint8")):
        yield Geometry("networks", (*body, "Flatten()", "Dense(10)"), (1, 12, 12), input_dtype)
