"""ZerO, and HadamardDense: its transform, its contract, its gradient, its ONNX form, and that it learns."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cnnkit_walsh import HadamardDense, ZerO, hadamard_transform

from cnnkit import Sequential, Trainer, explain, export_onnx, load_dataset, validate_onnx, write_page
from cnnkit.plugin import Array, ConfigError, ShapeError, Weights
from cnnkit.testing import PlainContext, check_layer, gradient_check

SHAPES = [(1, 1), (2, 2), (5, 3), (3, 5), (16, 16), (9, 16), (16, 17), (20, 1)]
"""Inputs and units: below, at and above powers of two."""


def sylvester(n: int) -> Array:
    """The Walsh-Hadamard matrix by Sylvester's construction: H_1 = 1, H_2n = [[H_n, H_n], [H_n, -H_n]]."""
    h = np.ones((1, 1))
    while len(h) < n:
        h = np.block([[h, h], [h, -h]])
    return h


def built(units: int, features: int, **options: int | bool) -> HadamardDense:
    layer = HadamardDense(units, **options)  # type: ignore[arg-type]  # options of any type
    assert layer.build((features,), np.random.default_rng(0)) == (units,)
    return layer


@pytest.mark.parametrize("n", [1, 2, 4, 8, 64])
def test_transform_is_the_product_with_sylvesters_matrix(n: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, 3))
    np.testing.assert_allclose(hadamard_transform(x), sylvester(n) @ x, atol=1e-12)
    np.testing.assert_array_equal(hadamard_transform(np.eye(n)), sylvester(n))


def test_transform_is_its_own_inverse_but_for_a_factor() -> None:
    x = np.random.default_rng(0).normal(size=(32, 3))
    np.testing.assert_allclose(hadamard_transform(hadamard_transform(x)), 32 * x, atol=1e-12)


def test_transform_takes_any_strides_and_dtype_and_leaves_its_input_alone() -> None:
    whole = np.random.default_rng(0).normal(size=(6, 16)).astype("float32")
    x = whole[::-2, ::2].T
    before = x.copy()
    y = hadamard_transform(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, sylvester(8) @ before, atol=1e-5)
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(x[:1], hadamard_transform(x[:1]))


@pytest.mark.parametrize("n", [0, 3, 12])
def test_transform_needs_a_power_of_two(n: int) -> None:
    with pytest.raises(ShapeError) as caught:
        hadamard_transform(np.zeros((n, 2)))
    assert str(caught.value) == (
        f"expected a power of two along the first axis, got an array of shape ({n}, 2); pad with zeros"
    )


@pytest.mark.parametrize(("features", "units"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_forward_is_a_dense_layer_with_a_structured_matrix(features: int, units: int, bias: bool) -> None:
    layer = built(units, features, bias=bias, depth=3)
    rng = np.random.default_rng(1)
    layer.params = {name: rng.normal(size=array.shape) for name, array in layer.params.items()}
    diagonals = layer.params["diagonals"]
    n = diagonals.shape[1]
    assert max(features, units) <= n < 2 * max(features, units)
    weight = np.eye(n)
    for diagonal in diagonals:
        weight = sylvester(n) @ np.diag(diagonal) @ weight
    x = rng.normal(size=(4, features))
    y, _ = layer.forward(x, PlainContext())
    expected = x @ weight[:units, :features].T + (layer.params["bias"] if bias else 0)
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_map_starts_as_a_rotation(depth: int) -> None:
    x = np.random.default_rng(1).normal(size=(5, 64))
    y, _ = built(64, 64, depth=depth).forward(x, PlainContext())
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1))


@pytest.mark.parametrize(("features", "units"), SHAPES)
def test_gradient_and_contract(features: int, units: int) -> None:
    for layer in (HadamardDense(units), HadamardDense(units, bias=False, depth=1)):
        report = gradient_check(layer, (features,), threshold=1e-6)
        assert report.ok, str(report)
        check_layer(layer, (features,))


def test_it_saves_nine_tenths_of_the_parameters_and_more() -> None:
    assert sum(array.size for array in built(256, 256).params.values()) == 1_280 < 65_792 // 10


def test_it_says_its_cost_and_a_lesson(tmp_path: Path) -> None:
    model = Sequential(["HadamardDense(256)", "HadamardDense(3, bias=False, depth=2)"], (200,))
    costs = [node.cost for node in model.nodes]
    assert [cost and cost.operations for cost in costs] == [4 * 256 * (1 + 8) + 256, 2 * 256 * (1 + 8)]
    assert "9,472" in model.summary()
    explanation = explain(Sequential(["HadamardDense(4)"], (3,)), np.ones(3, np.float32), target=1)
    text = write_page(explanation, tmp_path / "page.html").read_text("utf-8")
    assert "all are mixed by fixed sums and differences" in text
    assert "not known for this kind of layer" not in text


