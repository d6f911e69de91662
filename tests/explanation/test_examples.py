"""Worked examples: the parts that are shown add up to what the layer gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.explanation.examples import conv_example, dense_example, norm_example, pool_example
from cnnkit.explanation.tracing import LayerTrace, trace
from cnnkit.layers import MaxPool2D
from cnnkit.losses import CrossEntropy
from cnnkit.testing import PlainContext
from tests.explanation.networks import image, network


def _first(layer: str) -> LayerTrace:
    model = network(layer, "Flatten()", "Dense(5)")
    return trace(model, image()[None], CrossEntropy(), np.array([0])).layers[0]


@pytest.mark.parametrize(
    "layer",
    [
        "Conv2D(4, 3)",
        'Conv2D(4, 3, padding="same")',
        "Conv2D(4, (3, 2), stride=(2, 3), padding=(1, 0))",
        "Conv2D(4, 2, dilation=(3, 2), padding=2)",
        "Conv2D(4, 3, groups=2, bias=False)",
        "Conv2D(4, 9, padding=4)",
    ],
)
def test_a_patch_times_its_kernel_plus_bias_is_the_output(layer: str) -> None:
    one = _first(layer)
    conv: Any = one.node.layer
    example = conv_example(conv, one.inputs[0], one.output)
    assert example.kernel is not None
    assert example.value == one.output.max() == one.output[example.channel, example.row, example.column]
    total = float((example.patch * example.kernel).sum()) + (example.bias or 0.0)
    assert total == pytest.approx(example.value, rel=1e-5)
    assert float(example.sums.sum()) + (example.bias or 0.0) == pytest.approx(total)
    assert (example.bias is None) == (not conv.bias)
    assert not example.patch[:, ~example.inside].any()
    rows, columns = conv.window.rows, conv.window.columns
    i, j = (int(k[0]) for k in np.nonzero(example.inside))
    at = one.inputs[0][example.first_channel, example.top + i * rows.dilation, example.left + j * columns.dilation]
    assert example.patch[0, i, j] == at


@pytest.mark.parametrize("layer", ["MaxPool2D(2)", "MaxPool2D(3, stride=2, padding=1)", 'AvgPool2D(3, padding="same")'])
def test_a_window_holds_the_number_that_is_kept(layer: str) -> None:
    one = _first(layer)
    pool: Any = one.node.layer
    example = pool_example(pool, one.inputs[0], one.output)
    kept = example.patch.max() if layer.startswith("Max") else example.patch.mean()
    assert kept == pytest.approx(one.output[example.channel, example.row, example.column], rel=1e-5)
    assert example.value == one.output.max()


@pytest.mark.parametrize(
    "layer", [MaxPool2D(2), MaxPool2D((3, 2)), MaxPool2D(3, 2, 1), MaxPool2D(2, padding="same")], ids=repr
)
@pytest.mark.parametrize("seed", range(8))
def test_the_winner_is_the_number_that_gets_the_gradient(layer: MaxPool2D, seed: int) -> None:
    """Few values, so that windows have ties; the layer itself says where the gradient of the output goes."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, (1, 2, 5, 5)).astype(np.float64)
    layer.build((2, 5, 5), rng)
    y, cache = layer.forward(x, PlainContext())
    example = pool_example(layer, x[0], y[0])
    dy = np.zeros(y.shape)
    dy[0, example.channel, example.row, example.column] = 1
    dx, _ = layer.backward(dy, cache, PlainContext())
    row, column = example.winner or pytest.fail("there is one")
    assert example.inside[row, column]
    assert np.argwhere(dx[0]).tolist() == [[example.channel, example.top + row, example.left + column]]


def test_of_equal_maxima_the_first_in_column_order_wins() -> None:
    layer = MaxPool2D(2)
    layer.build((1, 2, 2), np.random.default_rng(0))
    x = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    assert pool_example(layer, x, np.ones((1, 1, 1))).winner == (1, 0)
    x[0, 0, 0] = np.nan
    assert pool_example(layer, x, np.full((1, 1, 1), np.nan)).winner is None


def test_contributions_are_ordered_and_add_up() -> None:
    one = trace(network("Flatten()", "Dense(5)"), image()[None], CrossEntropy(), np.array([0])).layers[1]
    dense: Any = one.node.layer
    example = dense_example(dense, one.inputs[0], one.output)
    assert example.unit == one.output.argmax()
    assert float(example.products.sum()) + example.bias == pytest.approx(example.value, rel=1e-5)
    assert np.all(np.diff(np.abs(example.products)) <= 0)
    place = example.inputs[0]
    assert example.products[0] == pytest.approx(one.inputs[0][place] * dense.params["weight"][example.unit, place])


def test_normalisation_is_worked_out_with_the_running_statistics() -> None:
    one = _first("BatchNorm2D()")
    norm: Any = one.node.layer
    example = norm_example(norm, one.inputs[0], one.output)
    normal = (example.x - example.mean) / np.sqrt(example.var + norm.epsilon)
    assert example.gamma * normal + example.beta == pytest.approx(example.value, rel=1e-5)
    assert example.value == one.output.max()
    assert example.mean == norm.buffers["running_mean"][example.channel]
