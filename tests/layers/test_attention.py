"""Attention and coordinates: values against PyTorch and plain loops, numbers that are large, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential
from cnnkit.components import Layer, installed_catalog
from cnnkit.errors import ConfigError, CostError, ShapeError
from cnnkit.layers import AddCoordinates, SelfAttention2D, SqueezeExcite
from cnnkit.onnx.export import export_onnx
from cnnkit.onnx.validate import validate_onnx
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Grads, Shape

RNG = np.random.default_rng


def made(expression: str, in_shape: Shape, dtype: str = "f4") -> Layer:
    layer: Layer = installed_catalog().build("layer", expression)  # type: ignore[assignment]  # the catalog gives components of every kind
    layer.build(in_shape, RNG(0))
    layer.params = {name: RNG(1).normal(size=value.shape).astype(dtype) for name, value in layer.params.items()}
    return layer


def both_ways(layer: Layer, x: Array, dy: Array) -> tuple[Array, Array, Grads]:
    ctx = PlainContext(dtype=x.dtype)
    y, cache = layer.forward(x, ctx)
    return y, *layer.backward(dy, cache, ctx)


def assert_close(given: Array, expected: Any) -> None:
    expected = np.asarray(expected)
    assert given.dtype == np.float32
    assert given.shape == expected.shape
    assert np.abs(given - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize(
    ("heads", "bias", "in_shape"),
    [(2, True, (4, 3, 5)), (1, False, (3, 4, 4)), (5, True, (10, 1, 7)), (3, False, (6, 2, 2))],
)
def test_self_attention_is_that_of_torch(heads: int, bias: bool, in_shape: Shape) -> None:
    torch: Any = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    layer = made(f"SelfAttention2D({heads}, {bias})", in_shape)
    x, dy = RNG(2).normal(size=(2, 3, *in_shape)).astype("f4")
    y, dx, grads = both_ways(layer, x, dy)
    module = torch.nn.MultiheadAttention(in_shape[0], heads, bias=bias, batch_first=True)
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), layer.params.values(), strict=True):
            parameter.copy_(torch.tensor(value))
    images = torch.tensor(x, requires_grad=True)
    rows = images.flatten(2).transpose(1, 2)  # (N, C, H, W) -> (N, H*W, C)
    theirs = module(rows, rows, rows, need_weights=False)[0].transpose(1, 2).reshape(x.shape)
    theirs.backward(torch.tensor(dy))
    assert_close(y, theirs.detach())
    assert_close(dx, images.grad)
    for parameter, name in zip(module.parameters(), layer.params, strict=True):
        assert_close(grads[name], parameter.grad)


@pytest.mark.parametrize("gate", ["sigmoid", "hard_sigmoid"])
def test_squeeze_and_excitation_in_torch(gate: str) -> None:
    torch: Any = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    layer = made(f"SqueezeExcite(units=4, gate={gate!r})", (6, 5, 4))
    x, dy = RNG(2).normal(size=(2, 3, 6, 5, 4)).astype("f4")
    y, dx, grads = both_ways(layer, x, dy)
    functions = torch.nn.functional
    images = torch.tensor(x, requires_grad=True)
    first, first_bias, second, second_bias = (torch.tensor(v, requires_grad=True) for v in layer.params.values())
    hidden = functions.relu(functions.linear(images.mean((2, 3)), first, first_bias))
    bent = torch.sigmoid if gate == "sigmoid" else functions.hardsigmoid
    theirs = images * bent(functions.linear(hidden, second, second_bias))[:, :, None, None]
    theirs.backward(torch.tensor(dy))
    assert_close(y, theirs.detach())
    assert_close(dx, images.grad)
    for parameter, gradient in zip((first, first_bias, second, second_bias), grads.values(), strict=True):
        assert_close(gradient, parameter.grad)


def test_self_attention_of_each_pixel_by_itself() -> None:
    layer = made("SelfAttention2D(2)", (4, 2, 3), "f8")
    x = RNG(2).normal(size=(2, 4, 2, 3))
    y, _ = layer.forward(x, PlainContext())
    in_weight, in_bias, out_weight, out_bias = layer.params.values()
    for image, given in zip(x.reshape(2, 4, 6), y.reshape(2, 4, 6), strict=True):
        parts = [in_weight @ image[:, p] + in_bias for p in range(6)]
        for p in range(6):
            seen = np.zeros(4)
            for head in (slice(0, 2), slice(2, 4)):
                powers = [math.exp(parts[p][:4][head] @ parts[r][4:8][head] / math.sqrt(2)) for r in range(6)]
                seen[head] = sum(powers[r] * parts[r][8:][head] for r in range(6)) / sum(powers)
            np.testing.assert_allclose(given[:, p], out_weight @ seen + out_bias, rtol=1e-12)


def test_units_follow_the_ratio_unless_given() -> None:
    def units(expression: str, channels: int) -> int:
        layer = made(expression, (channels, 2, 2))
        return len(layer.params["reduce_weight"])

    assert units("SqueezeExcite()", 64) == 4
    assert units("SqueezeExcite()", 8) == 1
    assert units("SqueezeExcite(3)", 8) == 2
    assert units("SqueezeExcite(units=24)", 8) == 24


@pytest.mark.parametrize("size", [1e3, 1e9])
def test_scores_of_any_size_overflow_nothing(size: float) -> None:
    layer = made("SelfAttention2D(2)", (4, 3, 3))
    x, dy = (RNG(2).normal(size=(2, 2, 4, 3, 3)) * [[[[[size]]]], [[[[1]]]]]).astype("f4")
    for one in both_ways(layer, x, dy)[:2]:
        assert np.isfinite(one).all()


def test_weights_of_many_pixels_add_up_to_1() -> None:
    """Of equal pixels, each sees the same; float32 adds up 4,096 of them."""
    layer = made("SelfAttention2D(1, False)", (2, 64, 64))
    x = np.full((1, 2, 64, 64), 0.7, "f4")
    y, _ = layer.forward(x, PlainContext(dtype="f4"))
    in_weight, out_weight = (value.astype("f8") for value in layer.params.values())
    expected = out_weight @ (in_weight[4:] @ np.full(2, 0.7))
    np.testing.assert_allclose(y[0, :, 5, 9], expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("expression", ["SelfAttention2D(2)", "AddCoordinates(True)"])
def test_outputs_have_the_engine_s_order_whatever_that_of_inputs_is(expression: str) -> None:
    layer, x = made(expression, (4, 3, 5)), RNG(2).normal(size=(6, 4, 3, 5)).astype("f4")
    for given in (x, np.asfortranarray(x)):
        y, _ = layer.forward(given, PlainContext(dtype="f4"))
        assert y.transpose(2, 3, 1, 0).flags.c_contiguous


def test_coordinates_of_each_pixel() -> None:
    layer, x = made("AddCoordinates(True)", (2, 3, 5)), RNG(2).normal(size=(4, 2, 3, 5))
    y, _ = layer.forward(x, PlainContext())
    np.testing.assert_array_equal(y[:, :2], x)
    for p, row in enumerate([-1, 0, 1]):
        for q, column in enumerate([-1, -0.5, 0, 0.5, 1]):
            expected = row, column, math.hypot(row, column)
            np.testing.assert_allclose(y[:, 2:, p, q], [expected] * 4, rtol=1e-15)


def test_coordinates_are_exported_also_beside_what_is_not_finite() -> None:
    from cnnkit.onnx.export import to_onnx
    from cnnkit.onnx.runtimes import ReferenceEvaluator

    model = Sequential(["AddCoordinates()"], (1, 2, 3))
    x = np.array([[[[np.inf, -np.inf, np.nan], [0, 1, 2]]]] * 2, np.float32)
    y, _ = AddCoordinates().forward(x, PlainContext(dtype="f4"))
    given = ReferenceEvaluator().run(to_onnx(model, opset=13).SerializeToString(), {"input": x})
    np.testing.assert_array_equal(next(iter(given.values())), y)


def test_attention_that_takes_too_much_is_refused_before_it_takes_anything() -> None:
    model = Sequential(["SelfAttention2D(4)"], (16, 96, 96))
    with pytest.raises(CostError) as caught:
        model.logits(np.zeros((1, 16, 96, 96)))
    assert str(caught.value).startswith(
        "layer self_attention2d_1 = SelfAttention2D(4) gives 16 x 96 x 96 values for each sample: what the layers give "
        "and copy takes 1.3 GiB, and a network with inputs and parameters of"
    )


def test_a_foreign_file_with_many_weights_has_the_memory_that_it_needs(tmp_path: Any) -> None:
    model, path = Sequential(["SelfAttention2D(4)", "GlobalAvgPool2D()"], (8, 20, 20)), tmp_path / "model.onnx"
    export_onnx(model, path, metadata={"note": "none"})
    x = RNG(0).normal(size=(6, 8, 20, 20)).astype("f4")
    assert validate_onnx(path, model, x).ok
    other = Sequential(["SelfAttention2D(4)", "GlobalAvgPool2D()"], (8, 20, 20), seed=1)
    report = validate_onnx(path, other, x)
    assert not report.exported
    assert {result.worst_sample is None for result in report.results} == {False}  # each has run it


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SelfAttention2D(0)", "heads must be a whole number, 1 or above, got 0"),
        ("SelfAttention2D(2, bias=0)", "bias must be True or False, got 0"),
        ("SqueezeExcite(0)", "ratio must be a whole number, 1 or above, got 0"),
        ("SqueezeExcite(units=0)", "units must be a whole number, 1 or above, got 0"),
        ("SqueezeExcite(4, units=2)", "units must be None where ratio is given, got units=2 with ratio=4"),
        ('SqueezeExcite(gate="tanh")', "gate must be one of 'hard_sigmoid', 'sigmoid', got 'tanh'"),
        ("AddCoordinates(1)", "radius must be True or False, got 1"),
    ],
)
def test_bad_arguments(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_catalog().build("layer", text)
    assert str(caught.value) == f"{text}: {message}"


@pytest.mark.parametrize(
    ("layer", "in_shape", "message"),
    [
        (SelfAttention2D(4), (6, 3, 3),
         "SelfAttention2D expects a number of channels that is a multiple of its 4 heads, got 6 channels; change "
         "heads, or the filters of the layer before it"),
        (SelfAttention2D(1), (6,),
         "SelfAttention2D expects an input of shape (channels, height, width), got (6,); put SelfAttention2D before "
         "Flatten() and Dense(...)"),
        (SqueezeExcite(), (6, 3),
         "SqueezeExcite expects an input of shape (channels, height, width), got (6, 3); put SqueezeExcite before "
         "Flatten() and Dense(...)"),
        (AddCoordinates(), (6,),
         "AddCoordinates expects an input of shape (channels, height, width), got (6,); put AddCoordinates before "
         "Flatten() and Dense(...)"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit(layer: Layer, in_shape: Shape, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(in_shape, RNG(0))
    assert str(caught.value) == message
