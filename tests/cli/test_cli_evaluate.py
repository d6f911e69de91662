"""`evaluate`: what it shows of a classifier, and that regression stays as plain as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from cnnkit import Registry, Sequential, api, load_dataset
from cnnkit.evaluation.calibration import calibration
from cnnkit.evaluation.confusion import confusion_matrix
from cnnkit.types import Task

DIGITS = load_dataset("Digits()")


def _tables(out: str) -> list[list[str]]:
    return [table.splitlines() for table in out.split("\n\n")]


def test_tables_of_a_classifier(trained: Any) -> None:
    result = trained("evaluate", "tiny@1")
    metrics, classes, confusion = _tables(result.out)
    model = api.load_model("tiny@1")
    matrix = confusion_matrix(DIGITS.test.y, model.predict(DIGITS.test.x), 10)
    error = calibration(model.predict_proba(DIGITS.test.x), DIGITS.test.y).error
    assert [line.rsplit(None, 1)[0] for line in metrics] == [
        "metric",
        "loss",
        "accuracy",
        "mean confidence",
        "calibration error",
    ]
    assert metrics[4].split()[-1] == f"{error:.6g}"
    assert classes[0].split() == ["class", "samples", "precision", "recall", "F1", "most", "confused", "with"]
    assert [line.split()[:2] for line in classes[1:]] == [[str(k), str(n)] for k, n in enumerate(matrix.sum(axis=1))]
    assert [list(map(int, line.split())) for line in confusion[1:]] == [[k, *row] for k, row in enumerate(matrix)]
    assert all(len(line) <= 80 for line in result.out.splitlines())
    assert len(result.out.splitlines()) <= 30


def test_the_calibration_error_is_printed_once(trained: Any) -> None:
    out = trained("evaluate", "tiny@1", "--metric", "CalibrationError(4)").out
    model = api.load_model("tiny@1")
    error = calibration(model.predict_proba(DIGITS.test.x), DIGITS.test.y, 4).error
    told = [line for line in out.splitlines() if line.startswith("calibration")]
    assert [line.split() for line in told] == [["calibration_error", f"{error:.6g}"]]


def test_the_same_classes_in_another_order_are_refused(trained: Any, tmp_path: Path) -> None:
    labels = DIGITS.labels[::-1]
    np.savez(tmp_path / "turned.npz", x=DIGITS.test.x, y=9 - DIGITS.test.y, labels=labels)
    result = trained("evaluate", "tiny@1", "--dataset", "Arrays('turned.npz')")
    assert (result.code, result.out) == (2, "")
    assert "class 0 is '9' in the data, and '0' in the model; the data has the labels 9, 8, 7, 6, 5" in result.err


@pytest.mark.parametrize(
    ("asked", "who"),
    [
        (["evaluate", "tiny@1"], "the model"),
        (["models", "diff", "tiny@1", "tiny@1"], "tiny@1"),
        (["explain", "tiny@1", "--sample", "0", "-o", "page.html"], "tiny@1"),
        (["plot", "tiny@1", "--kind", "confusion", "-o", "confusion.svg"], "tiny@1"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_class_indices_of_other_labels_are_not_taken_for_the_models(trained: Any, asked: list[str], who: str) -> None:
    there = DIGITS.test.y > 0
    x, y = DIGITS.test.x[there], DIGITS.test.y[there]
    for targets in ({"y": y - 1, "labels": DIGITS.labels[1:]}, {"y": y.astype(str)}):
        np.savez("nine.npz", x=x, **targets)
        result = trained(*asked, "--dataset", "Arrays('nine.npz')")
        assert (result.code, result.out) == (2, "")
        assert (
            f"class 0 is '1' in the data, and '0' in {who}; the data has the labels 1, 2, 3, 4, 5, 6, 7, 8, 9, {who} "
            "has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9: expected the same labels in the same order, or the first of them; "
            "reorder the data's targets and labels to match"
        ) in " ".join(result.err.split())


def test_the_first_of_the_models_labels_are_enough(trained: Any) -> None:
    there = DIGITS.test.y < 9
    x, y = DIGITS.test.x[there], DIGITS.test.y[there]
    documents = []
    for targets in (y, y.astype(str)):
        np.savez("nine.npz", x=x, y=targets)
        documents.append(trained("evaluate", "tiny@1", "--dataset", "Arrays('nine.npz', test=0.9)", "--json").document)
    assert documents[0]["metrics"] == documents[1]["metrics"]


def test_one_hot_targets_of_a_file_are_classes(trained: Any) -> None:
    x, y = DIGITS.test.x, DIGITS.test.y
    documents = []
    for given in (y, np.eye(10, dtype=int)[y]):
        np.savez("own.npz", x_train=x, y_train=given, x_test=x, y_test=given)
        documents.append(trained("evaluate", "tiny@1", "--dataset", "Arrays('own.npz')", "--json").document)
    indices, one_hot = documents
    assert indices["metrics"] == one_hot["metrics"]
    assert indices["confusion"] == one_hot["confusion"]
    assert trained("models", "diff", "tiny@1", "tiny@1", "--dataset", "Arrays('own.npz')").code == 0


def test_the_document_has_all_of_it(trained: Any) -> None:
    document = trained("evaluate", "tiny@1", "--json").document
    assert list(document["metrics"]) == ["loss", "accuracy"]
    assert sum(map(sum, document["confusion"])) == document["samples"] == 360
    assert set(document["classes"][0]) == {"label", "samples", "precision", "recall", "f1", "confused_with"}
    assert set(document["calibration"]) == {"error", "mean_confidence", "bins"}
    assert len(document["calibration"]["bins"]) == 15
    empty = next(one for one in document["calibration"]["bins"] if not one["samples"])
    assert (empty["confidence"], empty["accuracy"]) == (None, None)
    right = sum(document["confusion"][k][k] for k in range(10))
    assert document["metrics"]["accuracy"] == pytest.approx(right / 360)


def _own(classes: int, labels: tuple[str, ...] = ()) -> None:
    """A model that takes everything for class 0, and samples of its own."""
    targets = np.arange(classes).repeat(2)
    images = np.zeros((len(targets), 1, 2, 2), np.uint8)
    np.savez("own.npz", x_train=images, y_train=targets, x_test=images, y_test=targets)
    model = Sequential(["Flatten()", f"Dense({classes})"], (1, 2, 2), labels=labels)
    state = model.state()
    state["dense_1.bias"][0] = 1
    model.load_state(state)
    Registry().save(model, "own")


def test_a_model_without_a_recorded_dataset_asks_for_a_file_that_can_fit(cli: Any) -> None:
    _own(2, ("even", "odd"))
    result = cli("evaluate", "own@1")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: the model does not record its training dataset, as after a training on arrays: keep samples of its "
        'kind in a file, as np.savez("data.npz", x=x, y=y) does, and give that: --dataset \'Arrays("data.npz")\'\n'
    )


def test_samples_without_a_class_are_told(cli: Any) -> None:
    _own(2)
    record = Registry().read("own")
    model = record.model()
    model.parameters.vector[:] = np.nan
    Registry().save(model, "own")
    data = ("--dataset", "Arrays('own.npz')")
    result = cli("evaluate", "own@2", *data)
    assert result.code == 0, result.err
    said = "own@2 gives NaN for 4 test samples: its weights are not finite, or an input is not. They count as wrong"
    assert said in result.err.replace("\n", " ")
    document = cli("evaluate", "own@2", *data, "--json").document
    assert (document["unpredicted"], document["metrics"]["accuracy"]) == (4, 0)
    assert cli("evaluate", "own@1", *data, "--json").document["unpredicted"] == 0
    changes = cli("models", "diff", "own@1", "own@2", *data)
    assert changes.code == 0, changes.err
    assert "no class" in changes.out
    example = cli("models", "diff", "own@1", "own@2", *data, "--json").document["predictions"]["examples"][0]
    assert (example["a"], example["b"]) == (0, None)


def test_many_classes_are_shown_by_the_worst(cli: Any) -> None:
    _own(40)
    result = cli("evaluate", "own", "--dataset", "Arrays('own.npz')")
    _, classes = _tables(result.out)
    assert len(classes) == 16
    assert "0 " not in {line[:2] for line in classes[1:]}
    assert "the 15 classes with the lowest F1 of 40; --json has all, and the confusion matrix" in result.err
    document = cli("evaluate", "own", "--dataset", "Arrays('own.npz')", "--json").document
    assert len(document["classes"]) == len(document["confusion"]) == 40


def test_loss_and_metrics_are_shown_where_the_classes_do_not_fit_into_memory(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("cnnkit.evaluation.class_evaluation.confusion_pairs", full)
    result = trained("evaluate", "tiny@1")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == ["metric", "loss", "accuracy"]
    assert "no results per class: not enough memory for 10 classes" in result.err


def test_short_labels_need_no_numbers(cli: Any) -> None:
    _own(3, ("none", "0", "1"))
    _, classes, confusion = _tables(cli("evaluate", "own", "--dataset", "Arrays('own.npz')").out)
    assert [line.split()[0] for line in classes[1:]] == ["none", "0", "1"]
    assert classes[3].endswith("  none (2)")
    assert confusion[0].split() == ["true", "\\", "predicted", "none", "0", "1"]


def test_classes_of_pixels_have_their_intersection_over_union(cli: Any) -> None:
    data = load_dataset("Overlapping(Digits())")
    Registry().save(Sequential(["Conv2D(11, 1)"], (1, 12, 12), labels=data.labels), "net")
    classes = _tables(cli("evaluate", "net", "--dataset", "Overlapping(Digits())").out)[1]
    assert classes[0].split()[:6] == ["class", "pixels", "precision", "recall", "F1", "IoU"]
    said, there = api.load_model("net").predict(data.test.x) == 0, data.test.y == 0
    background = cli("evaluate", "net", "--dataset", "Overlapping(Digits())", "--json").document["classes"][0]
    assert background["iou"] == pytest.approx((said & there).sum() / (said | there).sum())
    assert float(classes[1].split()[5]) == pytest.approx(background["iou"], rel=1e-5)


@pytest.mark.parametrize("layers", [["Flatten()", "Dense(3)"], ["Conv2D(3, 1)"]])
def test_each_of_several_labels_has_its_line(layers: list[str], cli: Any) -> None:
    rng = np.random.default_rng(5)
    model = Sequential(layers, (1, 2, 2), labels=["a", "b", "c"], task=Task("labels", from_logits=True))
    y = rng.integers(0, 2, (20, *model.output_shape))
    y[:, 2] = 0
    x = rng.normal(size=(20, 1, 2, 2)).astype(np.float32)
    np.savez("own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    Registry().save(model, "own")
    asked = ("evaluate", "own", "--dataset", "Arrays('own.npz')", "--loss", "BinaryCrossEntropy()")
    result = cli(*asked)
    of_pixels = y.ndim > 2
    table = [line.split() for line in _tables(result.out)[1]]
    assert table[0] == [
        "label",
        "pixels" if of_pixels else "samples",
        "precision",
        "recall",
        "F1",
        *["IoU"] * of_pixels,
    ]
    said, there = (np.moveaxis(one, 1, -1).reshape(-1, 3) for one in (model.predict_proba(x) >= 0.5, y == 1))
    expected = precision_recall_fscore_support(there, said, average=None, zero_division=np.nan)
    entries = cli(*asked, "--json").document["labels"]
    for place, (entry, line) in enumerate(zip(entries, table[1:], strict=True)):
        assert (entry["label"], entry["samples"]) == ("abc"[place], there[:, place].sum())
        for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
            assert (np.nan if entry[name] is None else entry[name]) == pytest.approx(values[place], nan_ok=True)
        assert line[:2] == [entry["label"], str(entry["samples"])]
        assert ("iou" in entry) == of_pixels
    assert table[3][3] == "nan"  # the label is never there, so that there is no recall


def test_long_labels_are_numbered_so_that_the_matrix_stays_narrow(cli: Any) -> None:
    _own(3, ("a cat", "[bold]dog", "horse\x1b[2J" + 40 * "x"))
    result = cli("evaluate", "own", "--dataset", "Arrays('own.npz')")
    _, classes, confusion = _tables(result.out)
    assert classes[2].startswith("1 [bold]dog")
    assert classes[2].endswith("0 a cat (2)")
    assert confusion[0].split() == ["true", "\\", "predicted", "0", "1", "2"]
    assert confusion[3].startswith("2 horse\\x1b[2J")
    assert "nan" in classes[2]  # nothing is taken for a dog, so that there is no precision


def test_regression_has_loss_and_metrics_alone(cli: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 4)).astype(np.float32)
    np.savez(tmp_path / "values.npz", x=x, y=x[:, :2])
    model = Sequential(["Dense(2)"], (4,))
    Registry().save(model, "line", recipe={"train": {"loss": "MSE()", "metrics": []}})
    plain = cli("evaluate", "line", "--dataset", "Arrays('values.npz')")
    assert [line.split()[0] for line in plain.out.splitlines()] == ["metric", "loss"]
    document = cli("evaluate", "line", "--dataset", "Arrays('values.npz')", "--json").document
    assert "classes" not in document
    assert list(document["metrics"]) == ["loss"]


def test_values_of_a_model_without_recipe_need_no_metrics(cli: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    np.savez(tmp_path / "values.npz", x=x, y=x[:, :2])
    Registry().save(Sequential(["Dense(2)"], (4,)), "line")
    result = cli("evaluate", "line", "--dataset", "Arrays('values.npz')", "--loss", "MSE()", "--json")
    assert result.code == 0, result.err
    assert list(result.document["metrics"]) == ["loss"]


def test_any_metric_can_be_asked_for(trained: Any) -> None:
    result = trained("evaluate", "tiny@1", "--metric", "F1()", "--metric", "ROCAUC()", "--json")
    assert list(result.document["metrics"]) == ["loss", "f1", "roc_auc"]
    model = api.load_model("tiny@1")
    p = model.predict_proba(DIGITS.test.x)
    each = [roc_auc_score(DIGITS.test.y == k, p[:, k]) for k in range(10)]
    assert np.isclose(result.document["metrics"]["roc_auc"], np.mean(each), atol=1e-12)
    result = trained("evaluate", "tiny@1", "--metric", "Recal()")
    assert (result.code, result.out) == (2, "")
    assert "there is no metric named 'Recal'\n  did you mean Recall" in result.err
