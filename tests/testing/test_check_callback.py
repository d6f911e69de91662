"""check_callback must find each planted fault by name, and refuse no callback that is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from cnnkit.components import Callback
from cnnkit.errors import CheckError, ComponentError, ConfigError
from cnnkit.network import Sequential
from cnnkit.optimizers import SGD
from cnnkit.testing import check_callback
from cnnkit.training.callbacks import EarlyStopping
from cnnkit.types import TrainingStep

History = Mapping[str, list[float]]
OPTIMIZER = SGD(0.1)


class Best(Callback):
    """The right callback that the faulty ones are made from: it ends a training whose loss was better before."""

    def start(self, quantities: Mapping[str, bool]) -> None:
        self.best = math.inf

    def after_epoch(self, history: History) -> str:
        loss = history["loss"][-1]
        self.best = min(self.best, loss)
        return f"the loss was {self.best:g} before" if loss > self.best else ""


class Spoil(Best):
    def after_epoch(self, history: History) -> str:
        history["loss"].append(3.0)
        return ""


class Sorts(Best):
    def after_epoch(self, history: History) -> str:
        history["accuracy"].sort(reverse=True)
        return ""


class Adds(Best):
    def after_epoch(self, history: History) -> str:
        history["ratio"] = [1.0]  # type: ignore[index]  # wrong on purpose
        return ""


class ReturnsTrue(Best):
    def after_epoch(self, history: History) -> str:
        return True  # type: ignore[return-value]  # wrong on purpose


class ReturnsNothing(Best):
    def after_epoch(self, history: History) -> str:
        return None  # type: ignore[return-value]  # wrong on purpose


class Halve(Best):
    def after_epoch(self, history: History) -> str:
        OPTIMIZER.lr *= 0.5
        return ""


class HalvesItsOwn(Best):
    def __init__(self) -> None:
        self.optimizer = SGD(0.1)

    def after_epoch(self, history: History) -> str:
        self.optimizer.lr *= 0.5
        return ""


class MovesWeights(Best):
    def __init__(self) -> None:
        self.model = Sequential(["Dense(2)"], (3,))

    def after_epoch(self, history: History) -> str:
        self.model.parameters.vector *= 0.9
        return ""


class NeverForgets(Best):
    def __init__(self) -> None:
        self.best = math.inf

    def start(self, quantities: Mapping[str, bool]) -> None:
        """It keeps the best loss of earlier trainings."""


class CountsTrainings(Best):
    trainings: ClassVar[list[int]] = []

    def after_epoch(self, history: History) -> str:
        self.trainings.append(1)
        return f"{len(self.trainings)} epochs in all"


class NeedsTwoEpochs(Best):
    def after_epoch(self, history: History) -> str:
        return "" if history["loss"][-1] < history["loss"][-2] else "the loss has risen"


class TooLate(Best):
    def after_epoch(self, history: History) -> str:
        return "good" if history["validation_accuracy"][-1] > 0.99 else ""


class LosesPatience(Best):
    def __init__(self, patience: int = 5) -> None:
        self.patience = patience

    def after_epoch(self, history: History) -> str:
        self.patience = 3
        return ""


class ChangesQuantities(Best):
    def start(self, quantities: Mapping[str, bool]) -> None:
        super().start(quantities)
        quantities["ratio"] = True  # type: ignore[index]  # wrong on purpose


class Tosses(Best):
    def after_epoch(self, history: History) -> str:
        np.random.random()
        return ""


class AddsLoss(Best):
    def quantities(self, parameters: Mapping[str, Any]) -> Mapping[str, bool]:
        return {"loss": False}

    def measured(self) -> Mapping[str, float]:
        return {"loss": 0.0}


FAULTS: list[tuple[Callback, str, str]] = [
    (Spoil(), "history unchanged", r"after_epoch changed history\['loss'\], which the registry stores: work on a copy"),
    (Sorts(), "history unchanged", r"after_epoch changed history\['accuracy'\]"),
    (Adds(), "history unchanged", r"after_epoch changed history\['ratio'\]"),
    (ReturnsTrue(), "verdicts", 'as text, or "" to continue; after epoch 1 it returned True'),
    (ReturnsNothing(), "verdicts", "after epoch 1 it returned None"),
    (
        Halve(),
        "nothing else changed",
        "a call changed OPTIMIZER.lr, so the recorded recipe is not the one used in",
    ),
    (HalvesItsOwn(), "nothing else changed", "a call changed self.optimizer.lr"),
    (MovesWeights(), "nothing else changed", r"a call changed .*self.model"),
    (
        NeverForgets(),
        "fresh start",
        "verdict after epoch 1 of the same training, started again; reset the state in start",
    ),
    (CountsTrainings(), "fresh start", "started again; reset the state in start: expected"),
    (NeedsTwoEpochs(), "verdicts", "IndexError: list index out of range"),
    (
        TooLate(),
        "missing quantities",
        "after_epoch raises KeyError: 'validation_accuracy'; raise ConfigError in start if",
    ),
    (
        LosesPatience(),
        "nothing else changed",
        "repr after a training: expected LosesPatience.., got LosesPatience.patience",
    ),
    (ChangesQuantities(), "history unchanged", "quantities after start: expected"),
    (AddsLoss(), "steps", "quantities adds 'loss', which the history has anyway: give it another name"),
    (Tosses(), "nothing else changed", "global random numbers were drawn"),
]


@pytest.mark.parametrize(("one", "check", "reason"), FAULTS, ids=[type(one).__name__ for one, *_ in FAULTS])
def test_each_fault_is_found_and_named(one: Callback, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_callback(one)
    assert f"fails the check {check!r}: " in str(caught.value)


class Diary(Callback):
    """Writes down what it saw, for its user."""

    pages: ClassVar[list[Any]] = []

    def after_epoch(self, history: History) -> str:
        self.pages.append({name: list(values) for name, values in history.items()})
        return ""


class AnyOf(Callback):
    """Asks other callbacks, which remember."""

    def __init__(self, *callbacks: Callback) -> None:
        self.callbacks = callbacks

    def start(self, quantities: Mapping[str, bool]) -> None:
        for callback in self.callbacks:
            callback.start(quantities)

    def after_epoch(self, history: History) -> str:
        return "; ".join(filter(None, [callback.after_epoch(history) for callback in self.callbacks]))


class MonitorsF1(Callback):
    def start(self, quantities: Mapping[str, bool]) -> None:
        if "f1" not in quantities:
            raise ConfigError("f1 is not recorded: add F1() to the metrics")

    def after_epoch(self, history: History) -> str:
        return "good" if history["f1"][-1] > 0.9 else ""


class Drift(Callback):
    """It keeps the names of the parameters where they are told, and measures in the steps: no order but this works."""

    def quantities(self, parameters: Mapping[str, Any]) -> Mapping[str, bool]:
        self.names = [name for name in parameters if name.endswith(".weight")]
        return {"drift": False}

    def start(self, quantities: Mapping[str, bool]) -> None:
        if "drift" not in quantities:
            raise ConfigError("drift is not recorded")
        self.first: dict[str, Any] = {}

    def on_step(self, step: TrainingStep) -> None:
        weights = {name: step.weights[name].copy() for name in self.names}
        self.first = self.first or weights
        self.drift = sum(float(np.abs(weights[name] - self.first[name]).sum()) for name in self.names)

    def measured(self) -> Mapping[str, float]:
        return {"drift": self.drift}

    def after_epoch(self, history: History) -> str:
        return "far away" if history["drift"][-1] > 100 else ""


@pytest.mark.parametrize("one", [Best(), Diary(), Drift(), AnyOf(Best(), EarlyStopping(patience=2))], ids=repr)
def test_none_that_is_right_is_refused(one: Callback) -> None:
    check_callback(one)


def test_quantities_may_be_given() -> None:
    check_callback(MonitorsF1(), {"loss": False, "f1": True, "lr": True, "seconds": False})
    with pytest.raises(CheckError, match="fails the check 'steps': ConfigError: f1 is not recorded"):
        check_callback(MonitorsF1())
    check_callback("StopAt(0.9)")
    with pytest.raises(ComponentError, match="there is no callback named 'StopAfter'"):
        check_callback("StopAfter(0.9)")
