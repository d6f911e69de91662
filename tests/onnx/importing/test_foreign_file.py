from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import foreign_models  # type: ignore[import-not-found]  # beside this file
import numpy as np
import onnx
import pytest
from foreign_models import model, node, write
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cnnkit.errors import OnnxError
from cnnkit.onnx import file_content
from cnnkit.onnx.importing import external_data
from cnnkit.onnx.importing.foreign_file import read_graph
from cnnkit.onnx.importing.foreign_graph import ForeignNode, ForeignValue
from cnnkit.types import Array

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def linear(**changes: object) -> ModelProto:
    proto: ModelProto = model(
        [node("MatMul", ["x", "w"], ["product"], "multiply"), node("Relu", ["product"], ["y"])],
        {"x": ("N", 2)},
        ["y"],
        {"w": WEIGHT},
    )
    for name, value in changes.items():
        setattr(proto, name, value)
    return proto


def test_a_graph_is_read_as_plain_data(tmp_path: Path) -> None:
    proto = linear(producer_name="tool", producer_version="2")
    proto.metadata_props.add(key="author", value="me")
    path = write(tmp_path / "model.onnx", proto)
    graph = read_graph(path)
    assert graph.opset == 17
    assert graph.nodes == [
        ForeignNode("MatMul", "multiply", ["x", "w"], ["product"]),
        ForeignNode("Relu", "Relu of y", ["product"], ["y"]),
    ]
    np.testing.assert_array_equal(graph.constants["w"], WEIGHT)
    assert graph.inputs == [ForeignValue("x", "float32", ("N", 2))]
    assert graph.outputs == [ForeignValue("y", "float32", None)]
    assert graph.producer == "tool 2"
    assert graph.metadata == {"author": "me"}
    assert graph.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_attributes_of_every_kind_are_plain(tmp_path: Path) -> None:
    proto = linear()
    values = {"i": 3, "f": 0.5, "s": "text", "ints": [1, 2], "floats": [0.5], "strings": ["a", "b"]}
    proto.graph.node[0].attribute.extend(helper.make_attribute(name, value) for name, value in values.items())
    proto.graph.node[0].attribute.append(helper.make_attribute("t", numpy_helper.from_array(WEIGHT, "t")))
    attributes = read_graph(write(tmp_path / "model.onnx", proto)).nodes[0].attributes
    np.testing.assert_array_equal(np.asarray(attributes.pop("t")), WEIGHT)
    assert attributes == values


@pytest.mark.parametrize(
    "dtype", ["bool", "float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint16", "uint64"]
)
@pytest.mark.parametrize("raw", [True, False])
def test_tensors_are_read_from_bytes_and_from_fields_of_numbers(tmp_path: Path, dtype: str, raw: bool) -> None:
    values = WEIGHT.astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = linear()
    given = values.tobytes() if raw else values.ravel().tolist()
    proto.graph.initializer[0].CopyFrom(helper.make_tensor("w", kind, values.shape, given, raw=raw))
    found = read_graph(write(tmp_path / "model.onnx", proto)).constants["w"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_an_initializer_that_is_listed_as_input_is_a_constant(tmp_path: Path) -> None:
    proto = linear()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (2, 3)))
    assert [value.name for value in read_graph(write(tmp_path / "model.onnx", proto)).inputs] == ["x"]


def test_nodes_are_brought_into_order_and_otherwise_stay_in_that_of_the_file(tmp_path: Path) -> None:
    proto = model(
        [
            node("Relu", ["c"], ["y"]),
            node("Relu", ["x"], ["a"]),
            node("Relu", ["x"], ["b"]),
            node("Add", ["a", "b"], ["c"]),
        ],
        {"x": (1, 2)},
        ["y"],
    )
    nodes = read_graph(write(tmp_path / "model.onnx", proto)).nodes
    assert [one.outputs[0] for one in nodes] == ["a", "b", "c", "y"]


