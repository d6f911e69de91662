"""Joins of several inputs: values, gradients where inputs are equal, and what they say of inputs that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnkit import Graph
from cnnkit.components import Merge
from cnnkit.errors import ShapeError
from cnnkit.layers import Add, Average, Maximum, Multiply, Subtract
from cnnkit.onnx.export import to_onnx
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Shape, Task

RNG = np.random.default_rng
SHAPE = 3, 4, 5, 2
JOINED: dict[type[Merge], Callable[..., Array]] = {
    Add: lambda *xs: np.sum(xs, axis=0),
    Average: lambda *xs: np.mean(xs, axis=0),
    Maximum: lambda *xs: np.stack(xs).max(axis=0),
    Multiply: lambda a, b: a * b,
    Subtract: lambda a, b: a - b,
}
OF_TWO = Multiply, Subtract


def both_ways(join: Merge, xs: list[Array], dy: Array) -> tuple[Array, list[Array]]:
    ctx = PlainContext(dtype=dy.dtype)
    y, cache = join.forward(xs, ctx)
    return y, list(join.backward(dy, cache, ctx))


@pytest.mark.parametrize(
    ("cls", "inputs"), [(cls, inputs) for cls in JOINED for inputs in (2, 3, 5) if inputs == 2 or cls not in OF_TWO]
)
def test_values_and_gradients_of_any_number_of_inputs(cls: type[Merge], inputs: int) -> None:
    xs, dy, step = [*RNG(0).normal(size=(inputs, *SHAPE))], RNG(1).normal(size=SHAPE), 1e-6
    y, dxs = both_ways(cls(), xs, dy)
    np.testing.assert_allclose(y, JOINED[cls](*xs), rtol=1e-15, atol=1e-15)
    for place, dx in enumerate(dxs):
        ends = [JOINED[cls](*(x + sign * step * (one == place) for one, x in enumerate(xs))) for sign in (1, -1)]
        np.testing.assert_allclose(dx, dy * (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("cls", JOINED, ids=lambda cls: cls.__name__)
def test_memory_orders_may_differ(cls: type[Merge]) -> None:
    a, b, dy = RNG(0).normal(size=(3, *SHAPE)).astype("f4")
    y, dxs = both_ways(cls(), [a, np.asfortranarray(b)], dy)
    expected, expected_dxs = both_ways(cls(), [a, b], dy)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(dxs, expected_dxs)
    assert {one.dtype for one in (y, *dxs)} == {np.dtype("f4")}


def test_equal_maxima_share_the_gradient() -> None:
    xs = [np.array([[1.0, 2.0, 2.0, 2.0]]), np.array([[1.0, 2.0, 1.0, 2.0]]), np.array([[0.0, 2.0, 2.0, 3.0]])]
    y, dxs = both_ways(Maximum(), xs, np.full((1, 4), 6.0))
    np.testing.assert_array_equal(y, [[1, 2, 2, 3]])
    np.testing.assert_array_equal(dxs, [[[3, 2, 3, 0]], [[3, 2, 0, 0]], [[0, 2, 3, 6]]])


def test_of_what_is_not_a_number_the_maximum_is_none_and_gets_no_gradient() -> None:
    y, dxs = both_ways(Maximum(), [np.array([[np.nan, 1.0]]), np.array([[1.0, np.nan]])], np.ones((1, 2)))
    assert np.isnan(y).all()
    np.testing.assert_array_equal(dxs, np.zeros((2, 1, 2)))


@pytest.mark.parametrize("inputs", [2, 3])
def test_equal_maxima_as_in_torch(inputs: int) -> None:
    torch: Any = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    xs, dy = RNG(0).integers(3, size=(inputs, *SHAPE)).astype("f4"), RNG(1).normal(size=SHAPE).astype("f4")
    y, dxs = both_ways(Maximum(), [*xs], dy)
    theirs = torch.tensor(xs, requires_grad=True)
    joined = torch.maximum(*theirs) if inputs == 2 else theirs.amax(0)
    joined.backward(torch.tensor(dy))
    np.testing.assert_array_equal(y, joined.detach())
    np.testing.assert_allclose(dxs, theirs.grad, rtol=1e-6)


@pytest.mark.parametrize(
    ("join", "shapes", "message"),
    [
        (Average(), [(3, 4), (4, 3)], "Average expects inputs of one shape, got (3, 4), (4, 3)"),
        (Multiply(), [(3,)] * 3, "Multiply expects two inputs, got 3: join them two by two"),
        (Multiply(), [(3, 4), (2, 4)], "Multiply expects inputs of one shape, got (3, 4), (2, 4)"),
        (Subtract(), [(3,)], "Subtract expects two inputs, got 1: join them two by two"),
        (Maximum(), [(3,)],
         'Maximum() joins two values or more, got 1: name them in a graph, as in Graph({..., "joined": '
         '("Maximum()", ["a", "b"])})'),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit(join: Merge, shapes: list[Shape], message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        join.merge_shape(shapes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ([(3, 4, 5, 2), (3, 4, 1, 1)], ((), (2, 3))),
        ([(3, 1, 5, 2), (3, 4, 5, 2)], ((1,), ())),
        ([(3, 4, 1, 2), (3, 1, 5, 2)], ((2,), (1,))),
    ],
)
def test_a_product_repeats_an_input_along_axes_of_length_one(shapes: list[Shape], axes: tuple[Shape, Shape]) -> None:
    a, b = (RNG(seed).normal(size=shape) for seed, shape in enumerate(shapes))
    dy = RNG(2).normal(size=SHAPE)
    assert Multiply().merge_shape([shape[1:] for shape in shapes]) == SHAPE[1:]
    y, (da, db) = both_ways(Multiply(), [a, b], dy)
    np.testing.assert_array_equal(y, a * b)
    np.testing.assert_allclose(da, (dy * b).sum(axes[0], keepdims=True) if axes[0] else dy * b, rtol=1e-14)
    np.testing.assert_allclose(db, (dy * a).sum(axes[1], keepdims=True) if axes[1] else dy * a, rtol=1e-14)


def test_a_gate_for_each_channel_is_exported() -> None:
    nodes: dict[str, Any] = {
        "means": "GlobalAvgPool2D(keepdims=True)",
        "gate": "Sigmoid()",
        "gated": ("Multiply()", ["input", "gate"]),
    }
    model = Graph(nodes, (3, 4, 5), task=Task("values"))
    x = RNG(0).normal(size=(2, 3, 4, 5)).astype("f4")
    np.testing.assert_allclose(model.outputs(x), x / (1 + np.exp(-x.mean((2, 3), keepdims=True))), rtol=1e-6)
    assert to_onnx(model).graph.node[-2].op_type == "Mul"


def test_an_average_of_three_networks() -> None:
    towers: dict[str, Any] = {name: (f"Dense({units})", "input") for name, units in (("a", 4), ("b", 4), ("c", 4))}
    model = Graph(towers | {"mean": ("Average()", ["a", "b", "c"])}, (6,), dtype="float64")
    x, state = RNG(0).normal(size=(2, 6)), model.state()
    each = [x @ state[f"{name}.weight"].T + state[f"{name}.bias"] for name in "abc"]
    np.testing.assert_allclose(model.logits(x), sum(each) / 3, rtol=1e-13)
