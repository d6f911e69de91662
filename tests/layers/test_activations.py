"""What activations promise beside values and gradients: the far ends, the corners, the learned slope, the gate."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from cnnkit.arguments import signature
from cnnkit.components import Layer, installed_catalog
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import GELU, GLU, LAYERS, SELU, Clip, LogSoftmax, Mish, PReLU, Softplus, special_functions
from cnnkit.layers.activation import PIECE, _Activation, each
from cnnkit.testing import PlainContext
from cnnkit.types import Array

ACTIVATIONS = [cls for cls in LAYERS if issubclass(cls, _Activation)]
WITHOUT_ARGUMENTS = [
    cls() if all(one.default is not one.empty for one in signature(cls).parameters.values()) and cls is not Clip
    else Clip(-1, 2)
    for cls in ACTIVATIONS
]  # fmt: skip
FAR = np.array([-1e30, -1e5, -200.0, -50.0, 50.0, 200.0, 1e5, 1e30])


def there_and_back(layer: Layer, x: Array, dy: Array | None = None) -> tuple[Array, Array]:
    ctx = PlainContext(dtype=x.dtype)
    y, cache = layer.forward(x, ctx)
    return y, layer.backward(np.ones_like(y) if dy is None else dy, cache, ctx)[0]


def test_there_are_activations() -> None:
    assert len(ACTIVATIONS) == 16


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", WITHOUT_ARGUMENTS, ids=repr)
def test_far_from_zero_nothing_overflows(layer: Layer, dtype: str) -> None:
    """Warnings are errors here."""
    y, dx = there_and_back(layer, FAR[None].astype(dtype))
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    if "SELU" not in repr(layer):
        assert np.abs(dx).max() <= 1 + 1e-6


@pytest.mark.parametrize("layer", WITHOUT_ARGUMENTS, ids=repr)
def test_nan_stays_nan(layer: Layer) -> None:
    y, _ = there_and_back(layer, np.array([[1.0, math.nan, -1.0]]))
    assert np.isnan(y).tolist() == [[False, True, False]]


@pytest.mark.parametrize("layer", WITHOUT_ARGUMENTS, ids=repr)
def test_float32_is_as_exact_as_it_can_be(layer: Layer) -> None:
    x = np.random.default_rng(0).normal(0, 3, (1, 20_000)).astype("f4")
    for given, exact in zip(there_and_back(layer, x), there_and_back(layer, x.astype("f8")), strict=True):
        assert given.dtype == np.float32
        corners = np.abs(given - exact) > 0.1  # rounding may put a number on the other side of a corner
        assert corners.sum() <= 2
        assert np.abs(given - exact)[~corners].max() <= 1e-6 * max(1, np.abs(exact).max())


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 1, 0), (1, 2, 3, 0)])
def test_a_function_of_each_number_runs_in_pieces_and_keeps_the_memory_order(order: tuple[int, ...]) -> None:
    shape = (3, 5, 41, 43)
    assert math.prod(shape) > PIECE
    x = np.random.default_rng(0).normal(size=tuple(shape[axis] for axis in order)).transpose(np.argsort(order))
    pieces: list[int] = []

    def squared(piece: Array) -> Array:
        pieces.append(piece.size)
        return np.square(piece)

    y = each(squared, x[:, 1:4], PlainContext())
    assert max(pieces) == min(PIECE, sum(pieces))
    np.testing.assert_array_equal(y, x[:, 1:4] ** 2)
    assert sorted(range(4), key=lambda axis: -y.strides[axis]) == list(order)


def below(x: Array) -> Array:
    """The share of the normal distribution below each number, by the C library."""
    return np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x.tolist()])


def test_the_normal_distribution_to_the_last_digits() -> None:
    x = np.linspace(-37, 37, 20_001)
    np.testing.assert_allclose(special_functions.normal_distribution(x), below(x), rtol=0, atol=5e-16)
    near = x[np.abs(x) < 5]
    np.testing.assert_allclose(special_functions.normal_distribution(near), below(near), rtol=5e-15)
    single = x.astype("f4")
    np.testing.assert_allclose(special_functions.normal_distribution(single), below(single), rtol=0, atol=2e-7)
    np.testing.assert_allclose(
        special_functions.normal_density(x), np.exp(-x * x / 2) / math.sqrt(2 * math.pi), rtol=1e-12
    )


def test_sigmoid_and_softplus_keep_small_numbers() -> None:
    x = np.linspace(-700, 700, 2001)
    expected = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(special_functions.sigmoid(x), expected, rtol=1e-15)
    np.testing.assert_allclose(special_functions.sigmoid_derivative(x), expected / (1 + np.exp(x)), rtol=1e-14)
    np.testing.assert_allclose(special_functions.softplus(x), np.logaddexp(0, x), rtol=1e-15)
    np.testing.assert_allclose(there_and_back(Softplus(3.0), x[None])[0][0], np.logaddexp(0, 3 * x) / 3, rtol=1e-14)


def test_gelu_and_mish_by_their_definitions() -> None:
    for x in (-3.2, -0.4, 0.0, 1e-9, 0.7, 4.5):
        y, _ = there_and_back(GELU(), np.array([[x]]))
        assert y[0, 0] == pytest.approx(x * math.erfc(-x / math.sqrt(2)) / 2, rel=1e-14)
        y, _ = there_and_back(GELU("tanh"), np.array([[x]]))
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        assert y[0, 0] == pytest.approx(x * (1 + math.tanh(inner)) / 2, rel=1e-12)
        y, _ = there_and_back(Mish(), np.array([[x]]))
        assert y[0, 0] == pytest.approx(x * math.tanh(math.log1p(math.exp(x))), rel=1e-14)


def test_selu_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(0).normal(size=(1, 400_000))
    y, _ = there_and_back(SELU(), x)
    assert abs(y.mean()) <= 0.005
    assert abs(y.var() - 1) <= 0.01


@pytest.mark.parametrize("bounds", [(-1.0, 0.5), (None, 0.5), (-1.0, None)])
def test_clip_is_the_clamp_of_pytorch_also_on_its_bounds(bounds: tuple[float | None, float | None]) -> None:
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    x = np.array([[-2.0, -1.0, -0.3, 0.5, 0.7, math.inf, -math.inf]], "f4")
    given = torch.tensor(x, requires_grad=True)
    expected = torch.clamp(given, *bounds)
    expected.sum().backward()
    y, dx = there_and_back(Clip(*bounds), x)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    np.testing.assert_array_equal(dx, given.grad.numpy())


def test_the_slope_of_prelu_is_of_all_numbers_or_of_each_channel() -> None:
    x, dy = np.random.default_rng(0).normal(size=(2, 4, 3, 5, 2))
    for count in (1, 3):
        layer, ctx = PReLU(count, init=0.1), PlainContext()
        assert layer.build((3, 5, 2), np.random.default_rng(0)) == (3, 5, 2)
        assert layer.params["weight"].tolist() == [0.1] * count
        layer.params["weight"][:] = np.arange(1, count + 1) / 10
        y, cache = layer.forward(x, ctx)
        _, grads = layer.backward(dy, cache, ctx)
        expected, dweight = np.empty_like(x), np.zeros(count)
        for n, c, i, j in itertools.product(*map(range, x.shape)):
            slope, value = c if count > 1 else 0, x[n, c, i, j]
            expected[n, c, i, j] = value if value > 0 else layer.params["weight"][slope] * value
            dweight[slope] += dy[n, c, i, j] * min(value, 0)
        np.testing.assert_allclose(y, expected, rtol=1e-14)
        np.testing.assert_allclose(grads["weight"], dweight, rtol=1e-12)


def test_log_softmax_where_softmax_is_0() -> None:
    y, dx = there_and_back(LogSoftmax(), np.array([[1e5, 0.0, -1e5]], "f4"), np.array([[0, 1, 0]], "f4"))
    assert y.tolist() == [[0, -1e5, -2e5]]
    assert dx.tolist() == [[-1, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Clip()", "min or max must be a number, got None for both"),
        ("Clip(2, 1)", "min must be below max, got min=2 and max=1"),
        ("Clip(1.5, 1.5)", "min must be below max, got min=1.5 and max=1.5"),
        ('Clip("0")', "min must be a finite number, got '0'"),
        ("Clip(max=1e+50)", "max must be a finite number, got 1e+50"),
        ("HardTanh(1, 0)", "min_val must be below max_val, got min_val=1 and max_val=0"),
        ("HardTanh(max_val=None)", "max_val must be a finite number, got None"),
        ("ELU(-1)", "alpha must be a number, 0 or above, got -1"),
        ("CELU(0)", "alpha must be a number above 0, got 0"),
        ("Softplus(0.0)", "beta must be a number above 0, got 0.0"),
        ('GELU("erf")', "approximate must be one of 'none', 'tanh', got 'erf'"),
        ("PReLU(0)", "num_parameters must be a whole number, 1 or above, got 0"),
        ("PReLU(init=True)", "init must be a finite number, got True"),
    ],
)
def test_bad_arguments(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_catalog().build("layer", text)
    assert str(caught.value) == f"{text}: {message}"


def test_inputs_that_do_not_fit() -> None:
    with pytest.raises(ShapeError) as caught:
        PReLU(4).build((3, 5, 5), np.random.default_rng(0))
    assert str(caught.value) == (
        "PReLU expects num_parameters to be 1, for all numbers, or that of the channels, 3 of an input of shape "
        "(3, 5, 5); got 4"
    )
    with pytest.raises(ShapeError) as caught:
        GLU().build((3, 5, 5), np.random.default_rng(0))
    assert str(caught.value) == (
        "GLU expects an even number of channels, got 3 of an input of shape (3, 5, 5); give the layer before it twice "
        "as many as are to come out"
    )


def test_layers_need_no_scipy() -> None:
    code = "import sys, cnnkit.layers; sys.exit(any(name.split('.')[0] == 'scipy' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
