"""The conformance suite for datasets: everything that training and evaluation assume about one."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from cnnkit.components import Dataset, installed_catalog
from cnnkit.errors import CheckError
from cnnkit.testing.comparing import Suite, check_expression, check_unchanged_by, equal, named, run_all, same_bits
from cnnkit.types import Data, Rows, Samples, blocks

SHARED = 0.1
"""The largest share of a part's inputs that may be among those of the training: published datasets have some twice."""


def check_dataset(dataset: Dataset | str, data_dir: str | os.PathLike[str]) -> None:
    """Check that a dataset keeps its contract; `CHECKS` lists what that is. It is loaded several times.

    dataset: a component or its expression; data_dir: where its files are, if it has some.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe a dataset, DataError for files that are
    missing or damaged.
    """
    component, folder = cast("Dataset", installed_catalog().build("dataset", dataset)), Path(data_dir)
    component.load(folder)
    run_all([suite(component, folder)])


def suite(dataset: Dataset, data_dir: Path) -> Suite:
    """All of its checks; each loads it."""
    return Suite(named(dataset), dataset, CHECKS, (dataset, data_dir), copied=False)


def parts(data: Data) -> Iterator[tuple[str, Samples]]:
    """The samples by the names of their parts; validation only where there is some."""
    yield "train", data.train
    yield "test", data.test
    if data.validation is not None:
        yield "validation", data.validation


def check_samples(dataset: Dataset, data_dir: Path) -> None:
    """Inputs are finite images or vectors, uint8 or float32; targets are classes, of samples or pixels, or floats."""
    data = dataset.load(data_dir)
    if not isinstance(data, Data):
        raise CheckError(f"load must return Data, it returned {type(data).__name__}")
    for name, samples in parts(data):
        x, y = samples.x, samples.y
        if not len(samples):
            raise CheckError(f"{name} has no samples: give one or more")
        if not isinstance(x, np.ndarray | Rows) or x.ndim not in (2, 3, 4) or str(x.dtype) not in ("uint8", "float32"):
            raise CheckError(
                f"{name}.x must be (N, C, H, W), (N, C, L) or (N, F), uint8 or float32, it is {type(x).__name__} of "
                f"shape {np.shape(x)}, {getattr(x, 'dtype', 'without dtype')}"
            )
        if not isinstance(y, np.ndarray) or not (
            (y.dtype == np.int64 and y.ndim in (1, 3)) or (y.dtype.kind == "f" and y.ndim in (2, 4))
        ):
            raise CheckError(
                f"{name}.y must be class indices, int64 of shape (N,), or (N, H, W) for pixels, or values or labels, "
                f"floats of shape (N, F) or (N, C, H, W); it is {type(y).__name__} of shape {np.shape(y)}, "
                f"{getattr(y, 'dtype', 'without dtype')}"
            )
        if not all(np.isfinite(x[block]).all() for block in blocks(x)) or not np.isfinite(y).all():
            raise CheckError(f"{name} has NaN or infinite values: leave such samples out, or raise DataError")


def check_parts_alike(dataset: Dataset, data_dir: Path) -> None:
    """All parts have inputs and targets of one shape and dtype, which labels and preprocessing fit."""
    data = dataset.load(data_dir)
    first = data.train
    for name, samples in parts(data):
        equal(f"shape of one input in {name}", samples.x.shape[1:], first.x.shape[1:])
        equal(f"dtype of the inputs in {name}", str(samples.x.dtype), str(first.x.dtype))
        equal(f"dtype of the targets in {name}", str(samples.y.dtype), str(first.y.dtype))
        equal(f"shape of one target in {name}", samples.y.shape[1:], first.y.shape[1:])
        if samples.y.dtype.kind == "i":
            low, high = int(samples.y.min()), int(samples.y.max())
            if low < 0 or (data.labels and high >= len(data.labels)):
                raise CheckError(
                    f"classes in {name} must be from 0 to {len(data.labels) - 1 if data.labels else 'the last class'}, "
                    f"they are from {low} to {high}; there are {len(data.labels)} labels"
                )
    if not all(isinstance(label, str) for label in data.labels) or len(set(data.labels)) < len(data.labels):
        raise CheckError(f"labels must be different texts, got {data.labels!r}")
    channels = len(data.preprocessing.mean)
    if channels not in (1, data.input_shape[0]):
        raise CheckError(
            f"preprocessing is for {channels} channels, inputs have {data.input_shape[0]}: give one mean and std, or "
            "one for each channel"
        )


