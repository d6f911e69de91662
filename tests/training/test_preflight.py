"""What is told before the first step: rates, factors, attributes that nobody reads, batches without statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Optimizer, Schedule
from cnnkit.errors import CnnkitError, ComponentError, ConfigError, ShapeError
from cnnkit.metrics import Accuracy
from cnnkit.network import Sequential
from cnnkit.optimizers import SGD
from cnnkit.training import Trainer
from cnnkit.training.progress import Progress
from cnnkit.types import Array, Data, Samples

RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(40, 3)).astype(np.float32), RNG.integers(0, 2, 40)


class Counts(Progress):
    """Counts the steps."""

    def __init__(self) -> None:
        self.steps = 0

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        self.steps += 1


def refused(
    model: Sequential | None = None,
    data: Any = DATA,
    change: Callable[[Trainer], None] = lambda trainer: None,
    **options: Any,
) -> CnnkitError:
    """The error of a training that must not take a single step."""
    progress = Counts()
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 10, "workers": 1}
    trainer = Trainer(**settings | options, progress=progress)
    change(trainer)
    with pytest.raises(CnnkitError) as error:
        trainer.fit(model or Sequential(["Dense(2)"], (3,)), data)
    assert progress.steps == 0
    return error.value


class Gives(Schedule):
    """The factor that it is told, from the third epoch on."""

    def __init__(self, later: Any) -> None:
        self.later = later

    def __repr__(self) -> str:
        return "Gives()"

    def factor(self, epoch: float, epochs: float) -> Any:
        return 1.0 if epoch < 2 else self.later


@pytest.mark.parametrize("factor", [-0.5, math.nan, math.inf, None, "half", np.ones(1), 1j])
def test_a_factor_is_a_number_from_0_on(factor: Any) -> None:
    error = refused(schedule=Gives(factor))
    assert isinstance(error, ComponentError)
    assert str(error) == (
        f"the schedule Gives() must give a finite factor, 0 or above; it returned {factor!r} after 2 of 4 epochs"
    )


@pytest.mark.parametrize("factor", [0.0, 0, np.float32(0.5), 3])
def test_such_a_number_passes(factor: Any) -> None:
    run = Trainer(schedule=Gives(factor), epochs=3, batch_size=10, workers=1).fit(Sequential(["Dense(2)"], (3,)), DATA)
    assert run.history["lr"][-1] == 0.001 * factor


class Fails(Schedule):
    """Fails in the end."""

    def factor(self, epoch: float, epochs: float) -> float:
        return 1 / (epochs - 0.5 - epoch)


def test_an_error_of_a_schedule_names_it_before_the_first_step() -> None:
    progress = Counts()
    with pytest.raises(ZeroDivisionError) as error:
        Trainer(schedule=Fails(), epochs=4, progress=progress).fit(Sequential(["Dense(2)"], (3,)), DATA)
    assert error.value.__notes__ == ["in the schedule Fails()"]
    assert progress.steps == 0


class NoRate(Optimizer):
    """Forgets its learning rate."""

    def update(self, params: Array, grads: Array, state: Any, lr: float, step: int) -> None:
        params -= lr * grads


def test_an_optimizer_has_a_learning_rate() -> None:
    assert str(refused(optimizer=NoRate())) == (
        "the optimizer NoRate must have a learning rate `lr`, a finite number, 0 or above; it is None"
    )


@pytest.mark.parametrize("rate", [math.nan, -0.1, math.inf, "fast"])
def test_a_rate_is_a_number_from_0_on(rate: Any) -> None:
    optimizer = SGD(0.1)
    optimizer.lr = rate
    assert str(refused(optimizer=optimizer)).endswith(f"a finite number, 0 or above; it is {rate!r}")


def frozen(model: Sequential) -> None:
    model.nodes[0].layer.trainable = False  # type: ignore[union-attr]  # wrong on purpose


def test_an_attribute_of_a_layer_that_nobody_reads_is_refused() -> None:
    model = Sequential(["Dense(2)"], (3,))
    frozen(model)
    error = refused(model)
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "layer dense_1 = Dense(2) has the attribute trainable = False, which nothing reads, so it would have no "
        "effect: remove it with `del`; the options of Dense are its arguments: units, bias, initializer"
    )
    del model.nodes[0].layer.trainable  # type: ignore[union-attr]  # wrong on purpose
    Trainer(epochs=1).fit(model, DATA)


def test_so_is_one_of_a_layer_in_a_branch() -> None:
    model = Sequential(["Residual(Dense(3))", "Dense(2)"], (3,))
    frozen(model)
    assert str(refused(model)).startswith("layer dense_1 = Dense(3) has the attribute trainable = False")


def test_so_is_one_of_a_model_a_trainer_or_a_component() -> None:
    model = Sequential(["Dense(2)"], (3,))
    model.trainable = False  # type: ignore[attr-defined]  # wrong on purpose
    assert str(refused(model)) == (
        "the model has the attribute trainable = False, which nothing reads, so it would have no effect: remove "
        "it with `del`"
    )

    def misspell(trainer: Trainer) -> None:
        trainer.epoch = 9  # type: ignore[attr-defined]  # wrong on purpose

    assert str(refused(change=misspell)) == (
        "the trainer has the attribute epoch = 9, which nothing reads, so it would have no effect: did you mean epochs?"
    )

    def misname(trainer: Trainer) -> None:
        trainer.optimizer.learning_rate = 9.0  # type: ignore[attr-defined]  # wrong on purpose

    assert str(refused(optimizer="SGD(0.1)", change=misname)).startswith(
        "the optimizer SGD(lr=0.1) has the attribute learning_rate = 9.0, which nothing reads"
    )


@pytest.mark.parametrize("name", ["comment", "name", "owner", "tags", "notes", "experiment", "version", "losses"])
def test_a_model_and_a_trainer_may_carry_notes(name: str) -> None:
    model, trainer = Sequential(["Dense(2)"], (3,)), Trainer(epochs=1)
    for one in (model, trainer):
        setattr(one, name, "the first of Monday")
    assert trainer.fit(model, DATA).history["loss"]


@pytest.mark.parametrize(
    ("attribute", "meant"),
    [("epoch", "epochs"), ("batchsize", "batch_size"), ("worker", "workers"), ("scheduler", "schedule")],
)
def test_a_misspelt_option_of_a_trainer_is_no_note(attribute: str, meant: str) -> None:
    error = refused(change=lambda trainer: setattr(trainer, attribute, 1))
    assert str(error) == (
        f"the trainer has the attribute {attribute} = 1, which nothing reads, so it would have no effect: did you "
        f"mean {meant}?"
    )


@pytest.mark.parametrize("attribute", ["learning_rate", "requires_grad", "max_epochs", "device"])
def test_nor_is_what_other_libraries_know(attribute: str) -> None:
    assert str(refused(change=lambda trainer: setattr(trainer, attribute, 1))) == (
        f"the trainer has the attribute {attribute} = 1, which nothing reads, so it would have no effect: remove "
        "it with `del`"
    )


def test_accuracy_of_labels_is_refused() -> None:
    """Also where each sample has one label, so that they look like one-hot classes."""
    labels = np.eye(2, dtype=np.float32)[DATA[1]]
    error = refused(data=(DATA[0], labels), loss="BinaryCrossEntropy()")
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "the metric Accuracy() counts the samples of which the one right class has the largest output, and "
        "BinaryCrossEntropy() trains labels, any number of which may be there: remove it from the metrics, or write "
        "metrics=[] for none"
    )
    trainer = Trainer(epochs=1, loss="BinaryCrossEntropy()", metrics=[])
    assert trainer.fit(Sequential(["Dense(2)"], (3,)), (DATA[0], labels)).history["loss"]


VALUES = RNG.normal(size=(40, 2)).astype(np.float32)
ONE_HOT = np.eye(2, dtype=np.float32)[DATA[1]]


@pytest.mark.parametrize("part", ["training", "validation", "test"])
def test_so_is_accuracy_of_values(part: str) -> None:
    parts = {name: Samples(DATA[0], VALUES if name == part else ONE_HOT) for name in ("training", "validation", "test")}
    error = refused(data=Data(parts["training"], parts["test"], parts["validation"]), loss="MSE()")
    assert str(error) == (
        "the metric Accuracy() counts the samples of which the one right class has the largest output, and the "
        f"{part} targets are values: remove it from the metrics, or write metrics=[] for none"
    )


class Near(Accuracy):
    """Counts in a way of its own."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        return np.array([np.count_nonzero(np.abs(outputs - targets) < 1), targets.size], np.float64)


