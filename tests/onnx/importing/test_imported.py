"""Whole files become networks: those that PyTorch wrote, those that cnnkit exported, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import EXPORTS, model, node, write  # type: ignore[import-not-found]  # beside this file
from onnx import helper

from cnnkit import Graph, Registry, Sequential, Trainer, export_onnx, import_onnx
from cnnkit.errors import CheckError, ConfigError, OnnxError
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.importing import imported, patterns
from cnnkit.onnx.importing.ends import cut
from cnnkit.onnx.importing.foreign_file import read_graph
from cnnkit.onnx.importing.imported import import_file, network_of, reduced
from cnnkit.onnx.importing.operators import TRANSLATIONS
from cnnkit.onnx.importing.translation import translate
from cnnkit.onnx.runtimes import ReferenceEvaluator
from cnnkit.onnx.validate import validate_proto
from cnnkit.types import Array, Preprocessing, Task

RNG = np.random.default_rng
NETWORKS = sorted({path.name.partition(".")[0] for path in EXPORTS})
WEIGHT = RNG(0).normal(size=(3, 2, 3, 3)).astype("f4")


def conv(path: Path, *more: Any, outputs: tuple[str, ...] = ("y",), **weights: Array) -> Path:
    nodes = [node("Conv", ["x", "first.weight"], ["c"], "/first/Conv", pads=[1, 1, 1, 1]), *more]
    proto = model(nodes, {"x": ["batch", 2, 6, 5]}, outputs, {"first.weight": WEIGHT, **weights})
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.skipif(not EXPORTS, reason="the files that PyTorch wrote are not there")
def test_every_file_of_pytorch_gives_the_answers_of_pytorch() -> None:
    differences = {}
    for path in EXPORTS:
        graph = read_graph(path)
        chosen = cut(graph, None)
        network, _ = network_of(reduced(graph, chosen), chosen)
        known = np.load(path.with_suffix(".npz"))
        differences[path.name] = (
            np.abs(network.outputs(known["input"]) - known["output"]).max() / np.abs(known["output"]).max()
        )
    assert {name: difference for name, difference in differences.items() if not difference < 1e-5} == {}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_of_pytorch_is_trained_registered_exported_and_proved(name: str, tmp_path: Path) -> None:
    path = next(path for path in EXPORTS if path.name.startswith(f"{name}.dynamo.dynamic"))
    network = import_onnx(path)
    x = RNG(0).normal(size=(8, *network.input_shape)).astype("f4")
    classes = network.task.gives == "classes"
    y = np.arange(8) % 4 if classes else RNG(1).normal(size=(8, *network.output_shape)).astype("f4")
    how: dict[str, Any] = {} if classes else {"loss": "MSE()", "metrics": []}
    trainer = Trainer(optimizer="Adam(0.003)", epochs=20, batch_size=8, workers=1, **how)
    run = trainer.fit(network, (x, y))
    assert len(run.history["loss"]) == 20
    assert run.history["loss"][-1] < 0.95 * run.history["loss"][0]
    registry = Registry(tmp_path / "registry")
    again = registry.load(registry.save(run.model, name).ref)
    np.testing.assert_array_equal(again.outputs(x), run.model.outputs(x))
    report = validate_proto(to_onnx(again), tmp_path / "again.onnx", again, x, [ReferenceEvaluator()])
    assert report.ok, report


def test_the_weights_are_those_of_the_file_and_named_as_there(tmp_path: Path) -> None:
    network = import_onnx(conv(tmp_path / "a.onnx", node("Relu", ["c"], ["y"], "/relu/Relu")))
    assert network.expressions() == [
        "first = Conv2D(3, 3, padding=1, bias=False) of input",
        "relu_relu = ReLU() of first",
    ]
    np.testing.assert_array_equal(network.state()["first.weight"], WEIGHT)
    assert network.task == Task("values")


def test_all_that_no_layer_does_is_listed_at_once(tmp_path: Path) -> None:
    more = [node("Sin", ["c"], ["s"], "wave"), node("Det", ["s"], ["d"], "d1"), node("Det", ["s"], ["e"], "d2"),
            node("Relu", ["c"], ["r"]), node("Transpose", ["r"], ["t"], "turn", perm=[1, 0, 2, 3]),
            node("Sum", ["d", "e", "t"], ["y"])]  # fmt: skip
    with pytest.raises(OnnxError) as caught:
        import_onnx(conv(tmp_path / "a.onnx", *more))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("a.onnx cannot be imported: 4 operators of the file cannot be written with layers:")
    assert lines[1].startswith("  Sin, 1 x (wave): no layer does it")
    assert lines[2].startswith("  Det, 2 x (d1, d2): no layer does it")
    assert lines[3].startswith("  Transpose, 1 x (turn): its order of axes moves that of the batch")


def attention() -> list[Any]:
    """What PyTorch's exporter writes of attention: the samples second, and heads of them."""
    return [node("Transpose", ["x"], ["t"], "turn", perm=[1, 0, 2]), node("MatMul", ["t", "w"], ["q"]),
            node("Transpose", ["q"], ["k"], "back", perm=[1, 2, 0]), node("MatMul", ["q", "k"], ["s"], "scores"),
            node("Softmax", ["s"], ["a"], "over", axis=0), node("MatMul", ["a", "q"], ["v"], "mixed"),
            node("Transpose", ["v"], ["u"], "again", perm=[1, 0, 2])]  # fmt: skip


