"""`cnnkit predict`: what a model says of images in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.options import Debug, Json, Reference, RegistryFolder, TrustChoice, expanded_names
from cnnkit.cli.output import say_json, say_table, warn
from cnnkit.cli.recorded import recorded_dataset
from cnnkit.lines import on_one_line
from cnnkit.waiting import waiting
from cnnkit.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnnkit.evaluation.predict import Prediction
    from cnnkit.network import Network
    from cnnkit.registry import Manifest
    from cnnkit.registry.trust import Trust
    from cnnkit.types import Framing

NAMED = 3
"""Files that a hint names."""


def predict(
    ref: Reference,
    files: Annotated[
        list[str],
        typer.Argument(
            callback=expanded_names,
            metavar="FILE...",
            help="Image files, folders of them, .npy arrays in the dataset's own units, or - for standard input.",
        ),
    ],
    top: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of classes or labels to show for each image; default: only what is predicted."
        ),
    ] = None,
    invert: Annotated[bool, typer.Option("--invert", help="Swap light and dark in image files.")] = False,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit",
            help="Cut out what an image shows, and place it as the training images were: for handwriting on paper.",
        ),
    ] = False,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Print a model's predictions for images.

    Prints the most probable class, all predicted labels, or the values, depending on what the model was trained for.
    """
    from cnnkit.evaluation.predict import predict_files
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    may_choose = trusted(trust)
    record = Registry(registry).read(ref)
    model = record.model()
    arrays_only = all(file.lower().endswith(".npy") for file in files)  # only images can be inverted
    level = None if arrays_only else _level(model, record.manifest, may_choose)
    if fit and not model.framing.content:
        model.framing = _framing(record.manifest, may_choose) or model.framing
    with waiting("predicting"):
        predictions = predict_files(model, files, top=top, invert=invert, level=level, fit=fit)
    _warn_of_hints(predictions)
    if as_json:
        entries = [_entry(one, model) for one in predictions]
        say_json({"ref": ref, "gives": model.task.gives, "predictions": entries})
    else:
        say_table(_headings(model), [(one.file, one.index, *row) for one in predictions for row in _rows(one, model)])


def _headings(model: Network) -> tuple[str, ...]:
    if model.task.gives == "values":
        return ("file", "index", "output", "value")
    return ("file", "index", "label", "probability") if model.has_probabilities else ("file", "index", "label")


def _rows(prediction: Prediction, model: Network) -> list[tuple[object, ...]]:
    """What is said of one input, a line for each class, label or value; one with a dash where no label is there."""
    if prediction.values:
        names = model.labels or range(len(prediction.values))
        return list(zip(names, prediction.values, strict=True))
    if not model.has_probabilities:
        return [(label,) for label in prediction.labels]
    return list(zip(prediction.labels, prediction.probabilities, strict=True)) or [("-", "-")]


def _entry(prediction: Prediction, model: Network) -> dict[str, object]:
    entry: dict[str, object] = {"file": prediction.file, "index": prediction.index}
    probabilities = prediction.probabilities or (None,) * len(prediction.labels)
    pairs = zip(prediction.labels, probabilities, strict=True)
    said = [{"label": label, "probability": probability} for label, probability in pairs]
    match model.task.gives:
        case "values":
            entry["values"] = list(prediction.values)
        case "labels":
            entry["labels"] = said
        case "classes":
            entry |= {**said[0], "top": said}
    return entry | {"hints": list(prediction.hints)}


def _framing(manifest: Manifest, trust: Trust) -> Framing | None:
    """How the images of the dataset were framed, of a model that was saved before models kept that."""
    from cnnkit.data import load_dataset
    from cnnkit.errors import CnnkitError

    try:
        return load_dataset(recorded_dataset(manifest, None, trust)).framing
    except CnnkitError:  # not there, and nothing else says so
        return None


def _level(model: Network, manifest: Manifest, trust: Trust) -> float | None:
    """How light the training images were, 0 to 1: of the samples themselves where the preprocessing says nothing."""
    import numpy as np

    from cnnkit.data import load_dataset
    from cnnkit.errors import CnnkitError
    from cnnkit.evaluation.predict import trained_level

    level = trained_level(model.preprocessing)
    if level is None:
        try:
            samples = load_dataset(recorded_dataset(manifest, None, trust)).train
            level = float(np.mean(samples.x)) * model.preprocessing.scale
        except CnnkitError:  # nothing says so, and then there are no hints
            return None
    return level


def _warn_of_hints(predictions: Iterable[Prediction]) -> None:
    files: dict[str, dict[str, None]] = {}
    for prediction in predictions:
        for hint in prediction.hints:
            files.setdefault(hint, {})[on_one_line(prediction.file)] = None  # once, however many inputs it has
    for hint, names in ((hint, list(found)) for hint, found in files.items()):
        each = "each of " if len(names) > 1 else ""
        more = f" and {counted(len(names) - NAMED, 'other file')}" if len(names) > NAMED else ""
        warn(f"{each}{', '.join(names[:NAMED])}{more} {hint}")