@pytest.mark.parametrize("path", foreign_models.EXPORTS, ids=lambda path: path.stem)
def test_exports_of_pytorch_are_read_as_the_onnx_package_reads_them(path: Path) -> None:
    graph, expected = read_graph(path), onnx.load(path)
    assert [node.operator for node in graph.nodes] == [node.op_type for node in expected.graph.node]
    assert graph.constants.keys() == {tensor.name for tensor in expected.graph.initializer}
    for tensor in expected.graph.initializer:
        np.testing.assert_array_equal(graph.constants[tensor.name], numpy_helper.to_array(tensor))


def test_data_beside_the_model_are_read_and_counted_in_the_digest(tmp_path: Path) -> None:
    onnx.save(
        linear(), tmp_path / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )
    assert (tmp_path / "model.onnx.data").is_file()
    first = read_graph(tmp_path / "model.onnx")
    np.testing.assert_array_equal(first.constants["w"], WEIGHT)
    (tmp_path / "model.onnx.data").write_bytes((WEIGHT + 1).tobytes())
    second = read_graph(tmp_path / "model.onnx")
    np.testing.assert_array_equal(second.constants["w"], WEIGHT + 1)
    assert first.digest != second.digest


def elsewhere(proto: ModelProto, **entries: object) -> ModelProto:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return proto


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "sub/secret.bin", "..", ".", "", "sub\\secret.bin", "sub/../secret.bin", "~"],
)
def test_data_of_another_folder_are_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "inner" / "sub").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "inner" / "sub"):
        (folder / "secret.bin").write_bytes(WEIGHT.tobytes())
    path = write(tmp_path / "inner" / "model.onnx", elsewhere(linear(), location=location))
    with pytest.raises(OnnxError, match=r"model\.onnx: tensor 'w' keeps its data in another file, .*; expected"):
        read_graph(path)


@pytest.mark.parametrize("kind", ["link", "hard link", "pipe", "folder", "missing"])
def test_data_that_are_no_plain_file_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "real").write_bytes(WEIGHT.tobytes())
    match kind:
        case "link":
            (tmp_path / "data").symlink_to(tmp_path / "real")
        case "hard link":
            (tmp_path / "data").hardlink_to(tmp_path / "real")
        case "pipe":
            os.mkfifo(tmp_path / "data")
        case "folder":
            (tmp_path / "data").mkdir()
    path = write(tmp_path / "model.onnx", elsewhere(linear(), location="data"))
    reasons = {
        "link": "it is a link",
        "hard link": "it has several names .*",
        "missing": "No such file or directory",
        "folder": "Is a directory",
    }
    reason = reasons.get(kind, "it is not a plain file")
    with pytest.raises(OnnxError, match=rf"tensor 'w' keeps .* 'data', which cannot be read: {reason}; expected a pla"):
        read_graph(path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"length": 20}, "as 20 bytes; expected 24, as its shape and type say"),
        ({"offset": 8}, "expected 24 bytes at 8 of 'data', which has 24"),
        ({"offset": -8}, "with offset '-8'; expected a number of bytes"),
        ({"length": 2**80}, "with length '1208925819614629174706176'; expected a number of bytes"),
        ({"offset": "\u0663"}, "with offset '\u0663'; expected a number of bytes"),
    ],
)
def test_data_that_do_not_fit_the_tensor_are_refused(tmp_path: Path, entries: dict[str, object], message: str) -> None:
    (tmp_path / "data").write_bytes(WEIGHT.tobytes())
    path = write(tmp_path / "model.onnx", elsewhere(linear(), location="data", **entries))
    with pytest.raises(OnnxError, match=f"tensor 'w' keeps its data in another file.* {message}"):
        read_graph(path)


