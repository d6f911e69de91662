"""What the metadata of a file say of its model: readers rely on it, though no runtime executes it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnkit.errors import OnnxError
from cnnkit.network import Network
from cnnkit.onnx.description import GOLDEN, determined
from cnnkit.onnx.file_content import metadata_entry
from cnnkit.onnx.golden_pair import MAX_TEXT, GoldenPair, golden_pair, read_golden_pair
from cnnkit.onnx.outputs import LABEL, given_by, possible_outputs
from cnnkit.printable_text import on_one_line

LONGER = 4096
"""Bytes that an entry may have beside twice those that are expected: it may be written in another way."""
SHOWN = 100
"""Characters of an entry in a message."""


def metadata_problem(
    data: bytes,
    path: str | os.PathLike[str],
    model: Network,
    further: Mapping[str, str] | None = None,
    precision: str = "float32",
) -> str:
    """Where the metadata of a file contradict its model; "" if nowhere. What is not in the file, nobody relies on.

    Compared are the entries that the model determines, with the golden pair, and `further` ones. Of an object in JSON
    that are the keys which both have, for another version of cnnkit may write more. precision: of the file; in int8 its
    pair has answers of its own, which the model says nothing of.
    Raises OnnxError for a file whose metadata cannot be read.
    """
    problems = []
    try:
        for key, expected in {**determined(model), **(further or {})}.items():
            given = metadata_entry(data, key, 2 * len(expected.encode()) + LONGER)
            if given is not None and _contradicts(_parsed(given), _parsed(expected)):
                ours, theirs = (on_one_line(text, SHOWN) for text in (expected, given))
                problems.append(f"the file says {key} = {theirs}, expected {ours}")
        text = metadata_entry(data, GOLDEN, MAX_TEXT)
    except OnnxError as error:
        raise OnnxError(f"{path}: {error}") from None
    if text is not None and precision != "int8" and (problem := _pair_problem(text, model)):
        problems.append(problem)
    return "; ".join(problems)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _contradicts(given: Any, expected: Any) -> bool:
    if isinstance(given, dict) and isinstance(expected, dict):
        return any(given[key] != value for key, value in expected.items() if key in given)
    return bool(given != expected)


def _pair_problem(text: str, model: Network) -> str:
    """What is wrong with the golden pair of a file; "" if it has the model's answers."""
    try:
        pair = read_golden_pair(text)
    except OnnxError as error:
        return f"of the file, {error}"
    x = _sample(pair, model)
    names = given_by(possible_outputs(model), pair.outputs)
    if x is None or len(names) < len(pair.outputs):
        return "the golden pair of the file is none of this model: its input or outputs have other names or shapes"
    own = golden_pair(model, x, "", names, pair.input.dtype.name)
    for name, expected in (own.outputs if own else {}).items():
        given = pair.outputs[name]
        if given.shape != expected.shape:
            return f"the golden pair of the file has {name} of shape {given.shape}, expected {expected.shape}"
        if own is None or (bool((given != expected).any()) if name == LABEL else not own.agrees(name, given)):
            return f"the golden pair of the file has other {name} than the model gives for its sample"
    return ""


def _sample(pair: GoldenPair, model: Network) -> np.ndarray[Any, np.dtype[Any]] | None:
    """The sample as the model's dataset would give it; None if it could not."""
    with np.errstate(invalid="ignore"):
        x = pair.input.astype(model.input_dtype)
    fits = x.shape[1:] == model.input_shape and np.array_equal(x, pair.input)
    return x if fits else None
