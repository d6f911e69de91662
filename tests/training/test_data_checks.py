"""What can be known before the first step is known then, of every part, with the sample's true position."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Loss, Metric
from cnnkit.data import load_dataset
from cnnkit.errors import CnnkitError, ShapeError
from cnnkit.network import Sequential
from cnnkit.training import Checkpoints, Trainer
from cnnkit.training.data_checks import checked_range
from cnnkit.training.progress import Progress
from cnnkit.types import Array, Data, Samples
from tests.training.test_checkpoint import DATA, InMemory, StopsAfter, network, outcome, trainer

RNG = np.random.default_rng(0)
X, Y = RNG.integers(0, 256, (3000, 1, 4, 4)).astype(np.float32), RNG.integers(0, 3, 3000)


class NoSteps(Progress):
    """Fails at the first step."""

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        pytest.fail("a step was made")


def replaced(values: Array, at: int, value: float) -> Array:
    values = values.copy()
    values[at] = value
    return values


def parts(name: str, spoilt: Samples) -> Data:
    good = Samples(X, Y)
    given = {part: spoilt if part == name else good for part in ("training", "validation", "test")}
    return Data(given["training"], given["test"], given["validation"])


FAULTS: dict[str, tuple[Samples, str]] = {
    "class": (
        Samples(X, replaced(Y, 2345, 7)),
        "the network has 3 outputs, so class indices must be 0 to 2; the target of the {} sample 2345 is 7",
    ),
    "negative class": (Samples(X, replaced(Y, 2345, -1)), "the target of the {} sample 2345 is -1"),
    "NaN": (Samples(replaced(X, 2345, np.nan), Y), "the input of the {} sample 2345 is not finite"),
    "infinity": (Samples(replaced(X, 2345, -np.inf), Y), "the input of the {} sample 2345 is not finite"),
    "beyond float32": (
        Samples(replaced(X.astype("f8"), 2345, 1e300), Y),
        "the input of the {} sample 2345 is not finite",
    ),
    "shape": (Samples(X[:, :, :3], Y), "the model takes inputs of shape (1, 4, 4), the data has (1, 3, 4)"),
    "dtype": (Samples(X > 3, Y), "expected numbers, uint8 or float, got an array of bool"),
    "shares": (Samples(X, replaced(np.eye(3)[Y], 2345, 1)), "that of the {} sample 2345 is [1. 1. 1.]"),
    "target NaN": (Samples(X, replaced(np.eye(3)[Y], 2345, np.nan)), "the target of the {} sample 2345 is not finite"),
}


@pytest.mark.parametrize("part", ["training", "validation", "test"])
@pytest.mark.parametrize("fault", FAULTS.keys())
def test_every_fault_is_found_before_the_first_step(fault: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.types.BLOCK_BYTES", 10_000)
    samples, message = FAULTS[fault]
    model = Sequential(["Flatten()", "Dense(3)"], (1, 4, 4))
    with pytest.raises(CnnkitError) as caught:
        Trainer(epochs=1, batch_size=100, workers=1, progress=NoSteps()).fit(model, parts(part, samples))
    assert message.format(part) in str(caught.value)
    assert model.input_range is None


def test_positive_control_the_same_without_a_fault_makes_steps() -> None:
    model = Sequential(["Flatten()", "Dense(3)"], (1, 4, 4))
    with pytest.raises(BaseException, match="a step was made"):
        Trainer(epochs=1, workers=1, progress=NoSteps()).fit(model, parts("none", Samples(X, Y)))


class Names:
    """Targets of another library, which counts how often they are converted."""

    def __init__(self) -> None:
        self.conversions = 0

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        self.conversions += 1
        return np.array(["cat", "dog", "owl"], object)[Y]


def test_targets_are_converted_once() -> None:
    model, names = Sequential(["Flatten()", "Dense(3)"], (1, 4, 4)), Names()
    Trainer().check(model, (X, names))
    assert names.conversions == 1


def test_evaluate_looks_at_its_samples_too() -> None:
    model = Sequential(["Flatten()", "Dense(3)"], (1, 4, 4))
    for samples, message in FAULTS.values():
        with pytest.raises(CnnkitError) as caught:
            Trainer().evaluate(model, samples)
        assert message.format("test") in str(caught.value)


def test_the_range_is_that_of_the_training_samples() -> None:
    model = Sequential(["Flatten()", "Dense(3)"], (1, 4, 4))
    Trainer(epochs=1, workers=1).fit(model, Data(Samples(X[:50] - 3, Y[:50]), Samples(X, Y)))
    assert model.input_range == (X[:50].min() - 3, X[:50].max() - 3)


def test_a_file_is_looked_at_in_blocks(tmp_path: Path) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (1000, 1, 360, 360))  # 130 MB of holes
    x[-1, 0, 9, 9] = 200
    x.flush()
    np.save(tmp_path / "y.npy", np.arange(1000) % 2)
    data = load_dataset('Arrays("x.npy", targets="y.npy")', tmp_path)
    tracemalloc.start()
    ranges = [checked_range(part, "training") for part in (data.train, data.test)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(ranges) == [(0, 0), (0, 200)]
    assert peak < 40e6


class Broken(Metric):
    """Cannot be computed of test samples, of which there are fewer."""

    def sums(self, outputs: Array, targets: Array) -> Array:
        if len(outputs) == 7:
            raise ZeroDivisionError("no such class")
        return np.zeros(1)

    def value(self, total: Array) -> float:
        return float(total[0])


def test_a_test_evaluation_that_fails_loses_no_model() -> None:
    progress = StopsAfter(99)
    model = Sequential(["Flatten()", "Dense(3)"], (1, 4, 4))
    data = Data(Samples(X[:64], Y[:64]), Samples(X[:7], Y[:7]))
    run = Trainer(epochs=2, metrics=[Broken()], workers=1, progress=progress).fit(model, data)
    assert (
        run.warning
        == "the model was trained, but could not be measured on the test samples: ZeroDivisionError: no such class"
    )
    assert progress.warnings == [run.warning]
    assert (run.metrics, run.reason, len(run.history["loss"])) == ({}, "all epochs done", 2)
    assert run.record()["settings"] == {**run.settings, "warning": run.warning}


def told(data: Data, **options: Any) -> list[str]:
    progress = StopsAfter(99)
    model = Sequential(["Flatten()", "Dense(3)"], (1, 4, 4), **options)
    Trainer(epochs=1, workers=1, progress=progress).fit(model, data)
    return progress.warnings


def test_classes_that_cannot_be_learned_are_told() -> None:
    few = Samples(X[:60], Y[:60] % 2)
    assert told(Data(few, Samples(X, Y))) == [
        "the test samples have classes that no training sample has, so they cannot be learned: 2"
    ]
    assert told(Data(few, few, Samples(X, Y), labels=("cat", "dog", "owl"))) == [
        "the validation samples have classes that no training sample has, so they cannot be learned: owl"
    ]
    assert told(Data(Samples(X, Y), few)) == []


class Counts(Loss):
    """A plugin's loss that takes targets of a shape of its own."""

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        if targets.shape != (len(outputs), 1):
            raise ShapeError("one count for each sample")
        return np.square(outputs - targets).mean(axis=1), outputs - targets

    def backward(self, cache: Array, weight: float) -> Array:
        return cache * weight


