"""Evaluation of a classifier class by class: consistent with its predictions, and none for regression."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from cnnkit.data import load_dataset
from cnnkit.errors import ShapeError
from cnnkit.evaluation.class_evaluation import evaluate_classes
from cnnkit.evaluation.confusion import confusion_pairs
from cnnkit.evaluation.model_evaluation import evaluate_model
from cnnkit.network import Engine, Sequential
from cnnkit.training import Trainer
from cnnkit.types import Samples, Task

DIGITS = load_dataset("Digits()")


def network(classes: int = 10) -> Sequential:
    return Sequential(["Flatten()", f"Dense({classes})"], (1, 8, 8), preprocessing=DIGITS.preprocessing)


def test_it_agrees_with_the_predictions() -> None:
    model = network()
    evaluation = evaluate_classes(model, DIGITS.test, DIGITS.labels)
    assert evaluation is not None
    predicted, targets = model.predict(DIGITS.test.x), DIGITS.test.y
    document = evaluation.to_dict()
    assert evaluation.confusion.times.sum() == len(targets)
    assert np.trace(evaluation.confusion.matrix()) == (predicted == targets).sum()
    for k, entry in enumerate(document["classes"]):
        assert (entry["label"], entry["samples"]) == (str(k), (targets == k).sum())
        assert entry["recall"] == pytest.approx((predicted[targets == k] == k).mean())
        others = np.bincount(predicted[(targets == k) & (predicted != k)], minlength=10)
        assert entry["confused_with"] == {"label": str(others.argmax()), "times": others.max()}
    bins = document["calibration"]["bins"]
    assert sum(one["samples"] for one in bins) == len(targets)
    assert [one["above"] for one in bins[1:]] == [one["up_to"] for one in bins[:-1]]
    confidence = model.predict_proba(DIGITS.test.x).max(axis=1)
    assert document["calibration"]["mean_confidence"] == pytest.approx(confidence.mean())
    json.dumps(document)


def test_names_are_the_models_then_those_of_the_dataset_then_numbers() -> None:
    own = Sequential(["Flatten()", "Dense(10)"], (1, 8, 8), labels=list("abcdefghij"))
    for model, given, expected in (
        (own, tuple("abcdefgh"), tuple("abcdefghij")),
        (own, (), tuple("abcdefghij")),
        (network(), tuple("klmnopqrst"), tuple("klmnopqrst")),
        (network(), ("too", "few"), DIGITS.labels),
        (network(), (), DIGITS.labels),
    ):
        evaluation = evaluate_classes(model, DIGITS.test, given)
        assert evaluation is not None
        assert evaluation.labels == expected


def test_a_class_without_samples_has_no_recall() -> None:
    evaluation = evaluate_classes(network(11), DIGITS.test)
    assert evaluation is not None
    entry = evaluation.to_dict()["classes"][10]
    assert (entry["samples"], entry["confused_with"]) == (0, None)
    assert math.isnan(entry["recall"])


def test_many_classes_need_no_matrix() -> None:
    model = Sequential(["Flatten()", "Dense(2, bias=False)", "Dense(6000, bias=False)"], (1, 8, 8))
    tracemalloc.start()
    evaluation = evaluate_classes(model, DIGITS.test)
    assert evaluation is not None
    document = evaluation.to_dict()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150e6  # the matrix would have 288 MB
    assert document["confusion"] is None
    predicted = model.predict(DIGITS.test.x)
    other = next(k for k in range(10) if (predicted[DIGITS.test.y == k] != k).any())
    times = np.bincount(predicted[(DIGITS.test.y == other) & (predicted != other)])
    assert document["classes"][other]["confused_with"] == {"label": str(times.argmax()), "times": times.max()}
    assert len(document["classes"]) == 6000


def test_samples_in_blocks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.evaluation.class_evaluation.BLOCK", 70 * 10)
    blocks = evaluate_classes(network(), DIGITS.test)
    assert blocks is not None
    predicted, confidence = network().predict(DIGITS.test.x), network().predict_proba(DIGITS.test.x).max(axis=1)
    assert blocks.confusion.rows() == confusion_pairs(DIGITS.test.y, predicted, 10).rows()
    assert blocks.calibration is not None
    assert blocks.calibration.mean_confidence == pytest.approx(confidence.mean())


def test_a_model_that_has_diverged_has_no_calibration() -> None:
    model = network()
    model.parameters.vector[:] = np.nan
    evaluation = evaluate_classes(model, DIGITS.test)
    assert evaluation is not None
    assert evaluation.calibration is None
    document = evaluation.to_dict()
    assert document["calibration"] is None
    assert document["unpredicted"] == len(DIGITS.test)
    assert np.sum(document["confusion"]) == 0
    assert [entry["recall"] for entry in document["classes"]] == [0] * 10
    assert [entry["samples"] for entry in document["classes"]] == np.bincount(DIGITS.test.y).tolist()


def test_a_sample_that_is_nan_is_not_taken_for_the_first_class() -> None:
    model, x = network(), np.asarray(DIGITS.test.x, np.float32)
    first = int(np.flatnonzero(DIGITS.test.y == 0)[0])
    x[first] = np.nan
    evaluation, without = (
        evaluate_classes(model, Samples(given, targets))
        for given, targets in (
            (x, DIGITS.test.y),
            (np.delete(x, first, axis=0), np.delete(DIGITS.test.y, first)),
        )
    )
    assert evaluation is not None
    assert without is not None
    assert evaluation.to_dict()["unpredicted"] == 1
    assert evaluation.confusion.rows() == without.confusion.rows()
    assert evaluation.report.samples[0] == without.report.samples[0] + 1


def test_values_to_regress_have_no_classes() -> None:
    x, y = DIGITS.test.x, DIGITS.test.y
    assert evaluate_classes(network(1), Samples(x, y.astype(np.float32)[:, None])) is None
    assert evaluate_classes(network(1), Samples(x, y.astype(np.float32))) is None
    assert evaluate_classes(Sequential(["ReLU()"], (1, 8, 8)), DIGITS.test) is None


def test_more_classes_than_the_model_has() -> None:
    with pytest.raises(ShapeError, match="the targets must be 0 to 4 for 5 classes"):
        evaluate_classes(network(5), DIGITS.test)


def test_names_of_other_classes_are_refused() -> None:
    own = Sequential(["Flatten()", "Dense(10)"], (1, 8, 8), labels=DIGITS.labels)
    with pytest.raises(
        ShapeError, match=r"^class 0 is '1' in the data, and '0' in the model; the data has the labels 1"
    ):
        evaluate_classes(own, DIGITS.test, DIGITS.labels[1:])


def test_one_hot_targets_of_a_classifier_are_its_classes() -> None:
    model = network()
    expected = evaluate_classes(model, DIGITS.test)
    one_hot = np.eye(10, dtype=np.float32)[DIGITS.test.y]
    found = evaluate_classes(model, Samples(DIGITS.test.x, one_hot))
    assert expected is not None
    assert found is not None
    assert json.dumps(found.to_dict()) == json.dumps(expected.to_dict())
    assert evaluate_classes(model, Samples(DIGITS.test.x, one_hot * 0.9)) is None


LABELLED = Samples(DIGITS.test.x, np.eye(10, dtype=np.float32)[DIGITS.test.y])


@pytest.mark.parametrize(
    ("end", "trainer", "samples", "passes"),
    [
        ("Dense(10)", Trainer(), DIGITS.test, 1),
        ("Softmax()", Trainer(), DIGITS.test, 1),
        ("LogSoftmax()", Trainer(loss="NLL()"), DIGITS.test, 1),
        ("Dense(10)", Trainer(loss="MSE()"), DIGITS.test, 1),
        ("Softmax()", Trainer(loss="MSE()"), DIGITS.test, 2),  # which takes the probabilities that are left out here
        ("Dense(10)", Trainer(loss="BinaryCrossEntropy()", metrics=[]), LABELLED, 1),
        ("Sigmoid()", Trainer(loss="BinaryCrossEntropy()", metrics=[]), LABELLED, 1),
    ],
)
def test_the_network_runs_once_for_metrics_and_results_of_classes(
    monkeypatch: pytest.MonkeyPatch, end: str, trainer: Trainer, samples: Samples, passes: int
) -> None:
    task = Task("labels" if samples is LABELLED else "classes", from_logits=True)
    model = Sequential(["Flatten()", "Dense(10)", end], (1, 8, 8), preprocessing=DIGITS.preprocessing, task=task)
    metrics = trainer.evaluate(model, samples)
    alone = evaluate_classes(model, samples) if samples is DIGITS.test else None
    said = model.predict(samples.x)
    counted: list[int] = []
    run = Engine._predict

    def counting(engine: Engine, steps: Any, x: Any, workspace: Any) -> Any:
        counted.append(len(x))
        return run(engine, steps, x, workspace)

    monkeypatch.setattr(Engine, "_predict", counting)
    found = evaluate_model(model, samples, trainer)
    assert sum(counted) == passes * len(samples)
    assert found.metrics == metrics
    if alone:
        assert found.classes is not None
        assert json.dumps(found.classes.to_dict()) == json.dumps(alone.to_dict())
    else:
        assert found.labels is not None
        there = samples.y == 1
        assert found.labels.report.recall == pytest.approx((said & there).sum(axis=0) / there.sum(axis=0))