@pytest.mark.parametrize(
    ("targets", "metric"), [(DATA[1], "Accuracy()"), (ONE_HOT, "Accuracy()"), (VALUES, Near())], ids=str
)
def test_what_can_be_counted_is_not(targets: Array, metric: Any) -> None:
    trainer = Trainer(epochs=1, loss="MSE()", metrics=[metric])
    assert trainer.fit(Sequential(["Dense(2)"], (3,)), (DATA[0], targets)).history["loss"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "best"}, 'keep = "best" compares epochs by validation samples, and there are none: set '
         "data.validation in the recipe, such as 0.1, or in Python give Data(train, test, validation)"),
        ({"callbacks": ["EarlyStopping()"]}, "'validation_loss' is not recorded in this training, only loss, accuracy, "
         "lr, seconds are; a validation quantity needs validation samples: set data.validation in the recipe, such as "
         "0.1, or in Python give Data(train, test, validation)"),
        ({"record": ["dense_1.wait"]}, "record: expected names among dense_1.weight, dense_1.bias; got 'dense_1.wait'"),
        ({"schedule": Gives(-1)}, "the schedule Gives() must give a finite factor, 0 or above; it returned -1 after 2 "
            "of 4 epochs"),
    ],
    ids=["keep", "callbacks", "record", "schedule"],
)  # fmt: skip
def test_what_costs_nothing_is_looked_at_before_the_inputs(options: dict[str, Any], message: str) -> None:
    """The error of an input that is not a number would come once they are read."""
    x = np.where(np.arange(40)[:, None] == 7, np.nan, DATA[0])
    assert "the input of the training sample 7 is not finite" in str(refused(data=(x, DATA[1])))
    assert str(refused(data=(x, DATA[1]), **options)) == message


