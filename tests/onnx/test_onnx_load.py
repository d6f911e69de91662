from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cnnkit.errors import OnnxError
from cnnkit.layers import Dense
from cnnkit.network import Sequential
from cnnkit.onnx import load as loading
from cnnkit.onnx.export import export_onnx, to_onnx
from cnnkit.onnx.load import Signature, check, read_file

MODEL = Sequential([Dense(3)], (4,))


def load(path: Path) -> Signature:
    return check(read_file(path), path)


def write(path: Path, model: ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def external(tensor: TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def in_initializer(model: ModelProto, location: str) -> None:
    external(model.graph.initializer[0], location)


def in_attribute(model: ModelProto, location: str) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "secret")
    external(tensor, location)
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def in_subgraph(model: ModelProto, location: str) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "secret")
    external(tensor, location)
    branch = helper.make_graph([], "branch", [], [], [tensor])
    model.graph.node.append(helper.make_node("If", ["condition"], ["c"], then_branch=branch, else_branch=branch))


def in_sparse(model: ModelProto, location: str) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.zeros(3, np.float32), "secret"))
    external(sparse.values, location)


def in_function(model: ModelProto, location: str) -> None:
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "secret")
    external(tensor, location)
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    model.functions.append(helper.make_function("local", "F", [], ["c"], [node], [helper.make_opsetid("", 17)]))


def entries_only(model: ModelProto, location: str) -> None:
    model.graph.initializer[0].external_data.add(key="location", value=location)


def test_an_exported_file_is_read(tmp_path: Path) -> None:
    path = export_onnx(MODEL, tmp_path / "model.onnx", opset=15)
    assert load(path) == Signature(15, "float32", ("N", 4), {"logits": "float32", "probabilities": "float32"})


opened: list[str] = []
"""Paths that Python opens while a test listens; an audit hook stays for the life of a process."""
listening: list[bool] = []


def listen(event: str, args: tuple[object, ...]) -> None:
    if listening and event == "open":
        opened.append(str(args[0]))


@pytest.mark.parametrize(
    "hide", [in_initializer, in_attribute, in_subgraph, in_sparse, in_function, entries_only], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("location", ["../secret.bin", "secret.bin", "/etc/passwd"])
def test_external_data_is_refused_wherever_it_hides_and_never_opened(
    tmp_path: Path, hide: Callable[[ModelProto, str], None], location: str
) -> None:
    model = to_onnx(MODEL)
    hide(model, location)
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    path = write(tmp_path / "model.onnx", model)
    if not opened:
        sys.addaudithook(listen)
    opened.clear()
    listening.append(True)
    try:
        with pytest.raises(
            OnnxError, match=r"model\.onnx: tensor '.*' keeps its data in another file; expected all data"
        ):
            load(path)
    finally:
        listening.clear()
    assert opened == [str(path)]


def test_the_file_of_the_hostile_tests_is_one_that_onnx_itself_would_follow(tmp_path: Path) -> None:
    model = to_onnx(MODEL)
    in_initializer(model, "secret.bin")
    (tmp_path / "secret.bin").write_bytes(np.full(12, 7, np.float32).tobytes())
    followed = onnx.load(write(tmp_path / "model.onnx", model))
    np.testing.assert_array_equal(numpy_helper.to_array(followed.graph.initializer[0]), np.full((3, 4), 7))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "there is no graph in it"),
        (b"not an ONNX file at all", "is damaged or not an ONNX file"),
        (bytes(100), "is damaged or not an ONNX file"),
        (ModelProto(ir_version=8).SerializeToString(), "there is no graph in it"),
    ],
)
def test_garbage_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(data)
    with pytest.raises(OnnxError, match=rf"garbage\.onnx .*{message}"):
        load(path)


def test_a_truncated_file_is_refused_unless_only_metadata_is_missing(tmp_path: Path) -> None:
    model = to_onnx(MODEL)
    data, path = model.SerializeToString(), tmp_path / "cut.onnx"
    read = 0
    for length in range(len(data)):
        path.write_bytes(data[:length])
        try:
            load(path)
        except OnnxError as error:
            assert "cut.onnx" in str(error)  # noqa: PT017  # both outcomes are right, each in its place
            continue
        assert onnx.load(path).graph == model.graph  # protobuf cannot tell that whole fields after the graph are gone
        read += 1
    assert read <= 1 + len(model.metadata_props)


