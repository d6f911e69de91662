"""`cnnkit predict`: labels and probabilities for images in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnkit.cli.options import Debug, Json, Reference, RegistryFolder
from cnnkit.cli.output import say_json, say_table

if TYPE_CHECKING:
    from cnnkit.types import Array, Shape


def predict(
    ref: Reference,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help=".npy arrays of one image or many, in the dataset's own units."),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many labels to show for each image.")] = 1,
    registry: RegistryFolder = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Print the most probable labels of images."""
    from cnnkit import api

    model = api.load_model(ref, registry)
    images = [(file, read_images(file, model.input_shape)) for file in files]
    rows = []
    for file, x in images:
        for index, probabilities in enumerate(model.predict_proba(x)):
            for place in (-probabilities).argsort(kind="stable")[:top].tolist():
                label = model.labels[place] if model.labels else str(place)
                rows.append((str(file), index, label, float(probabilities[place])))
    headings = ("file", "index", "label", "probability")
    if as_json:
        say_json({"ref": ref, "predictions": [dict(zip(headings, row, strict=True)) for row in rows]})
    else:
        say_table(headings, rows)


def read_images(file: Path, shape: Shape) -> Array:
    """The images in a file as (N, *shape); one image may lack the batch axis, a single channel its own axis.

    Raises DataError for a file that cannot be read, or that has images of another shape or values that are not finite.
    """
    import numpy as np

    from cnnkit.errors import DataError

    if file.suffix != ".npy":
        raise DataError(f"{file}: expected a .npy file, as numpy.save writes it; no other kind can be read")
    try:
        with file.open("rb") as opened:
            array = np.lib.format.read_array(opened, allow_pickle=False)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror or error}") from None
    except Exception as error:  # a wrong header makes NumPy and Python's parser fail in many ways
        raise DataError(
            f"{file} is not an array of numbers in NumPy's format: {error} ({type(error).__name__})"
        ) from None
    accepted = [shape, shape[1:]] if len(shape) == 3 and shape[0] == 1 else [shape]
    for one in accepted:
        if array.shape == one or array.shape[1:] == one:
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"{file}: expected finite values, some are NaN or infinite")
            return np.asarray(array.reshape(-1, *shape))
    images = " or ".join(f"{one} or (N, {', '.join(map(str, one))})" for one in accepted)
    raise DataError(f"{file}: expected an array of shape {images}, got {array.shape}")
