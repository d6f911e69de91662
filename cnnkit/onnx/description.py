"""What a file says of itself, for programs as metadata and for people as texts beside its inputs and outputs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from cnnkit.errors import ConfigError
from cnnkit.network import Network
from cnnkit.onnx.outputs import LABEL, LOGITS, PROBABILITIES, SCORES

LAYOUTS = {1: "NF", 2: "NCL", 3: "NCHW"}
"""By the number of axes of a sample: N samples of F features, of C channels by L places, or by H rows by W columns."""
GOLDEN = "golden"
"""Key of the golden pair, which `golden_pair` writes."""


def determined(model: Network) -> dict[str, str]:
    """The entries of the metadata that the model alone determines."""
    return {
        "labels": json.dumps(model.labels, ensure_ascii=False),
        "preprocessing": json.dumps(dataclasses.asdict(model.preprocessing)),
        "input": _input_json(model),
    }


def metadata(model: Network, version: str, extra: Mapping[str, str]) -> dict[str, str]:
    """All entries; extra: those that the caller adds. Raises ConfigError for some that are no text, or the model's."""
    entries = determined(model)
    described = entries.pop("input")
    own = {**entries, "cnnkit_version": version, "input": described}
    for key, value in extra.items():
        if key in own or key == GOLDEN or not isinstance(value, str):
            raise ConfigError(
                f"metadata must be text under keys other than {', '.join([*own, GOLDEN])}, which the model itself "
                f"fills; got {key!r}: {value!r}"
            )
    return {**own, **extra}


def describe_network(model: Network) -> str:
    """The network in a line."""
    return f"a network that gives {model.gives}"


def describe_input(model: Network) -> str:
    """The input in a line: its axes, units and range."""
    axes = ", ".join(f"{axis}={size}" for axis, size in zip(_layout(model)[1:], model.input_shape, strict=True))
    low, high = model.input_range or (None, None)
    known = f", in training from {low:g} to {high:g}" if low is not None and high is not None else ""
    return f"samples as the dataset gives them, N by {axes}{known}; the preprocessing is inside"


def describe_output(model: Network, name: str) -> str:
    """An output in a line."""
    what, each = model.task.gives, " for each pixel" if len(model.output_shape) > 1 else ""
    if name == LABEL:
        found = "the index of the class" if what == "classes" else "1 for each label that is there, else 0"
        return f"{found}{each}"
    meaning = {
        LOGITS: f"the values of {what} before the {'softmax' if what == 'classes' else 'sigmoid'}",
        PROBABILITIES: f"the probabilities of {what}",
        SCORES: "the scores of classes, of which the highest counts",
    }.get(name, "what the network predicts")
    return f"{meaning}{each}, on axis 1"


def _input_json(model: Network) -> str:
    described = {
        "dtype": model.input_dtype,
        "layout": _layout(model),
        "shape": model.input_shape,
        "range": model.input_range,
        "framing": dataclasses.asdict(model.framing),
    }
    return json.dumps(described)


def _layout(model: Network) -> str:
    return LAYOUTS[len(model.input_shape)]
