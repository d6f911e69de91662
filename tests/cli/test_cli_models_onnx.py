"""`models import` of an ONNX file, and `train --from`, as a user runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cnnkit import Sequential, export_onnx
from cnnkit.registry import Registry


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of a network for Digits, as another program could have written it."""
    path = export_onnx(Sequential(["Flatten()", "Dense(12)", "ReLU()", "Dense(10)"], (1, 8, 8)), tmp_path / "net.onnx")
    proto = onnx.load(path)
    del proto.metadata_props[:]
    proto.producer_name, proto.producer_version = "another\x1b[31m", "7"
    onnx.save(proto, path)
    return path


def test_an_onnx_file_becomes_a_version(cli: Any, file: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"digit {n}" for n in range(10)) + "\n\n")
    result = cli("models", "import", file, "--name", "net", "--labels", "names.txt", "--output", "logits")
    assert result.code == 0, result.err
    assert "imported  net@1" in result.out
    assert "the model gives the answers of the file to " in result.out
    shown = cli("models", "show", "net@1")
    assert "an ONNX file, producer another\\x1b[31m 7, opset 17, digest sha256:" in shown.out
    assert "digit 0, digit 1" in shown.out
    assert cli("models", "show", "net@1", "--json").document["settings"]["imported"]["output"] == "logits"
    assert cli("export", "net@1").code == 0


def test_the_document_says_how_far_the_answers_are_apart(cli: Any, file: Path) -> None:
    document = cli("models", "import", file, "--name", "net", "--output", "logits", "--json").document
    assert (document["ref"], document["new"]) == ("net@1", True)
    assert 0 <= document["difference"] < 1e-6


def test_channels_last_in_the_file_are_told(cli: Any, tmp_path: Path) -> None:
    make = onnx.helper.make_node
    sizes: list[str | int | None] = ["N", 8, 8, 1]
    weight = onnx.numpy_helper.from_array(np.ones((10, 1, 8, 8), np.float32), "w")
    nodes = [make("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]), make("Conv", ["t", "w"], ["c"]),
             make("Flatten", ["c"], ["y"])]  # fmt: skip
    ends = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", sizes), ("y", None))]
    graph = onnx.helper.make_graph(nodes, "graph", ends[:1], ends[1:], [weight])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "last.onnx")
    told = "(N, 1, 8, 8), channels first, where the file takes (N, 8, 8, 1): give it x.transpose(0, 3, 1, 2)"
    assert f"inputs    {told}" in cli("models", "import", "last.onnx", "--name", "last").out
    result = cli("train", "tiny.toml", "--from", "last.onnx")
    assert f"last.onnx: the network takes {told}" in result.err


