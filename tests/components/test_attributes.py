"""Attributes that nobody reads: found where they were set from outside, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer, Optimizer, installed_catalog
from cnnkit.components.attributes import unread
from cnnkit.components.plugin_metadata import KINDS
from cnnkit.layers import BatchNorm2D, Concat, Conv2D, Dense, Dropout, ReLU
from cnnkit.network import Sequential
from cnnkit.optimizers import SGD
from cnnkit.training import Trainer
from cnnkit.types import Array, Cache, Context, Shape
from tests.components import helping
from tests.components.keeping import Asks, Heir, Own

OUTSIDE = ["trainable", "frozen", "requires_grad", "name", "lr", "weight_decay", "activation", "_note"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize(
    "make", [lambda: Conv2D(8, 3), lambda: Dense(3), ReLU, lambda: Dropout(0.5), BatchNorm2D, lambda: Concat([], [])]
)
def test_what_is_set_from_outside_is_found(make: Any, name: str) -> None:
    layer = make()
    setattr(layer, name, False)
    assert unread(layer) == [name]


def test_other_objects_than_layers_too() -> None:
    optimizer, trainer, model = SGD(0.1), Trainer(), Sequential(["Dense(3)"], (3,))
    optimizer.learning_rate = 0.2  # type: ignore[attr-defined]  # wrong on purpose
    trainer.epoch = 3  # type: ignore[attr-defined]  # wrong on purpose
    model.trainable = False  # type: ignore[attr-defined]  # wrong on purpose
    assert (unread(optimizer), unread(trainer), unread(model)) == (["learning_rate"], ["epoch"], ["trainable"])


def test_what_has_been_built_trained_and_asked_has_none() -> None:
    layers = ["Conv2D(4, 3)", "BatchNorm2D()", "Residual(ReLU())", "MaxPool2D(2)", "Flatten()", "Dropout(0.1)"]
    model = Sequential([*layers, "Dense(3)", "Softmax()"], (1, 8, 8))
    callbacks = ["StopAt(2.0, 'accuracy')"]
    trainer = Trainer(epochs=1, schedule="OneCycle()", augmentations=["Shift(1)"], callbacks=callbacks)
    rng = np.random.default_rng(0)
    trainer.fit(model, (rng.normal(size=(40, 1, 8, 8)), rng.integers(0, 3, 40)))
    model.predict(np.zeros((1, 1, 8, 8), np.float32))
    parts = [model, trainer, trainer.optimizer, trainer.schedule, *trainer.callbacks, *trainer.augmentations]
    assert {name for part in (*parts, *(node.layer for node in model.nodes)) for name in unread(part)} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_sees_through_every_built_in_class(kind: str) -> None:
    """One that it cannot look into would hide what is set on it."""
    for name in installed_catalog().names(kind):
        cls = installed_catalog().find(kind, name)
        thing = object.__new__(cls)
        thing.surely_unknown = 1  # type: ignore[attr-defined]  # wrong on purpose
        assert unread(thing) == ["surely_unknown"], name


def test_whatever_a_class_keeps_itself_is_known() -> None:
    for layer in (Own(3), Heir(3)):
        layer.build((3,), np.random.default_rng(0))
        layer.lr = 0.5
        assert layer.table == layer.cached() == 1
        kept = {"width", "declared", "trainable", "frozen", "requires_grad", "_lr", "table", "beside", "inside"}
        assert kept <= vars(layer).keys()
        assert unread(layer) == []
        layer.nobody = 1  # type: ignore[attr-defined]  # wrong on purpose
        assert unread(layer) == ["nobody"]


class Computed(Optimizer):
    """Keeps attributes under names that stand nowhere."""

    def __init__(self, **options: float) -> None:
        for name, value in options.items():
            setattr(self, f"of_{name}", value)


class Compiled(Layer):
    """Has a method that is no Python code."""

    upper = str.upper


def test_where_names_cannot_be_known_nothing_is_refused() -> None:
    assert unread(Computed(lr=1.0)) == []
    layer = Compiled()
    layer.anything = 1  # type: ignore[attr-defined]  # not declared, on purpose
    assert unread(layer) == []


class Helped(Layer):
    """Lets another module keep what it needs, and says so in different ways."""

    def __init__(self, way: str) -> None:
        self.way = way
        helping.setup(self)


class HelpedByNeighbour(Layer):
    """Likewise, by a function beside it."""

    def __init__(self) -> None:
        _pass_on(1, layer=self)


class Decorated(Layer):
    """Has a method that another module wraps."""

    @helping.counted
    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x, None


class HelpedByKeyword(Layer):
    """Hands itself over in a list."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        helping.setup_all(layers=[self])
        return in_shape


def _pass_on(number: int, *, layer: Layer) -> None:
    _pass_on_further(layer, number)


def _pass_on_further(layer: Layer, number: int) -> None:
    if number:
        _pass_on(0, layer=layer)
    helping.setup(layer)


@pytest.mark.parametrize("make", [lambda: Helped("plain"), HelpedByNeighbour, Decorated, HelpedByKeyword])
def test_what_code_elsewhere_may_keep_on_an_object_is_not_refused(make: Any) -> None:
    layer = make()
    layer.build((3,), np.random.default_rng(0))
    if isinstance(layer, Decorated):
        layer.forward(np.zeros((1, 3), np.float32), None)
    assert vars(layer).keys() & {"trainable", "calls"}
    assert unread(layer) == []


def test_one_that_hands_itself_to_nobody_who_keeps_anything_is_looked_into() -> None:
    layer = Asks(3)
    layer.nobody = False  # type: ignore[attr-defined]  # wrong on purpose
    assert unread(layer) == ["nobody"]


def test_wrapped_built_in_functions_beside_a_class_are_passed_over() -> None:
    layer = helping.Beside(3)
    layer.nobody = False  # type: ignore[attr-defined]  # wrong on purpose
    assert unread(layer) == ["nobody"]
