"""`explain`: from a reference and an image to a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit import api
from cnnkit.data import load_dataset
from cnnkit.network import Sequential
from cnnkit.registry import Registry
from cnnkit.types import Task

DIGITS = load_dataset("Digits()").test


def test_a_test_sample_has_its_label(trained: Any, tmp_path: Path) -> None:
    result = trained("explain", "tiny@1", "--sample", "3", "--json")
    assert (result.code, result.err) == (0, "")
    document = result.document
    model = api.load_model("tiny@1")
    probabilities = model.predict_proba(DIGITS.x[3:4])[0]
    assert document["target"] == str(DIGITS.y[3])
    assert document["target_known"] is True
    assert document["predicted"] == str(probabilities.argmax())
    assert document["loss"] == pytest.approx(-np.log(probabilities[DIGITS.y[3]]), rel=1e-4)
    assert [layer["name"] for layer in document["layers"]] == ["flatten_1", "dense_1"]
    assert all(layer["gradient_ok"] for layer in document["layers"])
    assert document["path"] == "tiny-1.html"
    assert "How tiny@1 sees one image" in (tmp_path / "tiny-1.html").read_text("utf-8")


def test_an_array_or_an_image_file(trained: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", DIGITS.x[0])
    Image.fromarray((DIGITS.x[0, 0] * 15).astype(np.uint8)).save(tmp_path / "one.png")
    array = trained("explain", "tiny@1", "--image", "one.npy", "-o", "a.html", "--json").document
    picture = trained("explain", "tiny@1", "--image", "one.png", "-o", "b.html", "--json").document
    assert array["target"] == array["predicted"] == picture["predicted"]
    assert array["target_known"] is False
    assert "No true label was given" in (tmp_path / "b.html").read_text("utf-8")
    shown = trained("explain", "tiny@1", "--image", "one.npy")
    assert "(the predicted class; see --label)" in shown.out
    assert "tiny-1.html" in shown.out


def test_an_image_file_is_prepared_and_shown_as_it_is(trained: Any, tmp_path: Path) -> None:
    Image.fromarray(255 - (DIGITS.x[0, 0] * 15).astype(np.uint8)).resize((40, 40)).save(tmp_path / "paper.png")
    for options, done in (((), " (inverted)"), (("--fit",), " (inverted, fitted)"), (("--invert", "off"), "")):
        result = trained("explain", "tiny@1", "--image", "paper.png", *options, "-o", "a.html", "--json")
        assert result.document["image"] == f"paper.png{done}"
        page = (tmp_path / "a.html").read_text("utf-8")
        assert page.count("the image in the file</figcaption>") == 2
    trained("explain", "tiny@1", "--sample", "0", "-o", "b.html")
    assert "the image in the file" not in (tmp_path / "b.html").read_text("utf-8")
    refused = trained("explain", "tiny@1", "--sample", "0", "--fit")
    assert (refused.code, refused.err) == (
        2,
        "error: --fit and --invert prepare image files, and --sample N is none: remove them\n",
    )


def test_a_label_by_name_comes_before_one_by_index(cli: Any, tmp_path: Path) -> None:
    model = Sequential(["Flatten()", "Dense(3)"], (1, 2, 2), labels=["2", "cat", "dog"])
    Registry().save(model, "animals")
    np.save(tmp_path / "one.npy", np.zeros((2, 2)))
    for label, expected in (("cat", "cat"), ("2", "2"), ("1", "cat")):
        result = cli("explain", "animals", "--image", "one.npy", "--label", label, "--json")
        assert result.document["target"] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected one image to explain: give either --image FILE or --sample N"),
        (("--image", "one.npy", "--sample", "0"), "give either --image FILE or --sample N"),
        (("--sample", "360"), "Digits() has test samples 0 to 359, got --sample 360"),
        (("--sample", "-1"), "Digits() has test samples 0 to 359, got --sample -1"),
        (
            ("--sample", "0", "--label", "eleven"),
            "the model has no class 'eleven'; expected an index below 10, or one of:",
        ),
        (("--sample", "0", "--label", "10"), "the model has no class '10'"),
        (("--sample", "0", "--label", "9" * 5000), "the model has no class '999"),
        (("--sample", "0", "--label", "0" * 5000), "the model has no class '000"),
        (("--sample", "0", "--dataset", "Nope()"), "Nope"),
        (("--sample", "0", "--loss", "Nope()"), "Nope"),
        (("--sample", "0", "-o", "no/page.html"), "cannot write no/page.html: expected the name of a file in a folder"),
        (("--image", "missing.png"), "cannot read missing.png: No such file or directory"),
        (("--image", "two.npy"), "two.npy: expected one image, it has 2"),
        (("--image", "wide.npy"), "wide.npy: expected an array of shape (1, 8, 8)"),
        (("--image", "text.png"), "text.png: expected an image"),
        (("--sample", "0", "--dataset", "Arrays('wide.npz')"), "tiny takes inputs of shape (1, 8, 8), the dataset has"),
    ],
)
def test_what_cannot_be_explained_writes_nothing(
    trained: Any, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    np.save(tmp_path / "one.npy", DIGITS.x[0])
    np.save(tmp_path / "two.npy", DIGITS.x[:2])
    np.save(tmp_path / "wide.npy", np.zeros((4, 4)))
    np.savez(tmp_path / "wide.npz", x=np.zeros((40, 1, 4, 4), np.uint8), y=np.arange(40) % 10)
    (tmp_path / "text.png").write_text("no image")
    result = trained("explain", "tiny@1", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err
    assert list(tmp_path.glob("*.html")) == []


def test_a_model_file_chooses_no_foreign_dataset_or_loss(cli: Any) -> None:
    model = Sequential(["Flatten()", "Dense(10)"], (1, 8, 8))
    dataset = {"name": "Arrays('secret.npz')", "digest": ""}
    Registry().save(model, "net", dataset=dataset, recipe={"train": {"loss": "Nope()"}})
    assert "a model file may not load itself" in cli("explain", "net", "--sample", "0").err
    result = cli("explain", "net", "--sample", "0", "--dataset", "Digits()")
    assert "a model file can use only those that come with cnnkit: pass --loss 'Nope()'" in result.err
    assert cli("explain", "net", "--sample", "0", "--dataset", "Digits()", "--loss", "MSE()").code == 0


def test_the_loss_is_the_one_trained_with(trained: Any) -> None:
    recorded = trained("explain", "tiny@1", "--sample", "0", "--json").document["loss"]
    other = trained("explain", "tiny@1", "--sample", "0", "--loss", "MSE()", "--json").document["loss"]
    assert recorded != other
    record = Registry().read("tiny@1")
    Registry().save(record.model(), "other", recipe={"train": {"loss": "MSE()"}}, dataset=record.manifest.dataset)
    assert trained("explain", "other@1", "--sample", "0", "--json").document["loss"] == other


def test_values_have_no_predicted_class(cli: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 1, 2, 2)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=x, y=np.ones((20, 3), np.float32))
    model = Sequential(["Flatten()", "Dense(3)"], (1, 2, 2), task=Task("values"))
    Registry().save(model, "net")
    given = ("explain", "net", "--sample", "0", "--dataset", "Arrays('own.npz')")
    document = cli(*given, "--json").document
    assert (document["target"], document["predicted"], document["probability"]) == ("1, 1, 1", None, None)
    assert (document["gives"], len(document["outputs"])) == ("values", 3)
    result = cli(*given)
    assert result.code == 0
    values = ", ".join(f"{value:.6g}" for value in document["outputs"])
    assert re.search(rf"^predicted +{re.escape(values)}$", result.out, re.MULTILINE)


def test_a_model_of_values_is_explained_on_a_file(cli: Any, tmp_path: Path) -> None:
    Registry().save(Sequential(["Flatten()", "Dense(3)"], (1, 2, 2), task=Task("values")), "net")
    np.save(tmp_path / "one.npy", np.zeros((1, 2, 2), np.float32))
    result = cli("explain", "net", "--image", "one.npy")
    assert (result.code, result.err) == (0, "")
    assert re.search(r"^target +0, 0, 0 \(as predicted\)$", result.out, re.MULTILINE)
    assert cli("explain", "net", "--image", "one.npy", "--label", "1").err == (
        "error: the model gives 3 values: remove --label, and choose a sample with --sample\n"
    )


def test_labels_are_named(cli: Any, tmp_path: Path) -> None:
    model = Sequential(["Flatten()", "Dense(3)"], (1, 2, 2), task=Task("labels", from_logits=True), labels="abc")
    model.load_state(model.state() | {"dense_1.bias": np.array([1, -1, 1]), "dense_1.weight": np.zeros((3, 4))})
    Registry().save(model, "net")
    y = np.tile(np.array([0, 1, 1], np.float32), (20, 1))
    np.savez(tmp_path / "own.npz", x=np.zeros((20, 1, 2, 2), np.float32), y=y)
    result = cli("explain", "net", "--sample", "0", "--dataset", "Arrays('own.npz')")
    assert re.search(r"^predicted +a, c$", result.out, re.MULTILINE)
    assert re.search(r"^target +b, c$", result.out, re.MULTILINE)


def test_weights_that_are_not_finite_get_one_warning(trained: Any) -> None:
    model = Sequential(["Flatten()", "Dense(10)"], (1, 8, 8))
    model.parameters.vector[:] = np.nan
    Registry().save(model, "gone")
    result = trained("explain", "gone", "--sample", "0", "--dataset", "Digits()", "--json")
    assert result.code == 0
    assert result.err == "warning: gone@1 gives NaN for the image: its weights are not finite, or an input is not\n"
    assert result.document["predicted"] is None


def test_one_layer_in_depth(trained: Any, tmp_path: Path) -> None:
    result = trained("explain", "tiny@1", "--sample", "3", "--layer", "dense_1", "--json")
    assert [layer["name"] for layer in result.document["layers"]] == ["dense_1"]
    assert result.document["path"] == "tiny-1-dense_1.html"
    assert "How tiny@1 sees one image: dense_1" in (tmp_path / "tiny-1-dense_1.html").read_text("utf-8")
    refused = trained("explain", "tiny@1", "--sample", "3", "--layer", "dense")
    assert (refused.code, refused.err) == (
        2,
        "error: tiny@1 has no layer 'dense': expected one of flatten_1, dense_1\n",
    )