def test_obstacles_behind_the_first_one_are_listed_with_their_names(tmp_path: Path) -> None:
    weights = {"w": np.eye(4, dtype="f4")}
    with pytest.raises(OnnxError) as caught:
        import_onnx(write(tmp_path / "a.onnx", model(attention(), {"x": ["n", 5, 4]}, ["u"], weights)))
    found = str(caught.value).splitlines()[1:]
    assert [line.partition("): ")[0].strip() for line in found] == [
        "Transpose, 3 x (turn, back, again",
        "MatMul, 2 x (scores, mixed",
    ]


def test_obstacles_behind_a_value_of_known_sizes_are_those_that_it_would_have(tmp_path: Path) -> None:
    more = [node("Sin", ["c"], ["s"], "wave"), node("Softmax", ["s"], ["p"], "over", axis=0),
            node("Relu", ["s"], ["r"]), node("Mul", ["r", "five"], ["m"], "wide"),
            node("Add", ["p", "m"], ["y"])]  # fmt: skip
    with pytest.raises(OnnxError) as caught:
        import_onnx(conv(tmp_path / "a.onnx", *more, five=np.ones(4, "f4")))
    text = str(caught.value)
    assert "3 operators of the file" in text
    assert "Sin, 1 x (wave): no layer does it" in text
    assert "Softmax, 1 x (over): it works along the batch axis" in text
    assert "Mul, 1 x (wide): its constant of shape (4,) does not fit samples of shape (3, 6, 5)" in text


def test_a_further_output_of_an_operator_is_refused(tmp_path: Path) -> None:
    more = [node("LayerNormalization", ["c", "ones"], ["n", "", "spread"]), node("Relu", ["spread"], ["y"])]
    with pytest.raises(OnnxError, match="no layer gives the output 'y', a further one of its operator"):
        import_onnx(conv(tmp_path / "a.onnx", *more, ones=np.ones(5, "f4")))


def test_one_of_several_outputs_is_chosen(tmp_path: Path) -> None:
    path = conv(tmp_path / "a.onnx", node("Relu", ["c"], ["y"]), node("Tanh", ["c"], ["z"]), outputs=("y", "z"))
    with pytest.raises(OnnxError, match="the file has 2 outputs, y, z, and a network has one: choose it with --output"):
        import_onnx(path)
    assert repr(import_onnx(path, output="z").layers[-1]) == "Tanh()"
    assert len(import_onnx(path, output="c").layers) == 1
    with pytest.raises(OnnxError, match="there is no value 'w' in the file; its outputs are y, z"):
        import_onnx(path, output="w")


def test_outputs_that_say_the_same_are_one(tmp_path: Path) -> None:
    more = node("Flatten", ["c"], ["f"]), node("Softmax", ["f"], ["p"], axis=1)
    network = import_onnx(conv(tmp_path / "a.onnx", *more, outputs=("f", "p")))
    assert repr(network.layers[-1]) == "Softmax()"
    assert network.task == Task("classes", from_logits=True)


OWN: dict[str, Any] = {
    "stem": "Conv2D(4, 3, padding=1, initializer=HeNormal())",
    "norm": "BatchNorm2D()",
    "curve": "GELU()",
    "attention": "SelfAttention2D(2)",
    "slope": "PReLU(4)",
    "sum": ("Add()", ["curve", "slope"]),
    "layer": "LayerNorm('channels')",
    "flat": "Flatten()",
    "scores": "Dense(3)",
}


