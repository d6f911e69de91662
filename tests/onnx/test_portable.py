"""Exported files are right on every runtime that is here, in a sample of the geometries of `benchmarks.runtimes`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping

import onnx
import pytest

from benchmarks import runtime_child
from benchmarks.geometries import Geometry, geometries
from benchmarks.runtimes import CONTROL, Elsewhere, known_to_miscount, outcomes, padding_counted
from cnnkit.layers import LAYERS
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.types import Array

OPSETS = (13, 17, 21)
SAMPLE = [*geometries()[::4], geometries()[-1]]


@pytest.fixture(scope="module", params=runtime_child.RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Iterator[Elsewhere]:
    module, _ = runtime_child.RUNTIMES[request.param]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    runtime = Elsewhere(sys.executable, request.param)
    yield runtime
    runtime.close()


@pytest.mark.parametrize("opset", OPSETS)
def test_every_layer_is_right_on_every_runtime(runtime: Elsewhere, opset: int) -> None:
    found = [one for geometry in SAMPLE for one in outcomes(geometry, {opset: [runtime]})]
    assert [one for one in found if one.verdict != "right" and one.layer != CONTROL] == []
    if known_to_miscount(str(runtime), opset):
        assert "wrong" in {one.verdict for one in found if one.layer == CONTROL}


def test_every_built_in_layer_has_geometries() -> None:
    covered = {one.layer for one in geometries()}
    assert covered >= {cls.__name__ for cls in LAYERS}
    assert {one.layer for one in SAMPLE} >= {"Conv2D", "MaxPool2D", "AvgPool2D", "networks"}
    assert {one.input_dtype for one in SAMPLE} == {"uint8", "float32"}


class Miscounting(ReferenceEvaluator):
    """What ONNX Runtime 1.21 to 1.24 and OpenCV 4 make of a mean: they leave padding out, whatever they are told."""

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        proto = onnx.load_model_from_string(model)
        for node in proto.graph.node:
            for attribute in node.attribute:
                if attribute.name == "count_include_pad":
                    attribute.i = 0
        return super().run(proto.SerializeToString(), inputs)


def test_a_runtime_that_miscounts_padding_is_caught_and_our_lowering_is_right_on_it() -> None:
    geometry = Geometry("AvgPool2D", ("AvgPool2D((3, 2), 1, 'same')",))
    found = {one.layer: one for one in outcomes(geometry, {17: [Miscounting()]})}
    assert (found["AvgPool2D"].verdict, found[CONTROL].verdict) == ("right", "wrong")
    assert found[CONTROL].relative > 0.01
    assert "layer avg_pool2d_1 = AvgPool2D((3, 2), stride=1" in found[CONTROL].detail


def test_the_control_is_right_where_padding_is_counted() -> None:
    geometry = Geometry("AvgPool2D", ("AvgPool2D((3, 2), 1, 'same')",))
    found = {one.layer: one.verdict for one in outcomes(geometry, {17: [ReferenceEvaluator()]})}
    assert found == {"AvgPool2D": "right", CONTROL: "right"}
    plain = to_onnx(Geometry("AvgPool2D", ("AvgPool2D(2)",)).model())
    assert padding_counted(plain) == plain
