"""`cnnkit predict`: labels and probabilities for images in files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.options import Debug, Json, Reference, RegistryFolder, TrustChoice
from cnnkit.cli.output import counted, say_json, say_table, warn
from cnnkit.cli.recorded import recorded_dataset
from cnnkit.lines import on_one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnnkit.network import Sequential
    from cnnkit.prediction import Prediction
    from cnnkit.registry import Manifest
    from cnnkit.registry.trust import Trust

NAMED = 3
"""Files that a hint names."""


def predict(
    ref: Reference,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Image files, folders of them, .npy arrays in the dataset's own units, or - for standard input.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many labels to show for each image.")] = 1,
    invert: Annotated[bool, typer.Option("--invert", help="Turn light and dark in image files.")] = False,
    trust: TrustChoice = None,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Print the most probable labels of images."""
    from cnnkit.prediction import predict_files
    from cnnkit.registry import Registry
    from cnnkit.registry.trust import trusted

    may_choose = trusted(trust)
    record = Registry(registry).read(ref)
    model = record.model()
    arrays_only = all(file.lower().endswith(".npy") for file in files)  # only images can be inverted
    level = None if arrays_only else _level(model, record.manifest, may_choose)
    predictions = predict_files(model, files, top=top, invert=invert, level=level)
    _warn_of_hints(predictions)
    if as_json:
        say_json({"ref": ref, "predictions": list(map(_entry, predictions))})
    else:
        pairs = [(one, *pair) for one in predictions for pair in zip(one.labels, one.probabilities, strict=True)]
        rows = [(one.file, one.index, label, probability) for one, label, probability in pairs]
        say_table(("file", "index", "label", "probability"), rows)


def _entry(prediction: Prediction) -> dict[str, object]:
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    top = [{"label": label, "probability": probability} for label, probability in pairs]
    return {"file": prediction.file, "index": prediction.index, **top[0], "top": top, "hints": list(prediction.hints)}


def _level(model: Sequential, manifest: Manifest, trust: Trust) -> float | None:
    """How light the training images were, 0 to 1: of the samples themselves where the preprocessing says nothing."""
    import numpy as np

    from cnnkit.data import load_dataset
    from cnnkit.errors import CnnkitError
    from cnnkit.prediction import trained_level

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
