"""Units: whatever way inputs come, they are in the units of the training samples, or that they are not is said."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from cnnkit import Registry, load_dataset
from cnnkit.errors import CnnkitError, UnitsWarning
from cnnkit.evaluation.class_evaluation import evaluate_classes
from cnnkit.evaluation.predict import predict_files
from cnnkit.input_units import Range, Scale, in_other_units, range_of, scale_of_images, units_of
from cnnkit.network import Sequential
from cnnkit.training import Trainer
from cnnkit.types import Array, Data, Preprocessing, Samples
from tests.training.test_checkpoint import StopsAfter

COUNT, SIDE = 60, 8
Y = np.arange(COUNT) % 3
LAYERS = ["Flatten()", "Dense(3)"]


def images(highest: int, dtype: str, layout: str = "NCHW") -> Array:
    """Images that reach from 0 to `highest`."""
    x = np.random.default_rng(0).integers(0, highest + 1, (COUNT, 1, SIDE, SIDE + 1))
    return (x.transpose(0, 2, 3, 1) if layout == "NHWC" else x).astype(dtype)


def model_of(data: Data, input_dtype: Literal["uint8", "float32"] = "uint8") -> Sequential:
    model = Sequential(LAYERS, data.input_shape, preprocessing=data.preprocessing, input_dtype=input_dtype)
    Trainer(epochs=1, workers=1).fit(model, data)
    return model


WHAT_HAPPENS = {
    ("uint8", 1, "NCHW", "train"): "x 1",
    ("uint8", 16, "NCHW", "train"): "x 1/16",
    ("uint8", 255, "NCHW", "train"): "x 1/255",
    ("float32", 1, "NCHW", "train"): "x 1",
    ("float32", 16, "NCHW", "train"): "x 1",
    ("float32", 255, "NCHW", "train"): "x 1",
    ("uint8", 1, "NCHW", "predict"): "hint",
    ("uint8", 16, "NCHW", "predict"): "taken",  # dark images
    ("uint8", 255, "NCHW", "predict"): "taken",
    ("float32", 1, "NCHW", "predict"): "hint",
    ("float32", 16, "NCHW", "predict"): "hint",
    ("float32", 255, "NCHW", "predict"): "taken",
} | {
    (dtype, highest, "NHWC", way): "axes"
    for dtype in ("uint8", "float32")
    for highest in (1, 16, 255)
    for way in ("train", "predict")
}


def trained_from_a_file(x: Array, folder: Path) -> str:
    """What becomes of a file's images in training: what they are multiplied with."""
    np.savez(folder / "mine.npz", x=x, y=Y)
    data = load_dataset("Arrays('mine.npz')", folder)
    model = model_of(data)
    assert model.input_range == range_of(data.train.x)
    denominator = round(1 / model.preprocessing.scale)
    return "x 1" if denominator == 1 else f"x 1/{denominator}"


def predicted_from_python(x: Array, folder: Path) -> str:
    """What becomes of an array that is given to a model which was trained on bytes from 0 to 255."""
    np.savez(folder / "bytes.npz", x=images(255, "uint8"), y=Y)
    model = model_of(load_dataset("Arrays('bytes.npz')", folder))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.predict(x)
    for warning in caught:
        assert str(warning.message) == (
            f"the inputs have values from 0 to {x.max():g}, and the model was trained on values from 0 to 255: these "
            "seem to be in other units; convert them to those of the training samples"
        )
    return "hint" if caught else "taken"


@pytest.mark.parametrize(("dtype", "highest", "layout", "way"), WHAT_HAPPENS, ids=lambda value: str(value))
def test_each_combination(dtype: str, highest: int, layout: str, way: str, tmp_path: Path) -> None:
    ask = {"train": trained_from_a_file, "predict": predicted_from_python}[way]
    x, expected = images(highest, dtype, layout), WHAT_HAPPENS[dtype, highest, layout, way]
    if expected != "axes":
        assert ask(x, tmp_path) == expected
        return
    with pytest.raises(CnnkitError, match=re.escape("write x.transpose(0, 3, 1, 2)")):
        ask(x, tmp_path)


WHITE = {
    "uint8 masks": ("uint8", 1, 1),
    "uint8 of 17 levels": ("uint8", 16, 16),
    "uint8 photographs": ("uint8", 255, 255),
    "shares": ("float32", 1, 1),
    "float photographs": ("float32", 255, 255),
}


