"""ONNX's own cases with odd attributes, sizes and constants: answered or refused, whatever an operator is told.

600 by default, 9,000 more in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import node_cases  # type: ignore[import-not-found]  # beside this file
import numpy as np
import pytest
from mutants import NUMBERS  # type: ignore[import-not-found]  # likewise
from onnx import AttributeProto, ModelProto

from cnnkit.errors import CnnkitError
from cnnkit.onnx.backend import CnnkitBackend
from cnnkit.onnx.importing import translation  # noqa: F401  # fills the table
from cnnkit.onnx.importing.attributes import REPORT
from cnnkit.onnx.importing.operators import TRANSLATIONS
from cnnkit.types import Array

SMALL = 5_000
"""Numbers of an input, so that a case takes milliseconds."""


def odd_attribute(model: ModelProto, rng: np.random.Generator) -> None:
    attributes = model.graph.node[0].attribute
    if not attributes:
        return
    attribute, number = attributes[int(rng.integers(len(attributes)))], int(rng.choice(np.array(NUMBERS, np.object_)))
    if attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = number
    elif attribute.type == AttributeProto.INT:
        attribute.i = number
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = float(rng.choice([0, -1, np.nan, np.inf, 1e30]))


def odd_array(array: Array, rng: np.random.Generator) -> Array:
    """Other whole numbers, or another shape."""
    if array.dtype == np.int64 and array.size and rng.integers(4):
        changed = array.copy()
        changed.reshape(-1)[int(rng.integers(array.size))] = int(rng.choice(np.array(NUMBERS, np.object_)))
        return changed
    match rng.integers(4):
        case 0 if array.ndim:
            return array[..., :0]
        case 1:
            return array.reshape(-1)
        case 2 if array.ndim:
            return np.repeat(array, 2, -1)
    return array[None]


def small_cases() -> list[Any]:
    return [
        case
        for case in node_cases.cases()
        if case.operator in TRANSLATIONS
        and CnnkitBackend.is_compatible(case.model)
        and case.inputs
        and case.inputs[0].dtype == np.float32
        and max(array.size for array in case.inputs) < SMALL
    ]


def outcome(model: ModelProto, inputs: list[Array]) -> str:
    """What became of a model."""
    try:
        CnnkitBackend.prepare(model).run(inputs)
    except CnnkitError as error:
        return "not foreseen" if REPORT in str(error) else "refused"
    return "answered"


ODD: dict[str, Callable[[Array], Array]] = {
    "empty": lambda array: np.zeros(0, array.dtype),
    "single": lambda array: np.zeros((), array.dtype),
    "first": lambda array: array.reshape(-1)[:1],
    "wider": lambda array: array[None],
}


@pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered")
@pytest.mark.parametrize("odd", ODD)
def test_every_constant_of_an_odd_shape_is_taken_or_refused(odd: str) -> None:
    outcomes: Counter[str] = Counter()
    for case in small_cases():
        for at, array in enumerate(case.inputs[1:], 1):
            try:
                outcomes[outcome(case.model, [*case.inputs[:at], ODD[odd](array), *case.inputs[at + 1 :]])] += 1
            except Exception as error:
                error.add_note(f"{case.name}, input {at}")
                raise
    assert outcomes["not foreseen"] == 0
    assert sum(outcomes.values()) > 250
    assert outcomes["refused"] > 100


@pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered")
@pytest.mark.parametrize(
    ("seed", "count"), [(0, 300), (1, 300), *(pytest.param(n, 1500, marks=pytest.mark.full) for n in range(2, 8))]
)
def test_odd_operators_are_answered_or_refused(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    cases = small_cases()
    outcomes: Counter[str] = Counter()
    for at in range(count):
        case: Any = cases[int(rng.integers(len(cases)))]
        model = ModelProto.FromString(case.model.SerializeToString())
        inputs = list(case.inputs)
        for _ in range(int(rng.integers(1, 3))):
            if rng.integers(2):
                odd_attribute(model, rng)
            else:
                which = int(rng.integers(len(inputs)))
                inputs[which] = odd_array(inputs[which], rng)
        try:
            outcomes[outcome(model, inputs)] += 1
        except Exception as error:
            error.add_note(f"{case.name}, number {at} of seed {seed}")
            raise
    assert outcomes["not foreseen"] == 0
    assert min(outcomes["answered"], outcomes["refused"]) > count / 10
