"""One image on its way through a network and back: what every layer takes and gives, what it costs, and a check of it.

The layers run in prediction mode and in their plain form, one node after the other. On the way back each layer runs
forward once more for what its backward pass needs: that is in memory for one layer alone, while inputs, outputs and
gradients of all layers stay, in both dtypes.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from cnnkit.components import Layer, Loss, Merge
from cnnkit.errors import CheckError
from cnnkit.network import INPUT, Network, Node
from cnnkit.network.execution.plain_nodes import PlainNodes
from cnnkit.network.execution.threads import one_blas_thread
from cnnkit.network.graph.final_layers import Log, end_for, is_plain
from cnnkit.testing import GradientReport, gradient_check_at
from cnnkit.testing.tiled_passes import cast_parameters
from cnnkit.types import Array, Grads

COPIES = 6
"""Values and gradients of all layers, in both dtypes, as multiples of the values in float32."""
MOST_CHECKED = 2**22
"""Parameters of a layer whose gradients are checked: the check has them in float64 some ten times."""
MOST_VALUES = 3 * 2**20
"""Likewise its inputs and outputs, for one image: those of a ResNet-50's layers are up to 2.4 million."""
REPEATS = 5
SECONDS = 0.5
"""What repetitions may take, of all layers together: after its share of that, no further one of a layer begins."""

T = TypeVar("T")


@dataclass(frozen=True)
class LayerTrace:
    """What one node did with the image; arrays have no batch axis."""

    node: Node
    inputs: tuple[Array, ...]
    output: Array
    gradient: Array | None
    """Of the loss, with respect to the output; None if nobody can say."""
    input_gradients: tuple[Array, ...]
    grads: Grads
    """Of the loss, with respect to the parameters."""
    forward_ms: float
    backward_ms: float | None
    check: GradientReport | None
    remark: str
    """Why something is missing."""


@dataclass(frozen=True)
class Trace:
    """What all nodes did, and what the loss says about the outcome."""

    prepared: Array
    """The image as the first layer sees it, without batch axis."""
    layers: tuple[LayerTrace, ...]
    scored: int
    """Index of the node whose output the loss takes; INPUT if it is the network's input."""
    loss: float


def trace(model: Network, x: Array, loss: Loss, target: Array) -> Trace:
    """Take one image, (1, *input_shape) in the dataset's own units, through the network and back.

    target: (1,) class index, or (1, F) values. A backward pass that fails, as that of a plugin's layer may in
    prediction mode, is a remark; what comes before it in the network has no gradient then. The gradient check runs in
    float64, at the values that the layer has for this image.
    Raises ShapeError if the image does not fit the network, or the outputs and the target not the loss, and CostError
    for a network whose outputs for an image are too large.
    """
    x = np.asarray(model.check_input(x))
    model.engine().plain_cost.check_copies(COPIES)
    end = end_for(model.nodes, loss)
    log = Log() if end and not is_plain(end.layer) else None
    scored = end.inputs[0] if end and not log else model.nodes[-1].index
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
        network = _Network(model, model.dtype)
        values, losses, ways = network.there_and_back(x, loss, target, scored, log)
        checks = _checks(model, x, loss, target, scored, log, values, ways)
        layers = []
        for node in model.nodes:
            way, inputs = ways[node.index], [values[i] for i in node.inputs]
            layers.append(
                LayerTrace(
                    node,
                    tuple(value[0] for value in inputs),
                    values[node.index][0],
                    None if way.dy is None else way.dy[0],
                    tuple(dx[0] for dx in way.dxs),
                    way.grads,
                    network.forward_ms(node, inputs),
                    network.backward_ms(node, inputs, way.dy) if way.passed and way.dy is not None else None,
                    checks.get(node.index),
                    way.remark,
                )
            )
    return Trace(values[INPUT][0], tuple(layers), scored, float(losses[0]))


def _checks(
    model: Network,
    x: Array,
    loss: Loss,
    target: Array,
    scored: int,
    log: Log | None,
    values: Mapping[int, Array],
    ways: Mapping[int, _Way],
) -> dict[int, GradientReport]:
    """The gradient checks by the nodes' indices; where there is none, the node's way gets a remark.

    values, ways: of the nodes in the model's own dtype. Large nodes, which are not checked, are not run in float64
    either: weights, for one, and their gradients would take four times the memory of the weights.
    """
    refusals = {node.index: refusal for node in model.nodes if (refusal := _refusal(node))}
    exact = _Network(model, "float64", keeps_grads=False)
    large = {index: (values[index], ways[index]) for index in refusals}
    exact_values, _, exact_ways = exact.there_and_back(x, loss, target, scored, log, large)
    last_use = {source: node.index for node in model.nodes for source in node.inputs}
    checks = {}
    for node in model.nodes:
        way, exact_way = ways[node.index], exact_ways.pop(node.index)
        at = [exact_values[i] for i in node.inputs]
        for source in {*node.inputs}:
            if last_use[source] == node.index:  # a check takes many copies of what is left
                del exact_values[source]
        if not way.passed or exact_way.dy is None:
            continue
        if not _all_finite(*at, exact_values[node.index], exact_way.dy):
            way.remark = "There is nothing to compare: its inputs, outputs or gradients are not finite."
        elif node.index in large:
            way.remark = refusals[node.index]
        else:
            try:
                checks[node.index] = gradient_check_at(exact.layers[node.index], at, exact_way.dy)
            except CheckError as error:
                way.remark = str(error)
    return checks