@pytest.mark.parametrize("end", ["Softmax()", "Sigmoid()", ""])
def test_a_file_that_cnnkit_exported_comes_back(end: str, tmp_path: Path) -> None:
    nodes = OWN | ({"end": end} if end else {})
    task = Task("labels" if end == "Sigmoid()" else "classes", from_logits=True)
    before = Preprocessing(1 / 255, (0.5, 0.4), (0.2, 0.3))
    options: dict[str, Any] = {"preprocessing": before, "input_dtype": "uint8", "task": task, "seed": 3}
    network = Graph(nodes, (2, 6, 5), labels="abc", **options)
    again = import_onnx(export_onnx(network, tmp_path / "own.onnx", fold=False))
    assert again.expressions() == network.expressions()
    assert (again.labels, again.preprocessing, again.input_dtype, again.task) == (network.labels, before, "uint8", task)
    for name, array in network.state().items():
        np.testing.assert_array_equal(again.state()[name], array)


def test_a_normalisation_that_an_export_has_folded_comes_back_in_the_weights_before_it(tmp_path: Path) -> None:
    network = Sequential(["Conv2D(4, 3)", "BatchNorm2D()", "LayerNorm('channels')", "Flatten()", "Dense(3)"], (2, 6, 5))
    state = network.state()
    for name in ("batch_norm2d_1.running_mean", "batch_norm2d_1.beta"):
        state[name] = RNG(1).normal(size=state[name].shape).astype("f4")
    network.load_state(state)
    again = import_onnx(export_onnx(network, tmp_path / "own.onnx"))
    x = RNG(2).normal(size=(5, 2, 6, 5)).astype("f4")
    assert [repr(layer) for layer in again.layers] == [repr(network.layers[i]) for i in (0, 2, 3, 4)]
    np.testing.assert_allclose(again.logits(x), network.logits(x), rtol=1e-4, atol=1e-5)


def test_labels_are_those_of_the_caller_or_the_file(tmp_path: Path) -> None:
    proto = to_onnx(Sequential(["Dense(2)"], (3,), labels=["no", "yes"]))
    assert import_onnx(write(tmp_path / "a.onnx", proto), labels=["left", "right"]).labels == ("left", "right")
    helper.set_model_props(proto, {"labels": json.dumps([1, 2]), "preprocessing": "[[["})
    assert import_onnx(write(tmp_path / "b.onnx", proto)).labels == ()
    helper.set_model_props(proto, {"labels": json.dumps(["a", "b", "c"])})  # another program's, of whatever it means
    assert import_onnx(write(tmp_path / "c.onnx", proto)).labels == ()


def test_what_the_metadata_say_counts_only_where_the_nodes_compute_it(tmp_path: Path) -> None:
    network = Sequential(["Dense(2)"], (3,), preprocessing=Preprocessing(0.5))
    proto = to_onnx(network)
    said = {entry.key: entry.value for entry in proto.metadata_props}
    helper.set_model_props(proto, said | {"preprocessing": '{"scale": 0.25, "mean": [0], "std": [1]}'})
    again = import_onnx(write(tmp_path / "a.onnx", proto))
    assert again.preprocessing == Preprocessing()
    assert repr(again.layers[0]) == "Rescale(scale=0.5)"


def test_a_description_that_lies_is_refused_by_the_proof(tmp_path: Path) -> None:
    proto = to_onnx(Sequential(["Dense(2)", "Tanh()"], (3,)))
    (tanh,) = (one for one in proto.graph.node if one.op_type == "Tanh")
    tanh.doc_string = "Sigmoid()"
    with pytest.raises(CheckError, match="its answers and those of the network made of it differ by"):
        import_onnx(write(tmp_path / "a.onnx", proto))
    tanh.doc_string = "Conv2D(10000000, 3)"
    assert repr(import_onnx(write(tmp_path / "b.onnx", proto)).layers[-1]) == "Tanh()"


def test_a_wrong_network_is_not_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = conv(tmp_path / "a.onnx", node("Relu", ["c"], ["y"]))
    right = translate

    def wrong(*args: Any) -> Any:
        draft, values = right(*args)
        first = draft.drawn[0]
        draft.drawn[0] = replace(first, arrays={"weight": 1.01 * first.arrays["weight"]})
        return draft, values

    monkeypatch.setattr(imported, "translate", wrong)
    with pytest.raises(CheckError, match=r"differ by .*, where .* is allowed"):
        import_file(path)