def test_a_file_gives_its_name_to_the_model(cli: Any, file: Path, tmp_path: Path) -> None:
    result = cli("models", "import", file, "--output", "logits")
    assert result.code == 0, result.err
    assert "imported  net@1" in result.out
    Registry().save(Sequential(["Flatten()", "Dense(3)"], (1, 8, 8)), "three")
    assert cli("export", "three@1", "--output", "somewhere.onnx").code == 0
    assert "imported  three@2" in cli("models", "import", "somewhere.onnx").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.onnx"], "no.onnx: there is no such file"),
        (["none.onnx"], "none.onnx is damaged or not an ONNX file"),
        (["Net.onnx", "--output", "logits"], "got 'Net' as the name of the file: give another one with --name"),
        (["net.onnx", "--name", "net", "--labels", "twice.txt"], "two classes are called 'a'; expected another label"),
        (["net.onnx", "--name", "net", "--labels", "no.txt"], "cannot read the labels in "),
        (["net.onnx", "--name", "net", "--labels", "gap.txt"], "expected the name of a class in each line of "),
        (["net.onnx", "--name", "net", "--labels", "two.txt"], "tells 10 classes, and 2 labels are given: exp"),
        (["net.onnx", "--name", "net", "--output", "logit"], "no value 'logit' in the file; did you mean logits?"),
        (["no.onnx", "--name", "net"], "no.onnx: there is no such file"),
        (["two.txt", "--output", "logits"], "--labels and --output are for ONNX files, and "),
        (["none.onnx", "--name", "net"], "none.onnx is damaged or not an ONNX file"),
    ],
)
def test_what_cannot_be_imported_is_told(
    cli: Any, file: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    for name, text in (
        ("gap.txt", "a\n\nb\n"),
        ("two.txt", "a\nb\n"),
        ("twice.txt", "a\nb\na\n"),
        ("none.onnx", "none"),
    ):
        (tmp_path / name).write_text(text)
    (tmp_path / "Net.onnx").write_bytes(file.read_bytes())
    result = cli("models", "import", *arguments)
    assert result.code != 0
    assert message in result.err
    assert not (tmp_path / "registry" / "net").exists()


def test_an_imported_network_is_trained_on(cli: Any, file: Path) -> None:
    result = cli("train", "tiny.toml", "--from", file, "--set", "train.epochs=3")
    assert result.code == 0, result.err
    assert "net.onnx: the model gives the answers of the file to" in result.err
    record = Registry().read("tiny@1")
    assert [node.name for node in record.manifest.nodes][:2] == ["flatten_1", "dense_1"]
    assert record.manifest.recipe is not None
    assert record.manifest.recipe["model"]["start"].startswith("sha256:")
    again = cli("train", "tiny.toml", "--from", "tiny@1", "--set", "train.optimizer=SGD(1e-30)")
    assert again.code == 0, again.err
    for name, array in record.state.items():
        np.testing.assert_array_equal(Registry().read("tiny@2").state[name], array)


def test_weights_that_a_recipe_does_not_hold_are_asked_for(cli: Any, file: Path, tmp_path: Path) -> None:
    assert cli("train", "tiny.toml", "--from", file, "--save-recipe", "on.toml").code == 0
    assert "start = " in (tmp_path / "on.toml").read_text()
    for command in (["train", "on.toml"], ["reproduce", "tiny@1"], ["train", "on.toml", "--find-lr"]):
        result = cli(*command)
        assert result.code != 0
        assert "which it does not hold: give the network with `cnnkit train --from`, or remove model.st" in result.err
    assert cli("train", "on.toml", "--from", file).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "net.onnx", "--find-lr"], "--from trains a network on, and --find-lr a new one: remove --from"),
        (["--from", "net.onnx", "--time", "1m"], "--from trains a network on, and --time a new one: remove --from"),
        (["--from", "net.onnx", "--resume", "latest"], "--resume uses the options that the run started with"),
        (["--from", "other@1"], "there is no registry at "),
    ],
)
def test_what_cannot_be_trained_on_is_told(cli: Any, file: Path, arguments: list[str], message: str) -> None:
    result = cli("train", *([] if "--resume" in arguments else ["tiny.toml"]), *arguments)
    assert result.code != 0
    assert message in result.err


def test_a_network_for_other_classes_is_refused(cli: Any, tmp_path: Path) -> None:
    export_onnx(Sequential(["Flatten()", "Dense(3)"], (1, 8, 8)), tmp_path / "three.onnx")
    result = cli("train", "tiny.toml", "--from", "three.onnx")
    assert result.code != 0
    assert "but there are 10 classes: the last layer must give 10 values" in result.err


def test_a_network_for_other_samples_is_refused(cli: Any, tmp_path: Path) -> None:
    export_onnx(Sequential(["Conv2D(2, 3)", "Flatten()", "Dense(10)"], (3, 9, 9)), tmp_path / "color.onnx")
    result = cli("train", "tiny.toml", "--from", "color.onnx")
    assert result.code == 2
    assert "takes samples of shape (3, 9, 9), those of " in result.err