@pytest.mark.parametrize("data", [np.zeros(6, np.float32), np.zeros(7, np.float32)])
def test_tensors_that_share_data_are_refused(tmp_path: Path, data: Array) -> None:
    proto = elsewhere(linear(), location="data")
    (tmp_path / "data").write_bytes(data.tobytes())
    read_graph(write(tmp_path / "model.onnx", proto))
    proto.graph.initializer.append(proto.graph.initializer[0])
    proto.graph.initializer[-1].name = "again"
    with pytest.raises(OnnxError, match=r"'again' .*: with it the tensors in 'data' have 48 bytes together, and the"):
        read_graph(write(tmp_path / "model.onnx", proto))


def test_model_and_data_together_have_the_limit_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "model.onnx", elsewhere(linear(), location="data"))
    (tmp_path / "data").write_bytes(WEIGHT.tobytes())
    monkeypatch.setattr(external_data, "MAX_ONNX_FILE_BYTES", path.stat().st_size + 24)
    read_graph(path)
    monkeypatch.setattr(external_data, "MAX_ONNX_FILE_BYTES", path.stat().st_size + 23)
    with pytest.raises(OnnxError, match="it has 24 bytes; a model and its data may have"):
        read_graph(path)


def circle(proto: ModelProto) -> None:
    proto.graph.node[0].input[0] = "y"


def unknown_value(proto: ModelProto) -> None:
    proto.graph.node[0].input[0] = "z"


def unknown_output(proto: ModelProto) -> None:
    proto.graph.output[0].name = "z"


def no_output(proto: ModelProto) -> None:
    del proto.graph.output[:]


def value_twice(proto: ModelProto) -> None:
    proto.graph.node[1].output[0] = "product"


def tensor_twice(proto: ModelProto) -> None:
    proto.graph.initializer.append(proto.graph.initializer[0])


def output_twice(proto: ModelProto) -> None:
    proto.graph.output.append(proto.graph.output[0])


def attribute_twice(proto: ModelProto) -> None:
    proto.graph.node[0].attribute.extend([helper.make_attribute("axis", 1)] * 2)


def text_that_is_not_utf8(proto: ModelProto) -> None:
    proto.graph.node[0].attribute.append(helper.make_attribute("mode", b"\xff"))


