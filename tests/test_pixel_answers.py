"""Masks and images that a model makes of image files: as pictures, on the command line and by another process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit import Registry, Sequential, export_onnx, load_model, plot, predict_files, validate_onnx
from cnnkit.cli import main
from cnnkit.errors import PlotError, ShapeError
from cnnkit.evaluation import pixel_answers
from cnnkit.evaluation.pixel_answers import Answer, as_picture, check_pictures, in_colours, mask_labels, write_pictures
from cnnkit.plotting.style import class_colours
from cnnkit.types import Data, Preprocessing, Samples, Task

NAMES = ("background", "cat", "dog")
TASKS = {
    "mask": (Task("classes", from_logits=True), 3, NAMES),
    "there": (Task("labels", from_logits=True), 1, ()),
    "several": (Task("labels", from_logits=True), 3, NAMES),
    "grey": (Task("values"), 1, ()),
    "colour": (Task("values"), 3, ()),
    "two": (Task("values"), 2, ()),
}


def network(name: str) -> Sequential:
    task, count, labels = TASKS[name]
    model = Sequential(
        [f"Conv2D({count}, 3, padding=1)"],
        (1, 6, 8),
        task=task,
        labels=labels,
        preprocessing=Preprocessing(scale=1 / 255),
        input_dtype="uint8",
    )
    rng = np.random.default_rng(1)
    model.load_state({name: rng.normal(size=array.shape) for name, array in model.state().items()})
    return model


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Two image files in the size of the network, as arrays."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).integers(0, 256, (2, 1, 6, 8), dtype=np.uint8)
    Path("scans").mkdir()
    for number, image in enumerate(x):
        Image.fromarray(image[0]).save(f"scans/{number}.png")
    return x


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([*arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_masks_hold_the_indices_of_their_classes_and_their_colours(
    images: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network("mask")
    Registry().save(model, "mask")
    arguments = ("predict", "mask@1", "scans", "--invert", "off", "-o", "masks", "--show", "seen.png", "--json")
    code, out, err = run(capsys, *arguments)
    assert code == 0, err
    document = json.loads(out)
    assert document["outputs"] == ["masks/0-mask.png", "masks/1-mask.png"]
    expected = model.predict(images)
    for number, file in enumerate(document["outputs"]):
        with Image.open(file) as picture:
            assert picture.mode == "P"
            np.testing.assert_array_equal(picture, expected[number])
            palette = picture.getpalette()
        assert palette is not None
        assert bytes(palette[:9]).hex() == "".join(colour[1:] for colour in class_colours(NAMES, 3)).lower()
        np.testing.assert_array_equal(document["predictions"][number]["mask"], expected[number])
    with Image.open("seen.png") as seen:
        assert seen.size == (1600, 900)
    note = run(capsys, "predict", "mask@1", "scans", "--invert", "off", "-o", "masks")[2]
    assert "pictures of the masks: masks/0-mask.png, masks/1-mask.png" in note


def test_another_process_and_two_runtimes_say_the_same(images: Any) -> None:
    for name in ("mask", "grey", "several"):
        model = network(name)
        Registry().save(model, name)
        code = f"""
