"""Walsh-Hadamard transforms for cnnkit: dense layers in place of a full matrix, and weights to start from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cnnkit.plugin import (
    Array,
    Cache,
    Context,
    Example,
    Grads,
    Initializer,
    Layer,
    LayerCost,
    Merge,
    OnnxGraph,
    Shape,
    ShapeError,
    Weights,
    hookimpl,
    true_or_false,
    whole,
)

__all__ = ["HadamardDense", "ZerO", "hadamard_transform"]


def hadamard_transform(x: Array) -> Array:
    """Walsh-Hadamard transform along the first axis, in O(n log n).

    y = H x, with H[i, j] = (-1)^(number of ones in the binary digits of i & j); H = H^T, and H H = n I.

    x: (n, ...) with any strides, unchanged; y: the same shape and dtype. Raises ShapeError unless n is a power of two.
    Sources: Fino, Algazi (1976), Unified Matrix Treatment of the Fast Walsh-Hadamard Transform; for the order of the
    steps: Pease (1968), An Adaptation of the Fast Fourier Transform for Parallel Processing.
    """
    n = len(x)
    if n < 1 or n & (n - 1):
        raise ShapeError(
            f"expected a power of two along the first axis, got an array of shape {x.shape}; pad with zeros"
        )
    y, spare = x.copy(), np.empty(x.shape, x.dtype)
    # Each step adds and subtracts over the lowest binary digit of the index and makes it the highest one, so that
    # all steps read and write whole rows, and after log2(n) of them the digits are in order again.
    for _ in range(n.bit_length() - 1):
        np.add(y[0::2], y[1::2], out=spare[: n // 2])
        np.subtract(y[0::2], y[1::2], out=spare[n // 2 :])
        y, spare = spare, y
    return y


class HadamardDense(Layer):
    """Dense layer whose matrix is a product of trained diagonals and Walsh-Hadamard transforms.

    Forward:   u_1 = x, padded with zeros to n values;  u_i+1 = H D_i u_i;  y = u_depth+1, cut to units, + bias
    Backward:  with v_i = H * gradient of u_i+1:  dD_i = sum of v_i * u_i over samples;  gradient of u_i = D_i v_i

    x: (N, F); y: (N, units); n: the smallest power of two that holds both F and units. Parameters: diagonals (depth, n)
    and bias (units,), which is depth * n + units numbers instead of F * units + units, and O(depth * n log n) time.
    H has entries 1 and -1, and the diagonals start at +-1/sqrt(n) with random signs: so the map starts as a rotation,
    and its parameters are as large as those of a full matrix, which lets one learning rate suit both.
    Raises ConfigError for units or depth below 1, ShapeError for inputs that are not (F,).
    Sources: Le, Sarlos, Smola (2013), Fastfood: Approximating Kernel Expansions in Loglinear Time; Yang et al. (2015),
    Deep Fried Convnets; Moczulski et al. (2016), ACDC: A Structured Efficient Linear Layer.
    """

    lesson = (
        "Several times in turn, every number is multiplied with a trained one and all are mixed by fixed sums and "
        "differences; then a bias is added.",
        "Every output depends on every input, as in a dense layer, with far fewer numbers to learn and to multiply.",
    )
    examples = (Example("HadamardDense(3, depth=2)", (5,)), Example("HadamardDense(16, bias=False)", (9,)))

    def __init__(self, units: int, bias: bool = True, depth: int = 4) -> None:
        self.units = whole("units", units)
        self.bias = true_or_false("bias", bias)
        self.depth = whole("depth", depth)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """Create the diagonals, random signs over sqrt(n), and the bias, zeros."""
        if len(in_shape) != 1:
            raise ShapeError(f"{self!r} expected inputs of shape (F,), got {in_shape}: put Flatten() before it")
        n = _length(in_shape[0], self.units)
        self.params = {"diagonals": rng.choice([-1.0, 1.0], (self.depth, n)) / np.sqrt(n)}
        if self.bias:
            self.params["bias"] = np.zeros(self.units)
        return (self.units,)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """Samples are the last axis inside, so that each step of a transform runs over whole rows."""
        u = _padded(x, self.params["diagonals"].shape[1], ctx)
        inputs = []
        for diagonal in self.params["diagonals"]:
            inputs.append(u)
            u = hadamard_transform(diagonal[:, None] * u)
        y = u[: self.units].T  # (n, N) -> (N, units)
        if self.bias:
            y += self.params["bias"]
        return y, (x.shape[1], inputs)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """The factors of `forward`, last to first."""
        diagonals = self.params["diagonals"]
        features, inputs = cache
        grads = {"diagonals": np.empty_like(diagonals)}
        if self.bias:
            grads["bias"] = dy.sum(axis=0)
        g = _padded(dy, diagonals.shape[1], ctx)
        for i in reversed(range(self.depth)):
            v = hadamard_transform(g)
            grads["diagonals"][i] = np.einsum("ij,ij->i", v, inputs[i])
            g = np.multiply(v, diagonals[i][:, None], out=v)
        return g[:features].T, grads

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost:
        """For each of `depth` diagonals n multiplications and n log2(n) additions."""
        n = _length(in_shapes[0][0], self.units)
        steps = self.depth * (n.bit_length() - 1)  # of the transforms
        operations = self.depth * n + steps * n + self.bias * self.units
        what = f"{self.depth * n:,} multiplications; all others are additions and subtractions"
        return LayerCost(operations, what, scratch=(self.depth + 3) * n, rounds=steps, touched=steps * n)

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """A transform is two small products, because H of a * b values is the Kronecker product of H_a and H_b.

        H x = H_a X H_b for X, the values in a rows of b: O(n sqrt(n)) time, and a^2 + b^2 constants instead of n^2.
        H_a stands on the right as well, of X^T, because OpenCV 4 loads no product with a constant on the left.
        """
        (features,), n = graph.shape(x), self.params["diagonals"].shape[1]
        a = 1 << (n.bit_length() // 2)
        b = n // a
        h_a, h_b = hadamard_transform(np.eye(a)), hadamard_transform(np.eye(b))
        y = graph.add("Pad", x, np.array([0, 0, 0, n - features])) if features < n else x
        y = graph.add("Reshape", y, np.array([-1, a, b]))  # (N, n) -> (N, a, b)
        for diagonal in self.params["diagonals"]:
            y = graph.add("Mul", y, diagonal.reshape(a, b))
            y = graph.add("MatMul", y, h_b)
            y = graph.add("Transpose", y, perm=[0, 2, 1])  # (N, a, b) -> (N, b, a)
            y = graph.add("MatMul", y, h_a)
            y = graph.add("Transpose", y, perm=[0, 2, 1])
        y = graph.add("Reshape", y, np.array([-1, n]))
        if self.units < n:
            y = graph.add("Slice", y, np.array([0]), np.array([self.units]), np.array([1]))
        return graph.add("Add", y, self.params["bias"]) if self.bias else y


def _length(features: int, units: int) -> int:
    """The smallest power of two that holds both."""
    return 1 << (max(features, units) - 1).bit_length()


def _padded(x: Array, n: int, ctx: Context) -> Array:
    padded = ctx.empty((n, len(x)))  # (N, F) -> (n, N)
    padded[: x.shape[1]] = x.T
    padded[x.shape[1] :] = 0
    return padded


class ZerO(Initializer):
    """Weights that are the same each time: the identity, and where a layer widens, a Walsh-Hadamard matrix.

    W = I, cut or filled with zeros                       with at most as many outputs as inputs
    W = 2^(-(m - 1) / 2) H, cut to outputs and inputs     otherwise, H: (2^m, 2^m), the smallest that holds the outputs

    W: weight of a dense layer, of a group of channels by itself, or of a convolution in the middle of its kernel, 0
    elsewhere. Filters that would all learn the same, were they copies, differ by their signs; nothing is drawn.
    Raises ShapeError for weights with fewer than two axes.
    Source: Zhao, Schaefer, Anandkumar (2022), ZerO Initialization: Initializing Neural Networks with only Zeros and
    Ones, algorithms 1 and 2.
    """

    examples = (Example("ZerO()", (12, 4, 3, 3)), Example("ZerO()", (7, 9)))

    def values(self, weights: Weights, rng: np.random.Generator) -> Array:
        """One matrix for each group, which all start alike."""
        if len(weights.shape) < 2:
            raise ShapeError(f"{self!r} is for weights of two axes or more, got {weights.shape}: use Constant(1)")
        rows, columns = weights.shape[0] // weights.groups, weights.shape[1]
        matrix = np.eye(rows, columns)
        if rows > columns:
            n = _length(rows, columns)
            matrix = hadamard_transform(np.eye(n, columns))[:rows] * np.sqrt(2 / n)
        kernel = weights.shape[2:]
        values = np.zeros((*weights.shape[:2], math.prod(kernel)))
        middle = np.ravel_multi_index([length // 2 for length in kernel], kernel) if kernel else 0
        values[:, :, middle] = np.tile(matrix, (weights.groups, 1))
        return values.reshape(weights.shape)


@hookimpl
def cnnkit_layers() -> list[type[Layer | Merge]]:
    """The structured dense layer."""
    return [HadamardDense]


@hookimpl
def cnnkit_initializers() -> list[type[Initializer]]:
    """Weights of zeros and ones."""
    return [ZerO]
