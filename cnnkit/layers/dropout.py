"""Dropout: of single numbers, of channels, and of whole samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.components import Layer
from cnnkit.components.checks import in_range
from cnnkit.layers.rectifiers import SELU_ALPHA, SELU_SCALE
from cnnkit.layers.window import image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

LEVELS = 1 << 16
"""Of the random numbers: 16 bits each, four from one draw of the bit generator."""
PIECE = 1 << 14
"""How many are drawn at a time: a small piece of memory that is used again and again."""
LOW = -SELU_SCALE * SELU_ALPHA
"""The value of SELU far below 0."""


class _Dropping(Layer):
    """Multiplies with a random mask in training, and does nothing in prediction.

    Forward:   y = x * mask
    Backward:  dx = dy * mask
    """

    def __init__(self, rate: float) -> None:
        self.rate = in_range("rate", rate, 0.0, 1.0)

    def mask(self, x: Array, ctx: Context) -> Array:
        """Random numbers for x, of a shape that broadcasts to its own."""
        raise NotImplementedError  # derived classes define it

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """x * mask."""
        if not ctx.training:
            return x, None
        mask = self.mask(x, ctx)
        return np.multiply(x, mask, out=ctx.empty_like(_larger(mask, x))), mask

    def backward(self, dy: Array, mask: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Dy * mask; dy itself after a forward pass in prediction."""
        if mask is None:
            return dy, {}
        return np.multiply(dy, mask, out=ctx.empty_like(_larger(mask, dy))), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """Nothing: prediction passes the value on."""
        return x


def _kept(rate: float) -> float:
    """The share that is kept, a multiple of 2^-16."""
    return max(LEVELS - round(rate * LEVELS), 1) / LEVELS


