"""Where answers begin to differ: the layer is named, and its nodes alone show it, or say that they do not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import helper, numpy_helper

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.layers import AvgPool2D, Conv2D
from cnnkit.network import Graph, Sequential
from cnnkit.onnx.export import export_onnx, to_onnx
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.onnx.validate import validate_onnx, validate_proto
from cnnkit.types import Array, OnnxGraph, Preprocessing

LAYERS = ["Conv2D(4, 3)", "ReLU()", "AvgPool2D(2)", "Conv2D(3, 3, padding=1)", "ReLU()", "Flatten()", "Dense(5)"]


@pytest.fixture
def model() -> Sequential:
    return Sequential(LAYERS, (2, 9, 9), preprocessing=Preprocessing(1 / 16, (0.3, 0.2), (0.4, 0.5)))


def inputs(n: int) -> Array:
    return np.random.default_rng(3).integers(0, 17, (n, 2, 9, 9)).astype(np.float32)


class Leaky(ReferenceEvaluator):
    """A runtime that computes one operator wrongly: a rectifier lets a hundredth of what is negative pass."""

    least = 1
    """Nodes of a file in which it does so."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        proto = onnx.load_model_from_string(model)
        for node in proto.graph.node:
            if node.op_type == "Relu" and len(proto.graph.node) >= self.least:
                node.op_type = "LeakyRelu"
        return super().run(proto.SerializeToString(), inputs)


class LeakyInLargeFiles(Leaky):
    """As a runtime that joins several nodes, and does that wrongly."""

    least = 4


class RunsNoParts(Leaky):
    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if list(inputs) != ["input"]:
            raise OnnxError("RunsNoParts() cannot execute the model")
        return super().run(model, inputs)


