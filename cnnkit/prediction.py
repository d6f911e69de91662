"""Predictions for files: what a model takes the images in them for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.data.images import find_images, looks_inverted
from cnnkit.data.inputs import STDIN, read_inputs
from cnnkit.errors import DataError
from cnnkit.measures import check_scores, not_finite
from cnnkit.network import Sequential
from cnnkit.types import Array, Preprocessing

BATCH_BYTES = 2**26
"""Inputs that wait for the model together: a folder may be larger than the memory."""
INVERTED = "looks inverted: dark on a light ground, and the model was trained on light on dark; --invert turns it"
TURNED = "looks inverted by --invert: now it is dark on a light ground; leave --invert out"

FileName = str | os.PathLike[str]


@dataclass(frozen=True)
class Prediction:
    """What one image is taken for."""

    file: str
    index: int
    """Which of the inputs in the file."""
    labels: tuple[str, ...]
    """The most probable one first."""
    probabilities: tuple[float, ...]
    hints: tuple[str, ...] = ()
    """Why the image may not be what the model expects."""


@dataclass(frozen=True)
class _Inputs:
    file: str
    x: Array
    hints: tuple[str, ...]


def predict_files(
    model: Sequential, files: Iterable[FileName], *, top: int = 1, invert: bool = False, level: float | None = None
) -> list[Prediction]:
    """The most probable labels of the images in files: of all of them, in order, or of none.

    files: image files, .npy files of one input or many, folders (the image files in them), "-" for standard input;
    top: how many labels; invert: turn light and dark in image files; level: how light the images were on average that
    the model was trained on, 0 (black) to 1 (white), what `trained_level` says if None. Where that is dark, an image of
    one channel that is dark on a light ground gets a hint.
    Raises DataError, with every file that cannot be used and why, and for probabilities that are NaN; ShapeError for a
    model that gives no scores of classes, CostError for one that takes more memory or time than there is, and
    CnnkitError for image files without Pillow.
    """
    whole("top", top)
    check_scores(model.output_shape)
    model.check_cost()
    level = trained_level(model.preprocessing) if level is None else level
    dark = level is not None and level < 0.5 and model.input_shape[0] == 1
    predictions = []
    for batch in _batches(_read(model, files, invert, dark)):
        x = batch[0].x if len(batch) == 1 else np.concatenate([one.x for one in batch])
        with np.errstate(over="ignore", invalid="ignore"):
            probabilities = model.predict_proba(x)
        rows = iter(probabilities)
        for one in batch:
            for index, row in zip(range(len(one.x)), rows, strict=False):
                if not np.isfinite(row).all():
                    raise DataError(not_finite("the model", one.file))
                places = (-row).argsort(kind="stable")[:top].tolist()
                names = tuple(model.labels[place] if model.labels else str(place) for place in places)
                best = names, tuple(row[places].tolist())
                predictions.append(Prediction(one.file, index, *best, one.hints))
    return predictions


def trained_level(preprocessing: Preprocessing) -> float | None:
    """How light training images were, 0 (black) to 1 (white): the mean that is taken off; None if none is."""
    level = float(np.mean(preprocessing.mean))
    return level if level != 0 else None


def _read(model: Sequential, files: Iterable[FileName], invert: bool, dark: bool) -> Iterator[_Inputs]:
    """What is in the files, up to the first that cannot be used; the others are only looked at then."""
    problems = []
    full_scale = 1 / model.preprocessing.scale
    for given in files:
        try:
            found = find_images(given) if given != STDIN and os.path.isdir(given) else [given]
        except DataError as error:
            problems.append(str(error))
            continue
        for file in found:
            try:
                inputs = _inputs(file, model, full_scale, invert, dark)
            except DataError as error:
                problems.append(str(error))
                continue
            if not problems:
                yield inputs
    if len(problems) > 1:
        raise DataError(f"{len(problems)} files cannot be used, so nothing is predicted:\n  " + "\n  ".join(problems))
    if problems:
        raise DataError(problems[0])


def _inputs(file: FileName, model: Sequential, full_scale: float, invert: bool, dark: bool) -> _Inputs:
    x, is_image = read_inputs(file, model.input_shape, full_scale)
    name = os.fspath(file)
    if not is_image:
        if invert:
            raise DataError(f"{name}: --invert turns image files, and this is an array: leave one of them out")
        return _Inputs(name, x, ())
    if invert:
        x = full_scale - x
    inverted = dark and looks_inverted(x[0], full_scale)
    return _Inputs(name, x, (TURNED if invert else INVERTED,) if inverted else ())


def _batches(inputs: Iterable[_Inputs]) -> Iterator[list[_Inputs]]:
    batch: list[_Inputs] = []
    size = 0
    for one in inputs:
        batch.append(one)
        size += one.x.nbytes
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
