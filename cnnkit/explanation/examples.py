"""One number of a layer's output, taken apart: what it was computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnkit.layers import AvgPool2D, BatchNorm2D, Conv2D, Dense, MaxPool2D
from cnnkit.layers.window import Axis, Window
from cnnkit.types import Array

MAX_CONTRIBUTIONS = 8
"""Contributions to a sum that are named."""


@dataclass(frozen=True)
class WindowExample:
    """An output of a convolution or pooling, and the window that it looked through."""

    channel: int
    row: int
    column: int
    first_channel: int
    """Of the input channels that are looked at."""
    top: int
    left: int
    """Of the window's first element in the input; negative in the padding."""
    patch: Array
    """(channels, kh, kw): the numbers in the window; those in the padding as they count, 0 or -inf."""
    inside: Array
    """(kh, kw): False in the padding."""
    value: float
    """What the layer gave."""
    kernel: Array | None = None
    """(channels, kh, kw), of a convolution."""
    bias: float | None = None

    @property
    def sums(self) -> Array:
        """(channels,): the sum of the products in each input channel, of the numbers themselves without a kernel."""
        products = self.patch if self.kernel is None else self.patch * self.kernel
        return np.asarray(products.sum(axis=(1, 2)))

    @property
    def winner(self) -> tuple[int, int] | None:
        """Of a maximum pooling: where in the window the number is that gets the gradient; None where one is NaN.

        As in MaxPool2D, that is the first of equal maxima in the window's column order.
        """
        columns = self.patch[0].T
        if np.isnan(columns).any():
            return None
        column, row = np.unravel_index(int(columns.argmax()), columns.shape)
        return int(row), int(column)


@dataclass(frozen=True)
class DenseExample:
    """An output of a dense layer, and what contributed most to it."""

    unit: int
    inputs: Array
    """(F,): positions of the inputs, those with the largest contributions first."""
    x: Array
    weights: Array
    bias: float
    value: float

    @property
    def products(self) -> Array:
        """(F,): x * weight, in the same order."""
        return np.asarray(self.x * self.weights)


@dataclass(frozen=True)
class NormExample:
    """An output of batch normalisation, and the numbers of its channel."""

    channel: int
    row: int
    column: int
    x: float
    mean: float
    var: float
    gamma: float
    beta: float
    value: float


def largest(values: Array) -> tuple[int, ...]:
    """The position of the largest number; NaN counts as the smallest."""
    clean = np.where(np.isnan(values), -np.inf, values)
    return tuple(int(i) for i in np.unravel_index(int(clean.argmax()), values.shape))


def conv_example(layer: Conv2D, x: Array, y: Array) -> WindowExample:
    """The largest output of a convolution, (C, H, W) -> (filters, oh, ow), in float64."""
    channel, row, column = largest(y)
    weight = layer.params["weight"].astype(np.float64)
    channels = weight.shape[1]
    first = channel // (layer.filters // layer.groups) * channels
    patch, inside = _patch(layer.window, x[first : first + channels], row, column, 0.0)
    bias = float(layer.params["bias"][channel]) if layer.bias else None
    top, left = _start(layer.window.rows, row), _start(layer.window.columns, column)
    value = float(y[channel, row, column])
    return WindowExample(channel, row, column, first, top, left, patch, inside, value, weight[channel], bias)


def pool_example(layer: MaxPool2D | AvgPool2D, x: Array, y: Array) -> WindowExample:
    """The largest output of a pooling, (C, H, W) -> (C, oh, ow), in float64; of its window, what can meet the image."""
    channel, row, column = largest(y)
    window = layer.window.without_idle()
    filling = -np.inf if isinstance(layer, MaxPool2D) else 0.0
    patch, inside = _patch(window, x[channel : channel + 1], row, column, filling)
    top, left = _start(window.rows, row), _start(window.columns, column)
    return WindowExample(channel, row, column, channel, top, left, patch, inside, float(y[channel, row, column]))


def dense_example(layer: Dense, x: Array, y: Array) -> DenseExample:
    """The largest output of a dense layer, (F,) -> (units,), in float64."""
    (unit,) = largest(y)
    weights = layer.params["weight"][unit].astype(np.float64)
    order = np.argsort(-np.abs(np.nan_to_num(x * weights)), kind="stable")
    bias = float(layer.params["bias"][unit]) if layer.bias else 0.0
    return DenseExample(unit, order, x[order].astype(np.float64), weights[order], bias, float(y[unit]))


def norm_example(layer: BatchNorm2D, x: Array, y: Array) -> NormExample:
    """The largest output of batch normalisation in prediction mode, (C, H, W)."""
    channel, row, column = largest(y)
    arrays = (layer.buffers["running_mean"], layer.buffers["running_var"], layer.params["gamma"], layer.params["beta"])
    mean, var, gamma, beta = (float(array[channel]) for array in arrays)
    place = channel, row, column
    return NormExample(*place, float(x[place]), mean, var, gamma, beta, float(y[place]))


def _start(axis: Axis, position: int) -> int:
    return position * axis.stride - axis.before


def _patch(window: Window, x: Array, row: int, column: int, filling: float) -> tuple[Array, Array]:
    """What lies under the window at one position, (C, kh, kw), and which of it is not padding, (kh, kw)."""
    rows, columns = (
        _start(axis, position) + axis.dilation * np.arange(axis.size)
        for axis, position in ((window.rows, row), (window.columns, column))
    )
    inside = np.logical_and.outer(
        (rows >= 0) & (rows < window.rows.length), (columns >= 0) & (columns < window.columns.length)
    )
    found = x[:, np.clip(rows, 0, window.rows.length - 1)[:, None], np.clip(columns, 0, window.columns.length - 1)]
    return np.where(inside, found.astype(np.float64), filling), inside
