"""What `diff` finds between two versions, and between the predictions of two models."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import RegistryError, ShapeError
from cnnkit.network import Sequential
from cnnkit.registry import Record, Registry, version_diff
from cnnkit.registry.format.manifest import Manifest
from cnnkit.registry.prediction_diff import (
    MAX_EXAMPLES,
    ClassDifference,
    OutputDifference,
    diff_predictions,
)
from cnnkit.registry.records import Version
from cnnkit.registry.version_diff import ArrayPair, Change, LayerLine, MetricPair, compare_arrays, diff
from cnnkit.types import Array, Preprocessing, Samples, Task

PLAIN = Manifest(
    name="net",
    created="2026-03-01T12:00:00+00:00",
    layers=("Flatten()", "Dense(2)"),
    components={},
    input_shape=(3,),
    input_dtype="float32",
    labels=(),
    preprocessing=Preprocessing(),
    seed=0,
    dtype="float32",
    state=(),
    versions={"python": "3.11.1", "numpy": "2.1.0"},
    environment={},
)


def floats(values: Any) -> Array:
    return np.asarray(values, np.float32)


def record(number: int, state: dict[str, Array] | None = None, **changes: Any) -> Record:
    manifest = dataclasses.replace(PLAIN, **changes)
    return Record(Version("net", number, Path(f"v{number:06}.h5"), str(number)), manifest, state or {})


def lines(a: tuple[str, ...], b: tuple[str, ...]) -> list[LayerLine]:
    return list(diff(record(1, layers=a), record(2, layers=b)).layers)


def test_layers_are_added_removed_and_changed() -> None:
    found = lines(
        ("Conv2D(8, 3)", "ReLU()", "Dropout(0.5)", "Flatten()", "Dense(10)"),
        ("Conv2D(16, 3)", "ReLU()", "Flatten()", "Dense(32)", "ReLU()", "Dense(10)"),
    )
    assert found == [
        LayerLine("changed", "Conv2D(8, 3)", "Conv2D(16, 3)"),
        LayerLine("same", "ReLU()", "ReLU()"),
        LayerLine("removed", "Dropout(0.5)", None),
        LayerLine("same", "Flatten()", "Flatten()"),
        LayerLine("added", None, "Dense(32)"),
        LayerLine("added", None, "ReLU()"),
        LayerLine("same", "Dense(10)", "Dense(10)"),
    ]


def test_blocks_of_two_lengths_are_paired_from_the_top() -> None:
    assert [line.kind for line in lines(("A()", "B()", "C()"), ("D()",))] == ["changed", "removed", "removed"]
    assert [line.kind for line in lines(("D()",), ("A()", "B()"))] == ["changed", "added"]


def test_so_many_layers_are_compared_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version_diff, "MAX_ALIGNED", 2)
    found = lines(("A()", "B()", "C()"), ("B()", "B()"))
    assert [line.kind for line in found] == ["changed", "same", "removed"]


def test_values_that_differ_are_named_by_dotted_keys() -> None:
    a = record(
        1,
        recipe={"model": {"layers": ["Dense(2)"]}, "train": {"epochs": 2, "seed": 0, "lr": [0.1]}},
        settings={"workers": 1, "scale": math.nan, "flag": True},
        dataset={"name": "Digits()", "digest": "abc"},
    )
    b = record(
        2,
        recipe={"model": {"layers": ["Dense(3)"]}, "train": {"epochs": 3, "seed": 0, "lr": [0.2], "keep": "best"}},
        settings={"workers": 1, "scale": math.nan, "flag": 1},
        dataset={"name": "Digits()", "digest": "abd"},
        versions={"python": "3.11.1", "numpy": "2.2.0"},
        preprocessing=Preprocessing(scale=0.5),
        labels=("no", "yes"),
    )
    assert diff(a, b).changes == (
        Change("labels", (), ("no", "yes")),
        Change("recipe.train.epochs", 2, 3),
        Change("recipe.train.lr", [0.1], [0.2]),
        Change("preprocessing.scale", 1.0, 0.5),
        Change("dataset.digest", "abc", "abd"),
        Change("settings.flag", True, 1),
        Change("versions.numpy", "2.1.0", "2.2.0"),
        Change("recipe.train.keep", None, "best"),
    )
    assert diff(a, a).changes == ()


def test_metrics_stand_side_by_side() -> None:
    found = diff(
        record(1, metrics={"loss": 0.5, "accuracy": 0.75, "old": 1, "huge": 2**1024 - 1}),
        record(2, metrics={"loss": 0.25, "accuracy": math.nan, "huge": -(2**1024 - 1), "new": 2}),
    ).metrics
    loss, accuracy, old, huge, new = found
    assert (loss, loss.difference) == (MetricPair("loss", 0.5, 0.25), -0.25)
    assert accuracy.difference is not None
    assert math.isnan(accuracy.difference)
    assert (old, old.difference) == (MetricPair("old", 1.0, None), None)
    assert (new, new.difference) == (MetricPair("new", None, 2.0), None)
    assert (huge.a, huge.b) == (math.inf, -math.inf)


def test_arrays_are_compared_where_both_have_them() -> None:
    a = {
        "dense_1.weight": floats([[3, 4]]),
        "dense_1.bias": floats([1, 2]),
        "gone.weight": np.zeros((2, 3), np.float32),
    }
    b = {"dense_1.weight": floats([[3, 4.5]]), "dense_1.bias": floats([1]), "new.scale": floats(1)}
    weight, bias, gone, new = diff(record(1, a), record(2, b)).arrays
    assert weight.relative_change == pytest.approx(0.1)
    assert weight.cosine == pytest.approx((9 + 18) / (5 * math.hypot(3, 4.5)))
    assert bias == ArrayPair("dense_1.bias", (2,), (1,))
    assert gone == ArrayPair("gone.weight", (2, 3), None)
    assert new == ArrayPair("new.scale", None, ())


@pytest.mark.parametrize(
    ("a", "b", "change", "cosine"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0, 1.0),
        ([3.0, 4.0], [-3.0, -4.0], 2.0, -1.0),
        ([1.0, 0.0], [0.0, 1.0], math.sqrt(2), 0.0),
        ([0.0, 0.0], [0.0, 0.0], 0.0, math.nan),
        ([0.0, 0.0], [1.0, 0.0], math.inf, math.nan),
        ([1.0, 0.0], [0.0, 0.0], 1.0, math.nan),
        ([1e300, 0.0], [2e300, 0.0], 1.0, 1.0),
        ([1e-300, 0.0], [3e-300, 0.0], 2.0, 1.0),
        ([1e-200], [1.0], 1e200, 1.0),
        ([1.0, math.nan], [1.0, 0.0], math.nan, math.nan),
        ([1.0, 0.0], [1.0, math.nan], math.nan, math.nan),
        ([math.inf], [1.0], math.nan, math.nan),
        ([], [], 0.0, math.nan),
    ],
)
def test_relative_change_and_cosine(a: list[float], b: list[float], change: float, cosine: float) -> None:
    assert compare_arrays(np.array(a), np.array(b)) == pytest.approx((change, cosine), nan_ok=True)


def test_arrays_are_compared_in_float64() -> None:
    a = np.full(3, 1e30, np.float32)  # its square is more than a float32 holds
    assert compare_arrays(a, a * np.float32(2)) == pytest.approx((1.0, 1.0))
    assert compare_arrays(np.array([0, 255], np.uint8), np.array([255, 0], np.uint8))[0] == pytest.approx(math.sqrt(2))


def test_the_document_holds_everything() -> None:
    a, b = record(1, {"d.w": floats([1])}, metrics={"loss": 1.0}), record(2, {"d.w": floats([2])}, seed=1)
    document = diff(a, b).to_dict()
    assert document == {
        "a": "net@1",
        "b": "net@2",
        "layers": tuple({"kind": "same", "a": layer, "b": layer} for layer in PLAIN.layers),
        "changes": ({"key": "seed", "a": 0, "b": 1},),
        "metrics": [{"name": "loss", "a": 1.0, "b": None, "difference": None}],
        "arrays": ({"name": "d.w", "a_shape": (1,), "b_shape": (1,), "relative_change": 1.0, "cosine": 1.0},),
    }


class Scale(Layer):
    """A layer that no plugin provides."""

    def __init__(self, by: float) -> None:
        self.by = by


def test_no_plugin_is_needed(registry: Registry) -> None:
    for by in (1.0, 2.0):
        registry.save(Sequential([Scale(by), "Dense(2)"], (3,)), "net")
    found = diff(registry.read("net@1"), registry.read("net@2"))
    assert found.layers[0] == LayerLine("changed", "Scale(1.0)", "Scale(2.0)")
    assert [pair.relative_change for pair in found.arrays] == [0.0, 0.0]
    with pytest.raises(RegistryError, match="which did not come from a plugin"):
        registry.load("net@1")


def dense(weight: list[list[float]]) -> Sequential:
    """A model whose outputs are x @ weight.T."""
    model = Sequential([f"Dense({len(weight)})"], (len(weight[0]),))
    model.load_state({"dense_1.weight": floats(weight), "dense_1.bias": np.zeros(len(weight), np.float32)})
    return model


def test_changed_predictions_are_counted_and_the_first_are_shown() -> None:
    a, b = dense([[1, 0], [0, 1]]), dense([[1, 0], [0, 3], [0, 2]])
    x = floats([[1, 0], [2, 1], [4, 3], [1, 0.1], [4, 3], [0, 1]])
    found = diff_predictions(a, b, Samples(x, np.array([0, 1, 0, 0, 2, 1])))
    assert isinstance(found, ClassDifference)
    assert (found.samples, found.changed, found.corrected, found.spoiled) == (6, 3, 1, 1)
    assert found.accuracy.a == found.accuracy.b == pytest.approx(4 / 6)
    assert [example.index for example in found.examples] == [1, 2, 4]
    first = found.examples[0]
    assert (first.index, first.target, first.a, first.b) == (1, 1, 0, 1)
    assert first.a_probability == pytest.approx(1 / (1 + math.exp(-1)))
    assert first.b_probability == pytest.approx(math.exp(3) / sum(map(math.exp, (2, 3, 2))))


def test_samples_that_are_nan_have_no_class() -> None:
    a, b = dense([[1, 0], [0, 1]]), dense([[1, 0], [0, 1]])
    x = floats([[1, 0], [math.nan, 0], [0, 1]])
    b.load_state({"dense_1.weight": floats([[1, 0], [0, math.nan]]), "dense_1.bias": np.zeros(2, np.float32)})
    found = diff_predictions(a, b, Samples(x, np.zeros(3, np.int64)))
    assert isinstance(found, ClassDifference)
    assert (found.changed, found.corrected, found.spoiled) == (2, 0, 1)
    assert found.accuracy.a == pytest.approx(1 / 3)
    assert found.accuracy.b == 0
    assert [(example.index, example.a, example.b) for example in found.examples] == [(0, 0, None), (2, 1, None)]
    assert math.isnan(found.examples[0].b_probability)


def test_models_that_give_other_things_are_not_compared() -> None:
    a, b = dense([[1, 0], [0, 1]]), dense([[1, 0], [0, 1]])
    b.task = Task("values")
    with pytest.raises(ShapeError, match="if both models give the same, got 2 classes and 2 values: leave the dataset"):
        diff_predictions(a, b, Samples(floats([[1, 0]]), np.zeros(1, np.int64)))


def test_models_of_labels_are_compared_by_their_probabilities() -> None:
    a, b = dense([[0, 0], [0, 1]]), dense([[0, 0], [0, 3]])
    a.task = b.task = Task("labels", from_logits=True)
    found = diff_predictions(a, b, Samples(floats([[1, 0], [0, 1]]), np.zeros((2, 2), np.float32)))
    assert isinstance(found, OutputDifference)
    assert (found.index, found.output) == (1, 1)
    assert found.largest == pytest.approx(1 / (1 + math.exp(-3)) - 1 / (1 + math.exp(-1)))


def test_only_so_many_examples_are_kept() -> None:
    x = floats([[1, 0]] * (MAX_EXAMPLES + 5))
    found = diff_predictions(dense([[1, 0], [0, 1]]), dense([[0, 1], [1, 0]]), Samples(x, np.zeros(len(x), np.int64)))
    assert isinstance(found, ClassDifference)
    assert (found.changed, found.spoiled, len(found.examples)) == (len(x), len(x), MAX_EXAMPLES)


def test_outputs_to_regress_are_compared_by_their_largest_difference() -> None:
    a, b = dense([[1, 0], [0, 1]]), dense([[1, 0], [0, 2]])
    x = floats([[1, 1], [0, -5], [2, 2]])
    found = diff_predictions(a, b, Samples(x, np.zeros((3, 2), np.float32)))
    assert found == OutputDifference(samples=3, largest=5.0, index=1, output=1, a=-5.0, b=-10.0)
    with pytest.raises(ShapeError, match=r"if they have one shape, got \(2,\) and \(1,\)"):
        diff_predictions(a, dense([[1, 0]]), Samples(x, np.zeros((3, 2), np.float32)))


def test_outputs_that_are_no_numbers_are_found() -> None:
    found = diff_predictions(
        dense([[1.0]]), dense([[math.nan]]), Samples(floats([[1], [2]]), np.zeros((2, 1), np.float32))
    )
    assert isinstance(found, OutputDifference)
    assert math.isnan(found.largest)


def test_models_that_mean_other_classes_by_an_index_are_not_compared() -> None:
    a, b = dense([[1, 0], [0, 1]]), dense([[0, 1], [1, 0], [1, 1]])
    x = Samples(floats([[1, 0], [0, 1]]), np.array([0, 1]))
    a.labels, b.labels = ("cat", "dog"), ("dog", "cat", "owl")
    for one, other in ((a, b), (b, a)):
        with pytest.raises(ShapeError) as caught:
            diff_predictions(one, other, x)
        knows, gives = ("model b", "model a") if one is a else ("model a", "model b")
        assert str(caught.value) == (
            f"class 0 is 'cat' in {gives}, and 'dog' in {knows}; {gives} has the labels cat, dog, {knows} has dog, "
            "cat, owl: expected the same labels in the same order, or the first of them; choose two models of the same "
            "classes"
        )
    b.labels = ("cat", "dog", "owl")
    assert isinstance(diff_predictions(a, b, x), ClassDifference)
    b.labels = ()
    assert isinstance(diff_predictions(a, b, x), ClassDifference)


def test_one_hot_targets_are_classes() -> None:
    a, b = dense([[1, 0], [0, 1]]), dense([[0, 1], [1, 0]])
    x = floats([[1, 0], [0, 1]])
    for y in (np.array([0, 1]), np.eye(2, dtype=np.float32)):
        found = diff_predictions(a, b, Samples(x, y))
        assert isinstance(found, ClassDifference)
        assert (found.changed, found.spoiled) == (2, 2)
