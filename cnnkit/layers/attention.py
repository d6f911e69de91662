"""Attention: layers that look at the whole image to decide what of it counts, channel by channel or pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.components import Initializer, Layer, Weights, initializer_of
from cnnkit.components.checks import one_of, true_or_false, whole
from cnnkit.components.sums import sum_over
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.initializers import GLOROT_UNIFORM
from cnnkit.layers.hard_activations import HardSigmoid
from cnnkit.layers.layout import empty_pixels
from cnnkit.layers.smooth_activations import Sigmoid
from cnnkit.layers.window import image_shape
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

RATIO = 16
"""Channels to a hidden unit of SqueezeExcite, as in the paper."""
GATES: dict[str, type[Sigmoid | HardSigmoid]] = {"hard_sigmoid": HardSigmoid, "sigmoid": Sigmoid}


class SqueezeExcite(Layer):
    """Each channel times a gate, which two dense layers make of the means of all channels.

    Forward:   m[n,c] = mean over h,w of x[n,c,h,w], a = max(m reduce_weight^T + reduce_bias, 0),
               g = gate(a expand_weight^T + expand_bias), y[n,c,h,w] = g[n,c] * x[n,c,h,w]
    Backward:  dg[n,c] = sum over h,w of dy * x, from there dm as in Dense, dx = g * dy + dm / (H*W)

    x, y: (N, C, H, W); reduce_weight: (units, C); reduce_bias: (units,); expand_weight: (C, units); expand_bias: (C,).
    units: floor(C / ratio), at least 1, or the argument. gate: "sigmoid" or "hard_sigmoid". Weights start as the
    initializer says, biases at zero.
    Raises ConfigError for arguments out of range or both ratio and units, ShapeError for inputs that are not images.
    Source: Hu, Shen, Sun (2018), Squeeze-and-Excitation Networks; with hard_sigmoid Howard et al. (2019), Searching for
    MobileNetV3.
    """

    lesson = (
        "Of each channel the mean is taken; from all means, two small dense layers compute a gate between 0 and 1 for "
        "each channel, and the channel is multiplied with it.",
        "What is found anywhere in the image decides which channels count: where there is fur, those for ears matter.",
    )
    examples = (
        Example("SqueezeExcite(2)", (4, 5, 4)),
        Example("SqueezeExcite(gate='hard_sigmoid')", (3, 7, 5)),
        Example("SqueezeExcite(units=5, initializer=HeNormal())", (3, 4, 6)),
        Example("SqueezeExcite(units=3, gate='hard_sigmoid')", (5, 1, 1)),
        Example("SqueezeExcite(1)", (1, 3, 2)),
    )
    operators = ("Flatten", "Gemm", "GlobalAveragePool", "HardSigmoid", "Mul", "Relu", "Reshape", "Sigmoid")

    def __init__(
        self,
        ratio: int = RATIO,
        units: int | None = None,
        gate: str = "sigmoid",
        *,
        initializer: Initializer = GLOROT_UNIFORM,
    ) -> None:
        self.ratio = whole("ratio", ratio)
        self.units = None if units is None else whole("units", units)
        self.gate = one_of("gate", gate, GATES)
        self.initializer = initializer_of(initializer)
        self._gate = GATES[gate]()
        if units is not None and ratio != RATIO:
            raise ConfigError(f"units must be None where ratio is given, got units={units!r} with ratio={shown(ratio)}")

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape."""
        channels, _ = image_shape("SqueezeExcite", in_shape)
        units = self.units or max(1, channels // self.ratio)
        self.params = {
            "reduce_weight": self.initializer.make(Weights((units, channels), channels, units), rng),
            "reduce_bias": np.zeros(units),
            "expand_weight": self.initializer.make(Weights((channels, units), units, channels), rng),
            "expand_bias": np.zeros(channels),
        }
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Means, two products with the samples as the last axis, and a factor for each channel."""
        reduce_weight, reduce_bias, expand_weight, expand_bias = self.params.values()
        means = sum_over(x, (2, 3)).T
        means *= 1 / math.prod(x.shape[2:])
        hidden = np.maximum(reduce_weight @ means + reduce_bias[:, None], 0)
        gates, kept = self._gate.forward(expand_weight @ hidden + expand_bias[:, None], ctx)
        y = np.multiply(x, gates.T[:, :, None, None], out=ctx.empty_like(x))
        return y, (x, means, hidden, gates, kept)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Through the gates to the means, and past the gates."""
        x, means, hidden, gates, kept = cache
        dgates = sum_over(np.multiply(dy, x, out=ctx.empty_like(x)), (2, 3)).T
        dexpanded, _ = self._gate.backward(dgates, kept, ctx)
        dhidden = self.params["expand_weight"].T @ dexpanded
        dhidden *= hidden > 0
        grads = {
            "reduce_weight": dhidden @ means.T,
            "reduce_bias": sum_over(dhidden, 1),
            "expand_weight": dexpanded @ hidden.T,
            "expand_bias": sum_over(dexpanded, 1),
        }
        dmeans = self.params["reduce_weight"].T @ dhidden
        dmeans *= 1 / math.prod(x.shape[2:])
        dx = np.multiply(dy, gates.T[:, :, None, None], out=ctx.empty_like(x))
        dx += dmeans.T[:, :, None, None]
        return dx, grads

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX GlobalAveragePool, Gemm twice, the gate, and Mul."""
        reduce_weight, reduce_bias, expand_weight, expand_bias = self.params.values()
        means = graph.add("Flatten", graph.add("GlobalAveragePool", x), axis=1)
        hidden = graph.add("Relu", graph.add("Gemm", means, reduce_weight, reduce_bias, transB=1))
        gates = self._gate.lower(graph, graph.add("Gemm", hidden, expand_weight, expand_bias, transB=1))
        return graph.add("Mul", x, graph.add("Reshape", gates, np.array([0, len(expand_bias), 1, 1])))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        numbers, products = math.prod(out_shape), 2 * self.params["reduce_weight"].size
        return LayerCost(
            2 * (numbers + products),
            f"an addition and a multiplication for each number, and {products:,} for the gates",
            products,
        )


class SelfAttention2D(Layer):
    """Multi-head self-attention over the pixels of an image: each becomes a weighted sum over all of them.

    Forward:   q, k, v = the three thirds of in_weight x_p + in_bias for each pixel p, cut into heads of d = C / heads,
               w[h,p,r] = softmax over r of q[h,p] . k[h,r] / sqrt(d), o[h,p] = sum over r of w[h,p,r] * v[h,r],
               y_p = out_weight o_p + out_bias
    Backward:  do = out_weight^T dy, dv[h,r] = sum over p of w[h,p,r] * do[h,p], dw[h,p,r] = do[h,p] . v[h,r],
               ds = w * (dw - do . o) / sqrt(d), dq[h,p] = sum over r of ds[h,p,r] * k[h,r],
               dk[h,r] = sum over p of ds[h,p,r] * q[h,p], dx = in_weight^T [dq, dk, dv]

    x, y: (N, C, H, W); in_weight: (3 C, C); in_bias: (3 C,); out_weight: (C, C); out_bias: (C,), the biases unless
    bias=False. A sample takes heads * (H*W)^2 weights. It does not know where a pixel is: AddCoordinates can tell it.
    Weights start as the initializer says, each third by its own fans, biases at zero.
    Raises ConfigError for arguments out of range, ShapeError unless C is a multiple of heads.
    Source: Vaswani et al. (2017), Attention Is All You Need; Bello, Zoph, Vaswani, Shlens, Le (2019), Attention
    Augmented Convolutional Networks; PyTorch's MultiheadAttention.
    """

    lesson = (
        "Each pixel asks (its query) and is asked (its key): the better a key answers a query, the more of that "
        "pixel's value goes into the sum that becomes the output.",
        "One layer can thus relate any two places in an image, however far apart they are.",
    )
    examples = (
        Example("SelfAttention2D(2)", (4, 3, 5)),
        Example("SelfAttention2D(1, bias=False)", (3, 4, 3)),
        Example("SelfAttention2D(3)", (6, 2, 5)),
        Example("SelfAttention2D(5, bias=False)", (5, 1, 7)),
        Example("SelfAttention2D(1)", (2, 1, 1)),
    )
    operators = ("Conv", "MatMul", "Mul", "Reshape", "Slice", "Softmax", "Transpose")

    def __init__(self, heads: int, bias: bool = True, *, initializer: Initializer = GLOROT_UNIFORM) -> None:
        self.heads = whole("heads", heads)
        self.bias = true_or_false("bias", bias)
        self.initializer = initializer_of(initializer)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Keeps the shape."""
        channels, _ = image_shape("SelfAttention2D", in_shape)
        if channels % self.heads:
            raise ShapeError(
                f"SelfAttention2D expects a number of channels that is a multiple of its {self.heads} heads, got "
                f"{channels} channels; change heads, or the filters of the layer before it"
            )
        for name, outputs in (("in", 3 * channels), ("out", channels)):
            weights = Weights((outputs, channels), channels, channels, outputs // channels)
            self.params[f"{name}_weight"] = self.initializer.make(weights, rng)
            if self.bias:
                self.params[f"{name}_bias"] = np.zeros(outputs)
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Products of matrices with a row for each pixel; all queries are kept divided by sqrt(d)."""
        pixels = _rows(x, ctx)
        mixed = self._projected("in", pixels, ctx)
        mixed[..., : x.shape[1]] *= self._scale(x.shape[1])
        queries, keys, values = self._heads(mixed)
        weights = np.matmul(queries, _turned(keys), out=ctx.empty((*queries.shape[:3], x.shape[2] * x.shape[3])))
        weights -= weights.max(axis=3, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=3, keepdims=True)
        seen = ctx.empty(pixels.shape)
        np.matmul(weights, values, out=self._heads(seen)[0])
        return _image(self._projected("out", seen, ctx), x.shape, ctx), (pixels, mixed, weights, seen)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """Two products for each of the forward pass; the weights' softmax needs do . o alone, as w dw adds up to it."""
        pixels, mixed, weights, seen = cache
        grads: Grads = {}
        dseen = self._gradients("out", _rows(dy, ctx), seen, grads, ctx)
        queries, keys, values = self._heads(mixed)
        (seen_heads,), (dseen_heads,) = self._heads(seen), self._heads(dseen)
        dmixed = ctx.empty(mixed.shape)
        dqueries, dkeys, dvalues = self._heads(dmixed)
        np.matmul(_turned(weights), dseen_heads, out=dvalues)
        dscores = np.matmul(dseen_heads, _turned(values), out=ctx.empty(weights.shape))
        dscores -= np.multiply(dseen_heads, seen_heads, out=ctx.empty(seen_heads.shape)).sum(axis=3, keepdims=True)
        dscores *= weights
        np.matmul(dscores, keys, out=dqueries)
        np.matmul(_turned(dscores), queries, out=dkeys)
        dmixed[..., : dy.shape[1]] *= self._scale(dy.shape[1])
        return _image(self._gradients("in", dmixed, pixels, grads, ctx), dy.shape, ctx), grads

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """ONNX Conv of 1 x 1 for the projections, MatMul and Softmax; of Reshape, a length of 0 keeps the samples."""
        channels, height, width = graph.shape(x)

        def projected(name: str, value: str) -> str:
            weight, *bias = (array for key, array in self.params.items() if key.startswith(name))
            return graph.add("Conv", value, weight[:, :, None, None], *bias, kernel_shape=[1, 1])

        def part(third: int) -> str:
            ends = (third * channels, (third + 1) * channels, 1)
            found = graph.add("Slice", mixed, *(np.array([number]) for number in ends))
            return graph.add("Reshape", found, np.array([0, self.heads, channels // self.heads, height * width]))

        def turned(value: str) -> str:
            return graph.add("Transpose", value, perm=[0, 1, 3, 2])

        mixed = projected("in", x)
        queries = graph.add("Mul", turned(part(0)), np.array(self._scale(channels)))
        weights = graph.add("Softmax", graph.add("MatMul", queries, part(1)), axis=3)
        seen = turned(graph.add("MatMul", weights, turned(part(2))))
        return projected("out", graph.add("Reshape", seen, np.array([0, channels, height, width])))

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        channels, height, width = in_shapes[0]
        places = height * width
        weights, products = self.heads * places**2, 4 * places * channels**2 + 2 * places**2 * channels
        return LayerCost(
            2 * products + 5 * weights,
            f"{products:,} multiplications, each with an addition; for each of {weights:,} weights a comparison, a "
            "subtraction, an exponential, an addition and a division",
            products,
            seen=weights + 5 * places * channels,
            scratch=weights + 6 * places * channels,
        )

    def _scale(self, channels: int) -> float:
        """1 / sqrt(d)."""
        return 1 / math.sqrt(channels / self.heads)

    def _projected(self, name: str, rows: Array, ctx: Context) -> Array:
        """A product with a weight, plus its bias: (N, H*W, C) -> (N, H*W, outputs)."""
        weight = self.params[f"{name}_weight"]
        made = np.matmul(rows, weight.T, out=ctx.empty((*rows.shape[:2], len(weight))))
        if self.bias:
            made += self.params[f"{name}_bias"]
        return made

    def _gradients(self, name: str, dmade: Array, rows: Array, grads: Grads, ctx: Context) -> Array:
        """Of what `_projected` takes; those of its parameters are put into `grads`."""
        weight = self.params[f"{name}_weight"]
        flat = dmade.reshape(-1, len(weight))
        grads[f"{name}_weight"] = flat.T @ rows.reshape(-1, rows.shape[2])
        if self.bias:
            grads[f"{name}_bias"] = sum_over(flat, 0)
        return np.matmul(dmade, weight, out=ctx.empty(rows.shape))

    def _heads(self, rows: Array) -> Array:
        """(N, H*W, k C), C the number of channels -> (k, N, heads, H*W, d), a view."""
        samples, places, outputs = rows.shape
        depth = self.params["out_weight"].shape[0] // self.heads
        parts = rows.reshape(samples, places, outputs // (self.heads * depth), self.heads, depth)
        return parts.transpose(2, 0, 3, 1, 4)


def _turned(matrices: Array) -> Array:
    """The last two axes in the other order, a view."""
    return matrices.swapaxes(2, 3)


def _rows(x: Array, ctx: Context) -> Array:
    """A row for each pixel: (N, C, H, W) -> (N, H*W, C), in C order."""
    samples, channels, height, width = x.shape
    rows = ctx.empty((samples, height, width, channels))
    rows[...] = x.transpose(0, 2, 3, 1)
    return rows.reshape(samples, height * width, channels)


def _image(rows: Array, shape: Shape, ctx: Context) -> Array:
    """(N, H*W, C) -> (N, C, H, W), in the order in which the engine keeps images."""
    y = empty_pixels(shape, ctx)
    y[...] = rows.reshape(shape[0], *shape[2:], shape[1]).transpose(0, 3, 1, 2)
    return y
