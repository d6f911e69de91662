"""Normalisation over the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.components import BatchCoupledLayer, Initializer, Weights, initializer_of
from cnnkit.components.checks import positive
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.initializers import ONES
from cnnkit.layers.window import image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

LARGE_MEAN = 16.0
"""Of mean^2 to variance; up to here, float32 sums about the origin lose less than two digits of the variance."""


class _BatchNorm(BatchCoupledLayer):
    """Each channel, axis 1, with mean 0 and variance 1 over the whole batch; a member says what its inputs are."""

    def __init__(self, momentum: float = 0.1, epsilon: float = 1e-5, *, initializer: Initializer = ONES) -> None:
        self.momentum = positive("momentum", momentum)
        self.epsilon = positive("epsilon", epsilon)
        self.initializer = initializer_of(initializer)
        if momentum > 1:
            raise ConfigError(f"momentum must be a number with 0 < momentum <= 1, got {shown(momentum)}")

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape; one set of parameters for each channel."""
        channels = in_shape[0]
        gamma = self.initializer.make(Weights((channels,), fan_in=1, fan_out=1), rng)
        self.params = {"gamma": gamma, "beta": np.zeros(channels)}
        self.buffers = {"running_mean": np.zeros(channels), "running_var": np.ones(channels)}
        return in_shape

    def partial(self, x: Array, ctx: Context) -> Array:
        """[n, sum of x - shift, sum of (x - shift)^2, shift] for each channel, (4, C), float64.

        Where |mean| is much larger than sqrt(var), sums about the origin would lose var to rounding: the shift is the
        tile's own mean then, and 0 elsewhere.
        """
        count = x.size // x.shape[1]
        values = x.astype(np.float64)
        axes = _all_but_channels(x)
        mean, var = values.mean(axis=axes), values.var(axis=axes)
        shift = mean if is_large(mean, var) else np.zeros_like(mean)
        values -= _per_channel(shift, values)
        sums, squares = values.sum(axis=axes), np.square(values).sum(axis=axes)
        return np.stack([np.full_like(mean, count), sums, squares, shift])

    def join(self, partials: Sequence[Array]) -> Array:
        """The sums over all tiles, about the shift of the first tile.

        With d the first shift taken from a tile's own, sum (x - first) = S + n d and
        sum (x - first)^2 = Q + d (2 S + n d): Chan, Golub, LeVeque (1979), Updating Formulae and a Pairwise Algorithm
        for Computing Sample Variances.
        """
        counts, sums, squares, shifts = np.stack(partials, axis=1)
        apart = shifts - shifts[0]
        squares = squares + apart * (2 * sums + counts * apart)
        sums = sums + counts * apart
        return np.stack([counts.sum(axis=0), sums.sum(axis=0), squares.sum(axis=0), shifts[0]])

    def absorb(self, total: Array) -> None:
        """Move the running statistics towards those of the batch."""
        count, mean, var = statistics(total)
        self._move("running_mean", mean)
        self._move("running_var", var * count / max(count - 1, 1))  # a single number has no unbiased estimate: 0

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Normalise with the batch's statistics in training, with the running ones in prediction."""
        if ctx.training:
            count, mean, var = statistics(ctx.total)
        else:
            count, mean, var = 1.0, self.buffers["running_mean"], self.buffers["running_var"]
        inverse = _per_channel(1 / np.sqrt(var + self.epsilon), x)
        normal = np.subtract(x, mean.reshape(_beside(x)), out=ctx.empty_like(x))  # no mean is rounded first
        normal *= inverse
        y = np.multiply(normal, _per_channel(self.params["gamma"], x), out=ctx.empty_like(x))
        y += _per_channel(self.params["beta"], x)
        return y, (normal, inverse, count)

    def backward_partial(self, dy: Array, cache: Cache, ctx: Context) -> Array:
        """[sum of dy, sum of dy * xhat] for each channel, (2, C), float64."""
        normal = cache[0]
        product = np.multiply(dy, normal, out=ctx.empty_like(normal))
        axes = _all_but_channels(dy)
        return np.stack([values.sum(axis=axes, dtype=np.float64) for values in (dy, product)])

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The total couples dx to the batch; the gradients of gamma and beta are this tile's own."""
        normal, inverse, count = cache
        mean_dy, mean_product = (_per_channel(row, dy) for row in ctx.total / count)
        dx = np.multiply(normal, mean_product, out=ctx.empty_like(normal))
        np.subtract(dy, dx, out=dx)
        dx -= mean_dy
        dx *= inverse * _per_channel(self.params["gamma"], dy)
        dbeta, dgamma = ctx.partial.astype(dy.dtype)
        return dx, {"gamma": dgamma, "beta": dbeta}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX BatchNormalization in its prediction form."""
        values = [*self.params.values(), *self.buffers.values()]
        # Prediction has no use for a momentum; but below opset 14 ONNX's reference evaluator mixes the statistics of
        # the batch in unless it is 1 (onnx/onnx#8442).
        return graph.add("BatchNormalization", x, *values, epsilon=self.epsilon, momentum=1.0)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        each = "a subtraction, two multiplications and an addition for each number"
        return LayerCost.each(out_shape, 4, each)

    def _move(self, name: str, batch: Array) -> None:
        running = self.buffers[name]
        running[...] = (1 - self.momentum) * running + self.momentum * batch


class BatchNorm1D(_BatchNorm):
    """Each feature of a vector, or channel of a signal, with mean 0 and variance 1 over the whole batch.

    Forward:   xhat = (x - mean) / sqrt(var + epsilon), y = gamma * xhat + beta
    Backward:  dx = gamma / sqrt(var + epsilon) * (dy - mean(dy) - xhat * mean(dy * xhat)),
               dgamma = sum of dy * xhat, dbeta = sum of dy
    Training:  running = (1 - momentum) * running + momentum * batch, where the batch's variance is n/(n-1) * var
    Prediction takes the running mean and variance for mean and var; both means in dx are 0 then.

    x, y: (N, F) or (N, C, L), the same shape; gamma, beta, running_mean, running_var: (F,) or (C,); means run over N,
    and over L, n numbers for each feature or channel. gamma starts as the initializer says, 1 without one; beta at 0.
    Raises ConfigError for arguments out of range, ShapeError if the input is neither a vector nor a signal.
    Source: Ioffe, Szegedy (2015), Batch Normalization; ONNX operator BatchNormalization.
    """

    pointwise = True
    lesson = (
        "From every number the mean of its feature or channel is subtracted, and the rest is divided by that one's "
        "spread (the root of its variance); a learned factor gamma then stretches it, and a learned offset beta moves "
        "it.",
        "Where the numbers of every layer are of one size, training can take larger steps.",
    )
    examples = (
        Example("BatchNorm1D()", (13,), "13"),
        Example("BatchNorm1D()", (3, 7), "3"),
        Example("BatchNorm1D(momentum=0.3, epsilon=0.01)", (1,), "1, momentum=0.3, eps=0.01"),
        Example("BatchNorm1D(momentum=1.0)", (2, 5), "2, momentum=1.0"),
    )
    twin = "torch.nn.BatchNorm1d"
    operators = ("BatchNormalization",)
    cost = _BatchNorm.cost

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape; one set of parameters for each feature or channel."""
        if len(in_shape) not in (1, 2):
            raise ShapeError(
                f"BatchNorm1D expects an input of shape (features,) or (channels, length), got {in_shape}; of images, "
                "BatchNorm2D normalises the channels"
            )
        return super().build(in_shape, rng)


