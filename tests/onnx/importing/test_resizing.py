"""Resize of whole factors becomes a layer where its pixels lie as there, and is refused elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.foreign_file import read_graph
from cnnkit.onnx.importing.imported import network_of, reduced

LENGTH = 6
PLACES: dict[str, Callable[[int, int], float]] = {
    "asymmetric": lambda i, n: i / n,
    "half_pixel": lambda i, n: (i + 0.5) / n - 0.5,
    "pytorch_half_pixel": lambda i, n: (i + 0.5) / n - 0.5,
    "tf_half_pixel_for_nn": lambda i, n: (i + 0.5) / n,
}
ROUNDINGS: dict[str, Callable[[float], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda place: math.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: math.floor(place + 0.5),
}
"""As https://onnx.ai/onnx/operators/onnx__Resize.html defines them."""


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("place", PLACES)
def test_the_nearest_pixel_is_that_of_the_file_or_refused(
    place: str, rounding: str, factor: int, tmp_path: Path
) -> None:
    how = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
    nodes = [node("Resize", ["x", "", "scales"], ["y"], **how)]
    scales = np.array([1, 1, factor, factor], "f4")
    path = write(tmp_path / "a.onnx", model(nodes, {"x": ["N", 1, LENGTH, LENGTH]}, ["y"], {"scales": scales}, 13))
    sources = [ROUNDINGS[rounding](PLACES[place](i, factor)) for i in range(LENGTH * factor)]
    pixels = np.clip(sources, 0, LENGTH - 1)
    x = np.random.default_rng(0).normal(size=(2, 1, LENGTH, LENGTH)).astype("f4")
    is_plain = np.array_equal(pixels, np.arange(LENGTH * factor) // factor)
    try:
        network, _ = network_of(reduced(read_graph(path), "y"), "y")
    except OnnxError:
        assert not is_plain
    else:
        np.testing.assert_array_equal(network.outputs(x), x[:, :, pixels][..., pixels])
