"""What normalisations of single samples have in common: in training as in prediction, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from cnnkit.components import Initializer, Layer, Weights, initializer_of
from cnnkit.components.checks import positive
from cnnkit.components.sums import SHORT, sum_over
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.initializers import ONES
from cnnkit.layers.batch_norm import have_large_means
from cnnkit.types import Array, Cache, Context, Grads, LayerCost, OnnxGraph, Shape

FEW = 8
"""What a sum is divided by when only a small part is left."""


def small(epsilon: float) -> float:
    """Return the argument `epsilon` if it is small beside a variance; a number of channels, as in PyTorch, is not."""
    if positive("epsilon", epsilon) >= 1:
        raise ConfigError(
            f"epsilon must be a number with 0 < epsilon < 1, got {shown(epsilon)}; how many channels there are, the "
            "input says"
        )
    return epsilon


class _SampleNorm(Layer):
    """Parts of a sample with mean 0 and variance 1, then a learned scale and offset if `affine`.

    With g = gamma * dy, dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + epsilon). Without `centred` no mean is
    subtracted: there is no mean(g), and no beta.
    """

    operators: ClassVar[tuple[str, ...]] = ("Add", "Mul", "Reciprocal", "ReduceMean", "Reshape", "Sqrt", "Sub")
    centred: ClassVar[bool] = True
    epsilon: float
    affine: bool
    initializer: Initializer

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape; gamma starts as the initializer says, and beta at 0."""
        if self.centred and self._count(in_shape) == 1:
            raise ShapeError(
                f"{self!r} would subtract each number from itself: of an input of shape {in_shape}, each mean is that "
                "of a single number; let it see more channels or larger images"
            )
        if self.affine:
            shape = self._parameter_shape(in_shape)
            gamma = self.initializer.make(Weights(shape, fan_in=1, fan_out=1), rng)
            self.params = {"gamma": gamma} | ({"beta": np.zeros(shape)} if self.centred else {})
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Normalise, scale and move."""
        normal, y = ctx.empty_like(x), ctx.empty_like(x)
        inverse = self._normalise(self._parts(x), self._parts(normal), self._parts(y), self._count(x.shape[1:]))
        if not self.affine:
            return normal, (normal, inverse)
        np.multiply(normal, _beside(self.params["gamma"], x, ctx), out=y)
        if self.centred:
            y += _beside(self.params["beta"], x, ctx)
        return y, (normal, inverse)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Axes over which all sums run are added up first, so that gamma multiplies less."""
        normal, inverse = cache
        product = np.multiply(dy, normal, out=ctx.empty_like(normal))
        common = self._common_axes(dy.ndim)
        sum_dy, sum_product = _sum(dy, common), _sum(product, common)
        grads: Grads = {}
        if self.affine:
            sums = {"gamma": sum_product, "beta": sum_dy}
            grads = {name: _gradient(name, value.shape, sums[name], ctx) for name, value in self.params.items()}
            gamma = _beside(self.params["gamma"], normal, ctx)
            dy = np.multiply(dy, gamma, out=ctx.empty_like(normal))
            sum_dy = sum_dy * gamma if common else dy
            sum_product *= gamma
        parts, count = self._parts(normal), self._count(dy.shape[1:])
        mean_product = self._sums(self._parts(sum_product)) / count
        dx = np.multiply(parts, mean_product, out=self._parts(product))
        np.subtract(self._parts(dy), dx, out=dx)
        if self.centred:
            dx -= self._sums(self._parts(sum_dy)) / count
        dx *= inverse
        return product, grads

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """The formula: ONNX has LayerNormalization from opset 17 on, and the others from 18 or later.

        InstanceNormalization is older, but OpenCV loses its variance to rounding where the mean is large. What rounding
        leaves of a large mean is subtracted once more, as in `_normalise`.
        """
        shape = graph.shape(x)
        rows, axis = self._onnx_rows(shape)
        y = graph.add("Reshape", x, np.array(rows)) if rows else x
        for _ in range(2 if self.centred else 0):
            y = graph.add("Sub", y, _lower_mean(graph, y, axis))
        square = _lower_mean(graph, graph.add("Mul", y, y), axis)
        spread = graph.add("Sqrt", graph.add("Add", square, np.array(self.epsilon, np.float32)))
        y = graph.add("Mul", y, graph.add("Reciprocal", spread))
        if rows:
            y = graph.add("Reshape", y, np.array([0, *shape]))
        for values, operator in zip(self.params.values(), ("Mul", "Add"), strict=False):
            y = graph.add(operator, y, values if values.ndim == len(shape) else _by_channel(values, len(shape)))
        return y

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        """Of each number: what the mean, the variance and xhat take, then gamma and beta."""
        operations = (5 if self.centred else 3) + self.affine * (1 + self.centred)
        return LayerCost.each(out_shape, operations, f"{operations} additions and multiplications for each number")

    def _parts(self, x: Array) -> Array:
        """(N, ...) as a view of which means run over whole axes."""
        return x

    def _mean_axes(self, axes: int) -> Shape:
        """Which these are, of so many."""
        raise NotImplementedError  # derived classes define it

    def _common_axes(self, axes: int) -> Shape:
        """Those of (N, ...), of so many, over which both means and the gradients of gamma and beta are added up."""
        return ()

    def _count(self, in_shape: Shape) -> int:
        """How many numbers of a sample have one mean."""
        raise NotImplementedError  # derived classes define it

    def _parameter_shape(self, in_shape: Shape) -> Shape:
        """Of gamma and beta: the lengths of a sample's first axes."""
        return in_shape[:1]

    def _onnx_rows(self, shape: Shape) -> tuple[Sequence[int], int]:
        """The shape that (N, *shape) is given for means over a single axis, none if they are; and that axis."""
        raise NotImplementedError  # derived classes define it

    def _sums(self, parts: Array) -> Array:
        return _sum(parts, self._mean_axes(parts.ndim))

    def _normalise(self, x: Array, normal: Array, spare: Array, count: int) -> Array:
        """Write xhat into `normal` and give 1 / sqrt(var + epsilon); all are parts. spare: memory for squares."""
        mean = self._sums(x) / count if self.centred else None
        centred = x if mean is None else np.subtract(x, mean, out=normal)
        square = self._sums(np.square(centred, out=spare)) / count
        # The rounding of a large mean shows beside the deviations. Each part is judged by itself, so that no bit of a
        # sample depends on the others: to subtract 0 from the rest changes nothing.
        if mean is not None and (are_large := have_large_means(mean, square)).any():
            centred -= np.where(are_large, self._sums(centred) / count, 0)
            square = self._sums(np.square(centred, out=spare)) / count
        inverse: Array = 1 / np.sqrt(square + self.epsilon)
        np.multiply(centred, inverse, out=normal)
        return inverse


