"""The estimators: scikit-learn's own checks, searches and pipelines, and what they do with their options."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import cnnkit_sklearn
import numpy as np
import pytest
from cnnkit_sklearn import CNNClassifier, CNNRegressor
from cnnkit_sklearn.default_networks import default_layers
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from cnnkit import export_onnx, validate_onnx
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.plugin import Array

ROUNDED = "float32 rounds differently for other batches, and the check compares 7 digits"


def rounded(estimator: Any) -> dict[str, str]:
    """The checks that compare more digits than float32 has."""
    if estimator.dtype == "float64":
        return {}
    names = ["check_sample_weight_equivalence_on_dense_data", "check_methods_sample_order_invariance"]
    names += ["check_methods_subset_invariance"] if isinstance(estimator, CNNClassifier) else []
    return dict.fromkeys(names, ROUNDED)


@pytest.mark.filterwarnings("ignore:the inputs are not scaled")  # those of some checks are not
@pytest.mark.filterwarnings("ignore:.*seem to be in other units")
@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [
        CNNClassifier(dtype="float64", random_state=0),
        CNNRegressor(dtype="float64", random_state=0),
        CNNClassifier(random_state=0),
        CNNRegressor(random_state=0),
    ],
    expected_failed_checks=rounded,
    xfail_strict=False,  # how float32 rounds depends on the processor
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def digits() -> list[Array]:
    return list(train_test_split(*load_digits(return_X_y=True), test_size=400, random_state=0))


def test_the_default_network_of_images_learns_the_digits(tmp_path: Path) -> None:
    x, x_test, y, y_test = digits()
    names = np.array([f"digit {k}" for k in range(10)])
    model = CNNClassifier(input_shape=(1, 8, 8), epochs=15, random_state=0).fit(x, names[y])
    assert model.score(x_test, names[y_test]) > 0.95
    assert model.classes_.tolist() == names.tolist()
    assert model.n_iter_ == len(model.history_["loss"]) == 15
    assert model.model_.labels == tuple(names)
    again = copy.deepcopy(model)  # as a pickle does it, which scikit-learn's checks try
    np.testing.assert_array_equal(again.predict_proba(x_test), model.predict_proba(x_test))
    images = x_test.reshape(-1, 1, 8, 8).astype(np.float32)
    np.testing.assert_array_equal(
        CNNClassifier(epochs=15, random_state=0).fit(x.reshape(-1, 1, 8, 8), names[y]).predict_proba(images),
        model.predict_proba(x_test),
    )
    assert validate_onnx(export_onnx(model.model_, tmp_path / "digits.onnx"), model.model_, images[:20]).ok


def test_searches_and_pipelines() -> None:
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), CNNClassifier(batch_size=16, epochs=20, random_state=0))
    assert cross_val_score(pipeline, x, y, cv=3).mean() > 0.9
    layers = [["Dense(2)", "ReLU()"], ["Dense(32)", "ReLU()"]]
    search = GridSearchCV(pipeline, {"cnnclassifier__layers": layers}, cv=3, n_jobs=2).fit(x, y)
    assert search.best_params_["cnnclassifier__layers"] == layers[1]


def test_a_regression_with_scaled_targets_beats_the_mean() -> None:
    x, y = load_diabetes(return_X_y=True)
    network = make_pipeline(StandardScaler(), CNNRegressor(["Dense(16)", "ReLU()"], epochs=30, random_state=0))
    assert cross_val_score(TransformedTargetRegressor(network, transformer=StandardScaler()), x, y, cv=3).mean() > 0.35


def test_several_targets() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = np.column_stack([x[:, 0], x[:, 1] - x[:, 2]])
    model = CNNRegressor(epochs=60, random_state=0).fit(x, y)
    assert model.predict(x).shape == (300, 2)
    assert model.n_outputs_ == 2
    assert model.score(x, y) > 0.9


def test_the_parts_of_a_training_add_up() -> None:
    x, x_test, y, y_test = digits()
    model = CNNClassifier(input_shape=(1, 8, 8), random_state=0)
    with pytest.raises(ValueError, match="labels that are not among the classes: \\[9\\]"):
        model.partial_fit(x, y, classes=range(9))
    model = clone(model)
    for _ in range(8):
        model.partial_fit(x, y, classes=range(10))
    assert model.n_iter_ == 8
    assert model.score(x_test, y_test) > 0.9
    with pytest.raises(ValueError, match="the first call had"):
        model.partial_fit(x, y, classes=range(11))


def test_weights_of_samples_and_of_classes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    y = (x[:, 0] + rng.normal(size=400) > 1).astype(int)
    model = CNNClassifier(["Dense(8)", "ReLU()"], epochs=20, random_state=0, dtype="float64")
    plain = model.fit(x, y).predict(x).mean()
    by_class = clone(model).set_params(class_weight={0: 1, 1: 8}).fit(x, y).predict_proba(x)
    by_sample = clone(model).fit(x, y, sample_weight=np.where(y == 1, 8.0, 1.0)).predict_proba(x)
    np.testing.assert_allclose(by_class, by_sample)
    assert by_class.argmax(axis=1).mean() > plain + 0.2
    scaled = clone(model).fit(x, y, sample_weight=np.where(y == 1, 80.0, 10.0)).predict_proba(x)
    np.testing.assert_allclose(scaled, by_sample, rtol=1e-6)  # their mean is 1, whatever they are
    with pytest.raises(ValueError, match="zero"):
        model.fit(x, y, sample_weight=np.zeros(400))


def test_the_number_of_workers_changes_nothing() -> None:
    x, x_test, y, _ = digits()
    found = [
        CNNClassifier(input_shape=(1, 8, 8), epochs=2, n_jobs=jobs, random_state=3).fit(x, y).predict_proba(x_test)
        for jobs in (None, 2)
    ]
    np.testing.assert_array_equal(found[0], found[1])


def test_callbacks_look_at_validation_samples() -> None:
    x, _, y, _ = digits()
    early = 'EarlyStopping("validation_loss", patience=1)'
    model = CNNClassifier(epochs=60, callbacks=[early], validation_fraction=0.2, keep="best", random_state=0)
    model.fit(x, y)
    assert model.n_iter_ < 60
    assert "validation_loss" in model.history_


def test_layers_as_objects_stay_as_they_are() -> None:
    from cnnkit.layers import Dense, ReLU

    x, y = load_iris(return_X_y=True)
    layers = [Dense(4), ReLU()]
    model = CNNClassifier(layers, epochs=1, random_state=0).fit(x, y)
    assert not layers[0].params
    assert model.layers is layers
    assert clone(model).layers == layers


@pytest.mark.parametrize("shape", [(5,), (2, 3), (3, 100), (1, 1, 1), (3, 5, 9), (1, 28, 28)], ids=str)
def test_there_is_a_default_network_for_every_shape(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, *shape)), np.arange(12) % 2
    assert CNNClassifier(epochs=1, random_state=0).fit(x, y).predict_proba(x).shape == (12, 2)
    assert default_layers(shape)[-1] == "ReLU()"


def test_what_is_wrong_is_explained() -> None:
    x, y = load_iris(return_X_y=True)
    with pytest.raises(ShapeError, match=r"^input_shape is \(1, 3, 3\), which is 9 numbers for a sample; X has the "):
        CNNClassifier(input_shape=(1, 3, 3)).fit(x, y)
    with pytest.raises(ShapeError, match=r"^a sample must be a row \(F,\), a signal"):
        CNNClassifier().fit(np.zeros((2, 1, 2, 2, 2)), [0, 1])
    with pytest.raises(ConfigError, match="epochs"):
        CNNClassifier(epochs=0).fit(x, y)
    with pytest.raises(NotFittedError):
        CNNClassifier().predict(x)
    with pytest.raises(AttributeError, match="has no attribute 'CNNTransformer'"):
        getattr(cnnkit_sklearn, "CNNTransformer")  # noqa: B009