def _draw(rate: float, shape: Shape, ctx: Context) -> Array:
    """Memory with 0 at the rate in force and 1 elsewhere."""
    memory = ctx.empty(shape)
    dropped = LEVELS - round(_kept(rate) * LEVELS)
    flat, bits = memory.reshape(-1), ctx.rng.bit_generator
    for start in range(0, flat.size, PIECE):
        part = flat[start : start + PIECE]
        drawn = bits.random_raw(-(-part.size // 4)).view(np.uint16)[: part.size]
        np.copyto(part, drawn >= dropped)
    return memory


def _draw_like(x: Array, rate: float, ctx: Context) -> Array:
    """As `_draw`, for each number of x, in the memory order that the kernels give to x, samples last."""
    if x.ndim == 4:
        return _draw(rate, x.transpose(2, 3, 1, 0).shape, ctx).transpose(3, 2, 0, 1)
    return _draw(rate, x.T.shape, ctx).T


def _larger(mask: Array, x: Array) -> Array:
    """The mask, whose memory order is the kernels', if it has a number for each of x."""
    return mask if mask.shape == x.shape else x


class Dropout(_Dropping):
    """Sets a random part of its input to zero in training, and does nothing in prediction.

    Forward:   y = x * mask, with mask = 0 with probability `rate`, else 1 / (1 - rate), so that the mean stays
    Backward:  dx = dy * mask

    The rate in force is the multiple of 2^-16 nearest to `rate`.

    x, y: (N, ...), the same shape; y has the samples last in memory. In prediction y is x.
    Raises ConfigError unless 0 <= rate < 1.
    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), Dropout, section 10 ("inverted").
    """

    passes_values_on = True
    pointwise = True
    lesson = (
        "In training, a random part of the numbers is set to 0, and the others grow so that the mean stays; in "
        "prediction nothing happens.",
        "A network that cannot rely on single numbers learns what holds without them.",
    )
    examples = (
        Example("Dropout(0.5)", (13,), "0.5"),
        Example("Dropout(0.3)", (2, 5, 4), "0.3"),
        Example("Dropout(0.0)", (3,), "0.0"),
    )
    twin = "torch.nn.Dropout"

    def mask(self, x: Array, ctx: Context) -> Array:
        """0 or 1 / (1 - rate) for each number."""
        mask = _draw_like(x, self.rate, ctx)
        mask *= 1 / _kept(self.rate)
        return mask

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        return LayerCost(0, "nothing is computed in prediction")


class SpatialDropout2D(_Dropping):
    """Sets random channels of its input to zero in training, and does nothing in prediction.

    Forward:   y[n,c] = x[n,c] * mask[n,c], with mask = 0 with probability `rate`, else 1 / (1 - rate)
    Backward:  dx[n,c] = dy[n,c] * mask[n,c]

    The rate in force is the multiple of 2^-16 nearest to `rate`.

    x, y: (N, C, H, W), the same shape. In prediction y is x.
    Raises ConfigError unless 0 <= rate < 1, ShapeError if the input is not an image.
    Source: Tompson, Goroshin, Jain, LeCun, Bregler (2015), Efficient Object Localization Using Convolutional Networks.
    """

    passes_values_on = True
    pointwise = True
    lesson = (
        "In training, random channels are set to 0 as a whole, and the others grow so that the mean stays; in "
        "prediction nothing happens.",
        "Neighbouring pixels say almost the same, so that only a whole channel that is missing hides anything.",
    )
    examples = (
        Example("SpatialDropout2D(0.5)", (6, 3, 5), "0.5"),
        Example("SpatialDropout2D(0.3)", (4, 5, 4), "0.3"),
        Example("SpatialDropout2D(0.0)", (3, 2, 1), "0.0"),
    )
    twin = "torch.nn.Dropout2d"
    cost = Dropout.cost

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape, that of an image."""
        image_shape("SpatialDropout2D", in_shape)
        return in_shape

    def mask(self, x: Array, ctx: Context) -> Array:
        """(N, C, 1, 1)."""
        memory = _draw(self.rate, (x.shape[1], x.shape[0]), ctx)
        memory *= 1 / _kept(self.rate)
        return memory.T[:, :, None, None]


class DropPath(_Dropping):
    """Sets whole samples to zero in training, and does nothing in prediction: the last layer of a residual's body.

    Forward:   y[n] = x[n] * mask[n], with mask = 0 with probability `rate`, else 1 / (1 - rate)
    Backward:  dx[n] = dy[n] * mask[n]

    The rate in force is the multiple of 2^-16 nearest to `rate`.

    x, y: (N, ...), the same shape. In prediction y is x.
    Raises ConfigError unless 0 <= rate < 1.
    Source: Huang, Sun, Liu, Sedra, Weinberger (2016), Deep Networks with Stochastic Depth.
    """

    passes_values_on = True
    pointwise = True
    lesson = (
        "In training, all numbers of some images are set to 0, and those of the others grow so that the mean stays; in "
        "prediction nothing happens.",
        "At the end of a residual's body it leaves that body out for some images, as if the network were less deep.",
    )
    examples = (
        Example("DropPath(0.2)", (4, 3, 5)),
        Example("DropPath(0.5)", (13,)),
        Example("DropPath(0.0)", (3,)),
    )
    cost = Dropout.cost

    def mask(self, x: Array, ctx: Context) -> Array:
        """(N, 1, ...)."""
        memory = _draw(self.rate, x.shape[:1], ctx)
        memory *= 1 / _kept(self.rate)
        return memory.reshape(-1, *(1,) * (x.ndim - 1))


class AlphaDropout(_Dropping):
    """Dropout that keeps mean 0 and variance 1, for networks with SELU.

    Forward:   y = a * x + b where kept, a * low + b with probability `rate`, with low = -1.7580993, the value of SELU
               far below 0, q = 1 - rate, a = (q + low^2 * q * (1 - q))^(-1/2) and b = -a * (1 - q) * low
    Backward:  dx = a * dy where kept, 0 elsewhere

    The rate in force is the multiple of 2^-16 nearest to `rate`.

    x, y: (N, ...), the same shape; y has the samples last in memory. In prediction y is x.
    Raises ConfigError unless 0 <= rate < 1.
    Source: Klambauer, Unterthiner, Mayr, Hochreiter (2017), Self-Normalizing Neural Networks, section "New dropout
    technique".
    """

    passes_values_on = True
    pointwise = True
    lesson = (
        "In training, a random part of the numbers becomes the lowest value that SELU has, and then all are moved and "
        "stretched so that mean 0 and variance 1 stay; in prediction nothing happens.",
        "A network that cannot rely on single numbers learns what holds without them.",
    )
    examples = (
        Example("AlphaDropout(0.5)", (13,), "0.5"),
        Example("AlphaDropout(0.3)", (2, 5, 4), "0.3"),
        Example("AlphaDropout(0.0)", (3,), "0.0"),
    )
    twin = "torch.nn.AlphaDropout"
    cost = Dropout.cost

    def mask(self, x: Array, ctx: Context) -> Array:
        """0 or a for each number."""
        mask = _draw_like(x, self.rate, ctx)
        mask *= _stretch(_kept(self.rate))
        return mask

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """y = x * mask + (a * low + b - low * mask), where the mask is a or 0, and a * low + b is a * low * q."""
        y, mask = super().forward(x, ctx)
        if mask is None:
            return y, None
        q = _kept(self.rate)
        moved = np.multiply(mask, -LOW, out=ctx.empty_like(mask))
        moved += _stretch(q) * LOW * q
        y += moved
        return y, mask


def _stretch(q: float) -> float:
    """What keeps the variance where LOW takes the place of numbers that are not kept."""
    return float((q + LOW * LOW * q * (1 - q)) ** -0.5)
