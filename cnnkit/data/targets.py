"""Targets as other libraries give them, taken where they can mean one thing only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cnnkit.class_indices import listed
from cnnkit.errors import DataError
from cnnkit.types import Array, Shape, refuse_masked

KINDS: tuple[tuple[Any, type], ...] = (
    (str, np.str_),
    (bool | np.bool_, np.bool_),
    (int | np.integer, np.int64),
    (int | float | np.integer | np.floating, np.float64),
)
"""Of Python's objects, and what an array of them becomes."""


class Targets(NamedTuple):
    """Class indices (N,), or values (N, F), and the names of the classes."""

    y: Array
    labels: tuple[str, ...]


def as_targets(
    given: Any,
    labels: Sequence[str] = (),
    outputs: Shape | None = None,
    what: str = "the targets",
    *,
    gives_labels: bool = False,
) -> Targets:
    """Class indices, or values to regress, of what other libraries call targets.

    given: an array, or what NumPy makes one of, such as a series or a data frame of pandas; labels: names of the
    classes, () if there are none yet; outputs: the shape of a network's for one sample, None if it is not known yet;
    what: the name of these targets in messages; gives_labels: the network says of each label whether it is there.

    Names become indices into `labels`, or into the sorted different names, which are the labels then; False and True
    become 0 and 1; a column (N, 1) of either, or of integers, becomes (N,), and (N, 1, H, W) for several outputs
    (N, H, W). Integers (N, 1) for one output stay values. Floats (N,) for one output, and whatever says whether a
    single label is there, become (N, 1). All others stay as they are: of zeros and ones (N, K) only the loss knows
    whether they are one-hot classes or labels.
    Raises DataError, naming the sample, for values that are masked or missing, and for names that are not labels; and
    for booleans of one output that is not a label, which can mean two things.
    """
    y = _array(given, what)
    if y.dtype.kind == "U":
        return _from_names(_flat(y, what), tuple(labels), what)
    is_single = outputs == (1,)
    if y.dtype.kind == "b":
        if is_single and not gives_labels:
            raise DataError(
                f"{what} are booleans, and the network has one output: for two classes, end it in Dense(2); for one "
                'label, use the loss BinaryCrossEntropy(); for the values 0 and 1, write y.astype("float32")'
            )
        y = y.astype(np.int64 if y.ndim == 1 or y.shape[1:] == (1,) else np.uint8)
    if y.dtype.kind not in "iuf":
        raise DataError(f"{what}: expected numbers, names or booleans, got an array of {y.dtype}")
    if y.dtype.kind == "f" or gives_labels:
        return Targets(y[:, np.newaxis] if y.ndim == 1 and is_single else y, tuple(labels))
    is_column = y.ndim == 2 or (y.ndim == 4 and outputs is not None and outputs[1:] == y.shape[2:] and outputs[0] > 1)
    if is_column and y.shape[1] == 1 and not is_single:
        y = y[:, 0]
    return Targets(y, tuple(labels))


def _array(given: Any, what: str) -> Array:
    """An array of numbers, booleans or strings, without anything that is masked or missing."""
    refuse_masked(given, what)
    try:
        y = np.asarray(given)
    except ValueError as error:
        raise DataError(f"{what}: expected one for each sample, all of one shape: {error}") from None
    if y.ndim == 0:
        raise DataError(f"{what}: expected one for each sample, got a single value of {y.dtype}")
    if y.dtype.kind == "S":
        try:
            return np.char.decode(y, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{what}: expected names in UTF-8: {error}") from None
    return _of_objects(y.astype(object, copy=False), what) if y.dtype.kind in "OT" else y


def _of_objects(y: Array, what: str) -> Array:
    """Python objects, as pandas gives them, or strings of any length."""
    found: list[list[int]] = []
    for kinds, dtype in KINDS:
        found.append([at for at, value in enumerate(y.flat) if not isinstance(value, kinds)])
        if not found[-1]:
            return _converted(y, dtype, what)
    at = min(found, key=len)[0]
    raise DataError(
        f"{what}: expected a number, a name or a boolean for each sample, all of one kind; that of sample "
        f"{at // (y.size // len(y))} is {y.flat[at]!r:.100}: remove samples without a target"
    )


def _converted(y: Array, dtype: type, what: str) -> Array:
    try:
        return y.astype(dtype)
    except OverflowError:
        at = next(at for at, value in enumerate(y.flat) if not _fits(value, dtype))
        raise DataError(
            f"{what}: expected numbers that {dtype.__name__} can hold; that of sample {at // (y.size // len(y))} is "
            f"{y.flat[at]!r:.100}: correct the target, or remove the sample"
        ) from None


def _fits(value: Any, dtype: type) -> bool:
    try:
        dtype(value)
    except OverflowError:
        return False
    return True


def _flat(y: Array, what: str) -> Array:
    if y.ndim == 1 or y.shape[1:] == (1,):
        return y.reshape(-1)
    raise DataError(f"{what}: expected one name for each sample, got an array of names of shape {y.shape}")


def _from_names(y: Array, labels: tuple[str, ...], what: str) -> Targets:
    names, indices = np.unique(y, return_inverse=True)
    if not labels:
        return Targets(indices.astype(np.int64), tuple(names.tolist()))
    places = {label: index for index, label in enumerate(labels)}
    unknown = [name for name in names.tolist() if name not in places]
    if unknown:
        at = int(np.flatnonzero(y == unknown[0])[0])
        raise DataError(
            f"{what}: expected names among the labels {listed([*map(repr, labels)])}; that of sample {at} is "
            f"{unknown[0]!r}"
        )
    return Targets(np.array([places[name] for name in names.tolist()], np.int64)[indices], labels)