@pytest.mark.parametrize(("dtype", "highest", "white"), WHITE.values(), ids=WHITE.keys())
@pytest.mark.parametrize("from_file", [True, False], ids=["Arrays", "arrays"])
def test_image_files_come_in_the_units_of_the_training(
    dtype: str, highest: int, white: int, from_file: bool, tmp_path: Path
) -> None:
    x = images(highest, dtype)
    data = Data(Samples(x, Y), Samples(x, Y))
    if from_file:
        np.savez(tmp_path / "mine.npz", x=x, y=Y)
        data = load_dataset("Arrays('mine.npz')", tmp_path)
    model = model_of(data)
    shown = np.random.default_rng(1).integers(0, 2, (SIDE, SIDE + 1)) * 255
    Image.fromarray(shown.astype(np.uint8)).save(tmp_path / "one.png")
    (found,) = predict_files(model, [tmp_path / "one.png"], top=3)
    expected = model.predict_proba((shown[None, None] / 255 * white).astype(np.float32))[0]
    if highest == 16 and not from_file:
        assert "is assumed to range from 0 (black) to 16 (white)" in found.hints[0]
    else:
        assert found.hints == ()
    np.testing.assert_allclose(found.probabilities, np.sort(expected)[::-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("scale", "known", "expected"),
    [
        (1 / 255, None, (0, 255, True)),
        (1.0, None, (0, 1, True)),
        (1 / 255, (0, 243), (0, 255, True)),
        (1 / 16, (0, 16), (0, 16, True)),
        (1 / 255, (0, 1), (0, 1, True)),  # of a model that was trained in other units than it says
        (1.0, (0.1, 0.9), (0, 1, True)),
        (1.0, (3, 250), (0, 255, True)),
        (1.0, (-1, 1), (-1, 1, True)),
        (1.0, (-2.1, 2.6), (-2.1, 2.6, False)),
        (1.0, (0, 16), (0, 16, False)),
        (1.0, (0, 4095), (0, 4095, False)),
    ],
)
def test_what_white_is(scale: float, known: Range | None, expected: Scale) -> None:
    found = scale_of_images(Preprocessing(scale), known, (1, 8, 8))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("known", "given", "differ"),
    [
        ((0, 255), (0, 1), True),
        ((0, 255), (0, 16), True),
        ((0, 255), (0, 40), False),  # a dark photograph
        ((0, 255), (0, 0), False),  # a black one
        ((0, 255), (-2.1, 2.6), True),
        ((0, 255), (0, 65535), True),
        ((0, 16), (0, 255), True),
        ((0, 16), (0, 1), True),
        ((0, 1), (0, 255), True),
        ((0, 1), (0, 16), True),
        ((0, 1), (-1, 1), True),
        ((0, 1), (0.2, 1.1), False),
        ((-1, 1), (0, 255), True),
        ((-1, 1), (0, 1), True),
        ((-1, 1), (0.3, 1), False),  # a light photograph
        ((-1, 1), (-0.5, 1), False),
        ((-2.1, 2.6), (0, 1), False),
        ((0, 65535), (0, 255), True),
        ((0, 65535), (0, 4095), True),
        ((0, 65535), (0, 30000), False),
        ((0, 4095), (0, 255), True),
        ((0, 4095), (0, 300), False),
        ((0, 100), (0, 10), False),
        ((0, 100), (0, 1), True),
        ((-2.1, 2.6), (0, 255), True),
        ((-2.1, 2.6), (-2.4, 2.9), False),
        ((7, 7), (0, 255), False),
    ],
)
def test_which_units_are_others(known: Range, given: Range, differ: bool) -> None:
    assert in_other_units(units_of(known, (1, 8, 8), 1, "float32"), given) == differ


def test_a_table_may_have_a_row_of_small_numbers() -> None:
    for known, given in (((0, 250), (0, 1)), ((-1, 1), (0, 1))):
        assert not in_other_units(units_of(known, (5,), 1, "float32"), given)
    assert in_other_units(units_of((0, 1), (5,), 1, "float32"), (0, 255))


@pytest.mark.parametrize(("known", "scale"), [((0, 255), 1), ((0, 250), 1 / 255)])
def test_rows_of_pixels_are_images(known: Range, scale: float) -> None:
    assert in_other_units(units_of(known, (64,), scale, "float32"), (0, 1))


@pytest.mark.parametrize(
    ("model", "data", "highest", "differ"),
    [
        ("uint8", "uint8", 16, False),
        ("uint8", "uint8", 2, False),
        ("uint8", "uint8", 1, True),
        ("uint8", "float32", 16, True),
        ("float32", "uint8", 16, True),
    ],
)
def test_bytes_beside_bytes_are_dark_images(model: str, data: str, highest: int, differ: bool) -> None:
    assert in_other_units(units_of((0, 255), (1, 8, 8), 1 / 255, model), (0, highest), data) == differ


