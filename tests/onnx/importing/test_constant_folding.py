from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import foreign_models  # type: ignore[import-not-found]  # beside this file
import node_cases  # type: ignore[import-not-found]  # likewise
import numpy as np
import pytest
from foreign_models import model, node, write
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing import constant_folding, constant_operators
from cnnkit.onnx.importing.batch_axis import free_batch
from cnnkit.onnx.importing.constant_folding import fold_constants
from cnnkit.onnx.importing.foreign_file import read_graph
from cnnkit.onnx.importing.foreign_graph import ForeignGraph
from cnnkit.types import Array

INTS = np.int64
REFUSED_CASES = {
    "test_wrap_pad": "mode 'wrap'",
    "test_reduce_max_empty_set": "zero-size array",
    "test_reduce_max_empty_set_bool": "zero-size array",
    "test_reduce_min_empty_set": "zero-size array",
}
"""Node cases whose constants are refused, and why."""


def folded(folder: Path, proto: ModelProto) -> ForeignGraph:
    return fold_constants(free_batch(read_graph(write(folder / "model.onnx", proto))))


def test_onnx_s_own_cases_fold_to_their_answers(tmp_path: Path) -> None:
    folded_cases, refused = 0, {}
    for case in node_cases.cases():
        if case.operator not in constant_operators.OPERATORS or not node_cases.of_plain_numbers(case):
            continue
        path = write(tmp_path / "model.onnx", node_cases.with_constants(case, 0))
        try:
            graph = fold_constants(read_graph(path))
        except OnnxError as error:
            refused[case.name] = str(error)
            continue
        assert not graph.nodes, case.name
        for value, expected in zip(graph.outputs, case.outputs, strict=True):
            found = graph.constants[value.name]
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype), case.name
            np.testing.assert_allclose(found, expected, 1e-5, 1e-6, err_msg=case.name)
        folded_cases += 1
    assert refused.keys() == REFUSED_CASES.keys()
    for name, reason in REFUSED_CASES.items():
        assert reason in refused[name]
    assert folded_cases >= 200


@pytest.mark.parametrize("path", foreign_models.EXPORTS, ids=lambda path: path.stem)
def test_exports_of_pytorch_keep_a_free_batch_and_all_sizes_are_known(path: Path) -> None:
    graph = fold_constants(free_batch(read_graph(path)))
    assert graph.baked_batch == ("static" in path.stem)
    assert all(graph.sizes[value.name][0] == "N" for value in (*graph.inputs, *graph.outputs))
    assert not any("?" in graph.sizes[name] for one in graph.nodes for name in one.outputs)
    assert {one.operator for one in graph.nodes}.isdisjoint({"Shape", "Constant", "Gather", "Unsqueeze"})
    for one in graph.nodes:
        if one.operator == "Reshape":
            assert graph.constants[one.inputs[1]][0] == 0
            assert "allowzero" not in one.attributes


def flattened(shape: Sequence[str], given: Sequence[Any]) -> ModelProto:
    """Reshape to what is computed of the shape of the input, called "shape", by nodes that end in "target"."""
    proto: ModelProto = model(
        [node("Relu", ["x"], ["a"]), node("Shape", ["a"], ["shape"]), *given, node("Reshape", ["a", "target"], ["y"])],
        {"x": shape},
        ["y"],
        {
            "zero": np.array(0, INTS),
            "one": np.array([1], INTS),
            "rest": np.array([-1], INTS),
            "two": np.array([2], INTS),
        },
    )
    return proto