def test_wrong_arguments_are_explained() -> None:
    with pytest.raises(ConfigError, match=r"^units must be a whole number, 1 or above, got 0$"):
        HadamardDense(0)
    with pytest.raises(ConfigError, match=r"^depth must be a whole number, 1 or above, got 1\.5$"):
        HadamardDense(3, depth=1.5)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ConfigError, match=r"^bias must be True or False, got 1$"):
        HadamardDense(3, bias=1)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ShapeError, match=r"^HadamardDense\(3\) expected inputs of shape \(F,\), got \(1, 4, 4\): put "):
        HadamardDense(3).build((1, 4, 4), np.random.default_rng(0))


def test_it_is_found_by_its_name() -> None:
    expressions = ["HadamardDense(3, depth=2)", "cnnkit-walsh:HadamardDense(3, depth=2)"]
    assert Sequential(expressions, (8,)).layers == [HadamardDense(3, depth=2)] * 2


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_exported_models_give_the_same_answers(opset: int, tmp_path: Path) -> None:
    layers = ["HadamardDense(33)", "ReLU()", "HadamardDense(64, depth=2)", "ReLU()", "HadamardDense(3, bias=False)"]
    model = Sequential(layers, input_shape=(20,), seed=1)
    path = tmp_path / "model.onnx"
    export_onnx(model, path, opset=opset)
    report = validate_onnx(path, model)
    assert report.ok, str(report)


def test_it_learns_the_digits() -> None:
    data = load_dataset("Digits()")
    layers = ["Flatten()", "HadamardDense(128)", "ReLU()", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing)
    run = Trainer(optimizer="Adam(0.003)", epochs=10, batch_size=32).fit(model, data)
    assert run.metrics["accuracy"] >= 0.95


@pytest.mark.skipif("CNNKIT_DATA_DIR" not in os.environ, reason="CNNKIT_DATA_DIR does not name a folder with MNIST")
def test_it_replaces_a_dense_layer_on_mnist() -> None:
    data = load_dataset("MNIST()")
    layers = ["Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(16, 3)", "ReLU()", "MaxPool2D(3)", "Flatten()"]
    layers += ["Dense(256)", "ReLU()", "Dropout(0.25)", "HadamardDense(256)", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing)
    run = Trainer(optimizer="Adam(0.004)", schedule="Cosine(warmup=0.5)", epochs=3, batch_size=512).fit(model, data)
    assert run.metrics["accuracy"] >= 0.97


def zero(*shape: int, groups: int = 1) -> Array:
    return ZerO().make(Weights(shape, 1, 1, groups), np.random.default_rng(0))


def test_zero_is_the_identity_where_a_layer_does_not_widen() -> None:
    np.testing.assert_array_equal(zero(3, 5), np.eye(3, 5))
    kernel = zero(4, 4, 3, 5)
    np.testing.assert_array_equal(kernel[:, :, 1, 2], np.eye(4))
    assert np.count_nonzero(kernel) == 4


def test_zero_is_a_hadamard_matrix_where_a_layer_widens() -> None:
    np.testing.assert_allclose(zero(7, 3), sylvester(8)[:7, :3] * 2 ** (-(3 - 1) / 2))
    np.testing.assert_array_equal(zero(8, 2, 1, groups=2)[:4], zero(4, 2, 1))
    np.testing.assert_array_equal(zero(8, 2, 1, groups=2)[4:], zero(4, 2, 1))
    with pytest.raises(ShapeError, match=r"^ZerO\(\) is for weights of two axes or more, got \(5,\): use Constant"):
        zero(5)


def test_a_network_learns_the_digits_from_zeros_and_ones() -> None:
    data = load_dataset("Digits()")
    layers = ["Flatten()", "Dense(128, initializer=ZerO())", "ReLU()", "Dense(10, initializer=ZerO())"]
    found = []
    for seed in (0, 1):
        model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing, seed=seed)
        assert set(np.unique(model.state()["dense_2.weight"])) == {0, 1}
        found.append(model.state()["dense_1.weight"])
        run = Trainer(optimizer="Adam(0.003)", epochs=10, batch_size=32).fit(model, data)
        assert run.metrics["accuracy"] >= 0.95
    np.testing.assert_array_equal(found[0], found[1])
