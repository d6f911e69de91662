"""`models diff`, `export-bundle` and `import`, as a user runs them."""

from __future__ import annotations

import os
import signal
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import cnnkit.onnx.export
from cnnkit.components import Layer
from cnnkit.network import Sequential
from cnnkit.registry import Registry

STEERING = "\x1b]0;owned\x07"


@pytest.fixture
def two(trained: Any) -> Any:
    """The same, with tiny@2, of two layers more, beside tiny@1."""
    layers = 'model.layers=["Flatten()", "Dense(16)", "ReLU()", "Dense(10)"]'
    assert trained("train", "tiny.toml", "--epochs", "2", "--set", layers).code == 0
    return trained


def test_diff_shows_what_differs(two: Any) -> None:
    result = two("models", "diff", "tiny@1", "tiny@2")
    assert result.code == 0, result.err
    lines = [line.split() for line in result.out.splitlines()]
    for line in (["Flatten()"], ["+", "Dense(16)"], ["+", "ReLU()"], ["Dense(10)"]):
        assert line in lines
    assert ["recipe.train.epochs", "1", "2"] in lines
    assert ["value", "tiny@1", "tiny@2"] in lines
    assert ["dense_1.weight", "10", "x", "64", "16", "x", "64"] in lines
    assert ["dense_2.weight", "-", "10", "x", "16"] in lines
    assert ["recorded", "metric", "tiny@1", "tiny@2", "difference"] in lines
    assert "model.layers" not in result.out


def test_diff_as_a_document(two: Any) -> None:
    document = two("models", "diff", "tiny", "tiny@1", "--json").document
    assert (document["a"], document["b"]) == ("tiny@2", "tiny@1")
    assert [line["kind"] for line in document["layers"]] == ["same", "removed", "removed", "same"]
    assert {"key": "recipe.train.epochs", "a": 2, "b": 1} in document["changes"]
    (accuracy,) = [metric for metric in document["metrics"] if metric["name"] == "accuracy"]
    assert accuracy["difference"] == accuracy["b"] - accuracy["a"]
    assert document["arrays"][0] == {
        "name": "dense_1.weight",
        "a_shape": [16, 64],
        "b_shape": [10, 64],
        "relative_change": None,
        "cosine": None,
    }
    assert "predictions" not in document


def test_a_version_does_not_differ_from_itself(trained: Any) -> None:
    result = trained("models", "diff", "tiny@1", "tiny@latest")
    assert result.code == 0
    assert "layers: the same 2" in result.err
    assert "recipe, settings and versions: the same" in result.err
    assert "values: the same in all 2 arrays that both have" in result.err
    assert [line.split()[0] for line in result.out.splitlines()] == ["recorded", "loss", "accuracy"]


def test_diff_on_samples_counts_the_changed_predictions(two: Any) -> None:
    result = two("models", "diff", "tiny@1", "tiny@2", "--dataset", "Digits()")
    assert result.code == 0, result.err
    document = two("models", "diff", "tiny@1", "tiny@2", "--dataset", "Digits()", "--json").document["predictions"]
    assert (document["dataset"], document["samples"]) == ("Digits()", 360)
    models = [Registry().load(f"tiny@{number}") for number in (1, 2)]
    samples = cnnkit.load_dataset("Digits()").test
    old, new = (model.predict(samples.x) for model in models)
    assert document["changed"] == np.count_nonzero(old != new) > 0
    accuracy = [float((predicted == samples.y).mean()) for predicted in (old, new)]
    evaluated = [two("evaluate", f"tiny@{number}", "--json").document["metrics"] for number in (1, 2)]
    for which, metrics, mean in zip("ab", evaluated, accuracy, strict=True):
        assert document["metrics"]["accuracy"][which] == pytest.approx(metrics["accuracy"]) == pytest.approx(mean)
        assert document["metrics"]["loss"][which] == metrics["loss"]
    gained = document["corrected"] - document["spoiled"]
    assert gained == round((accuracy[1] - accuracy[0]) * 360)
    first = document["examples"][0]
    index = int(np.flatnonzero(old != new)[0])
    assert (first["index"], first["target"], first["a"]) == (index, samples.y[index], old[index])
    assert first["b_probability"] == pytest.approx(models[1].predict_proba(samples.x)[index].max(), rel=1e-6)
    assert "on 360 test samples of Digits()\n" in result.out
    assert f"{document['changed']} predictions changed: {document['corrected']} from wrong to right" in result.out
    shown = [str(index), str(samples.y[index]), str(old[index]), f"({first['a_probability']:.3f})"]
    assert shown in [line.split()[:4] for line in result.out.splitlines()]


