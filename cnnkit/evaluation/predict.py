"""Predictions for files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.components.predicted import not_finite
from cnnkit.data.formats.images import find_images, looks_inverted
from cnnkit.data.formats.input_files import STDIN, read_inputs
from cnnkit.errors import ConfigError, DataError, ShapeError, UnitsWarning
from cnnkit.network import Network
from cnnkit.types import Array, Preprocessing
from cnnkit.units import bounds, scale_of_images, units_hint

BATCH_BYTES = 2**26
"""Inputs that wait for the model together: a folder may be larger than the memory."""
INVERTED = "looks inverted: dark on light, but the model was trained on light on dark; try --fit or --invert"
UNCERTAIN = "the range of the training samples, which does not tell what white is; if that is wrong, give a .npy file"
TURNED = "looks inverted by --invert: now it is dark on a light background; remove --invert"

FileName = str | os.PathLike[str]


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one input, according to its task."""

    file: str
    index: int
    """Which of the inputs in the file."""
    labels: tuple[str, ...] = ()
    """Classes, or the labels that are there, the most probable one first."""
    probabilities: tuple[float, ...] = ()
    """One for each of them; none if the model has only scores."""
    values: tuple[float, ...] = ()
    """What a model for values gives, in the order of its outputs."""
    hints: tuple[str, ...] = ()
    """Why the image may not be what the model expects."""


@dataclass(frozen=True)
class FileInputs:
    """What is in a file, in the units of the training samples as far as that is certain."""

    file: str
    x: Array
    is_image: bool
    hints: tuple[str, ...]
    """Why it may not be what the model expects."""


def predict_files(
    model: Network,
    files: Iterable[FileName],
    *,
    top: int | None = None,
    invert: bool = False,
    level: float | None = None,
    fit: bool = False,
) -> list[Prediction]:
    """A model's predictions for the images in files: for all of them, in order, or for none.

    files: image files, .npy files of one input or many, folders (the image files in them), "-" for standard input;
    top: how many classes or labels; if None, the most probable class, or the labels with a probability of 1/2 or more;
    invert: swap light and dark in image files; level: the mean lightness of the training images, 0 (black) to 1
    (white), what `trained_level` says if None; fit: cut out what each image file shows, and place it as the images of
    the model's dataset were, light on dark, see `framed`. Where the training images are dark, an image of one channel
    that is dark on a light background gets a hint. So does what may be in other units than the training samples: an
    array, which is taken as it is, or an image where it is not certain what its white is to the model. Raises
    DataError, with every file that cannot be used and why, and for outputs that are NaN; ShapeError for a model that
    says something of each pixel, ConfigError for `top` values, and for `fit` with `invert` or with a model whose
    framing is not known, CostError for a model that takes more memory or time than there is, and CnnkitError for image
    files without Pillow.
    """
    if top is not None and model.task.gives == "values":
        raise ConfigError(f"the model gives {model.gives}, none of which is the most probable: remove top")
    if top is not None:
        whole("top", top)
    if len(model.output_shape) != 1:
        raise ShapeError(
            f"the model gives {model.gives}, which does not fit into a line of a table: use model.predict(x) in Python"
        )
    if fit:
        _check_fit(model, invert)
    model.check_cost()
    level = trained_level(model.preprocessing) if level is None else level
    dark = level is not None and level < 0.5 and model.input_shape[0] == 1
    predictions = []
    for batch in _batches(_read(model, files, invert, dark, fit)):
        x = batch[0].x if len(batch) == 1 else np.concatenate([one.x for one in batch])
        with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitsWarning)  # the hints say so for each file
            rows = iter(_numbers(model, x))
        for one in batch:
            for index, row in zip(range(len(one.x)), rows, strict=False):
                if np.isnan(row).any():
                    raise DataError(not_finite("the model", one.file))
                predictions.append(Prediction(one.file, index, **_said(model, row, top), hints=one.hints))
    return predictions