def test_a_wrong_lowering_is_reported_as_that_layer_and_its_nodes_show_it(
    model: Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = AvgPool2D.lower

    def lower(self: AvgPool2D, graph: OnnxGraph, x: str) -> str:
        return graph.add("Mul", right(self, graph, x), np.array(1.01, np.float32))

    monkeypatch.setattr(AvgPool2D, "lower", lower)
    report = validate_onnx(export_onnx(model, tmp_path / "m.onnx"), model, inputs(9), ["ReferenceEvaluator"])
    (result,) = report.results
    where = "layer avg_pool2d_1 = AvgPool2D(2)"
    assert (report.ok, report.faults()) == (False, [])
    assert result.divergence is not None
    assert result.divergence.where == where
    assert result.reproducer is not None
    assert (result.reproducer.where, result.reproducer.shows) == (where, True)
    assert f"ReferenceEvaluator(): the nodes of {where} alone show it" in report.remarks()
    assert report.to_dict()["results"][0]["reproducer"] == {
        "where": where,
        "value": "avg_pool2d_1.1",
        "sample": result.worst_sample,
        "shows": True,
    }


def test_a_wrong_runtime_is_reported_as_that_runtime_with_files_that_anyone_can_run(
    model: Sequential, tmp_path: Path
) -> None:
    path = export_onnx(model, tmp_path / "m.onnx")
    report = validate_onnx(path, model, inputs(9), [ReferenceEvaluator(), Leaky()])
    assert report.ok
    (fault,) = report.faults()
    assert fault.startswith(f"Leaky() {onnx.__version__} gives other answers. The runtime is at fault")
    (written,) = report.write_reproducers(tmp_path / "faults")
    assert written == tmp_path / "faults" / f"Leaky-{onnx.__version__}-relu_1.onnx"
    assert [node.op_type for node in onnx.load(written).graph.node] == ["Relu"]
    onnx.checker.check_model(onnx.load(written), full_check=True)
    with np.load(written.with_suffix(".npz")) as arrays:
        assert sorted(arrays) == ["expected_float32", "expected_float64", "given", "input.conv2d_1"]
        assert [arrays[f"expected_{dtype}"].dtype.name for dtype in ("float32", "float64")] == ["float32", "float64"]
        feeds = {"conv2d_1": arrays["input.conv2d_1"]}
        (right,) = map(np.asarray, onnx.reference.ReferenceEvaluator(str(written)).run(None, feeds))
        np.testing.assert_array_equal(right, arrays["expected_float32"])
        np.testing.assert_allclose(right, arrays["expected_float64"], rtol=1e-6)
        (wrong,) = Leaky().run(written.read_bytes(), feeds).values()
        np.testing.assert_array_equal(wrong, arrays["given"])
        assert np.abs(wrong - right).max() > 1e-3


def test_a_fault_that_a_layer_alone_does_not_show_is_said_to_be_so(model: Sequential, tmp_path: Path) -> None:
    report = validate_proto(to_onnx(model), tmp_path, model, inputs(4), [LeakyInLargeFiles()])
    (result,) = report.results
    assert result.reproducer is not None
    assert not result.reproducer.shows
    assert result.remarks()[-1] == (
        "LeakyInLargeFiles(): the nodes of layer relu_1 = ReLU() alone do not show it, so it takes more of the file"
    )


def test_a_layer_that_cannot_be_run_alone_is_named_all_the_same(model: Sequential, tmp_path: Path) -> None:
    (result,) = validate_proto(to_onnx(model), tmp_path, model, inputs(4), [RunsNoParts()]).results
    assert result.divergence is not None
    assert result.divergence.where == "layer relu_1 = ReLU()"
    assert result.reproducer is None


@pytest.mark.parametrize(
    ("tensor", "where", "feeds"),
    [
        ("preprocessing.offset", "the preprocessing = ", ["input"]),
        ("left.weight", "layer left = Conv2D(2, 1)", ["first"]),
        ("joined.constant_1", "layer joined = Average()", ["left", "right"]),
        ("dense.weight", "layer dense = Dense(3)", ["flat"]),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_the_part_of_a_graph_has_the_inputs_of_its_layer(
    tmp_path: Path, tensor: str, where: str, feeds: list[str], own: bool
) -> None:
    """Trusted, and a stranger's, which another process takes apart."""
    model = Graph(
        {
            "first": Conv2D(4, 3),
            "left": Conv2D(2, 1),
            "right": ("Conv2D(2, 1)", ["first"]),
            "joined": ("Average()", ["left", "right"]),
            "flat": "Flatten()",
            "dense": "Dense(3)",
        },
        (2, 9, 9),
        preprocessing=Preprocessing(1 / 16, (0.3, 0.2), (0.4, 0.5)),
    )
    proto = to_onnx(model)
    changed = next(one for one in proto.graph.initializer if one.name == tensor)
    values = numpy_helper.to_array(changed)
    changed.CopyFrom(numpy_helper.from_array((1.01 * values).astype(values.dtype), tensor))
    if own:
        report = validate_proto(proto, tmp_path, model, inputs(5), ["ReferenceEvaluator"])
    else:
        onnx.save(proto, tmp_path / "m.onnx")
        report = validate_onnx(tmp_path / "m.onnx", model, inputs(5), ["ReferenceEvaluator"])
    assert report.exported == own
    (result,) = report.results
    assert result.reproducer is not None
    assert result.reproducer.where.startswith(where)
    assert result.reproducer.shows
    assert sorted(result.reproducer.inputs) == feeds


def test_a_wrong_output_has_a_reproducer_from_the_last_layer(model: Sequential, tmp_path: Path) -> None:
    proto = to_onnx(model)
    softmax = next(node for node in proto.graph.node if node.op_type == "Softmax")
    softmax.op_type = "Sigmoid"
    del softmax.attribute[:]
    (result,) = validate_proto(proto, tmp_path, model, inputs(5), ["ReferenceEvaluator"]).results
    assert result.reproducer is not None
    assert (result.reproducer.where, result.reproducer.shows) == ("the output probabilities", True)
    assert list(result.reproducer.inputs) == ["dense_1"]


def test_a_layer_of_a_file_of_a_fixed_batch_runs_alone(model: Sequential, tmp_path: Path) -> None:
    proto = to_onnx(model, batch=3)
    (weight,) = (tensor for tensor in proto.graph.initializer if tensor.name == "dense_1.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    (result,) = validate_proto(proto, tmp_path, model, inputs(5), ["ReferenceEvaluator"]).results
    assert result.reproducer is not None
    assert (result.reproducer.value, result.reproducer.shows) == ("dense_1", True)


def test_where_a_file_has_not_the_values_of_a_layer_the_part_begins_before(tmp_path: Path) -> None:
    model = Sequential(["Conv2D(2, 3)", "ReLU()", "Flatten()", "Dense(3)"], (2, 9, 9))
    proto = to_onnx(model)
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = ["renamed" if name == "conv2d_1" else name for name in names]
    relu = next(node for node in proto.graph.node if node.op_type == "Relu")
    relu.op_type = "LeakyRelu"
    relu.attribute.append(helper.make_attribute("alpha", 0.1))
    (result,) = validate_proto(proto, tmp_path, model, inputs(5), ["ReferenceEvaluator"]).results
    assert result.reproducer is not None
    assert (result.reproducer.where, result.reproducer.shows) == (
        "layer conv2d_1 = Conv2D(2, 3) with layer relu_1 = ReLU()",
        True,
    )
    assert list(result.reproducer.inputs) == ["input"]
    part = onnx.load_model_from_string(result.reproducer.model)
    assert [node.op_type for node in part.graph.node] == ["Conv", "LeakyRelu"]


def test_where_reproducers_cannot_be_written_is_told(model: Sequential, tmp_path: Path) -> None:
    report = validate_proto(to_onnx(model), tmp_path, model, inputs(4), [cast(Runtime, Leaky())])
    (tmp_path / "file").write_text("")
    with pytest.raises(OnnxError, match=r"cannot make the folder .*file for reproducers: File exists$"):
        report.write_reproducers(tmp_path / "file")