def test_diff_of_models_for_regression(cli: Any, tmp_path: Path) -> None:
    x = np.arange(40, dtype=np.float32).reshape(20, 2) / 40
    np.savez(tmp_path / "line.npz", x=x, y=x.sum(axis=1))
    recipe = [
        "--set=data.dataset=Arrays('line.npz')",
        '--set=model.layers=["Dense(1)"]',
        "--set=train.loss=MSE()",
        "--set=train.metrics=[]",
    ]
    for epochs in ("1", "3"):
        result = cli("train", "tiny.toml", "--epochs", epochs, *recipe)
        assert result.code == 0, result.err
    arguments = ("models", "diff", "tiny@1", "tiny@2", "--dataset", "Arrays('line.npz')")
    document = cli(*arguments, "--json").document["predictions"]
    test = cnnkit.load_dataset("Arrays('line.npz')").test.x
    old, new = (Registry().load(f"tiny@{number}").logits(test) for number in (1, 2))
    assert document["largest"] == pytest.approx(float(np.abs(new - old).max()))
    assert document["index"] == int(np.abs(new - old).argmax())
    assert list(document["metrics"]) == ["loss"]
    result = cli(*arguments)
    assert result.code == 0
    assert f"largest difference of an output: {document['largest']:.6g}, sample {document['index']}" in result.out


class Own(Layer):
    """A layer that no plugin provides."""


