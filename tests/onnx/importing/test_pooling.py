"""Means without their padding, which is larger at one end, as layers with as much at both ends."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file

from cnnkit import import_onnx
from cnnkit.errors import OnnxError
from cnnkit.types import Array

PADS = [*itertools.product(range(3), repeat=2)]


def means(x: Array, size: int, stride: int, before: int, after: int) -> Array:
    """What AveragePool with count_include_pad=0 gives along the last axis."""
    length = x.shape[-1]
    starts = range(-before, length + after - size + 1, stride)
    return np.stack([x[..., max(0, at) : at + size].mean(-1) for at in starts], -1)


@pytest.mark.parametrize(("size", "stride"), [(2, 1), (3, 1), (3, 2), (2, 2), (3, 3)])
def test_padding_that_does_not_count_may_be_unequal(size: int, stride: int, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 10)).astype("f4")
    for before, after in PADS:
        if max(before, after) < size:
            pooled = node("AveragePool", ["x"], ["y"], kernel_shape=[size], strides=[stride], pads=[before, after])
            network = import_onnx(write(tmp_path / "a.onnx", model([pooled], {"x": ["n", 3, 10]}, ["y"])))
            np.testing.assert_allclose(network.outputs(x), means(x, size, stride, before, after), atol=1e-6)


def test_images_are_padded_below_and_to_the_right(tmp_path: Path) -> None:
    pooled = node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 2])
    network = import_onnx(write(tmp_path / "a.onnx", model([pooled], {"x": ["n", 2, 6, 7]}, ["y"])))
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 7)).astype("f4")
    sums, counts = np.pad(x, ((0, 0), (0, 0), (0, 1), (0, 2))), np.pad(np.ones((6, 7)), ((0, 1), (0, 2)))
    windows = (3, 3)
    total = np.lib.stride_tricks.sliding_window_view(sums, windows, (2, 3))[:, :, ::2, ::2].sum((-1, -2))
    count = np.lib.stride_tricks.sliding_window_view(counts, windows)[::2, ::2].sum((-1, -2))
    np.testing.assert_allclose(network.outputs(x), total / count, atol=1e-6)


def test_windows_of_nothing_but_padding_are_refused(tmp_path: Path) -> None:
    pooled = node("AveragePool", ["x"], ["y"], kernel_shape=[2], strides=[1], pads=[0, 3])
    with pytest.raises(OnnxError, match="as much at both ends, which gives no such windows"):
        import_onnx(write(tmp_path / "a.onnx", model([pooled], {"x": ["n", 3, 10]}, ["y"])))
