"""Where numbers ceased to be finite."""

from __future__ import annotations

import numpy as np

from cnnkit.network import Augmented, Engine, Network, Session
from cnnkit.network.graph.node import Node
from cnnkit.types import Array

CHUNK = 32
"""Samples that are taken through the network together."""


def first_not_finite(session: Session, batch: Array, key: tuple[int, ...]) -> str:
    """The first place of a step at which NaN or an infinity appears, as text; after `session.step(batch, key)`.

    In the order in which a step computes: weights, the outputs of the layers by the plain forward pass, loss, and then
    gradients, from the last layer to the first.
    """
    engine, samples = session.engine, session.samples
    seed, epoch, *_ = key
    part = samples.at(batch, seed, epoch) if isinstance(samples, Augmented) else samples.take(batch)
    x = np.asarray(part.x)
    if (bad := _rows(x)).size:
        return f"the training sample {batch[bad[0]]}, after its augmentations"
    if place := _parameter(engine, engine.parameters.vector, "weights"):
        return place
    found = [
        (node.index, start + bad[0])
        for start in range(0, len(x), CHUNK)
        for node, output in zip(engine.nodes, _traced(engine, x[start : start + CHUNK]), strict=True)
        if (bad := _rows(output)).size
    ]
    if found:
        index, row = min(found)
        return f"the output of {_of(engine.nodes[index])}, for the training sample {batch[row]}"
    if (bad := _rows(part.y)).size:
        return f"the target of the training sample {batch[bad[0]]}"
    return _parameter(engine, session.gradient, "gradient", backwards=True) or "the loss"


def weights_are_finite(engine: Engine) -> bool:
    """Whether all parameters are finite numbers."""
    vector = engine.parameters.vector
    with np.errstate(all="ignore"):
        square = float(np.vecdot(vector, vector))  # by far the fastest pass; it may overflow where nothing is wrong
    return bool(np.isfinite(square)) or bool(np.isfinite(vector).all())


def first_weights(engine: Engine) -> str:
    """The first parameter that is not finite, as text; "" if there is none."""
    return _parameter(engine, engine.parameters.vector, "weights")


def first_buffer(model: Network) -> str:
    """The first buffer that is not finite, as text; "" if there is none."""
    for node in model.nodes:
        for name, buffer in node.layer.buffers.items():
            if not np.isfinite(buffer).all():
                return f"the buffer {name!r} of {_of(node)}"
    return ""


def _traced(engine: Engine, x: Array) -> list[Array]:
    with np.errstate(all="ignore"):
        return engine.trace(x)


def _parameter(engine: Engine, vector: Array, what: str, *, backwards: bool = False) -> str:
    entries = engine.parameters.entries
    nodes = {node.index: node for node in engine.nodes}
    for entry in reversed(entries) if backwards else entries:
        if not np.isfinite(vector[entry.start : entry.stop]).all():
            return f"the {what} {entry.name!r} of {_of(nodes[entry.node])}"
    return ""


def _rows(x: Array) -> Array:
    """The positions along the first axis of what is not finite."""
    if x.dtype.kind != "f":
        return np.empty(0, np.int64)
    return np.flatnonzero(~np.isfinite(x).all(axis=tuple(range(1, x.ndim))))


def _of(node: Node) -> str:
    return f"{node.name} = {node.layer!r}"