def text_tensor(proto: ModelProto) -> None:
    proto.graph.initializer[0].CopyFrom(
        TensorProto(name="w", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"])
    )


def small_floats(proto: ModelProto) -> None:
    proto.graph.initializer[0].data_type = TensorProto.BFLOAT16


def type_of_the_future(proto: ModelProto) -> None:
    proto.graph.initializer[0].data_type = 1000


def too_few_numbers(proto: ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = 2**40


def numbers_of_no_shape(proto: ModelProto) -> None:
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend([2**32, 2**32])
    proto.graph.initializer[0].raw_data = b""


def negative_size(proto: ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = -2


def numbers_of_another_kind(proto: ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.int64_data.extend(range(6))


def two_kinds_of_numbers(proto: ModelProto) -> None:
    proto.graph.initializer[0].float_data.append(1)


def part_of_a_tensor(proto: ModelProto) -> None:
    proto.graph.initializer[0].segment.begin = 0


def old_operators(proto: ModelProto) -> None:
    proto.opset_import[0].version = 5


def new_operators(proto: ModelProto) -> None:
    proto.opset_import[0].version = 24


def no_operators(proto: ModelProto) -> None:
    del proto.opset_import[:]


def two_versions(proto: ModelProto) -> None:
    proto.opset_import.add(domain="ai.onnx", version=9)


def format_of_the_future(proto: ModelProto) -> None:
    proto.ir_version = onnx.IR_VERSION + 1


def sequence_of_tensors(proto: ModelProto) -> None:
    proto.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT


def graph_inside(proto: ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    proto.graph.node.append(node("Loop", [], ["z"], "loop", body=body))


def graph_reference(proto: ModelProto) -> None:
    proto.graph.node[0].attribute.add(name="body", type=onnx.AttributeProto.GRAPH)


def operators_of_others(proto: ModelProto) -> None:
    proto.graph.node[0].domain = "com.microsoft"


REFUSALS: dict[Callable[[ModelProto], None], str] = {
    circle: "these nodes need one another's outputs: 'multiply', 'Relu of y'; expected no circle",
    unknown_value: "node 'multiply' takes 'z', which nothing in the file gives",
    unknown_output: "nothing in the file gives the output 'z'",
    no_output: "has no output; expected at least one",
    value_twice: "two values are called 'product'; expected a name for each",
    tensor_twice: "two tensors are called 'w'",
    output_twice: "two outputs are called 'y'",
    attribute_twice: "node 'multiply' has the attribute 'axis' twice",
    text_that_is_not_utf8: "attribute 'mode' of node 'multiply' is not UTF-8",
    text_tensor: "tensor 'w' is of type STRING; expected one of bool, float16,",
    small_floats: "tensor 'w' is of type BFLOAT16; expected one of bool, float16,",
    type_of_the_future: "tensor 'w' is of type 1000; expected one of bool, float16,",
    too_few_numbers: r"tensor 'w' has 24 bytes for shape \(1099511627776, 3\); expected 3298534883328 numbers of 4",
    numbers_of_no_shape: r"tensor 'w' has 0 bytes for shape \(4294967296, 4294967296\); expected 18446744073709551616",
    negative_size: r"tensor 'w' has shape \(-2, 3\); expected at most 32 axes, none negative",
    numbers_of_another_kind: "tensor 'w' has 6 numbers in int64_data; expected those of float32 in float_data",
    two_kinds_of_numbers: r"tensor 'w' has 25 bytes for shape \(2, 3\); expected 6 numbers of 4",
    part_of_a_tensor: "tensor 'w' is a part of a tensor; expected whole ones",
    old_operators: "uses version 5 of ONNX's operators; expected 6 to 23: export it again",
    new_operators: "uses version 24 of ONNX's operators; expected 6 to 23: export it again",
    no_operators: "names none as version of ONNX's operators; expected one version",
    two_versions: "names 9, 17 as version of ONNX's operators; expected one version",
    format_of_the_future: "is written in version [0-9]* of the ONNX format; the installed onnx package knows",
    sequence_of_tensors: "the input 'x' is no tensor; expected only tensors",
    graph_inside: r"node 'loop' \(Loop\) has a graph inside; expected no loops and no branches",
    graph_reference: "attribute 'body' of node 'multiply' is of type 5; expected numbers, texts or a tensor",
    operators_of_others: "uses operators that are not ONNX's own(.|\n)*com.microsoft.MatMul, 1 x [(]multiply",
}


@pytest.mark.parametrize("change", REFUSALS, ids=lambda change: change.__name__)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, change: Callable[[ModelProto], None]) -> None:
    proto = linear()
    change(proto)
    with pytest.raises(OnnxError, match=rf"model\.onnx.* {REFUSALS[change]}"):
        read_graph(write(tmp_path / "model.onnx", proto))


def test_more_fields_than_are_built_are_refused_before_any_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "model.onnx", linear())
    monkeypatch.setattr(file_content, "MAX_NESTED_FIELDS", 100)
    read_graph(path)
    proto = linear()
    proto.graph.node[0].input.extend([""] * 100)
    with pytest.raises(OnnxError, match="more than 100 fields"):
        read_graph(write(tmp_path / "model.onnx", proto))


@pytest.mark.parametrize("data", [b"", b"not an ONNX file", bytes(100), b"\x08\x08"])
def test_garbage_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(OnnxError, match=r"model\.onnx is damaged or not an ONNX file"):
        read_graph(tmp_path / "model.onnx")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    data = linear().SerializeToString().replace(b"multiply", b"\xff\xff\xff\xff\xff\xff\xff\xff")
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(OnnxError, match=r"the name b'.* is not UTF-8"):
        read_graph(tmp_path / "model.onnx")
