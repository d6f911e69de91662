"""`cnnkit predict`: what a model says of images in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnkit.cli.options import (
    Debug,
    Fit,
    InvertChoice,
    Inverting,
    Json,
    Reference,
    RegistryFolder,
    TrustChoice,
    check_order,
    expanded_names,
    expanded_path,
)
from cnnkit.cli.output import note, say_json, say_table, warn
from cnnkit.cli.recorded_components import recorded_framing, recorded_level
from cnnkit.printable_text import on_one_line
from cnnkit.waiting_line import waiting
from cnnkit.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnnkit.evaluation.predict import Prediction
    from cnnkit.network import Network
    from cnnkit.types import Array

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
    invert: InvertChoice = Inverting.AUTO,
    fit: Fit = False,
    show: Annotated[
        Path | None,
        typer.Option(
            callback=expanded_path,
            metavar="FILE",
            help="Draw the first 40 images as they are in the files and as the network sees them: .png, .svg or .pdf.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            callback=expanded_path,
            metavar="PATH",
            help="Write the predicted mask or image as a .png file, or those of several inputs into a folder.",
        ),
    ] = None,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Print a model's predictions for images.

    Prints the most probable class, all predicted labels, or the values, depending on what the model was trained for.
    If the model predicts each pixel, prints how many pixels each class has; -o writes the mask or image as a picture.
    Exits with 1 if some of the files cannot be used, and names them.
    For photographs, as of handwriting on paper, --fit cuts out what they show; --show draws what the network sees.
    """
    from cnnkit.evaluation.pixel_answers import Answer, check_path, check_pictures, write_pictures
    from cnnkit.evaluation.predict import predict_files
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    check_order(ref, files, f"cnnkit predict {files[0]} {ref}")
    may_choose = trusted(trust)
    record = Registry(registry).read(ref)
    model = record.model()
    if output:
        check_pictures(model)
        check_path(output)
    arrays_only = all(file.lower().endswith(".npy") for file in files)  # only images can be inverted
    level = None if arrays_only else recorded_level(model, record.manifest, may_choose)
    if fit and not model.framing.content:
        model.framing = recorded_framing(record.manifest, may_choose) or model.framing
    refused: list[str] = []
    with waiting("predicting"):
        predictions = predict_files(
            model,
            files,
            top=top,
            invert=invert.choice,
            fit=fit,
            level=level,
            show=show,
            pixels=as_json or output is not None,
            refused=refused.append,
        )
    _warn_of_hints(predictions)
    answers = [Answer(one.file, one.index, one.pixels) for one in predictions if one.pixels is not None]
    pictures = write_pictures(model, answers, output) if output else []
    if as_json:
        entries = [_entry(one, model, top) for one in predictions]
        document = {"ref": record.version.ref, "gives": model.task.gives, "predictions": entries, "refused": refused}
        document |= {"picture": str(show)} if show else {}
        say_json(document | ({"outputs": [str(file) for file in pictures]} if output else {}))
    else:
        some = any(one.inverted for one in predictions)
        say_table(
            (*_headings(model, top), *(("inverted",) if some else ())),
            [
                (one.file, one.index, *row, *(("yes" if one.inverted else "",) if some else ()))
                for one in predictions
                for row in _rows(one, model, top)
            ],
        )
        if show:
            note(f"picture of the images as the network sees them: {show}")
        if pictures:
            what = "values, 0 as black and 1 as white" if model.task.gives == "values" else "masks"
            note(f"pictures of the {what}: {', '.join(map(str, pictures[:NAMED]))}{_more(len(pictures))}")
    if refused:
        warn("\n  ".join([f"{counted(len(refused), 'file')} cannot be used:", *refused]))
        raise typer.Exit(1)


def _headings(model: Network, top: int | None) -> tuple[str, ...]:
    if len(model.output_shape) == 3:
        of_each = ("output", "lowest", "mean", "highest") if model.task.gives == "values" else ("label", "pixels")
        return ("file", "index", *of_each)
    if model.task.gives == "values":
        return ("file", "index", "output", "value")
    marked = ("predicted",) if model.task.gives == "labels" and top is not None else ()
    return ("file", "index", "label", *(("probability",) if model.has_probabilities else ()), *marked)


def _rows(prediction: Prediction, model: Network, top: int | None) -> list[tuple[object, ...]]:
    """What is said of one input, a line for each class, label or value; one with a dash where no label is there."""
    names = model.labels or range(model.output_shape[0])
    if prediction.ranges:
        return [(name, *found) for name, found in zip(names, prediction.ranges, strict=True)]
    if len(model.output_shape) == 3:
        return list(zip(prediction.labels, prediction.counts, strict=True)) or [("-", "-")]
    if prediction.values:
        return list(zip(names, prediction.values, strict=True))
    if not model.has_probabilities:
        return [(label,) for label in prediction.labels]
    pairs = list(zip(prediction.labels, prediction.probabilities, strict=True))
    if model.task.gives == "labels" and top is not None:
        return [(*pair, "yes" if pair[1] >= 0.5 else "") for pair in pairs]
    return list(pairs) or [("-", "-")]


def _entry(prediction: Prediction, model: Network, top: int | None) -> dict[str, object]:
    entry: dict[str, object] = {"file": prediction.file, "index": prediction.index}
    if prediction.pixels is not None:
        entry |= _of_pixels(prediction, prediction.pixels, model)
        return entry | {"inverted": prediction.inverted, "hints": list(prediction.hints)}
    probabilities = prediction.probabilities or (None,) * len(prediction.labels)
    pairs = zip(prediction.labels, probabilities, strict=True)
    said: list[dict[str, Any]] = [{"label": label, "probability": probability} for label, probability in pairs]
    match model.task.gives:
        case "values":
            entry["values"] = list(prediction.values)
        case "labels" if top is None:
            entry["labels"] = said
        case "labels":
            entry["top"] = [one | {"predicted": one["probability"] >= 0.5} for one in said]
        case "classes":
            entry |= {**said[0], "top": said}
    return entry | {"inverted": prediction.inverted, "hints": list(prediction.hints)}


def _of_pixels(prediction: Prediction, pixels: Array, model: Network) -> dict[str, object]:
    """Values (C, H, W); or the pixels of each label, and the mask: class indices (H, W), or 0 and 1 (K, H, W)."""
    if model.task.gives == "values":
        return {"values": pixels.tolist()}
    said = [{"label": one, "pixels": count} for one, count in zip(prediction.labels, prediction.counts, strict=True)]
    return {"labels": said, "mask": pixels.astype(int).tolist()}


def _more(count: int) -> str:
    return f" and {counted(count - NAMED, 'other file')}" if count > NAMED else ""


def _warn_of_hints(predictions: Iterable[Prediction]) -> None:
    files: dict[str, dict[str, None]] = {}
    for prediction in predictions:
        for hint in prediction.hints:
            files.setdefault(hint, {})[on_one_line(prediction.file)] = None  # once, however many inputs it has
    for hint, names in ((hint, list(found)) for hint, found in files.items()):
        each = "each of " if len(names) > 1 else ""
        warn(f"{each}{', '.join(names[:NAMED])}{_more(len(names))} {hint}")
