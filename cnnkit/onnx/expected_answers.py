"""What a model answers in float64, and how far from that its own answers in float32 are."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np

from cnnkit.errors import OnnxError
from cnnkit.network import Network
from cnnkit.onnx.difference import distance, relative
from cnnkit.onnx.outputs import compared_outputs, output_names
from cnnkit.types import Array, Inputs
from cnnkit.wording import counted

MARGIN = 10.0
"""How much larger than the model's own rounding error that of a runtime may be, which adds in another order; up to 6.3
was seen in thousands of samples of ill-conditioned networks."""
FLOAT16_TOLERANCE = 1e-2
"""Relative difference that a file in float16 may have: some ten times what one rounding to its 11 bits makes."""
MOST_ROUNDING = 0.1
"""Relative difference beyond which nothing counts as rounding."""
KEPT_BYTES = 64 * 2**20
"""Most bytes of answers that are kept, unless they are those of one block; more are computed again when needed."""


@dataclass(frozen=True)
class Answers:
    """What a model gives for some samples, (N, ...)."""

    first: int
    """Number of the first of them."""
    x: Array
    outputs: Array
    """Its values for the first output that is compared, in float64; for a label, what that is taken from."""
    scale: Array
    """s of each number, (N, ...): |output|, or its mean over all samples, and pixels, where that is larger."""
    rounding: Array
    """Of each number, (N, ...): |float32 output - output| / s, with the mean for a floor as well, and of pixels the
    largest of the sample; the same numbers added in another order are as far off as these."""


class NotFiniteError(OnnxError):
    """The model's own answers are NaN or infinite."""


class ExpectedAnswers:
    """What a model gives for any number of samples, a block of them at a time, so that memory does not grow with them.

    x: (N, *input_shape), in the dataset's own units, and rows that are not in memory are read block by block; block:
    samples in each; names: of the file's outputs that are compared, if not as usual.
    Raises NotFiniteError, naming the first layer, where answers in float32 are not finite.
    """

    def __init__(self, model: Network, x: Inputs, block: int, names: Sequence[str] = ()) -> None:
        self.model, self.x, self._block = model, x, block
        self.names = tuple(names or output_names(model))
        self.single = in_dtype(model, "float32")
        """The model in float32."""
        self.largest_rounding = 0.0
        """Of all samples."""
        double = functools.cache(lambda: self.double)
        self._kept: list[_Outputs] | None = []
        kept = 0
        size: Array | float = 0.0
        errors: Array | float = 0.0
        for part in self._computed(double):
            size = size + part.size.sum(axis=_averaged(part.size), keepdims=True)
            errors = errors + part.error.sum(axis=_averaged(part.error), keepdims=True)
            kept += 3 * part.values.nbytes
            if kept > KEPT_BYTES and len(x) > block:
                self._kept = None
            if self._kept is not None:
                self._kept.append(part)
        count = len(x) * math.prod(model.output_shape[1:])
        self._means = size / count, errors / count
        if self._kept is None:
            self._double = double
        self.largest_rounding = max(float(answers.rounding.max()) for answers in self)

    @property
    def double(self) -> Network:
        """The model in float64, made anew: it takes twice the memory, and is wanted again only where answers differ."""
        return in_dtype(self.model, "float64")

    def __iter__(self) -> Iterator[Answers]:
        """All answers, block by block."""
        parts = self._computed(self._double) if self._kept is None else self._kept
        for first, part in zip(range(0, len(self.x), self._block), parts, strict=True):
            scale, errors = (np.maximum(*pair) for pair in zip((part.size, part.error), self._means, strict=True))
            if errors.ndim > 2:
                # What a pixel's sum adds up differs from pixel to pixel, and its own error may be near zero by chance.
                errors = np.maximum(errors, errors.max(axis=tuple(range(2, errors.ndim)), keepdims=True))
            yield Answers(first, self._samples(first), part.values, scale, relative(errors, scale))

    def sample(self, number: int) -> Array:
        """(1, *input_shape)."""
        return self._taken(self.x[number : number + 1])

    def _computed(self, double: Callable[[], Network]) -> Iterator[_Outputs]:
        for first in range(0, len(self.x), self._block):
            x = self._samples(first)
            rounded = compared_outputs(self.single, x, self.names)
            if bad := _not_finite(rounded):
                self._refuse([first + index for index in bad], first + self._block)
            yield _Outputs(compared_outputs(double(), x, self.names), rounded)

    def _refuse(self, bad: list[int], start: int) -> NoReturn:
        """Raise NotFiniteError; bad: the first samples whose answers are not finite; start: where to look for more."""
        for first in range(start, len(self.x), self._block):
            further = _not_finite(compared_outputs(self.single, self._samples(first), self.names))
            bad += [first + index for index in further]
        nodes = zip(self.single.nodes, self.single.trace(self.sample(bad[0])), strict=True)
        since = next((f", first in the values of {node}" for node, own in nodes if _not_finite(own)), "")
        raise NotFiniteError(
            f"the model's own answers are NaN or infinite for {len(bad):,} of {counted(len(self.x), 'sample')}{since}, "
            "so no runtime can agree with them"
        )

    def _samples(self, first: int) -> Array:
        return self._taken(self.x[first : first + self._block])

    def _taken(self, x: Array) -> Array:
        """As the model's dataset gives them."""
        return np.asarray(x).astype(self.model.input_dtype, copy=False)


class _Outputs:
    """The outputs for a block of samples, in float64 and in float32."""

    def __init__(self, values: Array, rounded: Array) -> None:
        self.values = values
        self.size = distance(values, np.zeros_like(values))
        self.error = distance(rounded, values)


def _not_finite(values: Array) -> list[int]:
    """The samples that have such values."""
    found: list[int] = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))).tolist()
    return found


def _averaged(values: Array) -> tuple[int, ...]:
    """The axes over which the mean of an output is taken: samples, and pixels."""
    return (0, *range(2, values.ndim))


def typical(values: Array) -> Array:
    """Each number, or the mean of its output over all samples, and pixels, where that is larger; (N, ...) from 0 on."""
    return np.asarray(np.maximum(values, values.mean(axis=_averaged(values), keepdims=True)))


def in_dtype(model: Network, dtype: Literal["float32", "float64"]) -> Network:
    """The model itself, or one of equal parameters, rounded if need be, that computes in another dtype."""
    if model.dtype == dtype:
        return model
    return model.again(dtype=dtype)


def allowed(rounding: Array, tolerance: float) -> Array:
    """The relative difference that passes: the tolerance, or MARGIN times the rounding, but no more than MOST_ROUNDING.

    Nothing passes where the model's own answer in float32 is not a number.
    """
    most = np.maximum(tolerance, np.minimum(MARGIN * rounding, MOST_ROUNDING))
    return np.where(np.isfinite(rounding), most, -1.0)
