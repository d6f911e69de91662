"""Files of skl2onnx: labels, tables and columns at the end, and a scaler at the beginning. Each import is proved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import node, write  # type: ignore[import-not-found]  # beside this file
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from cnnkit import import_onnx
from cnnkit.errors import OnnxError

DOMAIN = "ai.onnx.ml"


def ml(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, outputs, operator, domain=DOMAIN, **attributes)


def table(name: str) -> ValueInfoProto:
    kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    return helper.make_value_info(name, helper.make_sequence_type_proto(kind))


def tensor(name: str, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None)


def classifier(more: list[NodeProto], outputs: list[ValueInfoProto], classes: Any, end: str = "Softmax") -> ModelProto:
    """A layer with probabilities called `p`, and the label of the most probable class."""
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["z"]), node(end, ["z"], ["p"]),
             node("ArgMax", ["p"], ["place"], axis=1), ml("ArrayFeatureExtractor", ["classes", "place"], ["name"]),
             node("Reshape", ["name", "all"], ["label"]), *more]  # fmt: skip
    count = 1 if end == "Sigmoid" else 3
    rng = np.random.default_rng(0)
    weights: dict[str, Any] = {"w": rng.normal(size=(4, count)).astype("f4"), "b": np.ones((1, count), "f4"),
               "all": np.array([-1]), "one": np.array([1]),
               "zero": np.array([0]), "two": np.array([2]), "1": np.float32(1)}  # fmt: skip
    if classes.dtype.kind == "U":
        named = helper.make_tensor("classes", TensorProto.STRING, classes.shape, [text.encode() for text in classes])
    else:
        named = numpy_helper.from_array(np.asarray(classes), "classes")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])]
    constants = [named, *(numpy_helper.from_array(array, name) for name, array in weights.items())]
    graph = helper.make_graph(nodes, "sklearn", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


NAMES = np.array(["apple", "pear", "plum"])
COLUMNS = [node("Slice", ["p", "zero", "one", "one"], ["c0"]), node("Reshape", ["c0", "all"], ["apple"]),
           node("Slice", ["p", "one", "two", "one"], ["c1"]), node("Reshape", ["c1", "all"], ["pear"])]  # fmt: skip
LABEL = tensor("label", TensorProto.STRING)
FORMS: dict[str, tuple[list[NodeProto], list[ValueInfoProto]]] = {
    "plain": ([node("Identity", ["p"], ["probabilities"])], [LABEL, tensor("probabilities")]),
    "zipmap": ([ml("ZipMap", ["p"], ["t"], classlabels_strings=list(NAMES))], [LABEL, table("t")]),
    "columns": (COLUMNS, [LABEL, tensor("apple"), tensor("pear")]),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_probabilities_are_what_a_classifier_gives(form: str, tmp_path: Path) -> None:
    network = import_onnx(write(tmp_path / "a.onnx", classifier(*FORMS[form], NAMES)))
    assert [repr(layer) for layer in network.layers] == ["Dense(3)", "Softmax()"]
    assert network.labels == ("apple", "pear", "plum")
    assert network.task.gives == "classes"


@pytest.mark.parametrize(("classes", "labels"), [([0, 1, 2], ()), ([3, 5, 7], ("3", "5", "7"))])
@pytest.mark.parametrize("form", ["plain", "zipmap"])
def test_classes_that_are_counted_need_no_names(
    form: str, classes: list[int], labels: tuple[str, ...], tmp_path: Path
) -> None:
    more, outputs = FORMS[form]
    if form == "zipmap":
        more = [ml("ZipMap", ["p"], ["t"], classlabels_int64s=classes)]
    proto = classifier(more, [tensor("label", TensorProto.INT64), outputs[1]], np.array(classes))
    assert import_onnx(write(tmp_path / "a.onnx", proto)).labels == labels


def test_two_classes_are_a_softmax(tmp_path: Path) -> None:
    more = [node("Sub", ["1", "p"], ["q"]), node("Concat", ["q", "p"], ["both"], axis=1)]
    proto = classifier(more, [tensor("label", TensorProto.INT64), tensor("both")], np.array([0, 1]), "Sigmoid")
    network = import_onnx(write(tmp_path / "a.onnx", proto))
    assert [repr(layer) for layer in network.layers] == ["Dense(1)", "Dense(2, bias=False)", "Softmax()"]


def test_a_scaler_is_an_offset_and_a_scale(tmp_path: Path) -> None:
    proto = classifier(*FORMS["plain"], NAMES)
    proto.graph.node.insert(0, ml("Scaler", ["x"], ["s"], offset=[1.0, 2.0, 3.0, 4.0], scale=[2.0, 2.0, 0.5, 1.0]))
    proto.graph.node[1].input[0] = "s"
    network = import_onnx(write(tmp_path / "a.onnx", proto))
    x = np.array([[2, 3, 5, 4]], "f4")
    bare = import_onnx(write(tmp_path / "b.onnx", classifier(*FORMS["plain"], NAMES)))
    np.testing.assert_allclose(network.outputs(x), bare.outputs(np.array([[2, 2, 1, 0]], "f4")), rtol=1e-5)


def test_all_operators_of_other_sets_are_listed(tmp_path: Path) -> None:
    proto = classifier(*FORMS["plain"], NAMES)
    proto.graph.node.insert(0, ml("Normalizer", ["x"], ["s"]))
    proto.graph.node.insert(1, helper.make_node("FusedMatMul", ["s", "w"], ["f"], "", domain="com.microsoft"))
    proto.graph.node[2].op_type = "Identity"
    del proto.graph.node[2].input[:]
    proto.graph.node[2].input.append("f")
    with pytest.raises(OnnxError) as raised:
        import_onnx(write(tmp_path / "a.onnx", proto))
    assert str(raised.value).splitlines()[1:] == [
        "  ai.onnx.ml.Normalizer, 1 x (Normalizer)",
        "  com.microsoft.FusedMatMul, 1 x (f)",
    ]


def test_a_table_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match=r"ai\.onnx\.ml\.ZipMap, 1 x|has no output|is no tensor"):
        import_onnx(write(tmp_path / "a.onnx", classifier([ml("ZipMap", [], ["t"])], [LABEL, table("t")], NAMES)))


def test_columns_in_a_circle_are_refused(tmp_path: Path) -> None:
    """What is followed back ends."""
    circle = [node("Cast", ["pear"], ["c1"], to=1), node("Cast", ["c1"], ["pear"], to=1)]
    with pytest.raises(OnnxError, match="expected no circle"):
        import_onnx(write(tmp_path / "a.onnx", classifier([*COLUMNS[:2], *circle], FORMS["columns"][1], NAMES)))
