"""The plan: which nodes run together, as what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.components import Layer
from cnnkit.components.value_description import described
from cnnkit.errors import ContractError, ShapeError
from cnnkit.layers import BatchNorm2D, Conv2D
from cnnkit.layers.conv import CONVOLUTIONS
from cnnkit.layers.reparametrised import is_reparametrised
from cnnkit.network.execution.operation import Operation, operation_of
from cnnkit.network.graph.node import INPUT, Node
from cnnkit.network.kernels import kernel_for
from cnnkit.network.kernels.batchnorm_folding import Fold
from cnnkit.network.kernels.computed_weights import ComputedWeights
from cnnkit.types import Array, Grads, Shape

MAX_STEP_LAYERS = 4
"""Layers that a step takes at most: a convolution with batch normalisation, rectifier and pooling."""


@dataclass(frozen=True)
class Step:
    """What the engine runs in one go: a node, or several consecutive ones as one kernel."""

    node: Node
    """The first node; the only one that may have parameters."""
    output: int
    """Index of the last node, whose output this step gives."""
    out_shape: Shape
    """Of that output, without the batch axis."""
    operation: Operation
    last_use_of: tuple[int, ...]
    """The values that no later step takes."""

    @property
    def run(self) -> Any:
        """The layer, merge or kernel."""
        return self.operation.run

    def check_output(self, y: Array, samples: int) -> None:
        """Raise ContractError unless the output has the shape that `build` promised."""
        expected = samples, *self.out_shape
        if y.shape != expected:
            raise ContractError(
                f"forward must return (y, cache) with y of shape {expected}; it returned {described(y)} as y"
            )

    def check_gradients(self, dxs: Sequence[Array | None], samples: int) -> None:
        """Raise ContractError unless each input has a gradient of its shape; the network's own input needs none."""
        expected = [(samples, *shape) for shape in self.node.in_shapes]
        given = [getattr(dx, "shape", None) for dx in dxs]
        needed = [source != INPUT for source in self.node.inputs]
        if len(given) == len(expected) and all(
            shape == right or (dx is None and not needs)
            for dx, shape, right, needs in zip(dxs, given, expected, needed, strict=True)
        ):
            return
        if len(expected) == 1:
            raise ContractError(
                f"backward must return (dx, grads) with dx of shape {expected[0]}; it returned {described(dxs[0])} as "
                f"dx"
            )
        raise ContractError(
            f"backward must return the gradient of each branch, of shapes {expected}; it returned "
            f"{described(tuple(dxs))}"
        )

    def keep(self, grads: Grads, places: dict[str, Array], *, added: bool) -> None:
        """Copy the gradients of its parameters to their places, unless they are there already, or add them."""
        if grads.keys() != places.keys() or any(grads[name].shape != place.shape for name, place in places.items()):
            expected = {name: place.shape for name, place in places.items()}
            found = {name: grad.shape for name, grad in grads.items()}
            raise ShapeError(
                f"{self.node}: backward must return a gradient for each parameter, {expected}; it returned {found}"
            )
        for name, place in places.items():
            if added:
                place += grads[name]
            elif grads[name] is not place:
                place[...] = grads[name]

    def taken_from(self, values: dict[int, Array]) -> list[Array]:
        """The inputs of the step; those that no later step takes leave `values`."""
        inputs = [values[source] for source in self.node.inputs]
        for source in self.last_use_of:
            del values[source]
        return inputs


@dataclass(frozen=True)
class Plan:
    """What the engine runs, in order."""

    steps: list[Step]
    folds: list[Fold | ComputedWeights]
    """To be refreshed before each prediction."""


def plan(nodes: Sequence[Node], *, prediction: bool = False, compiled: bool = False) -> Plan:
    """The steps for these nodes, with a kernel wherever there is one.

    prediction: whether batch normalisation is folded into the convolution before it, and weights that are computed from
    parameters are computed once, which training cannot have; compiled: whether compiled kernels may take part.
    """
    uses = Counter(source for node in nodes for source in node.inputs)
    last_taker = {source: node.index for node in nodes for source in node.inputs}
    steps: list[Step] = []
    folds: list[Fold | ComputedWeights] = []
    at = 0
    while at < len(nodes):
        node = nodes[at]
        chain = [node]
        for follower in nodes[at + 1 : at + MAX_STEP_LAYERS]:
            if not _follows(follower, chain[-1], uses):
                break
            chain.append(follower)
        layers, folded = [link.layer for link in chain], 0
        match layers:
            case [Conv2D() as conv, BatchNorm2D() as norm, *others] if prediction and _plain(conv, norm):
                fold = Fold(conv, norm)
                folds.append(fold)
                layers, folded = [fold.folded, *others], 1
            case [first, *others] if prediction and is_reparametrised(first) and not is_reparametrised(first.layer):
                computed = ComputedWeights(first)
                folds.append(computed)
                layers = [computed.inside, *others]
        run, used = kernel_for(layers, node.inputs != (INPUT,), compiled=compiled) or (layers[0], 1)
        used += folded
        last = [source for source in set(node.inputs) if last_taker[source] == node.index]
        end = nodes[node.index + used - 1]
        operation = operation_of(run)
        steps.append(Step(node, end.index, end.out_shape, operation, tuple(last)))
        at += used
    return Plan(steps, folds)


def plain_steps(nodes: Sequence[Node]) -> list[Step]:
    """Each node by its layer, with all values kept."""
    return [Step(node, node.index, node.out_shape, operation_of(node.layer), ()) for node in nodes]


def _plain(*layers: Layer) -> bool:
    """Whether these are cnnkit's own layers, not classes derived from them."""
    return all(type(layer) in (*CONVOLUTIONS, BatchNorm2D) for layer in layers)


def _follows(node: Node, before: Node, uses: Counter[int]) -> bool:
    """Whether a node is the only one that takes the output of the node before it."""
    return node.inputs == (before.index,) and uses[before.index] == 1