def check_repeatable(dataset: Dataset, data_dir: Path) -> None:
    """Loading again gives the same samples in the same order, and changes nothing."""
    expected = dataset.load(data_dir)
    check_unchanged_by(dataset, lambda: dataset.load(data_dir))
    _equal_data("after loading again", dataset.load(data_dir), expected)


def check_own_memory(dataset: Dataset, data_dir: Path) -> None:
    """What was loaded belongs to whom it was given: written into, it does not change what is loaded next."""
    expected = {
        f"{name}.{key}": np.array(value)
        for name, samples in parts(dataset.load(data_dir))
        for key, value in (("x", samples.x), ("y", samples.y))
    }
    for _, samples in parts(dataset.load(data_dir)):
        for value in (samples.x, samples.y):
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value[...] = 0
    for name, samples in parts(dataset.load(data_dir)):
        for key, value in (("x", samples.x), ("y", samples.y)):
            same_bits(
                f"{name}.{key}, loaded after what was loaded before was written into; give a copy of what is kept",
                np.asarray(value),
                expected[f"{name}.{key}"],
            )


def check_parts_apart(dataset: Dataset, data_dir: Path) -> None:
    """Test and validation inputs are not those of the training, whatever their targets; a share of `SHARED` may be."""
    data = dataset.load(data_dir)
    trained = set(_digests(data.train))
    for name, samples in parts(data):
        if name == "train":
            continue
        shared = sum(digest in trained for digest in _digests(samples))
        if shared > SHARED * len(samples):
            raise CheckError(
                f"{shared} of the {len(samples)} inputs of {name} are also among the training inputs, at most "
                f"{SHARED:.0%} may be: results on them say nothing about new samples; split without overlap"
            )


def check_is_complete(dataset: Dataset, data_dir: Path) -> None:
    """After loading nothing is missing; elsewhere it is known without loading or writing anything."""
    dataset.load(data_dir)
    complete = dataset.is_complete(data_dir)
    if complete is not None and complete is not True:
        raise CheckError(f"is_complete must be True after load, or None where only load can tell, got {complete!r}")
    with tempfile.TemporaryDirectory() as empty:
        elsewhere = dataset.is_complete(Path(empty))
        if elsewhere is not None and not isinstance(elsewhere, bool):
            raise CheckError(f"is_complete must be True, False or None, for an empty folder it is {elsewhere!r}")
        equal("files that is_complete wrote into an empty folder", os.listdir(empty), [])


def check_repr(dataset: Dataset, data_dir: Path) -> None:
    """`repr` is the expression that recreates the dataset."""
    again = check_expression("dataset", dataset)
    if again is not None:
        made = cast("Dataset", again).load(data_dir)
        _equal_data(f"of the dataset made from repr, {dataset!r},", made, dataset.load(data_dir))


CHECKS: Mapping[str, Callable[[Dataset, Path], None]] = {
    "samples": check_samples,
    "parts alike": check_parts_alike,
    "repeatable": check_repeatable,
    "own memory": check_own_memory,
    "parts apart": check_parts_apart,
    "is complete": check_is_complete,
    "repr": check_repr,
}
"""By name, in the order in which they run."""


def _equal_data(what: str, given: Data, expected: Data) -> None:
    equal(f"parts {what}", [name for name, _ in parts(given)], [name for name, _ in parts(expected)])
    equal(f"labels {what}", given.labels, expected.labels)
    equal(f"preprocessing {what}", given.preprocessing, expected.preprocessing)
    for (name, one), (_, other) in zip(parts(given), parts(expected), strict=True):
        same_bits(f"{name}.y {what}", one.y, other.y)
        equal(f"shape of {name}.x {what}", one.x.shape, other.x.shape)
        for block in blocks(one.x):
            same_bits(f"{name}.x {what}", one.x[block], other.x[block])


def _digests(samples: Samples) -> Iterator[bytes]:
    """One for each input."""
    for block in blocks(samples.x):
        for row in np.ascontiguousarray(samples.x[block]):
            yield hashlib.blake2b(row.tobytes(), digest_size=16).digest()