def images(count: int, size: int = 1) -> tuple[Array, Array]:
    return RNG.normal(size=(count, 2, size, size)).astype(np.float32), RNG.integers(0, 2, count)


def normalised(size: int = 1) -> Sequential:
    return Sequential(["BatchNorm2D()", "Flatten()", "Dense(2)"], (2, size, size))


@pytest.mark.parametrize(("samples", "batch_size"), [(41, 10), (1, 10), (7, 1)])
def test_a_batch_of_one_number_has_no_statistics(samples: int, batch_size: int) -> None:
    error = refused(normalised(), images(samples), batch_size=batch_size)
    assert isinstance(error, ShapeError)
    assert str(error) == (
        "layer batch_norm2d_1 = BatchNorm2D() would see a single number in each channel, which has no variance: its "
        f"inputs are 1 x 1, and {samples} samples in batches of {batch_size} leave a batch of one; choose another "
        "batch size, or normalise where the images are larger"
    )


def test_a_batch_of_one_vector_or_short_signal_has_none_either() -> None:
    y = RNG.integers(0, 2, 41)
    vectors = refused(Sequential(["BatchNorm1D()", "Dense(2)"], (3,)), (RNG.normal(size=(41, 3)), y), batch_size=10)
    signals = Sequential(["BatchNorm1D()", "Flatten()", "Dense(2)"], (3, 1))
    assert str(vectors) == (
        "layer batch_norm1d_1 = BatchNorm1D() would see a single number in each channel, which has no variance: its "
        "inputs are vectors, and 41 samples in batches of 10 leave a batch of one; choose another batch size, or "
        "normalise by LayerNorm() instead"
    )
    assert "its inputs are of length 1, and" in str(refused(signals, (RNG.normal(size=(41, 3, 1)), y), batch_size=10))


@pytest.mark.parametrize(("samples", "batch_size", "size"), [(42, 10, 1), (40, 10, 1), (41, 10, 2), (2, 5, 1)])
def test_larger_batches_have(samples: int, batch_size: int, size: int) -> None:
    trainer = Trainer(epochs=1, batch_size=batch_size, workers=1)
    assert trainer.fit(normalised(size), images(samples, size)).history["loss"]


def test_a_very_long_training_is_looked_at_in_no_time() -> None:
    asked: list[float] = []

    class Counted(Schedule):
        def factor(self, epoch: float, epochs: float) -> float:
            asked.append(epoch)
            return 1.0 if len(asked) < 1000 else -1.0

    assert "-1.0" in str(refused(schedule=Counted(), epochs=10**9))
    assert len(asked) == 1000
