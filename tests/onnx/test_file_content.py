"""What a file declares is read before anything is built, in bounded time and memory, and believed only once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from cnnkit.errors import OnnxError
from cnnkit.layers import Dense, Flatten
from cnnkit.network import Sequential
from cnnkit.onnx.export import export_onnx, to_onnx
from cnnkit.onnx.file_content import MAX_FIELDS, MAX_SCANNED_FIELDS, Declaration, declaration_of, metadata_entry
from cnnkit.onnx.selftest import selftest
from cnnkit.onnx.validate import validate_onnx

MODEL = Sequential([Flatten(), Dense(3)], (1, 4, 4))


def with_batch(path: Path, batch: int) -> Path:
    proto = onnx.load(export_onnx(MODEL, path))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    del proto.graph.value_info[:]
    onnx.save(proto, path)
    return path


def field(number: int, data: bytes) -> bytes:
    """A field of bytes, as protobuf writes it."""
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


@pytest.mark.parametrize("batch", [-1, 0, 65_537, 10**9, 2**62])
def test_a_batch_that_no_export_has_is_refused_before_any_array_is_made(batch: int, tmp_path: Path) -> None:
    path = with_batch(tmp_path / "m.onnx", batch)
    message = rf"m\.onnx takes batches of {batch:,} samples; expected 1 to 65,536, or any number"
    with pytest.raises(OnnxError, match=message):
        selftest(path, ["OnnxRuntime()"])
    with pytest.raises(OnnxError, match=message):
        validate_onnx(path, MODEL, runtimes=["OnnxRuntime()"])


def test_a_batch_that_is_found_only_later_is_refused(tmp_path: Path) -> None:
    """Memory was granted for another one. Here the declaration is longer than what is looked at."""
    path = with_batch(tmp_path / "m.onnx", 10**9)
    proto = onnx.load(path)
    proto.graph.input[0].doc_string = "x" * 5000
    onnx.save(proto, path)
    message = "in an unusual way that it takes batches of 1,000,000,000 samples"
    with pytest.raises(OnnxError, match=message):
        selftest(path)
    with pytest.raises(OnnxError, match=message):
        validate_onnx(path, MODEL)


def test_what_is_declared() -> None:
    def declared(proto: ModelProto) -> Declaration:
        return declaration_of(proto.SerializeToString(), "m.onnx")

    assert declared(to_onnx(MODEL, opset=19)) == Declaration(
        19, TensorProto.FLOAT, None, frozenset({"logits", "probabilities"})
    )
    assert declared(to_onnx(MODEL, batch=65_536, outputs=["label"])) == Declaration(
        17, TensorProto.FLOAT, 65_536, frozenset({"label"})
    )
    other = to_onnx(MODEL, batch=4)
    other.graph.input.insert(0, helper.make_tensor_value_info("first", TensorProto.INT64, [7]))
    other.graph.input.append(helper.make_tensor_value_info("input", TensorProto.INT64, [9]))
    other.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    assert declared(other) == Declaration(17, TensorProto.FLOAT, 4, frozenset({"logits", "probabilities"}))
    data = to_onnx(MODEL).SerializeToString()
    assert declaration_of(b"", "m.onnx") == declaration_of(b"\x07", "m.onnx") == Declaration()
    assert declaration_of(data + b"\x07", "m.onnx") == declaration_of(data, "m.onnx")


@pytest.mark.parametrize("graphs", [1, 5])
def test_fields_are_counted_over_all_levels_and_not_kept(graphs: int, tmp_path: Path) -> None:
    """Protobuf merges the graphs of a file: so each of these could add as many inputs as one may have."""
    each = field(11, field(1, b"more") + field(2, b""))
    added = field(7, each * (MAX_SCANNED_FIELDS // graphs))
    path = export_onnx(MODEL, tmp_path / "m.onnx")
    data = path.read_bytes() + added * graphs
    path.write_bytes(data)
    message = r"m\.onnx is not read: it has more than 200,000 fields"
    tracemalloc.start()
    try:
        with pytest.raises(OnnxError, match=message):
            declaration_of(data, path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    with pytest.raises(OnnxError, match=message):
        selftest(path, ["OnnxRuntime()"])
    with pytest.raises(OnnxError, match=message):
        validate_onnx(path, MODEL, runtimes=["OnnxRuntime()"])


def test_the_parts_of_metadata_are_counted_with_them() -> None:
    entry = field(14, field(1, b"k") * (MAX_FIELDS // 4))
    assert metadata_entry(entry * 3, "none", 10) is None
    with pytest.raises(OnnxError, match="more than 10,000 fields"):
        metadata_entry(entry * 5, "none", 10)
