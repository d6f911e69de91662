"""Signals, (N, C, L), on their whole way: training, prediction, export, explanation and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, explain, export_onnx
from cnnkit.data import Arrays
from cnnkit.data.formats.input_files import read_inputs
from cnnkit.errors import DataError, ShapeError
from cnnkit.explanation import write_page
from cnnkit.layers import Conv1D, Conv2D, LeakyReLU
from cnnkit.network.execution.tile_context import TileContext, Workspace
from cnnkit.network.kernels import kernel_for
from cnnkit.network.kernels.signal_kernel import SignalConvKernel
from cnnkit.onnx.validate import validate_onnx
from cnnkit.plotting.network_picture import write_network
from cnnkit.testing import PlainContext
from cnnkit.types import Array, Context

LAYERS = [
    "Conv1D(8, 5, padding='same')",
    "ReLU()",
    "MaxPool1D(2)",
    "Conv1D(8, 3, 2, groups=2, bias=False)",
    "ReLU()",
    "Conv1D(8, 3, padding=2, dilation=2)",
    "AvgPool1D(3, 2, 1, count_include_pad=False)",
    "GlobalAvgPool1D()",
    "Dense(3)",
]


def signals(count: int = 96, channels: int = 2) -> tuple[Array, Array]:
    """Waves of three lengths, with their class."""
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    waves = [np.sin(np.arange(40) * (0.2 + 0.3 * k) + rng.uniform(0, 6, (channels, 1))) for k in y]
    return np.stack(waves).astype(np.float32), y


def trained(workers: int) -> Sequential:
    model = Sequential(LAYERS, (2, 40))
    Trainer(epochs=8, batch_size=48, workers=workers, progress=False).fit(model, signals())
    return model


def test_training_learns_and_gives_the_same_bits_for_any_number_of_workers() -> None:
    states = [trained(workers).state() for workers in (1, 2, 3)]
    initial = Sequential(LAYERS, (2, 40)).state()
    for name, array in states[0].items():
        assert not np.array_equal(array, initial[name]), name
        assert all(np.array_equal(array, other[name]) for other in states[1:]), name


def test_predictions_are_those_of_the_plain_layers() -> None:
    model, (x, _) = trained(1), signals()
    expected = model.trace(x)[-1]
    np.testing.assert_allclose(model.logits(x), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    for order in ((1, 2, 0), (2, 1, 0), (0, 2, 1)):
        given = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        np.testing.assert_array_equal(model.logits(given), model.logits(x))


@pytest.mark.parametrize("opset", [13, 17, 22])
def test_exports_are_right(tmp_path: Path, opset: int) -> None:
    model, (x, _) = trained(1), signals()
    report = validate_onnx(export_onnx(model, tmp_path / "m.onnx", opset=opset), model, x[:20])
    assert report.ok, report


def test_an_explanation_and_a_picture_of_the_network(tmp_path: Path) -> None:
    model, (x, y) = trained(1), signals()
    explanation = explain(model, x[0], target=int(y[0]))
    assert all(one.check and one.check.ok for one in explanation.trace.layers)
    assert "Conv1D" in write_page(explanation, tmp_path / "page.html").read_text("utf-8")
    write_network(model, "signals", tmp_path / "net.svg")


@pytest.mark.parametrize("channels", [1, 2])
def test_arrays_in_files_are_taken_as_signals(tmp_path: Path, channels: int) -> None:
    x, y = signals(channels=channels)
    np.savez(tmp_path / "waves.npz", x=x, y=y)
    np.save(tmp_path / "one.npy", x[0])
    np.save(tmp_path / "all.npy", x)
    data = Arrays("waves.npz", signals=True).load(tmp_path)
    assert data.input_shape == x.shape[1:]
    for name, expected in (("one.npy", x[:1]), ("all.npy", x)):
        np.testing.assert_array_equal(read_inputs(tmp_path / name, data.input_shape), expected)
    if channels == 1:
        np.save(tmp_path / "bare.npy", x[:, 0])
        np.testing.assert_array_equal(read_inputs(tmp_path / "bare.npy", data.input_shape), x)


def test_rows_in_a_file_are_taken_as_signals(tmp_path: Path) -> None:
    x, y = signals()
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    data = Arrays("x.npy", targets="y.npy", signals=True).load(tmp_path)
    assert data.input_shape == (2, 40)
    model = Sequential(LAYERS, (2, 40))
    Trainer(epochs=1, batch_size=48, workers=1, progress=False).fit(model, data)


def test_arrays_that_are_no_signals_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 8), "f4"), y=np.arange(4))
    with pytest.raises(DataError, match=r"expected x of shape \(N, C, L\), as signals=True says, got \(4, 8\)"):
        Arrays("a.npz", signals=True).load(tmp_path)


@pytest.mark.parametrize(
    ("given", "way"),
    [((5, 40, 2), "x.swapaxes(1, 2)"), ((40, 2), "x.T[None]"), ((2, 40), "x[None]")],
)
def test_what_to_write_where_axes_are_in_another_order(given: tuple[int, ...], way: str) -> None:
    with pytest.raises(ShapeError) as caught:
        Sequential(LAYERS, (2, 40)).predict(np.zeros(given, "f4"))
    assert str(caught.value) == f"expected inputs of shape (N, 2, 40), got {given}: write {way}"


@pytest.mark.parametrize(
    ("given", "way"), [((5, 40), "x[:, None]"), ((40,), "x[None, None]"), ((5, 40, 1), "x.swapaxes(1, 2)")]
)
def test_what_to_write_where_the_axis_of_channels_is_missing(given: tuple[int, ...], way: str) -> None:
    with pytest.raises(ShapeError) as caught:
        Sequential(["Conv1D(2, 3)"], (1, 40)).predict(np.zeros(given, "f4"))
    assert str(caught.value).endswith(f": write {way}")


@pytest.mark.parametrize(
    ("layer", "in_shape", "message"),
    [
        (
            Conv1D(4, 3),
            (3, 8, 8),
            "Conv1D expects an input of shape (channels, length), got (3, 8, 8); put Conv1D before Flatten() and "
            "Dense(...)",
        ),
        (
            Conv1D(4, 5),
            (3, 4),
            "Conv1D has a window of 1 x 5, larger than its input of 1 x 4 (1 x 4 with padding); use a smaller window, "
            'padding="same", or fewer layers that shrink the image before it',
        ),
    ],
)
def test_inputs_that_do_not_fit(layer: Conv1D, in_shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(in_shape, np.random.default_rng(0))
    assert str(caught.value) == message


@pytest.mark.parametrize("seed", range(24))
def test_the_kernel_equals_its_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 4))
    padding: list[Any] = ["same", 0, 1, 2]
    conv = Conv1D(
        groups * int(rng.integers(1, 4)),
        int(rng.integers(1, 5)),
        int(rng.integers(1, 4)),
        padding[int(rng.integers(4))],
        groups=groups,
        bias=bool(rng.integers(2)),
    )
    channels, length = groups * int(rng.integers(1, 4)), int(rng.integers(5, 20))
    out_shape = conv.build((channels, length), rng)
    x, dy = rng.normal(size=(5, channels, length)), rng.normal(size=(5, *out_shape))
    taken = kernel_for([conv, relu := LeakyReLU(0.1)], needs_dx=True)
    assert taken is not None
    kernel, used = taken
    assert isinstance(kernel, SignalConvKernel)
    assert used == 2
    conv.params = {name: rng.normal(size=value.shape) for name, value in conv.params.items()}  # as workers move them
    inner, cache = conv.forward(x, ctx := PlainContext())
    y_expected, kept = relu.forward(inner, ctx)
    dx_expected, grads_expected = conv.backward(relu.backward(dy, kept, ctx)[0], cache, ctx)
    tile = TileContext(Workspace(np.dtype("f8")), True, (0,))
    contexts: list[Context] = [PlainContext(), tile, tile]
    for ctx_ in contexts:
        y, made = kernel.forward(x, ctx_)
        np.testing.assert_allclose(y, y_expected, rtol=1e-10, atol=1e-12)
        dx, grads = kernel.backward(dy, made, ctx_)
        assert dx is not None
        np.testing.assert_allclose(dx, dx_expected, rtol=1e-10, atol=1e-12)
        assert grads.keys() == grads_expected.keys()
        for name, grad in grads.items():
            np.testing.assert_allclose(grad, grads_expected[name], rtol=1e-10, atol=1e-12)


def test_a_convolution_of_signals_is_one_of_images_one_pixel_high() -> None:
    rng = np.random.default_rng(0)
    signal, image = Conv1D(4, 3, 2, 1), Conv2D(4, (1, 3), (1, 2), (0, 1))
    signal.build((2, 9), rng)
    image.build((2, 1, 9), rng)
    image.params = signal.params | {"weight": signal.params["weight"][:, :, None]}
    x = rng.normal(size=(3, 2, 9))
    y, _ = signal.forward(x, PlainContext())
    np.testing.assert_array_equal(y, image.forward(x[:, :, None], PlainContext())[0][:, :, 0])
