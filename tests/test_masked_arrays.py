"""Masked arrays: refused wherever arrays come in, because NumPy would drop the mask and take what it hides as data."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer
from cnnkit.errors import DataError
from cnnkit.evaluation.calibration import calibration
from cnnkit.evaluation.confusion import class_report, confusion_matrix
from cnnkit.explanation.explanation import explain
from cnnkit.types import Array, Data, Samples, as_inputs

X = np.zeros((6, 1, 2, 2), np.float32)
Y = np.array([0, 1, 0, 1, 0, 1])


def masked(array: Array) -> Any:
    """With its first number hidden."""
    mask = np.zeros(array.shape, bool)
    mask.flat[0] = True
    return np.ma.array(array, mask=mask)


def network() -> Sequential:
    return Sequential(["Flatten()", "Dense(2)"], (1, 2, 2))


def fit(data: Any) -> object:
    return Trainer(epochs=1, workers=1).fit(network(), data)


def validate(x: Array, path: Path) -> object:
    from cnnkit import export_onnx, validate_onnx

    return validate_onnx(export_onnx(network(), path / "net.onnx"), network(), x)


CASES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "as_inputs": ("the inputs", lambda _: as_inputs(masked(X))),
    "a list of arrays": ("the inputs", lambda _: as_inputs([X[0], masked(X)[0]])),
    "fit inputs": ("the inputs", lambda _: fit((masked(X), Y))),
    "fit targets": ("the training targets", lambda _: fit((X, masked(Y)))),
    "fit samples": ("the inputs", lambda _: fit(Samples(masked(X), Y))),
    "fit a dataset": ("the targets", lambda _: fit(Data(Samples(X, Y), Samples(X, masked(Y))))),
    "evaluate": ("the inputs", lambda _: Trainer().evaluate(network(), Samples(masked(X), Y))),
    "predict": ("the inputs", lambda _: network().predict(masked(X))),
    "predict_proba": ("the inputs", lambda _: network().predict_proba(masked(X))),
    "logits": ("the inputs", lambda _: network().logits(masked(X))),
    "trace": ("the inputs", lambda _: network().trace(masked(X))),
    "load_state": (
        "dense_1.bias",
        lambda _: network().load_state(network().state() | {"dense_1.bias": masked(np.zeros(2, np.float32))}),
    ),
    "explain": ("the image", lambda _: explain(network(), masked(X[0]))),
    "explain the target": ("the target", lambda _: explain(network(), X[0], target=masked(np.array([0.5, 0.5])))),
    "validate": ("the inputs", lambda path: validate(masked(X), path)),
    "confusion targets": ("the targets", lambda _: confusion_matrix(masked(Y), Y, 2)),
    "confusion predictions": ("the predictions", lambda _: confusion_matrix(Y, masked(Y), 2)),
    "class_report": ("the confusion matrix", lambda _: class_report(masked(np.eye(2)))),
    "calibration": ("the probabilities", lambda _: calibration(masked(np.full((6, 2), 0.5)), Y)),
    "calibration targets": ("the targets", lambda _: calibration(np.full((6, 2), 0.5), masked(Y))),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mask_is_never_dropped(case: str, tmp_path: Path) -> None:
    what, call = CASES[case]
    with pytest.raises(DataError) as error:
        call(tmp_path)
    message = str(error.value)
    assert message.startswith(f"expected {what} as an ordinary array, got a masked one, which hides 1 of ")
    assert message.endswith(": replace them, as x.filled(0) does, or remove these samples")


def test_what_says_what_is_hidden_is_taken() -> None:
    assert network().predict(masked(X).filled(0)).shape == (6,)
    fit((masked(X).filled(0), masked(Y).filled(1)))


def test_other_subclasses_of_arrays_are_taken() -> None:
    assert type(as_inputs(np.zeros(4).view(np.recarray))) is np.ndarray


def test_nobody_waits_for_what_tells_masked_arrays() -> None:
    code = (
        "import sys, numpy; from cnnkit.types import as_inputs; as_inputs(numpy.ones(2)); "
        "print('numpy.ma' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
