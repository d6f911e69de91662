"""The outputs of an exported file: what a model says of a sample, as its task is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from cnnkit.network import INPUT, Network
from cnnkit.network.graph.final_layers import SMALLEST, end_for, is_plain
from cnnkit.onnx.graph_builder import GraphBuilder
from cnnkit.types import Array

LOGITS, PROBABILITIES, SCORES, VALUES = "logits", "probabilities", "scores", "values"
BOUNDED = "bounded"


def output_names(model: Network) -> tuple[str, ...]:
    """What a file gives: the outputs that are compared, and for those that are logits the probabilities after them."""
    task = model.task
    if task.gives == "values":
        return (VALUES,)
    if not model.has_probabilities:
        return (SCORES,)
    return (LOGITS, PROBABILITIES) if task.from_logits or task.gives == "classes" else (PROBABILITIES,)


def lower_outputs(model: Network, graph: GraphBuilder, preprocessed: str, values: Sequence[str]) -> list[str]:
    """Write what the file gives, and return the names of that; preprocessed, values: of the model's nodes.

    No node reads an output of the file: converters to float16 turn those back and leave their readers behind.
    """
    names, last = output_names(model), values[-1]
    end = end_for(model.nodes, model.task)
    if names == (LOGITS, PROBABILITIES) and end is not None:
        before = end.inputs[0]
        scores = preprocessed if before == INPUT else values[before]
        if not is_plain(end.layer):  # as `network.ending` takes the logarithm
            graph.begin(BOUNDED)
            scores = graph.add("Max", last, np.array(SMALLEST, np.float32))
        graph.begin(LOGITS)
        operator = "Identity" if graph.shape(scores) == model.output_shape else "Flatten"
        logits = graph.add(operator if is_plain(end.layer) else "Log", scores)
        return [logits, _named(graph, PROBABILITIES, last)]
    written = [_named(graph, names[0], last)]
    if len(names) == 2:
        graph.begin(PROBABILITIES)
        classes = model.task.gives == "classes"
        written.append(graph.add("Softmax", last, axis=1) if classes else graph.add("Sigmoid", last))
    return written


def compared_outputs(model: Network, x: Array) -> Array:
    """The model's own values for the first output of its file, (N, ...)."""
    return model.outputs(x) if output_names(model)[0] in (VALUES, PROBABILITIES) else model.logits(x)


def probabilities_of(model: Network, logits: Array) -> Array:
    """What the second output has to be for these values of the first, in float64.

    NaN in samples with a logit that is NaN, or of classes +infinity.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        if model.task.gives == "labels":
            return cast(Array, 1 / (1 + np.exp(-logits.astype(np.float64))))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True).astype(np.float64))
        return cast(Array, shifted / shifted.sum(axis=1, keepdims=True))


def _named(graph: GraphBuilder, name: str, value: str) -> str:
    """Give a value a second name, so that it keeps the one of its layer."""
    graph.begin(name)
    return graph.add("Identity", value)