class BatchNorm2D(_BatchNorm):
    """Each channel with mean 0 and variance 1 over the whole batch, then a learned scale and offset.

    Forward:   xhat = (x - mean) / sqrt(var + epsilon), y = gamma * xhat + beta
    Backward:  dx = gamma / sqrt(var + epsilon) * (dy - mean(dy) - xhat * mean(dy * xhat)),
               dgamma = sum of dy * xhat, dbeta = sum of dy
    Training:  running = (1 - momentum) * running + momentum * batch, where the batch's variance is n/(n-1) * var
    Prediction takes the running mean and variance for mean and var; both means in dx are 0 then.

    x, y: (N, C, H, W), the same shape; gamma, beta, running_mean, running_var: (C,); means run over N, H and W, n
    numbers for each channel. gamma starts as the initializer says, 1 without one; beta at 0.
    Raises ConfigError for arguments out of range, ShapeError if the input is not an image.
    Source: Ioffe, Szegedy (2015), Batch Normalization; ONNX operator BatchNormalization.
    """

    pointwise = True
    lesson = (
        "From every number the mean of its channel is subtracted, and the rest is divided by the channel's spread (the "
        "root of its variance); a learned factor gamma then stretches it, and a learned offset beta moves it.",
        "Where the numbers of every layer are of one size, training can take larger steps.",
    )
    examples = (
        Example("BatchNorm2D()", (3, 4, 5), "3"),
        Example("BatchNorm2D(momentum=0.3, epsilon=0.01)", (2, 3, 2), "2, momentum=0.3, eps=0.01"),
        Example("BatchNorm2D(initializer=Constant(0.5))", (2, 3, 4), "2"),
    )
    twin = "torch.nn.BatchNorm2d"
    operators = ("BatchNormalization",)
    cost = _BatchNorm.cost

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape; one set of parameters for each channel."""
        image_shape("BatchNorm2D", in_shape)
        return super().build(in_shape, rng)


def statistics(total: Array) -> tuple[float, Array, Array]:
    """Count, mean and variance of each channel, (C,), from a forward total."""
    count, (sums, squares, shift) = float(total[0, 0]), total[1:]
    mean = sums / count
    return count, shift + mean, np.maximum(squares / count - mean * mean, 0)  # rounding may pass below 0


def is_large(mean: Array, var: Array) -> bool:
    """Whether any channel's mean is so large that sums about the origin would lose digits of its variance."""
    return bool(have_large_means(mean, var).any())


def have_large_means(mean: Array, var: Array) -> Array:
    """For each mean and variance, whether the mean is so large; bool, of their shape."""
    large: Array = mean * mean > LARGE_MEAN * var
    return large


def _per_channel(values: Array, x: Array) -> Array:
    """(C,) -> (1, C, 1, ...), beside x and in its dtype."""
    return values.reshape(_beside(x)).astype(x.dtype, copy=False)


def _beside(x: Array) -> Shape:
    return 1, -1, *(1,) * (x.ndim - 2)


def _all_but_channels(x: Array) -> Shape:
    return 0, *range(2, x.ndim)
