"""From an expression to loaded data: where the files are, the name of the data, and the hash of its content."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from cnnkit.components.catalog import installed_catalog
from cnnkit.components.checks import in_range
from cnnkit.components.contracts import Dataset
from cnnkit.components.error_naming import Naming
from cnnkit.data.split import proper_fraction, split_validation
from cnnkit.errors import ConfigError
from cnnkit.types import Data, Samples, blocks
from cnnkit.user_folders import expanded, user_folder
from cnnkit.waiting_line import waiting


def load_dataset(
    dataset: str | Dataset,
    data_dir: str | os.PathLike[str] | None = None,
    validation: float = 0.0,
    seed: int = 0,
    *,
    fraction: float = 1.0,
) -> Data:
    """Load a dataset by its expression, such as `MNIST()`, with its name and digest filled in.

    data_dir: the folder of data files, `default_data_dir()` if None; validation: the share of the training samples to
    set aside, 0 for none; fraction: the share of the training samples to use, those to validate on among them, chosen
    evenly over the classes; seed: chooses which. The digest is that of all samples.
    Raises ExpressionError, ComponentError or ConfigError for the expression, DataError for the files.
    """
    in_range("validation", validation, 0.0, 1.0)
    if fraction != 1:
        proper_fraction("fraction", fraction)
    component = cast(Dataset, installed_catalog().build("dataset", dataset))
    with waiting(f"loading {component!r}"):
        with Naming(component):
            data = component.load(default_data_dir() if data_dir is None else expanded(data_dir))
        of_all, of_training = _digests(data)
    data = replace(data, name=repr(component), digest=of_all, training_digest=of_training)
    if fraction != 1:
        data = replace(data, train=split_validation(data.train, fraction, seed)[1])
    if validation == 0:
        return data
    if data.validation is not None:
        raise ConfigError(f"{data.name} has its own validation samples: expected validation=0, got {validation!r}")
    train, held_out = split_validation(data.train, validation, seed)
    return replace(data, train=train, validation=held_out)


def default_data_dir() -> Path:
    """The folder of data files: CNNKIT_DATA_DIR if it is set, else `data` in the user's cache folder of cnnkit.

    For a user without a home it is `./data`.
    """
    if chosen := os.environ.get("CNNKIT_DATA_DIR"):
        return expanded(chosen)
    return (user_folder("cache") or Path()) / "data"


def digest(data: Data) -> str:
    """sha256 over dtype, shape and little-endian content of all x and y: train, test, then validation if there is one.

    At the end comes `data.files_digest`, if there is one. Returns hexadecimal digits, the same on every machine.
    """
    return _digests(data)[0]


def _digests(data: Data) -> tuple[str, str]:
    """Of all samples, and of those to train and validate on; the inputs to train on are read once for both."""
    total = hashlib.sha256()
    _add(total, data.train)
    training = total.copy()
    _add(total, data.test)
    if data.validation is not None:
        _add(total, data.validation)
        _add(training, data.validation)
    total.update(
        data.files_digest.encode()
    )  # of the training samples alone, which no test file must change, it is none
    return total.hexdigest(), training.hexdigest()


def _add(total: Any, samples: Samples) -> None:
    for array in (samples.x, samples.y):
        dtype = array.dtype.newbyteorder("<")
        total.update(f"{dtype.str} {array.shape} ".encode())
        for block in blocks(array):
            total.update(np.ascontiguousarray(array[block], dtype).data)
