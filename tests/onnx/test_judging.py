"""What the gate must not let pass: small outputs that are wrong beside large ones, and declarations that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from cnnkit.layers import Dense, Flatten
from cnnkit.network import Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.validate import validate_proto
from cnnkit.types import Task


def test_a_large_output_does_not_hide_that_a_small_one_is_wrong(tmp_path: Path) -> None:
    model = Sequential([Flatten(), Dense(2)], (1, 2, 3), task=Task("values"))
    model.load_state(model.state() | {"dense_1.bias": np.array([1e6, 0])})
    proto = to_onnx(model)
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense_1.weight")
    values = numpy_helper.to_array(weight).copy()
    values[1] = 0
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    assert validate_proto(to_onnx(model), tmp_path, model).ok
    assert not validate_proto(proto, tmp_path, model).ok


def test_a_class_that_never_wins_does_not_hide_that_others_are_exchanged(tmp_path: Path) -> None:
    model = Sequential([Flatten(), Dense(5)], (1, 2, 3))
    model.load_state(model.state() | {"dense_1.bias": np.array([-1e6, 0, 0, 0, 0])})
    proto = to_onnx(model)
    for tensor in proto.graph.initializer:
        if tensor.name in ("dense_1.weight", "dense_1.bias"):
            values = numpy_helper.to_array(tensor)[[0, 2, 1, 4, 3]]
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert validate_proto(to_onnx(model), tmp_path, model).ok
    (result, *_) = validate_proto(proto, tmp_path, model).results
    assert not result.ok
    assert len(result.flips) > 10


def test_what_a_file_declares_must_fit_the_model(tmp_path: Path) -> None:
    model = Sequential([Flatten(), Dense(3)], (1, 2, 2), labels="abc")
    proto = to_onnx(model)
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    report = validate_proto(proto, tmp_path, model)
    assert (report.ok, report.problem) == (False, "the file declares the output 'logits' of float64, expected float32")


@pytest.mark.parametrize("given", [(300.0, 400.0), (-5.0, 2.0), (0.0, 0.0)])
def test_a_recorded_range_may_be_anything(given: tuple[float, float], tmp_path: Path) -> None:
    model = Sequential([Flatten(), Dense(3)], (1, 2, 2), input_dtype="uint8", input_range=given)
    assert validate_proto(to_onnx(model), tmp_path, model).ok