CHAINS = {
    "view of size(0) and -1": (
        [
            node("Gather", ["shape", "zero"], ["n"]),
            node("Unsqueeze", ["n", "axes"], ["n1"]),
            node("Concat", ["n1", "rest"], ["target"], axis=0),
        ],
        [0, 24],
        ("N", 24),
    ),
    "slice": (
        [
            node("Slice", ["shape", "axes", "one"], ["n1"]),
            node("Concat", ["n1", "rest"], ["target"], axis=0),
        ],
        [0, 24],
        ("N", 24),
    ),
    "groups": (
        [
            node("Split", ["shape"], ["n1", "c1", "h1", "w1"], axis=0),
            node("Div", ["c1", "two"], ["half"]),
            node("Concat", ["n1", "two", "half", "h1", "w1"], ["target"], axis=0),
        ],
        [0, 2, 1, 3, 4],
        ("N", 2, 1, 3, 4),
    ),
    "samples times groups": (
        [
            node("Split", ["shape"], ["n1", "c1", "h1", "w1"], axis=0),
            node("Mul", ["n1", "two"], ["more"]),
            node("Cast", ["more"], ["more64"], to=TensorProto.INT64),
            node("Concat", ["more64", "rest", "h1", "w1"], ["target"], axis=0),
        ],
        [-1, 1, 3, 4],
        ("2*N", 1, 3, 4),
    ),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("batch", ["N", 1, 5])
def test_computed_shapes_become_constants_with_a_free_batch(tmp_path: Path, name: str, batch: str | int) -> None:
    nodes, target, sizes = CHAINS[name]
    proto = flattened((batch, 2, 3, 4), nodes)  # type: ignore[arg-type]
    proto.graph.initializer.append(numpy_helper.from_array(np.array([0], INTS), "axes"))
    graph = folded(tmp_path, proto)
    assert [one.operator for one in graph.nodes] == ["Relu", "Reshape"]
    assert graph.constants[graph.nodes[1].inputs[1]].tolist() == target
    assert graph.sizes["y"] == sizes


RESHAPES: list[tuple[tuple[Any, ...], list[int], list[int], tuple[Any, ...]]] = [
    ((1, 2, 3), [1, 6], [0, 6], ("N", 6)),
    ((1, 2, 3), [1, -1], [0, 6], ("N", 6)),
    ((1, 2, 3), [-1, 6], [0, 6], ("N", 6)),
    ((4, 2, 3), [4, 6], [0, 6], ("N", 6)),
    ((4, 2, 3), [4, -1, 2], [0, 3, 2], ("N", 3, 2)),
    ((4, 2, 3), [0, -1], [0, 6], ("N", 6)),
    (("B", 2, 3), [1, 6], [0, 6], ("N", 6)),
    (("B", 2, 3), [-1, 3, 2], [0, 3, 2], ("N", 3, 2)),
    (("B", 2, 3), [-1, 3], [-1, 3], ("2*N", 3)),
    (("B", 2, 3), [0, 0, 3, 1], [0, 2, 3, 1], ("N", 2, 3, 1)),
    ((None, 2, 3), [-1], [-1], ("6*N",)),
]


@pytest.mark.parametrize(("shape", "target", "found", "sizes"), RESHAPES)
def test_a_baked_batch_becomes_free(
    tmp_path: Path, shape: Sequence[Any], target: list[int], found: list[int], sizes: tuple[Any, ...]
) -> None:
    proto = model([node("Reshape", ["x", "s"], ["y"])], {"x": shape}, ["y"], {"s": np.array(target, INTS)})
    graph = folded(tmp_path, proto)
    assert graph.constants[graph.nodes[0].inputs[1]].tolist() == found
    assert graph.sizes["y"] == sizes
    assert graph.baked_batch == (shape[0] if isinstance(shape[0], int) else 0)


@pytest.mark.parametrize(
    ("shape", "target", "message"),
    [
        ((1, 2, 3), [6], r"gives \(6\) of \(N, 2, 3\): it keeps no batch axis, or not surely; export the model again"),
        ((1, 2, 3), [2, 3], r"gives \(2, 3\) of \(N, 2, 3\): it keeps no batch axis"),
        ((4, 2, 3), [8, 3], r"gives \(8, 3\) of \(N, 2, 3\): it keeps no batch axis"),
        ((4, 2, 3), [1, 24], r"gives \(1, 24\) of \(N, 2, 3\): it keeps no batch axis"),
        (("N", 2, 3), [-1, 4], r"cannot give \(-1, 4\) of \(6\*N\), which has another count"),
        ((1, 2, 3), [1, -1, 4], r"cannot give \(N, -1, 4\) of \(6\*N\), which has another count"),
        ((1, 2, 3), [-1, -1], "keeps no batch axis"),
        ((1, 2, 3), [-2, 3], "has a negative size in its shape"),
    ],
)
def test_a_batch_that_is_not_sure_is_refused(
    tmp_path: Path, shape: Sequence[Any], target: list[int], message: str
) -> None:
    proto = model([node("Reshape", ["x", "s"], ["y"], "flat")], {"x": shape}, ["y"], {"s": np.array(target, INTS)})
    with pytest.raises(OnnxError, match=rf"node 'flat' \(Reshape\).* {message}"):
        folded(tmp_path, proto)


def test_inputs_of_different_numbers_of_samples_are_refused(tmp_path: Path) -> None:
    proto = model([node("Add", ["a", "b"], ["y"])], {"a": (1, 2), "b": (3, 2)}, ["y"])
    with pytest.raises(OnnxError, match="the inputs have different first axes, 'a': 1, 'b': 3; expected one number"):
        folded(tmp_path, proto)
    proto = model([node("Relu", ["a"], ["y"])], {"a": ()}, ["y"])
    with pytest.raises(OnnxError, match="the input 'a' is a single number; expected one with a batch axis"):
        folded(tmp_path, proto)


def test_sizes_of_a_resize_are_numbers_with_0_for_the_batch(tmp_path: Path) -> None:
    proto = model(
        [
            node("Shape", ["x"], ["shape"]),
            node("Slice", ["shape", "zero", "two"], ["first"]),
            node("Concat", ["first", "size"], ["sizes"], axis=0),
            node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest"),
        ],
        {"x": ("N", 3, 4, 4)},
        ["y"],
        {"zero": np.array([0], INTS), "two": np.array([2], INTS), "size": np.array([8, 8], INTS)},
    )
    graph = folded(tmp_path, proto)
    assert graph.constants[graph.nodes[0].inputs[3]].tolist() == [0, 3, 8, 8]
    assert graph.sizes["y"] == ("N", 3, 8, 8)


def test_an_expand_to_the_shape_of_another_value_keeps_the_batch(tmp_path: Path) -> None:
    """As PyTorch writes expand_as, with -1 for axes that stay."""
    proto = model(
        [
            node("Shape", ["x"], ["shape"]),
            node("Equal", ["shape", "rest"], ["stays"]),
            node("Where", ["stays", "one", "shape"], ["sizes"]),
            node("GlobalAveragePool", ["x"], ["mean"]),
            node("Expand", ["mean", "sizes"], ["y"]),
        ],
        {"x": ("N", 3, 4, 4)},
        ["y"],
        {"rest": np.array([-1], INTS), "one": np.array([1], INTS)},
    )
    graph = folded(tmp_path, proto)
    assert [one.operator for one in graph.nodes] == ["GlobalAveragePool", "Expand"]
    assert graph.constants[graph.nodes[1].inputs[1]].tolist() == [1, 3, 4, 4]
    assert graph.sizes["y"] == ("N", 3, 4, 4)


def test_identity_goes_and_what_nothing_needs(tmp_path: Path) -> None:
    proto = model(
        [
            node("Identity", ["x"], ["same"]),
            node("Dropout", ["same"], ["kept", "mask"]),
            node("Dropout", ["c"], ["constant"]),
            node("Add", ["kept", "constant"], ["y"]),
            node("Sigmoid", ["kept"], ["unused"]),
            node("Identity", ["y"], ["z"]),
        ],
        {"x": ("N", 2)},
        ["y", "z"],
        {"unneeded": np.zeros(3, np.float32), "c": np.ones(2, np.float32)},
    )
    graph = folded(tmp_path, proto)
    assert [(one.operator, one.inputs, one.outputs[0]) for one in graph.nodes] == [
        ("Dropout", ["x"], "kept"),
        ("Add", ["kept", "c"], "y"),
        ("Identity", ["y"], "z"),
    ]
    assert graph.constants.keys() == {"c"}
    assert graph.sizes["z"] == ("N", 2)


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (["x"], ["y", "mask"], "gives a mask that is used"),
        (["x", "", "yes"], ["y"], "drops numbers; expected a model that is exported for prediction"),
        (["x", "", "x"], ["y"], "drops numbers"),
    ],
)
def test_a_dropout_that_drops_is_refused(tmp_path: Path, inputs: list[str], outputs: list[str], message: str) -> None:
    proto = model([node("Dropout", inputs, outputs)], {"x": ("N", 2)}, outputs, {"yes": np.array(True)})
    with pytest.raises(OnnxError, match=message):
        folded(tmp_path, proto)