def test_diff_needs_plugins_only_to_predict(cli: Any) -> None:
    for seed in (0, 1):
        Registry().save(Sequential([Own(), "Flatten()", "Dense(10)"], (1, 8, 8), seed=seed), "net")
    assert cli("models", "diff", "net@1", "net@2").code == 0
    result = cli("models", "diff", "net@1", "net@2", "--dataset", "Digits()")
    assert (result.code, result.out) == (2, "")
    assert "it needs Own, which did not come from a plugin" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny@1", "tiny@3"), "tiny@3 does not exist"),
        (("tiny@1", "tiny@1", "--dataset", "Nope()"), "there is no dataset named 'Nope'"),
        (("tiny@1", "tiny@1", "--dataset", "Arrays('wide.npz')"), "tiny takes inputs of shape (1, 8, 8), the dataset"),
        (("tiny@1", "tiny@1", "--dataset", "Digits()", "--loss", "Nope()"), "there is no loss named 'Nope'"),
    ],
)
def test_diff_refuses(trained: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    np.savez(tmp_path / "wide.npz", x=np.zeros((40, 1, 4, 4), np.uint8), y=np.arange(40) % 10)
    result = trained("models", "diff", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err


def test_texts_of_a_file_do_not_steer_the_terminal(cli: Any) -> None:
    labels = [STEERING, *"abcdefghi"]
    np.savez("own.npz", x=np.random.default_rng(0).random((40, 1, 8, 8)), y=np.arange(40) % 10, labels=labels)
    for seed in (0, 1):
        Registry().save(
            Sequential(["Flatten()", "Dense(10)"], (1, 8, 8), labels=labels, seed=seed),
            "net",
            recipe={"train" + STEERING: {STEERING: STEERING + str(seed)}},
            metrics={STEERING: 1.0},
        )
    for arguments, code in (((), 0), (("--dataset", "Arrays('own.npz')"), 0), (("--dataset", "Digits()"), 2)):
        result = cli("models", "diff", "net@1", "net@2", *arguments)
        assert result.code == code, result.err
        assert "\x1b" not in result.out + result.err
        assert "\\x1b]0;owned" in (result.err if code else result.out)


def test_a_bundle_goes_into_another_registry(trained: Any, tmp_path: Path) -> None:
    exported = trained("models", "export-bundle", "tiny@latest")
    assert exported.code == 0, exported.err
    assert "compared on 360 test samples of Digits()" in exported.err
    assert "exported  tiny@1" in exported.out
    with zipfile.ZipFile(tmp_path / "tiny-1.zip") as archive:
        assert archive.namelist()[:3] == ["model.h5", "model.onnx", "card.md"]
        card = archive.read("card.md").decode()
        (tmp_path / "model.onnx").write_bytes(archive.read("model.onnx"))
    assert "compared on `360 test samples of Digits()`" in card
    assert trained("validate", "model.onnx", "tiny@1").code == 0
    imported = trained("models", "import", "tiny-1.zip", "--registry", "other")
    assert imported.code == 0, imported.err
    assert "imported  tiny@1" in imported.out
    ours, theirs = (tmp_path / folder / "tiny" / "v000001.h5" for folder in ("registry", "other"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert trained("models", "verify", "--registry", "other").code == 0
    evaluated = [trained("evaluate", "tiny", "--json", "--registry", name).document for name in ("registry", "other")]
    assert evaluated[0] == evaluated[1]


def test_import_of_what_is_there_says_so(trained: Any, tmp_path: Path) -> None:
    file = tmp_path / "registry" / "tiny" / "v000001.h5"
    again = trained("models", "import", file)
    assert (again.code, again.out) == (0, f"{file} is already registered, as tiny@1\n")
    document = trained("models", "import", file, "--json").document
    assert (document["ref"], document["new"]) == ("tiny@1", False)
    assert [path.name for path in file.parent.glob("*.h5")] == ["v000001.h5"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_what_is_no_file_is_not_replaced(trained: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # as /dev/null would be, for a user who may write there
    for command in ("export", "models export-bundle"):
        result = trained(*command.split(), "tiny@1", "-o", "pipe")
        assert result.code == 2
        assert "cannot write pipe: expected the name of a file in a folder that exists" in result.err
    assert (tmp_path / "pipe").is_fifo()


def test_import_under_another_name(trained: Any, tmp_path: Path) -> None:
    file = tmp_path / "registry" / "tiny" / "v000001.h5"
    document = trained("models", "import", file, "--name", "mine", "--json").document
    assert (document["ref"], document["new"]) == ("mine@1", True)
    assert document["path"] == str(tmp_path / "registry" / "mine" / "v000001.h5")
    assert trained("evaluate", "mine").code == 0
    assert trained("models", "verify").code == 0
    assert trained("models", "import", file, "--name", "mine").out == f"{file} is already registered, as mine@1\n"


def test_export_bundle_as_a_document(trained: Any, tmp_path: Path) -> None:
    document = trained("models", "export-bundle", "tiny@1", "-o", "x.zip", "--json").document
    assert (document["ref"], document["path"], document["validation"]["ok"]) == ("tiny@1", "x.zip", True)
    assert document["validation"]["inputs"] == "360 test samples of Digits()"


def test_a_bundle_with_a_wrong_onnx_file_is_not_written(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = cnnkit.onnx.export.to_onnx

    def wrong(*arguments: Any, **options: Any) -> onnx.ModelProto:
        proto = original(*arguments, **options)
        weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense_1.weight")
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.01, weight.name))
        return proto

    monkeypatch.setattr(cnnkit.onnx.export, "to_onnx", wrong)
    before = sorted(tmp_path.iterdir())
    result = trained("models", "export-bundle", "tiny@1")
    assert result.code == 1
    assert "FAIL" in result.out
    assert "tiny-1.zip was not written: the answers of its ONNX file would differ from those of tiny@1" in result.err
    failed = trained("models", "export-bundle", "tiny@1", "--json")
    assert (failed.code, failed.document["path"], failed.document["validation"]["ok"]) == (1, None, False)
    assert sorted(tmp_path.iterdir()) == before


def test_a_signal_while_writing_leaves_nothing(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.kill(os.getpid(), signal.SIGTERM))
    result = trained("models", "export-bundle", "tiny@1")
    assert result.code == 143
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "none.zip"), "cannot read none.zip: No such file or directory"),
        (("import", "tiny.toml"), "tiny.toml: expected a version file (.h5) or a bundle (.zip) of cnnkit, this seems"),
        (("import", "evil.zip"), "evil.zip is not a usable cnnkit bundle: it has a member '../x'"),
        (("import", "cut.h5"), "cut.h5 cannot be imported, it is damaged: it should have"),
        (("import", "registry/tiny/v000001.h5", "--name", "../x"), "a model is named with 1 to 64 lower-case letters"),
        (("export-bundle", "tiny@2"), "tiny@2 does not exist"),
        (("export-bundle", "tiny@1", "-o", "no/such.zip"), "cannot write no/such.zip: expected the name of a file"),
    ],
)
def test_what_cannot_be_exchanged(trained: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    version = (tmp_path / "registry" / "tiny" / "v000001.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(version[:-1])
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("model.h5", version)
        archive.writestr("../x", b"x")
    before = sorted(tmp_path.rglob("*"))
    result = trained("models", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert result.err.count("error: ") == 1
    assert sorted(tmp_path.rglob("*")) == before