def _refusal(node: Node) -> str:
    """Why the node is too large to be checked; "" if it is not."""
    values = sum(math.prod(shape) for shape in (*node.in_shapes, node.out_shape))
    sizes = (_parameters(node.layer), "parameters", MOST_CHECKED), (values, "inputs and outputs", MOST_VALUES)
    for size, what, most in sizes:
        if size > most:
            told = f"A check of its {size:,} {what} would take many copies of them"
            return f"{told}; layers with up to {most:,} are checked."
    return ""


@dataclass
class _Way:
    """What came back through a node."""

    dy: Array | None = None
    dxs: Sequence[Array] = ()
    grads: Grads = field(default_factory=dict)
    remark: str = ""

    @property
    def passed(self) -> bool:
        return bool(self.dxs)


class _Network(PlainNodes):
    """The nodes of a model, to be run for one image in one dtype."""

    def __init__(self, model: Network, dtype: str, *, keeps_grads: bool = True) -> None:
        """keeps_grads: whether what comes back has the gradients of the parameters, which may be as large as these."""
        self.model = model
        self.keeps_grads = keeps_grads
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.seconds = SECONDS / (2 * len(model.nodes))
        self.layers = [node.layer for node in model.nodes]
        if dtype != model.dtype:
            others = {id(layer): copy.copy(layer) for layer in self.layers}  # nodes that share a layer still do
            for layer in others.values():
                if _parameters(layer) <= MOST_CHECKED:
                    cast_parameters(layer, dtype)
            self.layers = [others[id(layer)] for layer in self.layers]
        nodes = [replace(node, layer=layer) for layer, node in zip(self.layers, model.nodes, strict=True)]
        super().__init__(nodes, self.dtype)

    def there_and_back(
        self,
        x: Array,
        loss: Loss,
        target: Array,
        scored: int,
        log: Log | None,
        given: Mapping[int, tuple[Array, _Way]] | None = None,
    ) -> tuple[dict[int, Array], Array, dict[int, _Way]]:
        """The value of each node, the loss, and what came back through each node; log: what the loss takes of it.

        given: the value and the way of nodes that are not run. They stay in their dtype until a node takes them.
        """
        given = given or {}
        factor, offset = self.model.preprocessing.affine(self.dtype, len(self.model.input_shape))
        values: dict[int, Array] = {INPUT: np.multiply(x, factor, dtype=self.dtype, casting="unsafe") + offset}
        for node in self.model.nodes:
            if node.index in given:
                values[node.index] = given[node.index][0]
            else:
                values[node.index] = self.forward(node, self._cast(values[i] for i in node.inputs))[0]
        scores = values[scored].astype(self.dtype, copy=False).reshape(1, *self.model.output_shape)
        taken, kept = log.forward(scores, self.ctx) if log else (scores, None)
        losses, cache = loss.forward(taken, target)
        dy = loss.backward(cache, 1.0)
        dy = log.backward(dy, kept, self.ctx)[0] if log else dy
        back = {index: way for index, (_, way) in given.items()}
        return values, losses, self._back(values, scored, dy.reshape(values[scored].shape), back)

    def _back(self, values: Mapping[int, Array], scored: int, dy: Array, given: Mapping[int, _Way]) -> dict[int, _Way]:
        ways = {node.index: _Way() for node in self.model.nodes}
        if scored != INPUT:
            ways[scored].dy = dy
        for node in reversed(self.model.nodes):
            way = ways[node.index]
            if node.index > scored:
                way.remark = "The loss takes the values before this layer: no gradient comes back through it."
            elif way.remark or way.dy is None:
                way.dy, way.remark = None, way.remark or "Nothing that the loss looks at depends on this layer."
            elif node.index in given:
                way.dxs, way.remark = given[node.index].dxs, given[node.index].remark
            else:
                try:
                    _, cache = self.forward(node, self._cast(values[i] for i in node.inputs))
                    way.dxs, grads = self.backward(node, way.dy.astype(self.dtype, copy=False), cache)
                    way.grads = grads if self.keeps_grads else {}
                except Exception as error:  # code of a plugin, which may not know how to go back in prediction mode
                    way.remark = f"Its backward pass failed in prediction mode: {type(error).__name__}: {error}"
            for place, source in enumerate(node.inputs):
                if source == INPUT or node.index > scored:
                    continue
                before = ways[source]
                if not way.passed:
                    before.remark = f"The gradient was lost in {node.name}, on the way back."
                else:
                    dx = way.dxs[place]
                    before.dy = dx if before.dy is None else np.add(before.dy, dx, dtype=self.dtype)
        return ways

    def _cast(self, arrays: Iterable[Array]) -> list[Array]:
        """In the dtype of this run, those of nodes that are given as well."""
        return [array.astype(self.dtype, copy=False) for array in arrays]

    def forward_ms(self, node: Node, inputs: Sequence[Array]) -> float:
        """The time of a forward pass: the median of a few."""
        return _median_ms(lambda: None, lambda _: self.forward(node, inputs), self.seconds)

    def backward_ms(self, node: Node, inputs: Sequence[Array], dy: Array) -> float:
        """The time of a backward pass: the median of a few, each with a new cache."""
        return _median_ms(
            lambda: self.forward(node, inputs)[1], lambda cache: self.backward(node, dy, cache), self.seconds
        )


def _parameters(layer: Layer | Merge) -> int:
    return sum(value.size for value in layer.params.values())


def _all_finite(*arrays: Array) -> bool:
    return all(np.isfinite(array).all() for array in arrays)


def _median_ms(prepare: Callable[[], T], run: Callable[[T], object], seconds: float) -> float:
    times: list[float] = []
    end = time.perf_counter() + seconds
    run(prepare())  # memory is faulted in
    while not times or (len(times) < REPEATS and time.perf_counter() < end):
        prepared = prepare()
        began = time.perf_counter()
        run(prepared)
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)