def test_sums_of_old_operator_sets_get_the_shape_that_their_axis_means(tmp_path: Path) -> None:
    proto = model(
        [node("Add", ["x", "b"], ["y"], axis=1, broadcast=1)],
        {"x": ("N", 3, 4, 4)},
        ["y"],
        {"b": np.arange(3, dtype=np.float32)},
        opset=6,
    )
    graph = folded(tmp_path, proto)
    assert graph.nodes[0].attributes == {}
    assert graph.constants[graph.nodes[0].inputs[1]].shape == (3, 1, 1)


BAD: dict[str, tuple[str, list[Array], dict[str, Any], str]] = {
    "terabytes": ("ConstantOfShape", [np.array([2**40], INTS)], {}, "takes 4,398,046,511,104 bytes to be computed"),
    "overflow": ("ConstantOfShape", [np.array([2**62, 2**62], INTS)], {}, "bytes to be computed in advance"),
    "negative": ("ConstantOfShape", [np.array([-1], INTS)], {}, "has a negative size"),
    "expand": ("Expand", [np.zeros(1, np.float32), np.array([2**20, 2**20], INTS)], {}, "bytes to be computed"),
    "tile": ("Tile", [np.zeros(2, np.float32), np.array([2**40], INTS)], {}, "bytes to be computed in advance"),
    "tile backwards": ("Tile", [np.zeros(2, np.float32), np.array([-1], INTS)], {}, "has a negative size"),
    "pad": ("Pad", [np.zeros(2, np.float32), np.array([0, 2**40], INTS)], {}, "bytes to be computed in advance"),
    "cut": ("Pad", [np.zeros(2, np.float32), np.array([0, -1], INTS)], {}, "cannot pad"),
    "range": ("Range", [np.array(0), np.array(2**40), np.array(1)], {}, "bytes to be computed in advance"),
    "range by 0": ("Range", [np.array(0), np.array(9), np.array(0)], {}, "no range goes from 0 to 9 in steps of 0"),
    "endless": ("Range", [np.array(0.0), np.array(np.inf), np.array(1.0)], {}, "no range goes from 0.0 to inf"),
    "outer sum": ("Add", [np.zeros((10**5, 1)), np.zeros((1, 10**5))], {}, "bytes to be computed in advance"),
    "division": ("Div", [np.array([1], INTS), np.array([0], INTS)], {}, "division of whole numbers by zero"),
    "place": (
        "Gather",
        [np.zeros(2, np.float32), np.array([2], INTS)],
        {},
        "takes a place that is not in an axis of 2",
    ),
    "wide": ("Gather", [np.zeros(2, np.float32), np.zeros(10**7, INTS)], {"axis": 3}, "axis 3 of a value with 1 axes"),
    "step": ("Slice", [np.zeros(4, np.float32), *[np.array([0], INTS)] * 4], {}, "goes in steps of 0"),
    "axis": ("Concat", [np.zeros(2, np.float32)] * 2, {"axis": -(2**62)}, "axis -4611686018427387904 of a value"),
    "shapes": ("Concat", [np.zeros((2, 2)), np.zeros((2, 3))], {"axis": 0}, "cannot be computed"),
    "order": ("Transpose", [np.zeros((2, 2))], {"perm": [0, 0]}, r"\[0, 0\] is no order of 2 axes"),
    "reshape": ("Reshape", [np.zeros(4), np.array([3, -1], INTS)], {}, r"shape \[3, -1\] does not fit a constant"),
    "squeeze": ("Squeeze", [np.zeros(4), np.array([0], INTS)], {}, r"cannot leave axes \[0\] out of shape \(4,\)"),
    "twice": ("Unsqueeze", [np.zeros(4), np.array([0, 0], INTS)], {}, r"the axes \[0, 0\] name one twice"),
    "sum": ("Add", [np.zeros(4), np.zeros(3)], {}, r"shapes \(4,\), \(3,\) do not fit together"),
    "types": ("Add", [np.zeros(4), np.zeros(4, np.float32)], {}, "has inputs of float32, float64; expected one type"),
    "cast": ("Cast", [np.zeros(4)], {"to": 8}, "is of type STRING"),
    "mode": ("Cast", [np.zeros(4)], {"to": "float"}, "expected a whole number as attribute 'to', got 'float'"),
    "split": ("Split", [np.zeros(4), np.array([3, 3], INTS)], {}, "cannot split an axis of 4 into"),
    "missing": ("Add", [np.zeros(4)], {}, "has 1 inputs; expected 2"),
    "twice as many": ("Add", [np.zeros(4)] * 4, {}, "has 4 inputs; expected 2"),
    "text": ("Constant", [], {"value_string": "a"}, "has the attribute 'value_string'; expected numbers"),
    "choice": ("Constant", [], {"value_int": 1, "value_float": 1.0}, "has 2 attributes; expected one value"),
}


