"""The end of a network: what its last layers compute, and what a loss from logits takes in place of probabilities."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import cast

import numpy as np

from cnnkit.components import Layer, Loss, Merge
from cnnkit.components.sums import sum_over
from cnnkit.errors import ConfigError
from cnnkit.layers import HardSigmoid, LogSoftmax, ReLU, ReLU6, Sigmoid, Softmax, Softplus
from cnnkit.layers.special_functions import sigmoid
from cnnkit.losses import NLL, KLDiv
from cnnkit.network.graph.node import INPUT, Node
from cnnkit.types import Array, Cache, Context, Grads, Task

SMALLEST = float(np.finfo(np.float32).tiny)
"""Below this, the logarithm of a probability is not taken."""
NEVER_BELOW_0 = ReLU, ReLU6, HardSigmoid, Sigmoid, Softplus
"""Layers whose outputs make poor logits."""


class Identity(Layer):
    """Replaces a Softmax or a Sigmoid that is skipped: y = x."""

    passes_values_on = True

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy, {}


class Log(Layer):
    """Logits of probabilities, y = log(x), dx = dy / x: their softmax is x again, as the probabilities add up to 1."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        bounded = np.maximum(x, SMALLEST, out=ctx.empty_like(x))
        return np.log(bounded, out=ctx.empty_like(x)), bounded

    def backward(self, dy: Array, bounded: Cache, ctx: Context) -> tuple[Array, Grads]:
        return np.divide(dy, bounded, out=ctx.empty_like(bounded)), {}


def layer_at_end(nodes: Sequence[Node], kind: type[Layer]) -> Node | None:
    """The layer of this kind, or of a class derived from it, whose values the network gives; None if there is none.

    It is the last layer, or all layers after it only pass its values on.
    """
    node = nodes[-1]
    while not isinstance(node.layer, kind):
        in_shape = node.in_shapes[0]
        kept = node.out_shape == in_shape or math.prod(in_shape[1:]) == 1  # of (C, 1, 1), all orders are one
        if not (node.layer.passes_values_on and kept) or node.inputs == (INPUT,):
            return None
        node = nodes[node.inputs[0]]
    return node if isinstance(node.layer, kind) else None


def softmax_at_end(nodes: Sequence[Node]) -> Node | None:
    """The Softmax, or class derived from it, whose probabilities the network gives; None if there is none."""
    return layer_at_end(nodes, Softmax)


def sigmoid_at_end(nodes: Sequence[Node]) -> Node | None:
    """The Sigmoid whose probabilities the network gives, also of a derived class if it has the same mathematics."""
    end = layer_at_end(nodes, Sigmoid)
    return end if end is not None and is_plain(end.layer) else None


def end_for(nodes: Sequence[Node], about: Loss | Task) -> Node | None:
    """The layer at the end that makes probabilities of the logits that a loss takes, or that a task is about.

    A Softmax, or for labels a Sigmoid; None if there is none, or if the loss, or the task of labels, has no logits.
    """
    if about.gives == "labels":
        return sigmoid_at_end(nodes) if about.from_logits else None
    return softmax_at_end(nodes) if isinstance(about, Task) or takes_logits(about) else None


def has_probabilities(nodes: Sequence[Node], task: Task) -> bool:
    """Whether a network for this task gives probabilities, of classes or labels, or logits or logarithms of them."""
    if task.gives == "classes":
        ends = (layer_at_end(nodes, kind) for kind in (Softmax, LogSoftmax))
        return task.from_logits or any(end is not None for end in ends)
    return task.gives == "labels"


def softmax_inside(nodes: Sequence[Node]) -> Node | None:
    """The first Softmax that is not the network's end."""
    end = softmax_at_end(nodes)
    return next((node for node in nodes if isinstance(node.layer, Softmax) and node is not end), None)


def about_end(nodes: Sequence[Node], loss: Loss) -> str:
    """What to say of an end that hardly suits the loss; "" if it does. Raises ConfigError for one that never can."""
    if not loss.from_logits:
        return ""
    end, last = softmax_at_end(nodes), nodes[-1]
    while last.layer.passes_values_on and last.inputs != (INPUT,):
        last = nodes[last.inputs[0]]
    if isinstance(loss, NLL | KLDiv):
        if end is not None:
            raise ConfigError(
                f"the network ends in {end}, and {loss!r} takes logarithms of probabilities: replace it with "
                "LogSoftmax(), or use the loss CrossEntropy()"
            )
        if not isinstance(last.layer, LogSoftmax):
            return (
                f"the network ends in {last}, and {loss!r} takes logarithms of probabilities: put LogSoftmax() last, "
                "or use the loss CrossEntropy()"
            )
        return ""
    if not takes_logits(loss) and end is not None:
        raise ConfigError(
            f"the network ends in {end}, and {loss!r} takes the values before a sigmoid: those from a Softmax are "
            "never below 0, so no label would ever be absent; remove the Softmax"
        )
    if takes_logits(loss) and (inside := softmax_inside(nodes)):
        return (
            f"{inside} is not the end of the network: {loss!r} takes what {nodes[-1].name} gives for values before a "
            "softmax; put the Softmax last, or remove it"
        )
    if isinstance(last.layer, NEVER_BELOW_0) and end_for(nodes, loss) is None:
        return f"the network ends in {last}, and {loss!r} also needs values below 0: remove it"
    return ""


def is_plain(layer: Layer | Merge) -> bool:
    """Whether it computes what cnnkit's own Softmax or Sigmoid does: that class, or one derived without mathematics."""
    base = next((base for base in (Softmax, Sigmoid) if isinstance(layer, base)), None)
    methods = "forward", "backward", "value", "derivative"
    return base is not None and all(getattr(type(layer), one, 0) is getattr(base, one, 0) for one in methods)


def with_logits(nodes: Sequence[Node], about: Loss | Task) -> list[Node]:
    """The nodes of a network that gives the logits that a loss takes, or that a task is about: see `end_for`.

    What makes probabilities of them is skipped. Of the output of a class derived from Softmax with different
    mathematics, the logarithm is taken: where float32 has no smaller probability, training sees no smaller loss, and no
    gradient.
    """
    end = end_for(nodes, about)
    if end is None:
        return list(nodes)
    if not is_plain(end.layer):
        last = nodes[-1]
        log = Node(len(nodes), "log_of_probabilities", Log(), (last.index,), (last.out_shape,), last.out_shape)
        return [*nodes, log]
    if end is nodes[-1] and end.inputs != (INPUT,):
        return list(nodes[:-1])
    replaced = dataclasses.replace(end, layer=Identity())
    return [replaced if node is end else node for node in nodes]


def takes_logits(loss: Loss) -> bool:
    """Whether a loss takes the values before a Softmax at the end of the network."""
    return loss.from_logits and loss.gives in (None, "classes")


def probabilities(logits: Array, task: Task) -> Array:
    """Of what a network for this task gives: softmax of classes; of labels sigmoid, unless they are given as such."""
    if task.gives == "classes":
        return softmax(logits)
    return sigmoid(logits) if task.from_logits else logits


def softmax(logits: Array) -> Array:
    """exp(z) / sum of exp(z) over axis 1; the maximum is taken out, so that no exponent overflows."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return cast(Array, shifted / sum_over(shifted, 1)[:, None])
