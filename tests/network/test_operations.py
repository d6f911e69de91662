"""Operations: the counts equal those of a loop that does the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cnnkit.errors import ComponentError
from cnnkit.layers import ReLU
from cnnkit.network import Sequential
from cnnkit.types import LayerCost, Shape


@pytest.mark.parametrize(
    ("layer", "count"),
    [
        ("Conv2D(4, 3)", 2 * 4 * 2 * 9 * 16),
        ('Conv2D(4, 3, padding="same", groups=2)', 2 * 4 * 1 * 9 * 36),
        ("MaxPool2D(2)", 3 * 2 * 9),
        ("AvgPool2D(3)", 9 * 2 * 4),
        ("ReLU()", 72),
        ("BatchNorm2D()", 4 * 72),
        ("Flatten()", 0),
        ("Dropout(0.5)", 0),
        ("Softmax()", 36 * (1 + 2 + 2 + 1 + 2)),  # for each pixel: 1 comparison, 2 subtractions, 2 powers, ...
    ],
)
def test_layers_that_come_with_cnnkit_are_counted(layer: str, count: int) -> None:
    found = Sequential([layer], (2, 6, 6)).nodes[0].cost
    assert found is not None
    assert found.operations == count
    assert found.what


def test_merges_and_dense_layers_are_counted() -> None:
    layers = ["Residual(ReLU())", "Concat([], [])", "Flatten()", "Dense(5)"]
    costs = [(node.name, node.cost) for node in Sequential(layers, (2, 6, 6)).nodes]
    assert [(name, cost and cost.operations) for name, cost in costs] == [
        ("relu_1", 72),
        ("residual_1", 72),
        ("concat_1", 0),
        ("flatten_1", 0),
        ("dense_1", 2 * 5 * 144),
    ]


class Derived(ReLU):
    """It may do anything."""


def test_what_others_do_is_not_known() -> None:
    assert Sequential([Derived()], (4,)).nodes[0].cost is None


class Countless(ReLU):
    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> Any:
        return 12


class Failing(ReLU):
    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        raise ValueError("no idea")


def test_a_cost_that_is_none_is_refused_wherever_it_is_asked_for() -> None:
    model = Sequential([Countless()], (4,))
    for ask in (model.summary, model.check_cost):
        with pytest.raises(ComponentError, match=r"cost of Countless\(\) must return a LayerCost, .*, it returned 12"):
            ask()
    with pytest.raises(ValueError, match="no idea") as caught:
        Sequential([Failing()], (4,)).summary()
    assert caught.value.__notes__ == ["in cost of Failing()"]


class Repeated(Derived):
    """It says again what its parent's parent says."""

    cost = ReLU.cost


def test_a_derived_class_may_say_it_again() -> None:
    cost = Sequential([Repeated()], (4,)).nodes[0].cost
    assert cost is not None
    assert cost.operations == 4
