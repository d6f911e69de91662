"""What an explanation of large weights takes: not several times as much as these, in float64 or as Python's numbers."""

from __future__ import annotations

import tracemalloc

from cnnkit.explanation.explanation import explain
from cnnkit.explanation.page import page
from cnnkit.explanation.tracing import MOST_CHECKED
from cnnkit.network import Sequential
from tests.explanation.networks import image


def test_large_weights_are_in_memory_a_few_times() -> None:
    """Their gradients once, and once more while a backward pass is timed."""
    model = Sequential(["Flatten()", "Dense(10)"], (1, 1024, 512))
    assert model.parameter_count() > MOST_CHECKED
    x, weights = image(model.input_shape), model.parameters.vector.nbytes
    small = Sequential(["Flatten()", "Dense(10)"], (1, 8, 8))
    page(explain(small, image(small.input_shape), target=1))  # what is imported is counted before
    tracemalloc.start()
    try:
        found = explain(model, x, target=1)
        explanation = tracemalloc.get_traced_memory()[1]
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        page(found)
        drawing = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert weights <= explanation < 3 * weights
    assert drawing < 2 * weights
