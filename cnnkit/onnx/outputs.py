"""The outputs of an exported file: what a model says of a sample, as its task is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import numpy as np
from onnx import TensorProto

from cnnkit.errors import ConfigError
from cnnkit.network import INPUT, Network
from cnnkit.network.graph.final_layers import SMALLEST, end_for, is_plain
from cnnkit.onnx.graph_builder import GraphBuilder
from cnnkit.types import Array, Shape

LOGITS, PROBABILITIES, SCORES, VALUES, LABEL = "logits", "probabilities", "scores", "values", "label"
NAMES = frozenset({LOGITS, PROBABILITIES, SCORES, VALUES, LABEL})
BOUNDED, BEFORE_LABEL = "bounded", "before_label"
"""What a file calls values on the way to an output."""


def possible_outputs(model: Network) -> tuple[str, ...]:
    """What a file can give of a model, in this order."""
    task = model.task
    if task.gives == "values":
        return (VALUES,)
    if not model.has_probabilities:
        return (SCORES, LABEL)
    has_logits = task.from_logits or task.gives == "classes"
    return (LOGITS, PROBABILITIES, LABEL) if has_logits else (PROBABILITIES, LABEL)


def output_names(model: Network) -> tuple[str, ...]:
    """What a file gives if nothing else is asked: logits and their probabilities, probabilities, scores, or values."""
    return tuple(name for name in possible_outputs(model) if name != LABEL)


def chosen_outputs(model: Network, chosen: Sequence[str] | None) -> tuple[str, ...]:
    """The outputs that a file shall have; None for those of `output_names`. Raises ConfigError if it cannot."""
    if chosen is None:
        return output_names(model)
    possible = possible_outputs(model)
    given = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    if given and given == given_by(possible, given):
        return given
    what = f"one or more of {', '.join(possible)}, in this order" if len(possible) > 1 else f"{possible[0]} alone"
    raise ConfigError(
        f"the network gives {model.gives}: the outputs of its file must be {what}, got "
        f"{', '.join(map(str, given)) or 'none'}"
    )


def given_by(possible: Sequence[str], names: Collection[str]) -> tuple[str, ...]:
    """Those of the possible outputs that are among these names."""
    return tuple(name for name in possible if name in names)


def output_shape(model: Network, name: str) -> Shape:
    """Shape of an output for one sample: of a label of classes, all but the axis of classes."""
    return model.output_shape[1:] if name == LABEL and model.task.gives == "classes" else model.output_shape


def lower_outputs(
    model: Network, graph: GraphBuilder, preprocessed: str, values: Sequence[str], names: Sequence[str]
) -> None:
    """Write these outputs; preprocessed, values: of the model's nodes.

    No node reads an output of the file: converters to float16 turn those back and leave their readers behind.
    """
    last = values[-1]
    end = end_for(model.nodes, model.task) if LOGITS in possible_outputs(model) else None
    scores, logarithm = last, False
    if end is not None:
        before = end.inputs[0]
        scores = preprocessed if before == INPUT else values[before]
        if logarithm := not is_plain(end.layer):  # as `network.ending` takes the logarithm
            graph.begin(BOUNDED)
            scores = graph.add("Max", last, np.array(SMALLEST, np.float32))
    for name in names:
        if name == LABEL:
            _lower_label(model, graph, scores, last if end is not None or not model.task.from_logits else None)
            continue
        graph.begin(name)
        if name == LOGITS:
            same = graph.shape(scores) == model.output_shape
            graph.add("Log" if logarithm else "Identity" if same else "Flatten", scores)
        elif name == PROBABILITIES and LOGITS in possible_outputs(model) and end is None:
            _add_probabilities(model, graph, last)
        else:
            graph.add("Identity", last)  # a second name, so that the value keeps the one of its layer


def _add_probabilities(model: Network, graph: GraphBuilder, logits: str) -> str:
    return graph.add("Softmax", logits, axis=1) if model.task.gives == "classes" else graph.add("Sigmoid", logits)


def _lower_label(model: Network, graph: GraphBuilder, scores: str, probabilities: str | None) -> None:
    """Write the class that has the highest score, or of each label whether its probability is 1/2 or more."""
    graph.begin(BEFORE_LABEL)
    if model.task.gives == "classes":
        if graph.shape(scores) != model.output_shape:
            scores = graph.add("Flatten", scores)
        graph.begin(LABEL)
        graph.add("ArgMax", scores, axis=1, keepdims=0)
        return
    probabilities = probabilities or _add_probabilities(model, graph, scores)
    below = np.nextafter(np.float32(0.5), np.float32(0))  # of GreaterOrEqual onnx 1.18 infers no shape
    present = graph.add("Greater", probabilities, np.asarray(below))
    graph.begin(LABEL)
    graph.add("Cast", present, to=TensorProto.INT64)


def compared_name(model: Network, names: Sequence[str]) -> str:
    """The first of these outputs; for a label, what that is taken from."""
    return possible_outputs(model)[0] if names[0] == LABEL else names[0]


def compared_outputs(model: Network, x: Array, names: Sequence[str]) -> Array:
    """The model's own values for `compared_name`, (N, ...)."""
    first = compared_name(model, names)
    if first == PROBABILITIES:
        return model.predict_proba(x)
    return model.outputs(x) if first == VALUES else model.logits(x)


def probabilities_of(model: Network, logits: Array) -> Array:
    """What the second output has to be for these values of the first, in float64.

    NaN in samples with a logit that is NaN, or of classes +infinity.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        if model.task.gives == "labels":
            return cast(Array, 1 / (1 + np.exp(-logits.astype(np.float64))))
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True).astype(np.float64))
        return cast(Array, shifted / shifted.sum(axis=1, keepdims=True))