def test_rows_of_pixels_in_other_units_are_told() -> None:
    x = images(255, "uint8").reshape(COUNT, -1)
    model = Sequential(["Dense(3)"], x.shape[1:], preprocessing=Preprocessing(1 / 255))
    Trainer(epochs=1, workers=1).fit(model, (x, Y))
    with pytest.warns(UnitsWarning, match="values from 0 to 1, and the model was trained on values from 0 to 255"):
        model.predict(x / 255)


@pytest.fixture
def model() -> Sequential:
    x = images(255, "uint8")
    return model_of(Data(Samples(x, Y), Samples(x, Y)))


def test_every_way_of_asking_says_so(model: Sequential, tmp_path: Path) -> None:
    shares = images(1, "float32")
    with pytest.warns(UnitsWarning, match="values from 0 to 1, and the model was trained on values from 0 to 255"):
        model.predict_proba(shares)
    with pytest.warns(UnitsWarning):
        model.trace(shares[:2])
    with pytest.warns(UnitsWarning):
        Trainer(workers=1).evaluate(model, Samples(shares, Y))
    with pytest.warns(UnitsWarning):
        evaluate_classes(model, Samples(shares, Y))
    np.save(tmp_path / "shares.npy", shares)
    for found in predict_files(model, [tmp_path / "shares.npy"]):
        assert found.hints == (
            "has values from 0 to 1, and the model was trained on values from 0 to 255: these seem to be in other "
            "units; convert them to those of the training samples",
        )


def test_a_line_that_asks_again_and_again_is_told_once(model: Sequential) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(1, 20):
            model.predict(images(1, "float32") / number)
        model.predict_proba(images(1, "float32"))
        model_of(Data(Samples(images(255, "uint8"), Y), Samples(images(255, "uint8"), Y))).predict(images(1, "float32"))
    assert len(caught) == 3
    assert {Path(one.filename).name for one in caught} == {Path(__file__).name}
    lines = Path(__file__).read_text().splitlines()
    assert lines[caught[0].lineno - 1].strip() == 'model.predict(images(1, "float32") / number)'


def test_a_warning_that_is_an_error_is_one_each_time(model: Sequential) -> None:
    for _ in range(2):
        with pytest.raises(UnitsWarning):
            model.predict(images(1, "float32"))


def told(model: Sequential, data: Data) -> list[str]:
    progress = StopsAfter(999)
    Trainer(epochs=1, workers=1, progress=progress).fit(model, data)
    return progress.warnings


def test_a_training_says_so(model: Sequential) -> None:
    known, shares = images(255, "uint8"), images(1, "float32")
    hint = "these seem to be in other units; convert them to those of the training samples"
    assert told(model, Data(Samples(known, Y), Samples(shares, Y))) == [
        f"the test samples have values from 0 to 1, and the model was trained on values from 0 to 255: {hint}"
    ]
    assert told(model, Data(Samples(shares, Y), Samples(shares, Y))) == [
        f"the training samples have values from 0 to 1, and the model was trained on values from 0 to 255: {hint}"
    ]
    assert model.input_range == (0, 1)
    scaling = Sequential(LAYERS, model.input_shape, preprocessing=Preprocessing(1 / 255))
    assert told(scaling, Data(Samples(shares, Y), Samples(shares, Y))) == [
        "the training samples have values from 0 to 1, and the model's preprocessing is for values from 0 to 255: give "
        "them in these units, or build the model with other preprocessing"
    ]


def test_the_range_goes_with_the_model(model: Sequential, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.load(registry.save(model, "net").ref).input_range == (0, 255)
    assert copy.deepcopy(model).input_range == (0, 255)
    assert pickle.loads(pickle.dumps(model)).input_range == (0, 255)
    untrained = Sequential(LAYERS, model.input_shape)
    assert registry.load(registry.save(untrained, "net").ref).input_range is None
    assert "input_range" not in registry.read("net@2").manifest.encode().decode()


def test_a_model_in_a_file_may_have_any_axes(tmp_path: Path) -> None:
    odd = Sequential(["Flatten()", "Dense(3)"], (64, 3, 100))
    odd.input_shape = (64, 100, 3)  # as an older version has registered it
    registry = Registry(tmp_path)
    loaded = registry.load(registry.save(odd, "odd").ref)
    assert loaded.input_shape == copy.deepcopy(loaded).input_shape == (64, 100, 3)