def _sum(values: Array, axes: Shape) -> Array:
    """The sum over these axes, which stay with length 1; without axes the values themselves.

    A short axis comes first, in the dtype of the values: `sum_over` is then left with few numbers. Of those that leave
    few, the slowest one has the longest runs.
    """
    if short := [axis for axis in axes if 1 < values.shape[axis] <= SHORT]:
        first = max(short, key=lambda axis: (min(values.shape[axis], FEW), values.strides[axis]))
        values = np.add.reduce(values, axis=first, keepdims=True)
    return np.expand_dims(sum_over(values, axes), axes) if axes else values


def _gradient(name: str, shape: Shape, values: Array, ctx: Context) -> Array:
    """The sum over the samples, and over the axes that a parameter of this shape does not have: (N, ...) -> shape."""
    return sum_over(values, (0, *range(1 + len(shape), values.ndim)), out=ctx.gradient(name, shape))


def _beside(values: Array, x: Array, ctx: Context) -> Array:
    """Gamma or beta beside (N, ...): a number for each channel, or one for each number, in the memory order of x."""
    if values.ndim < x.ndim - 1:
        return _by_channel(values, x.ndim - 1)
    laid = ctx.empty_like(x[:1])
    laid[...] = values
    return laid


def _by_channel(values: Array, axes: int) -> Array:
    """(C,) -> (C, 1, ...), of so many axes."""
    return values.reshape(-1, *(1,) * (axes - 1))


def _lower_mean(graph: OnnxGraph, x: str, axis: int) -> str:
    # It takes the axes as an input from opset 18 on.
    if graph.opset >= 18:
        return graph.add("ReduceMean", x, np.array([axis]))
    return graph.add("ReduceMean", x, axes=[axis])


def initializer_of_scale(value: Any, affine: bool) -> Initializer:
    """Return the argument `initializer` if it is one, and if there is a scale for another than that of ones."""
    initializer = initializer_of(value)
    if not affine and initializer != ONES:
        raise ConfigError(f"initializer is for affine=True alone, as there is no gamma without; got {shown(value)}")
    return initializer
