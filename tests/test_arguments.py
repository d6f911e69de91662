"""Arguments that a class does not take are answered with the one that was meant, wherever an object is made."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, plot
from cnnkit.arguments import ELSEWHERE
from cnnkit.components import Layer, installed_catalog
from cnnkit.components.plugin_metadata import KINDS
from cnnkit.errors import ConfigError, PlotError
from cnnkit.layers import Conv2D, Dense, HardSwish, MaxPool2D, ReLU
from cnnkit.losses import CrossEntropy
from cnnkit.metrics import Accuracy
from cnnkit.optimizers import Adam


@pytest.mark.parametrize(
    ("cls", "given", "message"),
    [
        (Trainer, {"lr": 0.1}, "lr: the learning rate is an argument of the optimizer, as in"),
        (Trainer, {"batchsize": 3}, "batchsize: did you mean batch_size?"),
        (Trainer, {"epoch": 3}, "epoch: did you mean epochs?"),
        (Conv2D, {"kernel_size": 3}, "kernel_size: did you mean kernel?"),
        (Conv2D, {"activation": "relu"}, "activation: an activation is a layer of its own"),
        (Conv2D, {"out_channels": 3}, "out_channels: did you mean filters?"),
        (Adam, {"learning_rate": 0.1}, "learning_rate: did you mean lr?"),
        (Adam, {"wd": 0.1}, "wd: did you mean weight_decay?"),
        (Adam, {"decay": 0.1}, "decay: did you mean weight_decay?"),
        (CrossEntropy, {"xyz": 1}, "xyz: it takes label_smoothing"),
        (ReLU, {"xyz": 1}, "xyz: it takes none"),
        (Sequential, {"label": "a"}, "label: did you mean labels?"),
    ],
)
def test_the_argument_that_was_meant_is_named(cls: Any, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        cls(**given)
    assert str(error.value).startswith(f"{cls.__name__} has no argument {message}")


def test_an_expression_says_so_too() -> None:
    with pytest.raises(ConfigError) as error:
        installed_catalog().build("layer", "Conv2D(8, kernel_size=3)")
    assert str(error.value).startswith(
        "Conv2D(8, kernel_size=3): Conv2D has no argument kernel_size: did you mean kernel?; expected Conv2D(filters, "
    )


def test_what_others_call_it_is_a_hint_only_where_it_fits() -> None:
    with pytest.raises(ConfigError, match="Dense has no argument learning_rate: it takes "):
        Dense(3, learning_rate=1)  # type: ignore[call-arg]  # wrong on purpose
    for (owner, name), hint in ELSEWHERE.items():  # no argument of ours is called so
        for kind in KINDS:
            for _, classes in installed_catalog().all_classes(kind):
                taking = [one for one in classes.values() if name in inspect.signature(one.__init__).parameters]
                assert not taking or owner, (taking, name, hint)


@pytest.mark.parametrize(
    ("cls", "args", "given", "message"),
    [
        (MaxPool2D, (), {}, "missing a required argument: 'size'; expected MaxPool2D(size, stride=None, "),
        (Conv2D, (), {"kernel": 3}, "missing a required argument: 'filters'; expected Conv2D(filters, kernel, "),
        (Conv2D, (8,), {"filters": 8}, "multiple values for argument 'filters'; expected Conv2D(filters, "),
        (HardSwish, (3,), {}, "too many positional arguments; expected HardSwish()"),
        (Accuracy, (3, 4, 5), {}, "too many positional arguments; expected Accuracy("),
        (Trainer, (3,), {}, "too many positional arguments; expected Trainer(*, optimizer="),
        (Sequential, (), {}, "missing a required argument: 'layers'; expected Sequential(layers, input_shape=None, "),
    ],
)
def test_arguments_that_are_missing_or_too_many_are_told_in_public_words(
    cls: Any, args: tuple[Any, ...], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        cls(*args, **given)
    assert str(error.value).startswith(f"{cls.__name__}: {message}")


def test_an_expression_says_once_what_is_expected() -> None:
    with pytest.raises(ConfigError) as error:
        installed_catalog().build("layer", "MaxPool2D()")
    assert str(error.value) == (
        "MaxPool2D(): missing a required argument: 'size'; "
        "expected MaxPool2D(size, stride=None, padding=0, ceil_mode=False)"
    )


def test_all_else_is_as_it_was() -> None:
    for one in (Conv2D(8, kernel=3), Adam(lr=0.1), Trainer(epochs=3)):
        for again in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
            assert type(again) is type(one)
            assert vars(again).keys() == vars(one).keys()
            assert repr(again) == repr(one)
    assert pickle.loads(pickle.dumps(Adam(lr=0.1))) == Adam(lr=0.1)
    assert next(iter(inspect.signature(Adam).parameters)) == "lr"


def test_a_class_that_takes_any_keyword_takes_any() -> None:
    class Free(Layer):
        def __init__(self, **given: Any) -> None:
            self.given = given

    assert Free(anything=3).given == {"anything": 3}


def test_inputs_and_targets_are_one_argument() -> None:
    x, y = np.zeros((4, 3), np.float32), np.zeros(4, int)
    model = Sequential(["Dense(2)"], (3,))
    with pytest.raises(ConfigError, match=r"^fit takes inputs and targets as a pair: trainer\.fit\(model, \(x, y\)\)$"):
        Trainer(epochs=1).fit(model, x, y)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match=r"as in trainer\.fit\(model, \(x, y\)\); got ndarray$"):
        Trainer(epochs=1).fit(model, x)  # type: ignore[arg-type]  # wrong on purpose


def test_words_that_were_meant() -> None:
    model = Sequential(["Dense(2)"], (3,))
    with pytest.raises(PlotError, match=r"got 'curve'; did you mean curves\?$"):
        plot(model, "curve")
    with pytest.raises(
        ConfigError, match=r"dtype must be one of 'float32', 'float64', got 'float'; did you mean float"
    ):
        Sequential(["Dense(2)"], (3,), dtype="float")  # type: ignore[arg-type]  # wrong on purpose
