"""What a model is for, by every way of asking: each answer is right, or refused with what the model does give."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Registry, Sequential, Trainer, export_onnx, load_model, plot, validate_onnx
from cnnkit.cli import main
from cnnkit.errors import CnnkitError, PlotError, ShapeError
from cnnkit.onnx.runtimes import OnnxRuntime, ReferenceEvaluator
from cnnkit.registry.bundle import CARD
from cnnkit.types import Array, Data, Samples, Task

SHAPE, COUNT = (2, 4, 4), 40
NAMES = ("ant", "bee", "cat")


@dataclass(frozen=True)
class Case:
    """A kind of task: what is trained, with what, and what the model then says that it gives."""

    loss: str
    layers: list[str]
    y: Array
    gives: str
    metrics: tuple[str, ...] = ()


def cases() -> dict[str, Case]:
    rng = np.random.default_rng(1)
    vector, pixels = ["Conv2D(3, 4)", "Flatten()"], ["Conv2D(3, 1)"]
    classes, labels = rng.integers(0, 3, COUNT), rng.integers(0, 2, (COUNT, 3))
    accuracy = ("Accuracy()",)
    return {
        "classes": Case("CrossEntropy()", vector, classes, "3 classes", accuracy),
        "scores": Case("MSE()", vector, classes, "scores of 3 classes", accuracy),
        "labels": Case("BinaryCrossEntropy()", vector, labels.astype(np.float32), "any of 3 labels"),
        "values": Case("MSE()", vector, rng.normal(size=(COUNT, 3)).astype(np.float32), "3 values"),
        "values of pixels": Case(
            "MSE()", pixels, rng.normal(size=(COUNT, 3, 4, 4)).astype(np.float32), "3 values for each pixel"
        ),
        "labels of pixels": Case(
            "BinaryCrossEntropy()",
            pixels,
            rng.integers(0, 2, (COUNT, 3, 4, 4)).astype(np.float32),
            "any of 3 labels for each pixel",
        ),
        "classes of pixels": Case(
            "CrossEntropy()", pixels, rng.integers(0, 3, (COUNT, 4, 4)), "3 classes for each pixel", accuracy
        ),
    }


CASES = cases()
X = np.random.default_rng(0).normal(size=(COUNT, *SHAPE)).astype(np.float32)
VECTORS = [name for name in CASES if "pixels" not in name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a model of each kind, trained on a file of arrays beside it."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, case in CASES.items():
        slug = name.replace(" ", "-")
        np.savez(folder / f"{slug}.npz", x_train=X, y_train=case.y, x_test=X, y_test=case.y)
        model = Sequential(case.layers, SHAPE, labels=NAMES)
        run = Trainer(loss=case.loss, metrics=list(case.metrics), epochs=2, batch_size=16, workers=1).fit(
            model, (X, case.y)
        )
        Registry(folder / "registry").save(model, slug, **run.record())
    np.save(folder / "some.npy", X[:2])
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CNNKIT_REGISTRY", str(folder / "registry"))


def ref(name: str) -> str:
    return f"{name.replace(' ', '-')}@1"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def data(name: str) -> tuple[str, str]:
    return "--dataset", f"Arrays('{name.replace(' ', '-')}.npz')"


@pytest.mark.parametrize("name", CASES)
def test_python(name: str) -> None:
    model, case = load_model(ref(name)), CASES[name]
    assert model.gives == case.gives
    z = model.outputs(X)
    said = model.predict(X)
    if "classes" in case.gives:
        np.testing.assert_array_equal(said, z.argmax(axis=1))
    elif "labels" in case.gives:
        np.testing.assert_array_equal(said, z >= 0)
    else:
        np.testing.assert_array_equal(said, z)
    if name in ("values", "values of pixels", "scores"):
        with pytest.raises(ShapeError, match=f"the network gives {case.gives}, and has no probabilities"):
            model.predict_proba(X)
        return
    p = model.predict_proba(X)
    expected = 1 / (1 + np.exp(-z)) if "labels" in name else np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p, expected, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_evaluation_in_python_and_on_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    case, model = CASES[name], load_model(ref(name))
    expected = Trainer(loss=case.loss, metrics=list(case.metrics)).evaluate(model, _samples(case))
    code, out, err = run(capsys, "evaluate", ref(name), *data(name), "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["metrics"] == pytest.approx(expected)
    assert ("classes" in document) == ("classes" in case.gives)
    if "classes" in case.gives:
        assert np.sum(document["confusion"]) == case.y.size
        assert np.trace(document["confusion"]) / case.y.size == pytest.approx(expected["accuracy"])
        assert (document["calibration"] is None) == (name == "scores")


def _samples(case: Case) -> Any:
    return Samples(X, case.y)


@pytest.mark.parametrize("name", CASES)
def test_predict_on_the_command_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model(ref(name))
    code, out, err = run(capsys, "predict", ref(name), "some.npy", "--json")
    table = run(capsys, "predict", ref(name), "some.npy")
    assert (code, table[0]) == (0, 0), err
    document = json.loads(out)
    said = model.predict(X[:2])
    entries = document["predictions"]
    if name == "values of pixels":
        np.testing.assert_allclose([entry["values"] for entry in entries], said, rtol=1e-6)
        lines = [line.split() for line in table[1].splitlines()]
        assert lines[0] == ["file", "index", "output", "lowest", "mean", "highest"]
        lowest, mean, highest = map(float, lines[2][3:])
        one = said[0, 1]
        np.testing.assert_allclose([lowest, mean, highest], [one.min(), one.mean(), one.max()], rtol=1e-4)
    elif name not in VECTORS:
        np.testing.assert_array_equal([entry["mask"] for entry in entries], said)
        counts = [{one["label"]: one["pixels"] for one in entry["labels"]} for entry in entries]
        there = said if "labels" in name else said[:, None] == np.arange(3)[:, None, None]
        assert counts == [{NAMES[k]: mask[k].sum() for k in range(3) if mask[k].any()} for mask in there]
        rows = [line.split() for line in table[1].splitlines()]
        assert rows[0] == ["file", "index", "label", "pixels"]
        assert rows[1][2:] == [entries[0]["labels"][0]["label"], str(max(counts[0].values()))]
    elif name == "values":
        np.testing.assert_allclose([entry["values"] for entry in entries], said, rtol=1e-6)
        assert table[1].splitlines()[0].split() == ["file", "index", "output", "value"]
        assert len(table[1].splitlines()) == 7
    elif name == "labels":
        assert [[one["label"] for one in entry["labels"]] for entry in entries] == [
            [NAMES[i] for i in np.argsort(-p, kind="stable") if p[i] >= 0.5] for p in model.predict_proba(X[:2])
        ]
    else:
        assert [entry["label"] for entry in entries] == [NAMES[i] for i in said]
        assert [entry["probability"] is None for entry in entries] == [name == "scores"] * 2
        assert ("probability" in table[1]) == (name != "scores")


def test_a_model_of_values_has_no_top(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "predict", "values@1", "some.npy", "--top", "2")
    assert (code, err) == (2, "error: the model gives 3 values, none of which is the most probable: remove top\n")


def test_no_label_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model("labels@1")
    model.load_state({name: array * 0 - 1 for name, array in model.state().items()})
    Registry().save(model, "none")
    np.save("ones.npy", np.ones((1, *SHAPE), np.float32))
    lines = run(capsys, "predict", "none@1", "ones.npy")[1].splitlines()
    assert lines[1].split() == ["ones.npy", "0", "-", "-"]


@pytest.mark.parametrize("name", CASES)
def test_explain(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, out, err = run(capsys, "explain", ref(name), "--sample", "3", *data(name), "-o", str(page), "--json")
    assert code == 0, err
    document, model = json.loads(out), load_model(ref(name))
    np.testing.assert_allclose(document["outputs"], model.outputs(X[3:4])[0], rtol=1e-5)
    assert document["gives"] == model.task.gives
    if name in VECTORS and model.task.gives == "classes":
        assert document["predicted"] == NAMES[int(model.predict(X[3:4])[0])]
    assert (document["probability"] is None) == (name != "classes")
    assert all(layer["gradient_ok"] for layer in document["layers"])
    if name == "classes of pixels":
        counts = np.bincount(CASES[name].y[3].ravel(), minlength=3)
        assert sorted(document["target"].split(", ")) == [f"{NAMES[i]} ({counts[i]})" for i in range(3)]
    assert page.exists()


@pytest.mark.parametrize("name", CASES)
def test_pictures_of_probabilities(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = str(tmp_path / "c.png")
    code, _, err = run(capsys, "plot", ref(name), "--kind", "confusion", *data(name), "-o", picture)
    assert code == (0 if name == "classes" else 2), err
    if name != "classes":
        of_pixels = name == "classes of pixels"
        what = "one class for each sample" if of_pixels else "probabilities of classes"
        assert f"{ref(name)} gives {CASES[name].gives}: this picture shows {what}" in err


IN_GREY = {
    "labels": "all labels right in 2 of the first 2",
    "values": "predicted and true values of 2",
    "values of pixels": "outputs for the first 2",
    "labels of pixels": "classes of the pixels in the first 2",
    "classes of pixels": "classes of the pixels in the first 2",
    "classes": "2 of the first 2",
}


@pytest.mark.parametrize("name", IN_GREY)
def test_pictures_of_predictions_show_what_the_task_is(name: str) -> None:
    """Targets are what the model itself says, so that all of them are right."""
    case, x = CASES[name], X[:2, :1]
    count = 1 if name == "labels of pixels" else 3
    layers = [layer.replace("Conv2D(3", f"Conv2D({count}") for layer in case.layers]
    model = Sequential(layers, x.shape[1:], labels=NAMES[:count], task=load_model(ref(name)).task)
    y = model.predict(x)
    samples = Samples(x, y if "classes" in name else y.astype(np.float32))
    figure: Any = plot(model, "predictions", data=Data(samples, samples))
    assert figure.get_suptitle().startswith(f"the model: {IN_GREY[name]} test samples")
    images = [np.ma.getdata(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    if name == "classes of pixels":
        np.testing.assert_array_equal(images[4], y[0])
    if name == "labels of pixels":
        np.testing.assert_array_equal(images[4], y[0, 0])
    if name == "values of pixels":
        np.testing.assert_array_equal(images[2], images[4])
    if name == "values":
        np.testing.assert_allclose(figure.axes[2].collections[0].get_offsets(), y[:, [2, 2]])


@pytest.mark.parametrize("name", ["labels", "values", "values of pixels", "labels of pixels", "classes of pixels"])
def test_targets_of_another_shape_are_not_drawn(name: str) -> None:
    samples = Samples(X, np.zeros((COUNT, 7), np.float32))
    with pytest.raises(PlotError, match=r"gives .*3 .*, targets of shape .* and the dataset has \(7,\): choose a data"):
        plot(load_model(ref(name)), "predictions", data=Data(samples, samples))


@pytest.mark.parametrize("task", [Task("labels", from_logits=True), Task("values"), Task("classes", from_logits=True)])
def test_what_is_said_of_each_step_of_a_signal_is_not_drawn(task: Task) -> None:
    model = Sequential(["Conv1D(2, 3, padding=1)"], (1, 9), task=task)
    samples = Samples(np.zeros((4, 1, 9), np.float32), np.zeros((4, 2, 9), np.float32))
    with pytest.raises(PlotError, match=r"the model gives .*: there is no picture of what is said of each step"):
        plot(model, "predictions", data=Data(samples, samples))


@pytest.mark.parametrize("name", CASES)
def test_cards_and_bundles(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bundle = tmp_path / "b.zip"
    assert run(capsys, "models", "export-bundle", ref(name), "-o", str(bundle), *data(name))[0] == 0
    card = zipfile.ZipFile(bundle).read(CARD).decode()
    assert f"| gives | {CASES[name].gives} |" in card
    names = {"scores": '["scores"]', "values": '["values"]', "values of pixels": '["values"]'}
    expected = names.get(name, '["logits", "probabilities"]')
    assert f"session.run({expected}," in card


@pytest.mark.parametrize("name", CASES)
def test_differences_of_models(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "models", "diff", ref(name), ref(name), *data(name), "--json")
    assert code == 0, err
    document = json.loads(out)["predictions"]
    assert document.get("changed", document.get("largest")) == 0
    other = "values" if name != "values" else "classes"
    if load_model(ref(other)).task.gives != load_model(ref(name)).task.gives:
        code, _, err = run(capsys, "models", "diff", ref(name), ref(other), *data(name), "--loss", "MSE()")
        assert code == 2


@pytest.mark.parametrize("name", CASES)
def test_onnx_on_two_runtimes(name: str, tmp_path: Path) -> None:
    model = load_model(ref(name))
    path = export_onnx(model, tmp_path / "m.onnx")
    report = validate_onnx(path, model, X)
    assert [result.ok for result in report.results] == [True, True]
    for runtime in (ReferenceEvaluator(), OnnxRuntime()):
        outputs = runtime.run(path.read_bytes(), {"input": X})
        first = next(iter(outputs.values()))
        np.testing.assert_allclose(first, model.outputs(X), rtol=1e-4, atol=1e-5)
        if "probabilities" in outputs:
            np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(X), rtol=1e-4, atol=1e-5)
        else:
            with pytest.raises(CnnkitError):
                model.predict_proba(X)
