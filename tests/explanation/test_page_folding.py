"""What is folded on the page, so that it is short when it is opened."""

from __future__ import annotations

import numpy as np

from cnnkit.explanation import explain
from cnnkit.network import Sequential
from tests.explanation.test_page import explained, read


def test_layers_between_the_first_and_the_last_are_folded() -> None:
    folded = ["open" not in attributes for tag, attributes in read(explained()).elements if tag == "details"]
    reading, overview, image, *layers = folded
    assert (reading, overview, image) == (True, False, True)
    assert layers[:1] == layers[-1:] == [False]
    assert len(layers) > 2
    assert all(layers[1:-1])


def test_the_table_of_many_layers_is_folded() -> None:
    model = Sequential(["Conv2D(1, 1)"] * 20 + ["Flatten()", "Dense(2)"], (1, 2, 2))
    elements = read(explain(model, np.zeros((1, 2, 2), np.float32), target=0)).elements
    folded = ["open" not in attributes for tag, attributes in elements if tag == "details"]
    assert folded == [True, True, True, False, *[True] * 20, False]
