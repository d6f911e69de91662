"""Files as network inputs: arrays as they are, image files as pictures."""

from __future__ import annotations

import os
import sys
from io import BufferedReader
from typing import cast

import numpy as np

from cnnkit import axes
from cnnkit.data.formats.npy import read_header, read_values
from cnnkit.data.formats.pictures import Picture, open_picture
from cnnkit.errors import DataError
from cnnkit.file_kinds import ARRAY, SAMPLE, foreign
from cnnkit.types import Array, Shape

STDIN = "-"


def read_inputs(file: str | os.PathLike[str], shape: Shape, needed: int = 0) -> Array | Picture:
    """The inputs in a file as (N, *shape), or the picture in an image file, with as many channels.

    An array in NumPy's format (the name ends in .npy, or the content begins as one) is taken as it is: one input may
    lack the batch axis, a single channel its own axis. Anything else is an image, see `open_picture`.
    file: a path, or "-" for standard input; needed: pixels of each side of a picture, if more than those of an input.
    Raises DataError for a file that cannot be read, has inputs of another shape, or values that are not finite numbers.
    """
    if file == STDIN:
        if sys.stdin is None:
            raise DataError("expected an image on standard input, which is closed")
        return _read(cast(BufferedReader, sys.stdin.buffer), shape, needed)
    try:
        with open(file, "rb") as stream:
            return _read(stream, shape, needed)
    except OSError as error:
        raise DataError(f"cannot read {os.fspath(file)}: {error.strerror or error}") from None


def _read(stream: BufferedReader, shape: Shape, needed: int) -> Array | Picture:
    prefix = np.lib.format.MAGIC_PREFIX
    if str(stream.name).lower().endswith(".npy") or stream.peek(len(prefix)).startswith(prefix):
        return _array(stream, shape)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"{stream.name}: an image gives inputs of shape (1, H, W) or (3, H, W), the model takes {shape}: "
            "give a .npy file with such an array"
        )
    channels, height, width = shape
    return open_picture(stream, channels, max(height, width, needed))


def _array(stream: BufferedReader, shape: Shape) -> Array:
    name = stream.name
    what = foreign(stream.peek(SAMPLE)[:SAMPLE], ARRAY)
    try:
        header = read_header(stream)
    except Exception as error:  # a wrong header makes NumPy and Python's parser fail in many ways
        if what:
            raise DataError(f"{name}: expected an array of numbers in NumPy's format, {what}") from None
        raise _no_array(name, error) from None
    if header.dtype.kind not in "iuf":
        raise DataError(f"{name}: expected numbers, uint8 or float, got an array of {header.dtype}")
    accepted = [shape, shape[1:]] if len(shape) > 1 and shape[0] == 1 else [shape]
    if not any(header.shape == one or header.shape[1:] == one for one in accepted):
        images = " or ".join(f"{one} or (N, {', '.join(map(str, one))})" for one in accepted)
        way = axes.conversion(header.shape, shape)
        advice = f": with x for the array, save {way}" if way else ""
        raise DataError(f"{name}: expected an array of shape {images}, got {header.shape}{advice}")
    try:
        array = read_values(stream, header)
    except (ValueError, MemoryError) as error:
        raise _no_array(name, error) from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{name}: expected finite values, some are NaN or infinite")
    return array.reshape(-1, *shape)


def _no_array(name: str, error: Exception) -> DataError:
    return DataError(f"{name} is not an array of numbers in NumPy's format: {error} ({type(error).__name__})")