@pytest.mark.parametrize("name", BAD)
def test_constants_that_cannot_be_are_refused_by_name(tmp_path: Path, name: str) -> None:
    operator, arrays, attributes, message = BAD[name]
    names = [f"c{at}" for at in range(len(arrays))]
    proto = model(
        [node(operator, names, ["c"], "bad", **attributes), node("Add", ["x", "c"], ["y"])],
        {"x": ("N", 2)},
        ["y"],
        dict(zip(names, arrays, strict=True)),
    )
    with pytest.raises(OnnxError, match=rf"node 'bad' \({operator}\).*{message}"):
        folded(tmp_path, proto)


def test_work_that_is_done_again_and_again_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sum of a weight of 4 kB gives one number."""
    monkeypatch.setattr(constant_folding, "ROOM", 0)
    monkeypatch.setattr(constant_folding, "GROWTH", 10)
    for count, refused in ((9, False), (11, True)):
        sums = [node("ReduceSum", ["w"], [f"s{at}"]) for at in range(count)]
        total = node("Sum", ["x", *(f"s{at}" for at in range(count))], ["y"])
        proto = model([*sums, total], {"x": ("N", 2)}, ["y"], {"w": np.ones(1000, np.float32)})
        if refused:
            with pytest.raises(OnnxError, match=r"takes 4,000 bytes to be computed in advance, where 0 of 40,000 are"):
                folded(tmp_path, proto)
        else:
            folded(tmp_path, proto)


def test_a_number_of_samples_is_no_output(tmp_path: Path) -> None:
    proto = model([node("Shape", ["x"], ["y"])], {"x": ("N", 2)}, ["y"])
    proto.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.INT64, None))
    with pytest.raises(OnnxError, match="the output 'y' is a number of samples"):
        folded(tmp_path, proto)