def test_models_that_break_the_rules_are_refused(tmp_path: Path) -> None:
    model = to_onnx(MODEL)
    model.graph.node[0].op_type = "Relu"
    with pytest.raises(
        OnnxError,
        match=r"model\.onnx is not a valid ONNX file: Node\(dense_1\) with schema\(::Relu:14\) has input size 3",
    ):
        load(write(tmp_path / "model.onnx", model))


def test_negative_lengths_are_refused(tmp_path: Path) -> None:
    model = to_onnx(MODEL)
    model.graph.initializer[0].dims[0] = -3
    with pytest.raises(OnnxError, match=r"model\.onnx is not a valid ONNX file"):
        load(write(tmp_path / "model.onnx", model))


def test_files_over_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export_onnx(MODEL, tmp_path / "model.onnx")
    monkeypatch.setattr(loading, "MAX_ONNX_FILE_BYTES", path.stat().st_size - 1)
    with pytest.raises(OnnxError, match=r"model\.onnx is larger than [\d,]+ bytes"):
        load(path)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in ("missing.onnx", "pipe.onnx", "."):
        with pytest.raises(OnnxError, match="there is no such file"):
            load(tmp_path / name)


def test_four_hundred_mutants_raise_nothing_but_our_own_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data, path = to_onnx(MODEL).SerializeToString(), tmp_path / "mutant.onnx"
    refused = 0
    for _ in range(400):
        mutant = bytearray(data)
        for position in rng.integers(len(data) - 10, size=rng.integers(1, 4)).tolist():
            match rng.integers(3):
                case 0:
                    mutant[position] ^= 1 << int(rng.integers(8))
                case 1:
                    mutant[position : position + 2] = rng.bytes(2)
                case 2:
                    del mutant[position : position + 2]
        path.write_bytes(mutant)
        try:
            load(path)
        except OnnxError:
            refused += 1
    assert 200 < refused < 400


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(MODEL).SerializeToString().replace(b"Gemm", b"Ge\xe4m"))
    with pytest.raises(OnnxError, match=r"model\.onnx (is not a valid ONNX file|is damaged|uses b'Ge\\xe4m';)"):
        load(path)


def looping(model: ModelProto) -> None:
    """The loop of no end: while true, do nothing."""
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["again"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), condition],
        [helper.make_tensor_value_info("again", TensorProto.BOOL, [])],
    )
    true = helper.make_node("Constant", [], ["t"], value=helper.make_tensor("t", TensorProto.BOOL, [], [1]))
    model.graph.node.extend([true, helper.make_node("Loop", ["", "t"], [], "endless", body=body)])


def calling(model: ModelProto) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    model.functions.append(helper.make_function("local", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 17)]))


def foreign(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node.append(helper.make_node("Attention", ["logits"], ["y"], "strange", domain="com.microsoft"))


def sparse(model: ModelProto) -> None:
    tensor = model.graph.sparse_initializer.add()
    tensor.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "sparse"))
    tensor.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "indices"))
    tensor.dims.append(2**40)


def sparse_attribute(model: ModelProto) -> None:
    sparse(model)
    (tensor,) = model.graph.sparse_initializer
    model.graph.node.append(helper.make_node("Constant", [], ["c"], "large", sparse_value=tensor))
    del model.graph.sparse_initializer[:]


def training(model: ModelProto) -> None:
    model.training_info.add()


def others(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("RegexFullMatch", ["logits"], ["y"]))
    model.graph.node.append(helper.make_node("ImageDecoder", ["logits"], ["z"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (sparse, r"model\.onnx has sparse initializers; expected dense ones"),
        (sparse_attribute, r"node 'large' \(Constant\) has a sparse tensor inside; expected dense ones"),
        (training, r"model\.onnx has graphs for training; expected one graph, for prediction"),
        (
            others,
            r"uses ImageDecoder, RegexFullMatch; of a file that is not the model's own export, only .*: Abs, Add, ",
        ),
        (looping, r"node 'endless' \(Loop\) has a graph inside; expected no loops and no branches"),
        (calling, "defines its own operators; expected only operators that ONNX itself defines"),
        (foreign, r"node 'strange' is com\.microsoft\.Attention; expected only operators that ONNX itself defines"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_only_a_flat_graph_of_onnx_operators_is_read(
    tmp_path: Path, change: Callable[[ModelProto], None], message: str
) -> None:
    model = to_onnx(MODEL)
    change(model)
    with pytest.raises(OnnxError, match=message):
        load(write(tmp_path / "model.onnx", model))
