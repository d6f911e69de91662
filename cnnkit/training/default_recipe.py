"""A sensible recipe for samples of which nothing else is known."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from cnnkit.class_indices import are_indices, indices_of
from cnnkit.components.contracts import Dataset
from cnnkit.components.expressions import parse
from cnnkit.data import load_dataset
from cnnkit.data.at_path import is_data
from cnnkit.errors import ConfigError
from cnnkit.training.class_balance import rare_classes
from cnnkit.training.colour_evidence import colours_tell
from cnnkit.training.recipe import Recipe
from cnnkit.types import Array, Data, Inputs, Samples, Shape
from cnnkit.user_folders import expanded

FILTERS = (16, 32, 64, 96)
"""Of the blocks, each of which halves the image."""
LARGE, STEM = 64, 'Conv2D(16, 5, stride=2, padding="same", bias=False)'
"""Pixels of the shorter side above which a first convolution halves the image: it sees its edges as they are in the
file, and costs less than one that does not."""
SMALLEST = 7
"""Pixels of the shorter side up to which an image is not halved any more."""
FEW = ((500, 16, 2000), (2000, 32, 1000))
"""Below so many training samples: the samples of a batch, so that an epoch has steps enough, and about how many steps:
few samples need more of them, as each augmentation of an image is another one."""
MANY = (128, 1000)
"""The same for more samples."""
EPOCHS = (10, 200)
"""At least and at most."""
VALIDATION = 0.1
ANY, NEAR = 180, 15
"""Degrees by which colours rotate, where they tell nothing of the classes, and where they may."""


def default_recipe(dataset: Dataset, data_dir: str | Path | None = None) -> Recipe:
    """A recipe for a dataset.

    Images get blocks of two convolutions that halve them, then the mean of each channel; vectors two dense layers. The
    last layer and the loss are those of the targets; classes weigh the same if some are rare. Raises what
    `load_dataset` raises, and ConfigError for targets of pixels.
    """
    data = load_dataset(dataset, data_dir)
    outputs, loss = _outputs(data)
    layers = [*_body(data.input_shape), f"Dense({outputs})"]
    count = len(data.train)
    batch_size, steps = next(((size, steps) for few, size, steps in FEW if count < few), MANY)
    epochs = min(max(math.ceil(steps * batch_size / count), EPOCHS[0]), EPOCHS[1])
    classes = loss == "CrossEntropy()"
    y = indices_of(data.train.y) if classes else None
    sections = {
        "model": {"name": _name(dataset), "layers": layers},
        "data": {"dataset": repr(dataset), "validation": 0.0 if data.validation else VALIDATION},
        "train": {
            "optimizer": "Adam(0.003)" if len(data.input_shape) == 1 else "AdamW(0.003, weight_decay=0.1)",
            "schedule": "OneCycle()",
            "epochs": epochs,
            "batch_size": batch_size,
            "loss": loss,
            "augmentations": _augmentations(data.train.x, y),
            "metrics": ["Accuracy()"] if classes else [],
            **({} if y is None or not rare_classes(np.bincount(y)).any() else {"class_weight": "balanced"}),
        },
    }
    return Recipe.from_dict(sections, f"the default recipe for {data.name}")


def _outputs(data: Data) -> tuple[int, str]:
    """How many outputs the targets need, and their loss."""
    y = data.train.y
    if y.ndim == 1:
        return max(len(data.labels), 1 + max(int(part.y.max()) for part in _parts(data))), "CrossEntropy()"
    if y.ndim != 2:
        raise ConfigError(
            f"expected one target for each sample, got {y.shape[1:]}, one for each pixel: write a recipe with a "
            "network that ends in an image"
        )
    if are_indices(indices_of(y)):
        return y.shape[1], "CrossEntropy()"
    return y.shape[1], "BinaryCrossEntropy()" if np.isin(y, (0, 1)).all() else "MSE()"


def _parts(data: Data) -> list[Samples]:
    return [part for part in (data.train, data.test, data.validation) if part]


def _body(shape: Shape) -> list[str]:
    """All layers but the last, for inputs of this shape."""
    if len(shape) == 1:
        return ["Dense(64)", "ReLU()", "Dense(64)", "ReLU()"]
    layers: list[str] = []
    height, width = shape[1:]
    if min(height, width) > LARGE:
        layers += [STEM, "BatchNorm2D()", "ReLU()"]
        height, width = -(-height // 2), -(-width // 2)
    for filters in FILTERS:
        layers += 2 * [f'Conv2D({filters}, 3, padding="same", bias=False)', "BatchNorm2D()", "ReLU()"]
        if min(height, width) <= SMALLEST:
            break
        layers.append("MaxPool2D(2)")
        height, width = height // 2, width // 2
    return [*layers, f"AvgPool2D(({height}, {width}))", "Flatten()", "Dropout(0.3)"]


def _augmentations(x: Inputs, y: Array | None) -> list[str]:
    """Changes that keep what an image shows, whatever that is: small moves and, of colours, what tells no class.

    y: the class of each image, None if there are none. A mirror image may mean something else.
    """
    if x.ndim != 4:
        return []
    by = min(x.shape[2:]) // 8
    moves = [f"PadCrop({by})"] if by else []
    if x.shape[1] != 3:
        return moves
    degrees = NEAR if y is None or colours_tell(x, y) else ANY
    return [*moves, f"RotateColors({degrees})"]


def _name(dataset: Dataset) -> str:
    """The name of the model: that of the file or folder, or of the dataset, in the letters that a name may have."""
    call = parse(repr(dataset))
    first = call.args[0] if call.args and isinstance(call.args[0], str) else ""
    name = Path(first).resolve().stem if first and is_data(expanded(first)) else call.name
    letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return letters[:64] or "model"
