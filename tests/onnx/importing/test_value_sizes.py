from __future__ import annotations

from pathlib import Path
from typing import Any

import node_cases  # type: ignore[import-not-found]  # beside this file
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # likewise

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.batch_axis import free_batch
from cnnkit.onnx.importing.constant_folding import fold_constants
from cnnkit.onnx.importing.foreign_file import read_graph
from cnnkit.onnx.importing.value_sizes import RULES


def test_sizes_of_onnx_s_own_cases_are_those_of_their_answers(tmp_path: Path) -> None:
    known, unknown = 0, set()
    for case in node_cases.cases():
        if case.operator not in RULES or not node_cases.of_plain_numbers(case) or "ropout" in case.name:
            continue
        if not all(array.size for array in case.inputs):  # a size of 0 in a file says that it is free
            continue
        graph = fold_constants(read_graph(write(tmp_path / "model.onnx", node_cases.with_constants(case, 1))))
        name = graph.outputs[0].name
        if name in graph.sizes:
            assert graph.sizes[name] == case.outputs[0].shape, case.name
            known += 1
        else:
            unknown.add(case.name)
    assert all(name.startswith(("test_matmul_", "test_resize_", "test_split_zero_size")) for name in unknown), unknown
    assert len(unknown) < 12
    assert known >= 450


@pytest.mark.parametrize(
    ("operator", "attributes", "message"),
    [
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [0, 0]}, r"has strides \[0, 0\]"),
        ("MaxPool", {"kernel_shape": [0, 2]}, r"has a kernel of \[0, 2\]; expected at least 1"),
        ("MaxPool", {"kernel_shape": [2]}, r"expected a kernel_shape for 2 axes, got \[2\]"),
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [-1, 1]}, r"dilations \[-1, 1\]"),
        ("MaxPool", {"kernel_shape": [2, 2], "pads": [1]}, r"pads \[1\] for 2 axes"),
        ("DepthToSpace", {"blocksize": 0}, "has blocks of 0 in 4 axes"),
        ("Flatten", {"axis": -(2**62)}, "axis -4611686018427387904 of a value with 4 axes"),
        ("Split", {"axis": 4}, "axis 4 of a value with 4 axes"),
        ("Transpose", {"perm": [0, 1]}, r"\[0, 1\] is no order of 4 axes"),
        ("ReduceMean", {"axes": [1, 1]}, "name one twice"),
        ("MaxPool", {"kernel_shape": "large"}, "expected whole numbers as attribute 'kernel_shape', got 'large'"),
    ],
)
def test_attributes_without_sense_are_refused_by_name(
    tmp_path: Path, operator: str, attributes: dict[str, Any], message: str
) -> None:
    proto = model([node(operator, ["x"], ["y"], "bad", **attributes)], {"x": ("N", 4, 5, 5)}, ["y"])
    with pytest.raises(OnnxError, match=rf"node 'bad' \({operator}\).*{message}"):
        fold_constants(free_batch(read_graph(write(tmp_path / "model.onnx", proto))))