def test_what_a_plugin_takes_only_it_knows() -> None:
    model = Sequential(["Flatten()", "Dense(2)"], (1, 4, 4))
    values = (X[:64] / 255, Y[:64, None].astype("f4"))
    assert Trainer(epochs=1, loss=Counts(), metrics=[], workers=1).fit(model, values).history["loss"]
    with pytest.raises(ShapeError, match="one count for each sample"):
        Trainer(epochs=1, loss=Counts(), metrics=[], workers=1, progress=NoSteps()).fit(model, (X, Y % 2))


def test_a_training_goes_on_after_its_test_samples_were_mended() -> None:
    data = replace(DATA, digest="a", training_digest="same")
    mended = replace(data, test=DATA.train, digest="b")
    store, progress = InMemory(), StopsAfter(7)
    trainer(progress).fit(network(), data, stop=progress.request, checkpoints=Checkpoints(store))
    resumed = trainer().fit(network(), mended, checkpoints=Checkpoints(store, resume=True))
    assert outcome(resumed) == outcome(trainer().fit(network(), mended))
    assert resumed.dataset == {"name": "Images()", "digest": "b"}
    other = replace(data, training_digest="other")
    with pytest.raises(CnnkitError, match="to another training: its dataset is"):
        trainer().fit(network(), other, checkpoints=Checkpoints(store, resume=True))


def test_the_digest_of_a_training_is_that_of_what_is_trained_and_validated_on(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {f"x_{part}": X for part in ("train", "test", "validation")}
    arrays |= {f"y_{part}": Y for part in ("train", "test", "validation")}

    def digests(**changed: Array) -> tuple[str, str]:
        np.savez(tmp_path / "a.npz", **(arrays | changed))
        data = load_dataset('Arrays("a.npz")', tmp_path)
        return data.digest, data.training_digest

    first, mended = digests(), digests(y_test=replaced(Y, 3, 1 - Y[3] % 2))
    assert first[0] != mended[0]
    assert first[1] == mended[1]
    for part in ("train", "validation"):
        assert digests(**{f"y_{part}": replaced(Y, 3, 1 - Y[3] % 2)})[1] != first[1]
