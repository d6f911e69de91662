"""What a model answers in float64, and how far from that its own answers in float32 are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn

import numpy as np

from cnnkit.errors import OnnxError
from cnnkit.network import Network
from cnnkit.onnx.difference import distance, relative
from cnnkit.onnx.outputs import PROBABILITIES, compared_name, compared_outputs, output_names
from cnnkit.types import Array, Inputs
from cnnkit.wording import counted, thinned

MARGIN = 10.0
"""How much larger than the model's own rounding error that of a runtime may be, which adds in another order; up to 6.3
was seen in thousands of samples of ill-conditioned networks."""
FLOAT16_TOLERANCE = 1e-2
"""Relative difference that a file in float16 may have: some ten times what one rounding to its 11 bits makes."""
MOST_ROUNDING = 0.1
"""Relative difference beyond which nothing counts as rounding."""
MEDIAN_SAMPLES, MEDIAN_BYTES = 1000, 32 * 2**20
"""Most samples, evenly taken from all, that a median is taken of, and most bytes of what is kept of them."""
OUTLIER = 4.0
"""How many times its median over all samples a mean may be, of samples that are alike: 1.2 in a normal distribution,
1.4 in an exponential one. A larger mean is that of few samples, and says nothing of the others."""
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
    """s of each number, (N, ...), as `validate_onnx` says."""
    rounding: Array
    """Of each number, (N, ...): |float32 output - output| / s, with a floor as s has, and of pixels the largest of the
    sample; the same numbers added in another order are as far off as these."""

    def ties(self, tolerance: float) -> Array:
        """How far each number may be off, (N, ...), where that may turn a label.

        As far as is allowed for it, but beside what rounding explains no further than the tolerance times the largest
        of the sample, or pixel: other samples may have larger ones, and say nothing of which is the highest here.
        """
        with np.errstate(invalid="ignore"):
            largest = np.abs(self.outputs).max(axis=1, keepdims=True)
            own = np.maximum(tolerance * largest, MARGIN * self.rounding * self.scale)
            return np.asarray(np.fmin(allowed(self.rounding, tolerance) * self.scale, own))


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
        floors = [Floors(len(x), model.output_shape[0], compared_name(model, self.names)) for _ in range(2)]
        for part in self._computed(double):
            for floor, values in zip(floors, (part.size, part.error), strict=True):
                floor.add(values)
            kept += 3 * part.values.nbytes
            if kept > KEPT_BYTES and len(x) > block:
                self._kept = None
            if self._kept is not None:
                self._kept.append(part)
        self._floors = tuple(floor.value() for floor in floors)
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
            scale, errors = (raised(*pair) for pair in zip((part.size, part.error), self._floors, strict=True))
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


class Floors:
    """The floor of each output, of which there are K: what it usually is in a sample, whatever outliers there are."""

    def __init__(self, samples: int, outputs: int, name: str) -> None:
        """samples: how many there will be; outputs: K; name: what the file calls them."""
        self._samples, self._bounded = samples, name == PROBABILITIES
        self._kept: list[Array] = []
        most = max(2, min(MEDIAN_SAMPLES, MEDIAN_BYTES // (8 * outputs)))
        self._places = np.array(thinned(samples, most))
        """Samples that the median is taken of."""
        self._seen = 0
        self._sum: Array | float = 0.0

    def add(self, values: Array) -> None:
        """(N, K, ...), of the next samples."""
        means = _over_pixels(values)
        places = self._places[(self._places >= self._seen) & (self._places < self._seen + len(means))]
        self._kept.append(means[places - self._seen])
        self._sum = self._sum + means.sum(axis=0)
        self._seen += len(means)

    def value(self) -> Array:
        """(K,)."""
        mean = np.asarray(self._sum / self._samples)
        if self._bounded:  # by 1: none is an outlier, and of a label that is rare nearly all are near 0
            return mean
        kept = np.concatenate(self._kept)
        return np.asarray(np.fmin(mean, OUTLIER * _median(np.where(kept > 0, kept, np.nan), axis=0)))


def raised(values: Array, floor: Array) -> Array:
    """Each number, or the floor of its output where that is larger: (N, K, ...), (K,) -> (N, K, ...).

    The floor is higher in a sample whose outputs are beyond theirs: as much as the median of them is.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = _median(np.where(floor > 0, _over_pixels(values) / floor, np.nan), axis=1)  # (N,)
    floors = np.fmax(beyond, 1)[:, None] * floor
    return np.asarray(np.maximum(values, floors.reshape(*floors.shape, *(1,) * (values.ndim - 2))))


def _over_pixels(values: Array) -> Array:
    """(N, K, ...) -> (N, K): means."""
    return np.asarray(values.reshape(*values.shape[:2], -1).mean(axis=2))


def _median(values: Array, axis: int) -> Array:
    """The median of those that are numbers; NaN where none is."""
    ordered = np.sort(values, axis=axis)  # NaN comes last
    count = np.isfinite(ordered).sum(axis=axis, keepdims=True)
    middle = [np.take_along_axis(ordered, np.maximum(at, 0), axis) for at in ((count - 1) // 2, count // 2)]
    middle[1] = np.where(count > 1, middle[1], middle[0])
    return np.asarray(np.mean(middle, axis=0).squeeze(axis))


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
