"""What losses do with the outputs and targets of samples and of pixels: checks, rows, and means."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.class_indices import first_outside
from cnnkit.components.checks import are_shares
from cnnkit.components.sums import sum_over
from cnnkit.errors import ShapeError
from cnnkit.types import Array, Shape


def check_outputs(outputs: Array) -> None:
    """Raise ShapeError unless the outputs are (N, K), (N, K, L) or (N, K, H, W)."""
    if outputs.ndim not in (2, 3, 4) or 0 in outputs.shape[1:]:
        raise ShapeError(
            "a loss needs network outputs of shape (N, K), or (N, K, L) for each step of a signal, or (N, K, H, W) for "
            f"each pixel, got {outputs.shape}: end the network with a Flatten() or Dense(...) layer"
        )


def rows_of(values: Array) -> Array:
    """What there is of each class in a row for each sample, or each pixel: (N, K, H, W) -> (N*H*W, K)."""
    return values if values.ndim == 2 else np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])


def as_outputs(rows: Array, shape: Shape) -> Array:
    """What `rows_of` has taken apart: (N*H*W, K) -> (N, K, H, W)."""
    return rows if len(shape) == 2 else np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def mean_of_each(values: Array) -> Array:
    """The mean of each sample: (N, ...) -> (N,)."""
    return sum_over(values, tuple(range(1, values.ndim))) / math.prod(values.shape[1:])


def check_shares(targets: Array) -> None:
    """Raise ShapeError, naming the first, unless the targets are shares of the classes that add up to 1."""
    wrong = np.flatnonzero(~are_shares(targets).reshape(len(targets), -1).all(axis=1)) if len(targets) else np.empty(0)
    if wrong.size:
        raise ShapeError(
            f"the targets must be class indices, or for each sample shares of the classes that add up to 1; target "
            f"{wrong[0]} is {targets[wrong[0]]}: for values to regress, use the loss MSE()"
        )


def check_classes(outputs: Array, targets: Array) -> None:
    """Raise ShapeError, naming the first, unless the targets are indices of the outputs' classes."""
    classes, expected = outputs.shape[1], (len(outputs), *outputs.shape[2:])
    if targets.shape != expected or not np.issubdtype(targets.dtype, np.integer):
        raise ShapeError(
            f"the targets must be class indices, integers of shape {expected} for outputs of shape {outputs.shape}; "
            f"got {targets.dtype} of shape {targets.shape}"
        )
    if place := first_outside(targets, classes):
        first, *pixel = place
        where = f"{first} at pixel {tuple(pixel)}" if pixel else str(first)
        raise ShapeError(
            f"the network has {classes} outputs, so class indices must be 0 to {classes - 1}; target {where} is "
            f"{targets[first, *pixel]}: give the last layer one output for each class, or correct the targets"
        )