def _numbers(model: Network, x: Array) -> Array:
    """By which the model says something: probabilities, scores, or values, (N, F)."""
    if model.has_probabilities:
        return model.predict_proba(x)
    return model.logits(x) if model.task.gives == "classes" else model.outputs(x)


def _said(model: Network, row: Array, top: int | None) -> dict[str, Any]:
    """The fields of a prediction; row: (F,)."""
    if model.task.gives == "values":
        return {"values": tuple(row.tolist())}
    if top is None:
        top = 1 if model.task.gives == "classes" else int((row >= 0.5).sum())
    places = (-row).argsort(kind="stable")[:top].tolist()
    probabilities = tuple(row[places].tolist()) if model.has_probabilities else ()
    labels = tuple(model.labels[place] if model.labels else str(place) for place in places)
    return {"labels": labels, "probabilities": probabilities}


def trained_level(preprocessing: Preprocessing) -> float | None:
    """How light training images were, 0 (black) to 1 (white): the mean that is taken off; None if none is."""
    level = float(np.mean(preprocessing.mean))
    return level if level != 0 else None


def _check_fit(model: Network, invert: bool) -> None:
    if invert:
        raise ConfigError("--fit finds out for each image whether it is light on dark: remove --invert")
    if not model.framing.content or len(model.input_shape) != 3 or model.input_shape[0] != 1:
        raise ConfigError(
            "--fit needs a model for grey images that were cropped to what they show, as those of MNIST and Digits "
            "were; this one does not know that of its images: remove --fit"
        )
    if model.framing.content > min(model.input_shape[1:]):
        raise ConfigError(f"--fit needs room for {model.framing.content} pixels, the model takes {model.input_shape}")


def read_file(
    file: FileName, model: Network, *, invert: bool = False, dark: bool = False, fit: bool = False
) -> FileInputs:
    """The inputs in an image file or a .npy file, or on standard input ("-").

    invert: swap light and dark in an image; dark: the training images were dark, so that those that are dark on a
    light background get a hint. Raises DataError for a file that cannot be used, CnnkitError for an image file
    without Pillow.
    """
    scale = scale_of_images(model.preprocessing, model.input_range, model.input_shape)
    full_scale = scale.white - scale.black
    x, is_image = read_inputs(file, model.input_shape, full_scale, model.framing, fit=fit)
    name = os.fspath(file)
    if not is_image:
        if invert:
            raise DataError(f"{name}: --invert inverts image files, and this is an array: remove one of them")
        hint = units_hint(model.units, bounds(x), x.dtype) if len(x) else ""
        return FileInputs(name, x, False, (f"has {hint}",) if hint else ())
    if invert:
        x = full_scale - x
    hints = []
    if dark and not fit and looks_inverted(x[0], full_scale):
        hints.append(TURNED if invert else INVERTED)
    if not scale.is_certain:
        hints.append(f"is assumed to range from {scale.black:.6g} (black) to {scale.white:.6g} (white): {UNCERTAIN}")
    return FileInputs(name, x + scale.black if scale.black else x, True, tuple(hints))


def _read(model: Network, files: Iterable[FileName], invert: bool, dark: bool, fit: bool) -> Iterator[FileInputs]:
    """What is in the files, up to the first that cannot be used; the others are only looked at then."""
    problems = []
    for given in files:
        try:
            found = find_images(given) if given != STDIN and os.path.isdir(given) else [given]
        except DataError as error:
            problems.append(str(error))
            continue
        for file in found:
            try:
                inputs = read_file(file, model, invert=invert, dark=dark, fit=fit)
            except DataError as error:
                problems.append(str(error))
                continue
            if not problems:
                yield inputs
    if len(problems) > 1:
        raise DataError(f"{len(problems)} files cannot be used, so nothing was predicted:\n  " + "\n  ".join(problems))
    if problems:
        raise DataError(problems[0])


def _batches(inputs: Iterable[FileInputs]) -> Iterator[list[FileInputs]]:
    batch: list[FileInputs] = []
    size = 0
    for one in inputs:
        batch.append(one)
        size += one.x.nbytes
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
