"""Predictions for files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.components.checks import whole
from cnnkit.components.predicted_class import not_finite
from cnnkit.data.formats.images import find_images
from cnnkit.data.formats.input_files import STDIN
from cnnkit.errors import ConfigError, DataError, PlotError, ShapeError, UnitsWarning
from cnnkit.evaluation.file_inputs import FileInputs, FileName, Invert, Reading, check_fit, read_file, trained_level
from cnnkit.evaluation.pixel_answers import check_pictures
from cnnkit.input_units import scale_of_images
from cnnkit.network import Network
from cnnkit.types import Array
from cnnkit.wording import first_of, percent

BATCH_BYTES = 2**26
"""Inputs that wait for the model together: a folder may be larger than the memory."""
MOST_SHOWN = 40
"""Images of which a picture is drawn."""
MOST_NAMED = 3
"""Labels or values of one image in its caption."""


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one input, according to its task."""

    file: str
    index: int
    """Which of the inputs in the file."""
    labels: tuple[str, ...] = ()
    """Classes, or the labels that are there, the most probable one first; of a mask, that of the most pixels first."""
    probabilities: tuple[float, ...] = ()
    """One for each of them; none if the model has only scores, and of a mask."""
    counts: tuple[int, ...] = ()
    """How many pixels of a mask have each of the labels."""
    values: tuple[float, ...] = ()
    """What a model for values gives, in the order of its outputs."""
    hints: tuple[str, ...] = ()
    """Why the image may not be what the model expects."""
    inverted: bool = False
    """Whether light and dark of the image were swapped."""
    ranges: tuple[tuple[float, float, float], ...] = ()
    """The lowest, mean and highest value in each channel of an image that a model gives."""
    pixels: Array | None = field(default=None, compare=False, repr=False)
    """The mask or image that a model gives, if it was asked for: class indices (H, W) of the smallest unsigned type;
    labels (K, H, W), bool; or values (C, H, W), float. None of a model that does not answer for each pixel."""


def predict_files(
    model: Network,
    files: Iterable[FileName],
    *,
    top: int | None = None,
    invert: Invert = "auto",
    fit: bool = False,
    level: float | None = None,
    show: FileName | None = None,
    pixels: bool = False,
    refused: Callable[[str], None] | None = None,
) -> list[Prediction]:
    """A model's predictions for the images in files, in order: for all of them or, unless `refused` is given, none.

    files: image files, .npy files of one input or many, folders (the image files in them), "-" for standard input;
    top: how many classes or labels; if None, the most probable class, or the labels with a probability of 1/2 or more;
    invert: swap light and dark in image files, "auto": in those of one channel that are dark on a light background, if
    the training images are known to be light on dark, with a level below 1/3; fit: cut out what each image file shows,
    and place it as the images of the model's dataset were, light on dark, see `find_content`; level: the mean lightness
    of the training images, 0 (black) to 1 (white), what `trained_level` says if None; show: where to draw the first 40
    images, as PNG, SVG or PDF, as they are in the files and as the model sees them; pixels: keep the mask or image that
    a model gives for each input, all of which must fit into memory; refused: told of each file that cannot be used,
    which is left out then.
    Where the level is below 1/2, an image of one channel that stays dark on a light background gets a hint. So does one
    whose content is not framed as the model's dataset frames it, if that is known; a blank one; and what may be in
    other units than the training samples: an array, which is taken as it is, or an image where it is not certain what
    its white is to the model.
    Raises DataError, with every file that cannot be used and why, if nobody else is told or there is no other file, and
    for outputs that are NaN; ShapeError for a model that gives signals, ConfigError for `top` values, and for `fit`
    with `invert` or with a model whose framing is not known, PlotError for a picture that cannot be drawn, CostError
    for a model that takes more memory or time than there is, and CnnkitError for image files without Pillow.
    """
    if top is not None and model.task.gives == "values":
        raise ConfigError(f"the model gives {model.gives}, none of which is the most probable: remove top")
    if top is not None:
        whole("top", top)
    if len(model.output_shape) == 2:
        raise ShapeError(f"the model gives signals of shape {model.output_shape}: use model.predict(x) in Python")
    model.check_cost()
    reading = Reading(invert, fit, trained_level(model.preprocessing) if level is None else level)
    if fit:
        check_fit(model)
    if show is not None:
        from cnnkit.plotting.saving import check_target

        check_target(Path(show))
        if len(model.output_shape) == 3:
            check_pictures(model)
    predictions = []
    shown: list[tuple[FileInputs, Prediction]] = []
    for batch in _batches(_read(model, files, reading, MOST_SHOWN if show is not None else 0, refused)):
        if show is not None and any(_is_same(one.file, show) for one in batch):
            raise PlotError(f"{os.fspath(show)} is one of the files to predict: choose another one for the picture")
        x = batch[0].x if len(batch) == 1 else np.concatenate([one.x for one in batch])
        with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UnitsWarning)  # the hints say so for each file
            rows = iter(_numbers(model, x))
        for one in batch:
            for index, row in zip(range(len(one.x)), rows, strict=False):
                if np.isnan(row).any():
                    raise DataError(not_finite("the model", one.file))
                said = _said(model, row, top)
                prediction = Prediction(one.file, index, **said, hints=one.hints, inverted=one.inverted)
                predictions.append(prediction if pixels else replace(prediction, pixels=None))
                if one.picture is not None:
                    shown.append((one, prediction))
    if show is not None:
        _show(model, shown, show)
    return predictions


