"""What files in float16 and int8 are made of and measured against: the file in float32, and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from cnnkit.class_indices import check_labels
from cnnkit.errors import CheckError, DataError, ShapeError
from cnnkit.network import Network
from cnnkit.onnx.executable_model import compared_samples
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.precision.layers import Layers
from cnnkit.onnx.precision.ranges import Range, value_ranges
from cnnkit.onnx.runtimes import OnnxRuntime, ensure_installed
from cnnkit.onnx.validate import validate_proto
from cnnkit.types import Data, Inputs
from cnnkit.waiting_line import waiting
from cnnkit.wording import counted, thinned

CALIBRATION = 512
"""Training samples that give the ranges, evenly taken from all, since datasets may be sorted by class."""
COMPARED = 128
"""Samples on which layers are compared: what is clipped is seen on those that gave no ranges."""


@dataclass(frozen=True)
class Basis:
    """A model's file in float32, which gives its answers, and the ranges of all values on training samples."""

    model: Network
    data: Data
    path: Path
    """What the file will be called."""
    proto: ModelProto
    """With its usual outputs and any batch."""
    wanted: ModelProto
    """The one that would be written in float32, with other outputs or a fixed batch; or the same."""
    layers: Layers
    x: Inputs
    """The training samples that gave the ranges."""
    ranges: Mapping[str, Range]
    compared: Inputs
    """Samples on which layers are compared one by one: of training, others; if all of these gave ranges, those of
    validation, and only without any the same."""


def basis_of(
    model: Network, data: Data, path: Path, precision: str, keep: Sequence[str], options: Mapping[str, Any]
) -> Basis:
    """Export the model in float32, and compare and calibrate that.

    precision: for the metadata; keep: names that must be layers; options: as of `to_onnx`.
    Raises OnnxError without ONNX Runtime, ShapeError or DataError for samples that are not the model's, ConfigError for
    a name that no layer has, CheckError if ONNX Runtime gives other answers than the model, and what `to_onnx` raises.
    """
    ensure_installed(OnnxRuntime())
    _check(model, data)
    index = np.array(thinned(len(data.train), CALIBRATION))
    x = data.train.take(index).x
    about = {"precision": precision, "calibration": f"{counted(len(x), 'training sample')} of {data.name or 'arrays'}"}
    options = {**options, "metadata": {**(options.get("metadata") or {}), **about}}
    wanted = to_onnx(model, **options)
    usual = {**options, "batch": None, "outputs": None}
    proto = wanted if all(options.get(name) is None for name in ("batch", "outputs")) else to_onnx(model, **usual)
    layers = Layers(model, proto)
    layers.check(keep)
    test = data.test.take(np.array(thinned(len(data.test), compared_samples(model)))).x
    report = validate_proto(proto, path, model, test, [OnnxRuntime()])
    if not report.ok:
        raise CheckError(
            f"{path} was not written: already in float32, its answers would differ from the model's\n{report}"
        )
    others = np.setdiff1d(np.arange(len(data.train)), index)
    unseen = data.train.take(others) if len(others) else data.validation or data.train
    compared = unseen.take(np.array(thinned(len(unseen), min(COMPARED, compared_samples(model))))).x
    with waiting("calibrating"):
        return Basis(model, data, path, proto, wanted, layers, x, value_ranges(proto, model, x), compared)


def _check(model: Network, data: Data) -> None:
    check_labels(model.labels, data.labels)
    for part, samples in (("training", data.train), ("test", data.test)):
        if samples.x.shape[1:] != model.input_shape:
            raise ShapeError(
                f"the model takes inputs of shape {model.input_shape}, the {part} samples have "
                f"{tuple(samples.x.shape[1:])}: give the dataset that it was trained on"
            )
        if not len(samples):
            raise DataError(f"expected {part} samples, got none: they are needed to calibrate, or to measure the loss")
        if not np.can_cast(samples.x.dtype, model.input_dtype, "same_kind"):
            raise DataError(f"expected {part} samples of {model.input_dtype}, as trained on, got {samples.x.dtype}")
