"""`attribute`: from a reference and an image to a picture, and to numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit import attribute
from cnnkit.data import load_dataset
from cnnkit.network import Sequential
from cnnkit.registry import Registry
from cnnkit.types import Task
from cnnkit.wording import percent

DIGITS = load_dataset("Digits()").test


@pytest.fixture
def cli_with_models(cli: Any) -> Any:
    net = Sequential(
        ["Conv2D(3, 3)", "ReLU()", "Flatten()", "Dense(10)"], (1, 8, 8), labels=[f"no. {digit}" for digit in range(10)]
    )
    Registry().save(net, "net")
    Registry().save(Sequential(["Dense(2)"], (12,), task=Task("values", from_logits=False)), "vector")
    return cli


@pytest.mark.parametrize("method", ["gradcam", "integrated-gradients", "occlusion", "gradient"])
def test_a_picture_and_its_numbers(method: Any, cli_with_models: Any, tmp_path: Path) -> None:
    model = Registry().load("net@1")
    np.save(tmp_path / "one.npy", DIGITS.x[4])
    result = cli_with_models("attribute", "net@1", "one.npy", "--method", method, "--json")
    assert (result.code, result.err) == (0, "")
    document = result.document
    assert document["index"] == model.predict(DIGITS.x[4:5])[0]
    assert document["target"] == f"no. {document['index']}"
    assert document["probability"] == pytest.approx(model.predict_proba(DIGITS.x[4:5]).max())
    assert document["score"] == pytest.approx(model.logits(DIGITS.x[4:5]).max(), rel=1e-5)
    assert document["layer"] == ("relu_1" if method == "gradcam" else None)
    np.testing.assert_allclose(document["map"], attribute(model, DIGITS.x[4:5], method=method)[0], rtol=1e-4, atol=1e-9)
    assert document["path"] == f"net-1-one-{method}.png"
    with Image.open(tmp_path / document["path"]) as picture:
        assert picture.size == (1600, 900)


def test_a_test_sample(trained: Any) -> None:
    document = trained("attribute", "tiny@1", "--sample", "4", "--method", "gradient", "--json").document
    assert (document["image"], document["path"]) == ("test sample 4 of Digits()", "tiny-1-sample-4-gradient.png")
    assert np.array_equal(document["map"], attribute(Registry().load("tiny@1"), DIGITS.x[4:5], method="gradient")[0])
    refused = trained("attribute", "tiny@1", "--sample", "4", "--method", "gradient", "--fit")
    assert refused.err == "error: --fit and --invert prepare image files, and --sample N is none: remove them\n"


@pytest.mark.parametrize(
    ("dataset", "gives", "true"),
    [
        ("Digits()", "classes", lambda y: str(y)),
        ("MeanInk(Digits())", "values", lambda y: f"{y[0]:.6g}"),
        ('Overlapping(Digits(), targets="labels")', "labels", lambda y: ", ".join(map(str, np.flatnonzero(y)))),
    ],
)
def test_what_is_true_of_a_test_sample_is_said(dataset: str, gives: Any, true: Any, cli: Any, tmp_path: Path) -> None:
    data = load_dataset(dataset)
    outputs = 1 if gives == "values" else 10
    task = Task(gives, from_logits=gives != "values")
    Registry().save(Sequential(["Flatten()", f"Dense({outputs})"], data.test.x.shape[1:], task=task), "net")
    asked = ("attribute", "net", "--sample", "7", "--dataset", dataset, "--method", "gradient")
    expected = true(data.test.y[7])
    assert cli(*asked, "--json").document["true"] == expected
    assert f"\ntrue    {expected}\n" in cli(*asked, "-o", "a.svg").out
    assert f", true {expected}<" in (tmp_path / "a.svg").read_text("utf-8")
    np.save(tmp_path / "one.npy", data.test.x[7])
    assert cli("attribute", "net", "one.npy", "--method", "gradient", "--json").document["true"] is None


def pixels(gives: Any, outputs: int, labels: list[str]) -> Sequential:
    """Of each output the input, times 1, 2, ... for the outputs: the last class is that of all bright pixels."""
    net = Sequential(
        [f"Conv2D({outputs}, 1)"], (1, 4, 4), labels=labels, task=Task(gives, from_logits=gives != "values")
    )
    weights = np.arange(1, outputs + 1).reshape(-1, 1, 1, 1)
    net.load_state({"conv2d_1.weight": weights, "conv2d_1.bias": np.array([0.5, 0, 0][:outputs])})
    return net


def test_of_pixels_it_says_which_are_counted(cli: Any, tmp_path: Path) -> None:
    Registry().save(pixels("classes", 3, ["Background", "x", "y"]), "segment")
    x = np.zeros((1, 4, 4), np.float32)
    x[0, 1, :3] = 1
    np.save(tmp_path / "one.npy", x)
    asked = ("attribute", "segment", "one.npy", "--method", "gradient")
    document = cli(*asked, "--json").document
    assert (document["target"], document["pixels"], round(document["score"], 4)) == ("y", 3, 3)  # not most pixels
    said = cli(*asked, "-o", "a.svg")
    assert (said.err, "\nmean over  3 pixels predicted so\n" in said.out) == ("", True)
    assert "what speaks for y (mean logit 3 of 3 pixels predicted so)" in (tmp_path / "a.svg").read_text("utf-8")
    none = cli(*asked, "--class", "x")
    assert none.err == "warning: no pixel is predicted to be x: the map is of the mean logit over all pixels\n"
    assert "\nmean over  all 16 pixels, none of which is predicted so\n" in none.out
    np.save(tmp_path / "one.npy", 0 * x)
    assert cli(*asked, "--json").document["target"] == "Background"


def test_of_signals_it_counts_positions(cli: Any, tmp_path: Path) -> None:
    task = Task("classes", from_logits=True)
    Registry().save(Sequential(["Conv1D(3, 1)"], (1, 6), task=task), "net")
    np.save(tmp_path / "one.npy", np.zeros((1, 6)))
    result = cli("attribute", "net", "one.npy", "--method", "gradient", "--class", "2")
    assert "no position is predicted to be class 2: the map is of the mean logit over all positions" in result.err
    assert "\nmean over  all 6 positions, none of which is predicted so\n" in result.out


def test_a_value_of_each_pixel_is_no_value_of_0(cli: Any, tmp_path: Path) -> None:
    Registry().save(pixels("values", 1, []), "denoise")
    np.save(tmp_path / "one.npy", np.ones((1, 4, 4)))
    said = cli("attribute", "denoise", "one.npy", "--method", "gradient", "-o", "a.svg")
    assert "\noutput     0\nvalue      1.5\nmean over  all 16 pixels\n" in said.out
    assert "what speaks for the value (mean 1.5 of all 16 pixels)" in (tmp_path / "a.svg").read_text("utf-8")


def test_a_map_without_anything_is_said_to_be_one(cli_with_models: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((1, 8, 8)))
    result = cli_with_models("attribute", "net", "one.npy", "--class", "3", "--method", "occlusion", "-o", "a.svg")
    assert result.err == (
        "warning: by this method nothing speaks for no. 3, the map is 0 everywhere: use another --method\n"
    )
    assert ">occlusion: 0 everywhere<" in (tmp_path / "a.svg").read_text("utf-8")


def test_options_and_what_is_printed(cli_with_models: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", DIGITS.x[0])
    result = cli_with_models(
        "attribute", "net", "one.npy", "--method", "integrated-gradients", "--class", "no. 3", "--baseline", "2",
        "--steps", "3", "-o", "a.svg",
    )  # fmt: skip
    lines = dict(line.split(maxsplit=1) for line in result.out.splitlines())
    assert lines["class"].startswith("no. 3 (")
    assert lines["completeness"].startswith("adds up to the difference from the baseline within ")
    assert (lines["image"], lines["file"]) == ("one.npy", "a.svg")
    assert "what speaks for no. 3" in (tmp_path / "a.svg").read_text("utf-8")
    by_index = cli_with_models("attribute", "net", "one.npy", "--class", "3", "--layer", "relu_1", "--json").document
    assert (by_index["target"], by_index["layer"]) == ("no. 3", "relu_1")


def test_a_vector_has_numbers_and_no_picture(cli_with_models: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(12.0))
    result = cli_with_models("attribute", "vector", "one.npy", "--class", "1", "--method", "integrated-gradients")
    assert result.code == 0, result.err
    weights = Registry().load("vector@1").state()["dense_1.weight"][1] * np.arange(12)
    assert len(result.out.splitlines()) == 6 + 1 + 10
    assert f"{np.abs(weights).argmax():2}" in result.out.splitlines()[7]
    assert list(tmp_path.glob("*.png")) == []
    refused = cli_with_models("attribute", "vector", "one.npy", "--class", "1", "-o", "a.png")
    assert (refused.code, refused.err) == (
        2,
        "error: vector@1 takes inputs of shape (12,), of which no picture is drawn: remove --output\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net",), "expected one image: give either IMAGE, the path of a file, or --sample N"),
        (
            ("net", "one.npy", "--sample", "0"),
            "expected one image: give either IMAGE, the path of a file, or --sample N",
        ),
        (("one.npy", "net@1"), "the arguments seem to be swapped: expected cnnkit attribute net@1 one.npy"),
        (("net", "one.npy", "--class", "ten"), "the model has no class 'ten': expected one of: no. 0, no. 1"),
        (("net", "one.npy", "--class", "10"), "expected a class from 0 to 9, got 10"),
        (("net", "one.npy", "--steps", "3"), "the method gradcam takes layer, and not steps: remove it"),
        (("net", "one.npy", "--layer", "dense_1"), "the network has no layer 'dense_1' with maps"),
        (("net", "one.npy", "-o", "a.jpeg"), "cannot write a.jpeg: expected a name that ends in .png, .svg, .pdf"),
        (("vector", "two.npy"), "the model gives 2 values: say of which one, as target=0 to 1, or --class 0"),
        (("vector", "two.npy", "--class", "0"), "Grad-CAM needs a layer with maps"),
    ],
)
def test_what_does_not_fit(arguments: Any, message: str, cli_with_models: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", DIGITS.x[0])
    np.save(tmp_path / "two.npy", np.ones(12))
    result = cli_with_models("attribute", *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_probability_is_written_as_in_the_picture(trained: Any) -> None:
    command = ("attribute", "tiny@1", "--sample", "0", "--method", "gradient")
    share = trained(*command, "--json").document["probability"]
    assert f"({percent(share)})\n" in trained(*command).out