def _is_same(file: str, other: FileName) -> bool:
    return file != STDIN and os.path.exists(other) and os.path.samefile(file, other)


def _show(model: Network, shown: list[tuple[FileInputs, Prediction]], path: FileName) -> None:
    from cnnkit.evaluation.pixel_answers import as_picture, in_colours, mask_labels
    from cnnkit.plotting.prepared_inputs import Prepared, write_prepared

    if not shown:
        raise PlotError("there is nothing to show: none of the files is an image")
    scale = scale_of_images(model.preprocessing, model.input_range, model.input_shape)
    images = [
        Prepared(
            one.picture,
            one.x[0],
            scale.black,
            scale.white,
            one.file,
            _caption(said),
            None if said.pixels is None else in_colours(*as_picture(model, said.pixels)),
        )
        for one, said in shown
        if one.picture is not None
    ]
    is_mask = len(model.output_shape) == 3 and model.task.gives != "values"
    write_prepared(images, path, mask_labels(model) if is_mask else ())


def _caption(said: Prediction) -> str:
    """What was done to an image, and what the model says of it, in a line."""
    if said.pixels is not None and not said.labels:
        text = ""
    elif said.values:
        text = first_of([f"{value:.4g}" for value in said.values], MOST_NAMED)
    else:
        text = first_of(said.labels, MOST_NAMED) or "-"
        text += f"  {percent(said.probabilities[0])}" if len(said.labels) == 1 and said.probabilities else ""
    return f"inverted: {text}".rstrip(": ") if said.inverted else text


def _numbers(model: Network, x: Array) -> Array:
    """By which the model says something: probabilities, scores, or values, (N, F) or (N, K, H, W)."""
    if model.has_probabilities:
        return model.predict_proba(x)
    return model.logits(x) if model.task.gives == "classes" else model.outputs(x)


def _said(model: Network, row: Array, top: int | None) -> dict[str, Any]:
    """The fields of a prediction; row: (F,), or (K, H, W)."""
    if model.task.gives == "values" and row.ndim == 1:
        return {"values": tuple(row.tolist())}
    if model.task.gives == "values":
        ranges = tuple((float(one.min()), float(one.mean()), float(one.max())) for one in row)
        return {"ranges": ranges, "pixels": row.copy()}  # a view would keep the whole batch
    names = model.labels or tuple(map(str, range(len(row))))
    if row.ndim == 3:
        is_class = model.task.gives == "classes"
        pixels = row.argmax(axis=0) if is_class else row >= 0.5
        counts = np.bincount(pixels.ravel(), minlength=len(row)) if is_class else pixels.sum(axis=(1, 2))
        places = [place for place in (-counts).argsort(kind="stable").tolist() if counts[place]][:top]
        said = {"labels": tuple(names[place] for place in places), "counts": tuple(counts[places].tolist())}
        return {**said, "pixels": pixels.astype(np.min_scalar_type(len(row) - 1)) if is_class else pixels}
    if top is None:
        top = 1 if model.task.gives == "classes" else int((row >= 0.5).sum())
    places = (-row).argsort(kind="stable")[:top].tolist()
    probabilities = tuple(row[places].tolist()) if model.has_probabilities else ()
    return {"labels": tuple(names[place] for place in places), "probabilities": probabilities}


def _read(
    model: Network,
    files: Iterable[FileName],
    reading: Reading,
    pictures: int,
    refused: Callable[[str], None] | None,
) -> Iterator[FileInputs]:
    """What is in the files; if nobody is told of one that cannot be used, those after it are only looked at.

    pictures: how many of them are kept.
    """
    problems = []
    usable = 0
    for given in files:
        try:
            found = find_images(given) if given != STDIN and os.path.isdir(given) else [given]
        except DataError as error:
            problems.append(str(error))
            continue
        for file in found:
            try:
                inputs = read_file(file, model, reading, keep_picture=pictures > 0)
            except DataError as error:
                problems.append(str(error))
                continue
            pictures -= inputs.is_image
            if refused or not problems:
                usable += 1
                yield inputs
    if refused and usable:
        for problem in problems:
            refused(problem)
        return
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