def test_an_error_that_nobody_foresaw_names_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = conv(tmp_path / "a.onnx", node("Relu", ["c"], ["y"], "here"))
    monkeypatch.setitem(TRANSLATIONS, "Relu", lambda step: [].pop())
    with pytest.raises(OnnxError, match=r"node 'here' \(Relu\) cannot be translated, IndexError: .*; .* please report"):
        import_onnx(path)
    monkeypatch.undo()
    monkeypatch.setattr(patterns, "PATTERNS", [lambda node, matching: 1 // 0])
    with pytest.raises(OnnxError, match=r"\(Conv\) cannot be translated, ZeroDivisionError: .*; .* please report"):
        import_onnx(conv(tmp_path / "a.onnx", node("Relu", ["c"], ["y"])))


@pytest.mark.parametrize("labels", ["labels.txt", Path("labels.txt")])
def test_the_name_of_a_file_is_no_list_of_labels(tmp_path: Path, labels: Any) -> None:
    path = conv(tmp_path / "a.onnx", node("Relu", ["c"], ["y"]))
    with pytest.raises(
        ConfigError, match=r"expected a list of the names of the classes .* got 'labels\.txt'; if that is"
    ):
        import_onnx(path, labels=labels)


def test_labels_are_as_many_as_classes_and_each_another(tmp_path: Path) -> None:
    path = conv(tmp_path / "a.onnx", node("GlobalAveragePool", ["c"], ["g"]), node("Flatten", ["g"], ["y"]))
    assert import_onnx(path, labels=["a", "b", "c"]).labels == ("a", "b", "c")
    for labels in (["a", "b"], ["a", "b", "c", "d"]):
        with pytest.raises(OnnxError, match=f"the file tells 3 classes, and {len(labels)} labels are given: expected"):
            import_onnx(path, labels=labels)
    with pytest.raises(ConfigError, match="two classes are called 'b'; expected another label for each"):
        import_onnx(path, labels=["a", "b", "b"])


def test_several_inputs_are_refused(tmp_path: Path) -> None:
    nodes = [node("Add", ["a", "b"], ["y"])]
    with pytest.raises(
        OnnxError, match=r"it takes 2 inputs \(a of shape \(N, 3\), b of shape \(N, 3\)\), and a network takes one"
    ):
        import_onnx(write(tmp_path / "a.onnx", model(nodes, {"a": ["n", 3], "b": ["n", 3]}, ["y"])))


def test_the_proof_says_how_it_was_made(tmp_path: Path) -> None:
    found = import_file(conv(tmp_path / "a.onnx", node("Relu", ["c"], ["y"])))
    assert (found.proof.samples, found.proof.depends) == (8, True)
    assert found.proof.difference < 1e-6
    assert found.origin["digest"].startswith("sha256:")
    assert found.origin["opset"] == 17
    assert "random inputs by" in str(found.proof)


def test_a_version_records_the_file_that_its_network_was_made_of(tmp_path: Path) -> None:
    path = conv(tmp_path / "a.onnx", node("Relu", ["c"], ["y"]))
    version = Registry(tmp_path / "registry").save(import_onnx(path), "mine")
    origin = Registry(tmp_path / "registry").read(version.ref).manifest.settings["imported"]
    assert origin == import_file(path).origin
    assert origin["digest"] == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_network_of_cnnkit_has_no_file_to_record(tmp_path: Path) -> None:
    network = Graph({"flat": "Flatten()", "scores": "Dense(2)"}, (1, 2, 2))
    version = Registry(tmp_path).save(network, "mine", settings={"workers": 1})
    assert Registry(tmp_path).read(version.ref).manifest.settings == {"workers": 1}


def test_free_sizes_are_refused_with_what_to_do(tmp_path: Path) -> None:
    proto = model([node("Relu", ["x"], ["y"])], {"x": ["n", 3, "height", "width"]}, ["y"])
    message = (
        r"x has the shape \(N, 3, height, width\).*fix them by `python -m onnxruntime\.tools\.make_dynamic_shape_fixed"
    )
    with pytest.raises(OnnxError, match=message):
        import_onnx(write(tmp_path / "a.onnx", proto))
