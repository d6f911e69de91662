"""Predictions for files: the library's own, of all files or of none, and hints where an image looks inverted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image

from cnnkit.data import MNIST, ImageFolder, default_data_dir, load_dataset
from cnnkit.errors import CnnkitError, ConfigError, DataError, PlotError
from cnnkit.evaluation import predict as prediction
from cnnkit.evaluation.file_inputs import EMPTY, INVERTED, TURNED, Invert, Reading, read_file, trained_level
from cnnkit.evaluation.predict import predict_files
from cnnkit.network import Sequential
from cnnkit.registry import Registry
from cnnkit.training import Trainer
from cnnkit.types import Array, Framing, Preprocessing, Resize

DIGITS = load_dataset("Digits()")
X = DIGITS.test.x[:5]
MODEL = Sequential(
    ["Flatten()", "Dense(10)"], DIGITS.input_shape, labels=DIGITS.labels, preprocessing=DIGITS.preprocessing
)


def write(path: Path, image: Array, white: float = 16) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.round(image * (255 / white)).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, image in enumerate(X):
        write(tmp_path / "images" / f"{index}.png", image[0])
    return tmp_path / "images"


def test_images_are_predicted_as_the_arrays_that_they_show(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", X)
    first, array, again = folder / "3.png", tmp_path / "all.npy", folder
    predictions = predict_files(MODEL, [first, array, again], top=10)
    expected = MODEL.predict_proba(X[[3, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4]])
    files = [first, *[array] * 5, *(folder / f"{index}.png" for index in range(5))]
    assert [one.file for one in predictions] == list(map(str, files))
    assert [one.index for one in predictions] == [0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0]
    for one, row in zip(predictions, expected, strict=True):
        order = (-row).argsort()
        assert one.labels == tuple(map(str, order))
        assert_allclose(one.probabilities, row[order], rtol=0.05)  # pixels have 256 levels, not 17
    assert all(len(one.labels) == len(one.probabilities) == 1 for one in predict_files(MODEL, [folder]))


def test_batches_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = predict_files(MODEL, [folder])
    sizes, predict_proba = [], Sequential.predict_proba

    def counting(model: Sequential, x: Array) -> Array:
        sizes.append(len(x))
        return predict_proba(model, x)

    monkeypatch.setattr(prediction, "BATCH_BYTES", 2 * 64 * 4)
    monkeypatch.setattr(Sequential, "predict_proba", counting)
    cut = predict_files(MODEL, [folder])
    assert sizes == [2, 2, 1]
    assert [one.labels for one in cut] == [one.labels for one in whole]
    assert_allclose([one.probabilities for one in cut], [one.probabilities for one in whole], rtol=1e-6)


def test_all_files_that_cannot_be_used_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "wrong.npy", np.zeros((3, 3)))
    with pytest.raises(DataError) as caught:
        predict_files(MODEL, [tmp_path / "gone.png", folder, tmp_path / "empty", tmp_path / "wrong.npy"])
    first, *lines = str(caught.value).splitlines()
    assert first == "4 files cannot be used, so nothing was predicted:"
    names = ("gone.png", "images/2.png", "empty", "wrong.npy")
    assert len(lines) == 4
    assert all(name in line for name, line in zip(names, lines, strict=True))


def test_files_that_cannot_be_used_are_left_out_if_somebody_is_told(folder: Path, tmp_path: Path) -> None:
    expected = predict_files(MODEL, [folder])
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    told: list[str] = []
    assert predict_files(MODEL, [tmp_path / "gone.png", folder], refused=told.append) == expected[:2] + expected[3:]
    assert [name in text for name, text in zip(("gone.png", "images/2.png"), told, strict=True)] == [True, True]
    with pytest.raises(DataError, match=r"gone\.png"):
        predict_files(MODEL, [tmp_path / "gone.png"], refused=told.append)


def test_after_the_first_such_file_no_time_is_spent_on_predictions(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "0.png").write_bytes(b"")
    monkeypatch.setattr(prediction, "BATCH_BYTES", 1)
    monkeypatch.setattr(Sequential, "predict_proba", lambda self, x: pytest.fail("the model was asked"))
    with pytest.raises(DataError, match=r"0\.png: expected an image"):
        predict_files(MODEL, [folder])


def test_one_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^cannot read .*gone\.png: No such file or directory$"):
        predict_files(MODEL, [tmp_path / "gone.png"])


def test_without_pillow_one_message_is_enough(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(CnnkitError, match=r"^image files need Pillow, which is missing"):
        predict_files(MODEL, [folder])


def test_no_images_are_no_error(tmp_path: Path) -> None:
    np.save(tmp_path / "none.npy", np.zeros((0, 1, 8, 8)))
    assert predict_files(MODEL, [tmp_path / "none.npy"]) == []
    assert predict_files(MODEL, []) == []


def test_a_model_without_labels_has_numbers(folder: Path) -> None:
    model = Sequential(["Flatten()", "Dense(2)"], (1, 8, 8))
    assert {one.labels[0] for one in predict_files(model, [folder])} <= {"0", "1"}


def test_what_looks_inverted_is_turned_and_gets_a_hint_where_it_is_not(folder: Path) -> None:
    inverted = write(folder / "9.png", 16 - X[0, 0])
    left = predict_files(MODEL, [folder], level=0.3, invert=False)
    assert [(one.hints, one.inverted) for one in left] == [((), False)] * 5 + [((INVERTED,), False)]
    right = predict_files(MODEL, [folder / "0.png"])
    for turned in (
        predict_files(MODEL, [inverted], invert=True),
        predict_files(MODEL, [inverted], invert=True, level=0.3),
        predict_files(MODEL, [folder], level=0.3)[5:],
    ):
        assert (turned[0].hints, turned[0].inverted) == ((), True)
        assert turned[0].labels == right[0].labels
        assert turned[0].probabilities == pytest.approx(right[0].probabilities, rel=0.01)
    assert not any(one.inverted for one in predict_files(MODEL, [folder], level=0.3)[:5])
    assert predict_files(MODEL, [folder / "0.png"], invert=True, level=0.3)[0].hints == (TURNED,)


def test_the_white_of_a_dim_photograph_is_its_own(tmp_path: Path) -> None:
    dim = write(tmp_path / "dim.png", (16 - X[0, 0]) / 3)
    bright = write(tmp_path / "bright.png", X[0, 0] / 3)
    turned, right = predict_files(MODEL, [dim, bright], level=0.3, top=10)
    assert (turned.inverted, right.inverted) == (True, False)
    assert_allclose(turned.probabilities, right.probabilities, rtol=0.05)


@pytest.mark.parametrize("level", [None, 0.5, 0.9])
def test_nothing_is_turned_or_said_unless_the_training_images_are_known_to_be_dark(
    folder: Path, level: float | None
) -> None:
    inverted = write(folder / "9.png", 16 - X[0, 0])
    found = predict_files(MODEL, [inverted], level=level)[0]
    assert (found.hints, found.inverted) == ((), False)


def test_photographs_that_are_rather_dark_are_not_turned_but_named(folder: Path) -> None:
    inverted = write(folder / "9.png", 16 - X[0, 0])
    found = predict_files(MODEL, [inverted], level=0.45)[0]
    assert (found.hints, found.inverted) == ((INVERTED,), False)


def test_invert_is_one_of_three() -> None:
    with pytest.raises(ConfigError, match="invert must be 'auto', True or False, got 'on'"):
        predict_files(MODEL, [], invert="on")  # type: ignore[arg-type]  # wrong on purpose


def test_colour_is_not_judged(tmp_path: Path) -> None:
    write(tmp_path / "9.png", 16 - X[0, 0])
    model = Sequential(["Flatten()", "Dense(2)"], (3, 8, 8), preprocessing=Preprocessing(1 / 255, (0.1,), (1.0,)))
    found = predict_files(model, [tmp_path / "9.png"])[0]
    assert (found.hints, found.inverted) == ((), False)


@pytest.mark.parametrize("invert", ["auto", True, False])
def test_a_blank_image_is_named(tmp_path: Path, invert: Invert) -> None:
    for value in (0, 3, 16):
        blank = write(tmp_path / "blank.png", np.full((40, 40), value))
        assert predict_files(MODEL, [blank], level=0.3, invert=invert)[0].hints == (EMPTY,)


@pytest.mark.parametrize(("bits", "factor"), [(8, 257), (12, 16)])
def test_few_bits_in_sixteen_are_named(tmp_path: Path, bits: int, factor: int) -> None:
    values = np.zeros((8, 8), np.uint16)
    values[2:5, 2:5] = 2**bits - 1
    for name, scale in (("few", 1), ("all", factor)):
        Image.fromarray(values * np.uint16(scale)).save(tmp_path / f"{name}.png")
    few, whole = (predict_files(MODEL, [tmp_path / f"{name}.png"])[0].hints for name in ("few", "all"))
    assert whole == ()
    assert few[-1] == (
        f"has 16 bits, of which white is 65535, and no value above {2**bits - 1}: if its values have {bits} bits, "
        f"multiply them by {factor} and save it again"
    )


def on_paper(path: Path, image: Array) -> Path:
    """A digit of 8x8 pixels, large and dark on a dim sheet, in a corner, with more light on the right."""
    large = np.kron(image, np.ones((9, 9))) / 16
    sheet = np.zeros((200, 240))
    sheet[110:182, 20:92] = large
    light = np.linspace(90, 170, 240) * (1 - 0.7 * sheet)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.round(light).astype(np.uint8)).save(path)
    return path


def test_fit_finds_what_is_on_paper_and_frames_it_as_the_dataset_does(tmp_path: Path) -> None:
    model = Sequential(
        ["Flatten()", "Dense(10)"], (1, 8, 8), preprocessing=DIGITS.preprocessing, framing=DIGITS.framing
    )
    for index, digit in enumerate(X[:, 0]):
        file = on_paper(tmp_path / f"{index}.png", digit)
        inputs = read_file(file, model, Reading(fit=True))
        assert inputs.inverted
        assert inputs.hints == ()
        columns = np.flatnonzero((digit > 1).any(axis=0))
        left = (8 - len(columns)) // 2  # its box is in the middle
        expected = np.zeros((8, 8))
        expected[:, left : left + len(columns)] = digit[:, columns]
        assert np.corrcoef(inputs.x.ravel(), expected.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("resize", get_args(Resize))
def test_files_are_resized_as_the_images_that_a_model_was_trained_on(
    resize: Resize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for number in range(8):
        path = tmp_path / "photos" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 50, 3), dtype=np.uint8)).save(path)
    data = ImageFolder(tmp_path / "photos", size=10, resize=resize).load(tmp_path)
    model = Sequential(["Flatten()", "Dense(2)"], (3, 10, 10), preprocessing=data.preprocessing, input_dtype="uint8")
    Trainer(epochs=1).fit(model, data)
    registry = Registry(tmp_path / "registry")
    loaded = registry.load(registry.save(model, "photos").ref)
    assert loaded.framing == Framing(resize)

    files = [tmp_path / "photos" / "dog" / "0.png", tmp_path / "photos" / "cat" / "1.png"]
    read = [read_file(file, loaded).x[0] for file in files]
    known = np.concatenate([data.train.x, data.test.x]).astype(np.float32)
    for image in read:
        assert np.abs(known - image).max(axis=(1, 2, 3)).min() <= 0.51  # the dataset has whole numbers
    others = [kind for kind in get_args(Resize) if kind != resize]
    for other in others:  # positive control: each way gives another image
        loaded.framing = Framing(other)
        assert np.abs(read_file(files[0], loaded).x[0] - read[0]).max() > 10

    files = sorted((tmp_path / "photos").rglob("*.png"))
    rows = [known[np.abs(known - read_file(file, model).x).max(axis=(1, 2, 3)).argmin()] for file in files]
    given = [one.probabilities[0] for one in predict_files(model, files)]
    assert_allclose(given, model.predict_proba(np.stack(rows)).max(axis=1), atol=0.05)  # the rows are rounded


def test_show_draws_the_images_of_the_first_files(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "all.npy", X)
    said = predict_files(MODEL, [tmp_path / "all.npy", folder], show=tmp_path / "seen.png")
    assert said == predict_files(MODEL, [tmp_path / "all.npy", folder])
    with Image.open(tmp_path / "seen.png") as drawn:
        assert drawn.size == (1600, 900)
    with pytest.raises(PlotError, match="there is nothing to show: none of the files is an image"):
        predict_files(MODEL, [tmp_path / "all.npy"], show=tmp_path / "none.png")
    with pytest.raises(PlotError, match=r"cannot write .*seen\.txt"):
        predict_files(MODEL, [folder / "gone.png"], show=tmp_path / "seen.txt")


def test_no_more_pictures_are_kept_than_are_drawn(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(prediction, "MOST_SHOWN", 3)
    monkeypatch.setattr(
        "cnnkit.plotting.prepared_inputs.write_prepared",
        lambda images, path, classes: drawn.extend(one.name for one in images),
    )
    predict_files(MODEL, [folder], show=tmp_path / "seen.png")
    assert drawn == [str(folder / f"{index}.png") for index in range(3)]


def test_a_caption_that_names_only_some_says_so() -> None:
    labels = ("background", "7", "4", "1")
    captions = [
        prediction._caption(one)
        for one in (
            prediction.Prediction("a.png", 0, labels[:3], counts=(9, 2, 1), inverted=True),
            prediction.Prediction("a.png", 0, labels, counts=(9, 2, 1, 1), inverted=True),
            prediction.Prediction("a.png", 0, values=(0.5, 1.0, 2.0, 3.0)),
            prediction.Prediction("a.png", 0, ("7",), (0.9999,)),
        )
    ]
    assert captions == ["inverted: background, 7, 4", "inverted: background, 7, 4, …", "0.5, 1, 2, …", "7  >99.9%"]


def test_weights_that_are_not_finite_predict_nothing(tmp_path: Path) -> None:
    model = Sequential(["Flatten()", "Dense(10)"], (1, 8, 8))
    model.parameters.vector[:] = np.nan
    np.save(tmp_path / "one.npy", np.zeros((1, 8, 8)))
    with pytest.raises(DataError, match=r"the model gives NaN for .*one.npy: its weights are not finite"):
        predict_files(model, [tmp_path / "one.npy"])


def test_the_level_is_the_mean_that_is_taken_off() -> None:
    assert trained_level(MNIST.preprocessing) == 0.1307
    assert trained_level(DIGITS.preprocessing) is None
    assert trained_level(Preprocessing(1, (0.2, 0.4, 0.6), (1, 1, 1))) == pytest.approx(0.4)


def test_arrays_are_not_inverted(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(DataError, match="--invert on inverts image files, and this is an array"):
        predict_files(MODEL, [tmp_path / "one.npy"], invert=True)


def test_top_must_be_a_number_of_labels() -> None:
    with pytest.raises(ConfigError, match="top must be a whole number"):
        predict_files(MODEL, [], top=0)


@pytest.mark.skipif(not os.environ.get("CNNKIT_DATA_DIR"), reason="CNNKIT_DATA_DIR does not name a folder with MNIST")
def test_real_digits_as_files_both_ways(tmp_path: Path) -> None:
    data = load_dataset("MNIST()", default_data_dir())
    model = Sequential(["Flatten()", "Dense(10)"], data.input_shape, preprocessing=data.preprocessing)
    x = data.test.x[:200]
    for index, image in enumerate(x):
        write(tmp_path / "right" / f"{index:03}.png", image[0], 255)
        write(tmp_path / "inverted" / f"{index:03}.png", 255 - image[0], 255)
    expected = model.predict_proba(x).max(axis=1)
    right = predict_files(model, [tmp_path / "right"])
    left = predict_files(model, [tmp_path / "inverted"], invert=False)
    turned = predict_files(model, [tmp_path / "inverted"], invert=True)
    found = predict_files(model, [tmp_path / "inverted"])
    assert {one.hints for one in right + turned + found} == {()}
    assert {one.hints for one in left} == {(INVERTED,)}
    assert [sum(one.inverted for one in each) for each in (right, turned, found)] == [0, 200, 200]
    for predictions in (right, turned, found):
        assert_allclose([one.probabilities[0] for one in predictions], expected, rtol=1e-6)


def test_the_picture_replaces_none_of_the_images(folder: Path) -> None:
    before = (folder / "3.png").read_bytes()
    for files in ([folder / "3.png"], [folder]):
        with pytest.raises(PlotError, match=r"3\.png is one of the files to predict: choose another one for the pict"):
            predict_files(MODEL, files, show=folder / ".." / "images" / "3.png")
    assert (folder / "3.png").read_bytes() == before