import numpy as np
from cnnkit import load_model, predict_files
said = predict_files(load_model("{name}@1"), ["scans"], invert=False, pixels=True)
np.save("said.npy", np.stack([one.pixels for one in said]))
"""
        subprocess.run([sys.executable, "-c", code], check=True)
        np.testing.assert_array_equal(np.load("said.npy"), model.predict(images))
        report = validate_onnx(export_onnx(load_model(f"{name}@1"), f"{name}.onnx"), model, images)
        assert [result.ok for result in report.results] == [True, True]


def test_images_are_cut_to_what_a_picture_shows(images: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("grey", "colour"):
        model = network(name)
        Registry().save(model, name)
        code, _, err = run(capsys, "predict", f"{name}@1", "scans/1.png", "--invert", "off", "-o", f"{name}.png")
        assert code == 0, err
        assert f"pictures of the values, 0 as black and 1 as white: {name}.png" in err
        y = model.predict(images)[1].clip(0, 1)
        expected = np.rint(255 * y).astype(np.uint8)
        with Image.open(f"{name}.png") as picture:
            shown = np.asarray(picture)
        np.testing.assert_array_equal(shown, expected[0] if name == "grey" else expected.transpose(1, 2, 0))
        seen = in_colours(*as_picture(model, model.predict(images)[1]))
        np.testing.assert_array_equal(seen, expected)
        assert run(capsys, "predict", f"{name}@1", "scans", "--show", f"{name}-seen.png")[0] == 0


def test_one_label_of_a_pixel_is_a_mask_of_two_classes(images: Any) -> None:
    model = network("there")
    said = predict_files(model, ["scans"], invert=False, pixels=True)
    (file, _) = write_pictures(model, [Answer(one.file, one.index, one.pixels) for one in said], "masks")  # type: ignore[arg-type]  # there are pixels
    with Image.open(file) as picture:
        np.testing.assert_array_equal(picture, model.predict(images)[0, 0])
    assert said[0].labels == ("0",)
    assert said[0].counts == (int(model.predict(images)[0].sum()),)


def test_inputs_of_one_file_and_files_of_one_name_have_names_of_their_own(images: Any) -> None:
    np.save("some.npy", images)
    Path("other").mkdir()
    Image.fromarray(images[0, 0]).save("other/0.png")
    model = network("mask")
    said = predict_files(model, ["scans/0.png", "other/0.png", "some.npy"], invert=False, pixels=True)
    files = write_pictures(model, [Answer(one.file, one.index, one.pixels) for one in said], "masks")  # type: ignore[arg-type]  # there are pixels
    assert [file.name for file in files] == ["0-mask.png", "0-2-mask.png", "some-0-mask.png", "some-1-mask.png"]


@pytest.mark.parametrize(("name", "dtype"), [("mask", "uint8"), ("several", "bool"), ("colour", "float32")])
def test_pixels_are_kept_where_they_are_asked_for_and_small(images: Any, name: str, dtype: str) -> None:
    model = network(name)
    np.save("all.npy", images)
    kept = predict_files(model, ["all.npy"], pixels=True)
    for one, expected in zip(kept, model.predict(images), strict=True):
        assert one.pixels is not None
        assert one.pixels.dtype == dtype
        assert one.pixels.base is None  # of a batch
        np.testing.assert_array_equal(one.pixels, expected)
        if name == "colour":
            np.testing.assert_array_equal(one.ranges, [(c.min(), c.mean(), c.max()) for c in expected])
    assert [one.pixels for one in predict_files(model, ["all.npy"])] == [None, None]
    assert predict_files(model, ["all.npy"]) == kept
    if name != "several":
        assert [one.pixels for one in predict_files(model, ["scans"], show="seen.png")] == [None, None]


def test_more_classes_than_a_byte_holds(images: Any) -> None:
    task = Task("classes", from_logits=True)
    model = Sequential(["Conv2D(257, 1)"], (1, 6, 8), task=task, input_dtype="uint8")
    model.load_state({"conv2d_1.weight": np.zeros((257, 1, 1, 1)), "conv2d_1.bias": np.arange(257.0)})
    np.save("all.npy", images)
    (one, _) = predict_files(model, ["all.npy"], pixels=True)
    assert one.pixels is not None
    assert one.pixels.dtype == np.uint16
    assert (one.counts, np.unique(one.pixels).tolist()) == ((48,), [256])


@pytest.mark.parametrize("name", ["mask", "there"])
def test_a_plot_has_the_labels_of_the_mask(images: Any, name: str) -> None:
    model = network(name)
    y = model.predict(images)
    samples = Samples(images, y.astype(np.float32) if name == "there" else y)
    figure = plot(model, "predictions", data=Data(samples, samples))
    said = y[:, 0] if name == "there" else y
    labels = mask_labels(model)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [labels[int(at)] for at in np.unique(said)]
    assert len(np.unique(said)) > 1


def test_neither_names_nor_files_are_compared_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Name(str):
        """Counts how often it is compared with another one."""

        __hash__ = str.__hash__
        compared = 0

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other)

    def stat(file: Any, **options: Any) -> os.stat_result:
        looked.append(file)
        return real(file, **options)

    real, count = os.stat, 300
    looked: list[Any] = []
    answers = [
        Answer(Name(f"{number // 2}/same.npy"), number % 2, np.zeros((1, 1), np.uint8)) for number in range(count)
    ]
    monkeypatch.setattr(pixel_answers, "write_whole", lambda file, data, error: file.write_bytes(data))
    for _ in range(2):  # the second time, all files exist
        Name.compared, looked = 0, []
        with monkeypatch.context() as watched:
            watched.setattr(os, "stat", stat)
            files = write_pictures(network("mask"), answers, tmp_path / "masks")
        assert len(set(files)) == count
        assert Name.compared < 5 * count
        assert count <= len(looked) < 5 * count
    first = ["same-0-mask.png", "same-1-mask.png", "same-0-2-mask.png", "same-1-2-mask.png"]
    assert [file.name for file in files[:4]] == first


def test_top_chooses_the_classes_of_most_pixels(images: Any) -> None:
    model = network("mask")
    (all_of_them,) = predict_files(model, ["scans/0.png"], invert=False)
    (two,) = predict_files(model, ["scans/0.png"], invert=False, top=2)
    assert two.labels == all_of_them.labels[:2]
    assert list(all_of_them.counts) == sorted(all_of_them.counts, reverse=True)
    assert sum(all_of_them.counts) == 48


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("several", "any of 3 labels for each pixel: a picture shows one label of a pixel, not several at once"),
        ("two", "2 values for each pixel: a picture has 1 value, or 3 for red, green and blue"),
    ],
)
@pytest.mark.parametrize("option", ["-o", "--show"])
def test_what_is_no_picture_is_refused_before_anything_is_predicted(
    images: Any, capsys: pytest.CaptureFixture[str], name: str, message: str, option: str
) -> None:
    Registry().save(network(name), name)
    code, _, err = run(capsys, "predict", f"{name}@1", "scans", option, "all.png")
    assert (code, err) == (2, f"error: the model gives {message}\n")


def test_places_that_cannot_be_written(images: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Registry().save(network("mask"), "mask")
    for path, message in {
        "mask.jpg": "cannot write mask.jpg: expected a file that ends in .png, or a folder in one that exists",
        "no/where": "cannot write no/where: expected a file that ends in .png, or a folder in one that exists",
        "one.png": "one.png is one file, and there are 2 pictures: give a folder",
    }.items():
        code, _, err = run(capsys, "predict", "mask@1", "scans", "--invert", "off", "-o", path)
        assert (code, err) == (2, f"error: {message}\n")
    before = Path("scans/0.png").read_bytes()
    code, _, err = run(capsys, "predict", "mask@1", "scans/0.png", "--invert", "off", "-o", "scans/0.png")
    assert (code, err) == (2, "error: scans/0.png is one of the files to predict: choose another one for the picture\n")
    assert Path("scans/0.png").read_bytes() == before


def test_other_models() -> None:
    classes = Sequential(["Flatten()", "Dense(3)"], (1, 6, 8), task=Task("classes", from_logits=True))
    with pytest.raises(PlotError, match="gives 3 classes: only predictions for each pixel can be written"):
        check_pictures(classes)
    many = Sequential(["Conv2D(257, 1)"], (1, 6, 8), task=Task("classes", from_logits=True))
    with pytest.raises(PlotError, match="gives 257 classes for each pixel: a mask has at most 256"):
        check_pictures(many)
    signals = Sequential(["Conv1D(2, 3)"], (1, 9), task=Task("values"))
    with pytest.raises(ShapeError, match=r"the model gives signals of shape \(2, 7\): use model\.predict\(x\)"):
        predict_files(signals, [])
