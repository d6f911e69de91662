"""Layers around a layer, whose weights are computed from what is trained: by norm and direction, or standardised."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeGuard, cast

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Merge
from cnnkit.components.checks import positive
from cnnkit.components.declared import layer_cost
from cnnkit.components.value_description import shown
from cnnkit.components.weight_contracts import is_one_zero
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.types import Array, Cache, Context, Example, Grads, LayerCost, OnnxGraph, Shape

WEIGHT = "weight"
LENGTH = "weight_g"
DIRECTION = "weight_v"


class Effective(NamedTuple):
    """The weights by which the layer inside computes, and what the backward pass needs of how they were found."""

    weight: Array
    kept: Cache


class _Reparametrised(Layer):
    """What the layer inside computes, with weights that are a function of the parameters.

    Nothing about a call is kept: each has a copy of the layer inside, with the effective weights as its own.
    """

    def __init__(self, layer: Layer) -> None:
        if not isinstance(layer, Layer) or isinstance(layer, BatchCoupledLayer):
            raise ConfigError(
                f"{type(self).__name__} expects a layer with weights, such as Conv2D(8, 3), got {shown(layer)}"
            )
        self.layer = layer
        self._inside = layer
        """A copy of it once this layer is built."""

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        """As the layer inside, of which a copy is built: the one that was given stays as it is."""
        self._inside = copy.copy(self.layer)
        self._inside.params, self._inside.buffers = {}, {}
        out_shape = self._inside.build(in_shape, rng)
        built, self.buffers = self._inside.params, self._inside.buffers
        self._names = tuple(built)
        self._inside.params = {}
        weight = built.pop(WEIGHT, np.zeros(0))
        if weight.ndim < 2:
            raise ConfigError(
                f"{type(self).__name__} expects a layer with a parameter {WEIGHT!r} of two axes or more, such as "
                f"Conv2D(8, 3); {self.layer!r} has {', '.join(self._names) or 'no parameters'}"
            )
        self.params = {**self._trained(weight), **built}
        self.weight_shape: Shape = weight.shape
        return out_shape

    def inside(self, weight: Array) -> Layer:
        """A copy of the layer inside with these weights, and with its other arrays as they are now."""
        layer = copy.copy(self._inside)
        layer.params = {name: weight if name == WEIGHT else self.params[name] for name in self._names}
        layer.buffers = self.buffers
        return layer

    def outline(self) -> Layer:
        """A copy of the layer inside with weights that have a shape, and take no time and no memory."""
        return self.inside(np.broadcast_to(np.float32(0), self.weight_shape))

    def computed(self) -> Effective:
        """The weights by which the layer inside computes, in memory of their own."""
        dtype = next(iter(self.params.values())).dtype
        return self.effective(lambda shape: np.empty(shape, dtype))

    def effective(self, empty: Callable[[Shape], Array]) -> Effective:
        """The weights by which the layer inside computes, in memory that `empty` gives."""
        raise NotImplementedError  # derived classes define it

    def trained_grads(self, dweight: Array, kept: Cache, ctx: Context) -> Grads:
        """From the gradient of the effective weights to those of the parameters that they are computed from."""
        raise NotImplementedError  # derived classes define it

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        """As the layer inside with the effective weights."""
        weight, kept = self.effective(ctx.empty)
        layer = self.inside(weight)
        y, cache = layer.forward(x, inside_of(ctx))
        return y, (layer, cache, kept)

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        """As the layer inside, whose gradient of the weights is led on to what is trained."""
        layer, inner_cache, kept = cache
        dx, grads = layer.backward(dy, inner_cache, inside_of(ctx))
        dweight = grads.pop(WEIGHT)
        return dx, self.trained_grads(dweight, kept, ctx) | grads

    def lower(self, graph: OnnxGraph, x: str) -> str:
        """As the layer inside, with weights that are computed once."""
        return self.inside(self.computed().weight).lower(graph, x)

    def cost(self, in_shapes: Sequence[Shape], out_shape: Shape) -> LayerCost | None:
        """That of the layer inside, and its weights in memory."""
        found = layer_cost(self.outline(), in_shapes, out_shape)
        return found and dataclasses.replace(found, scratch=found.scratch + math.prod(self.weight_shape))

    def by_unit(self, weight: Array) -> tuple[Array, tuple[int, ...]]:
        """As the layer inside."""
        return self._inside.by_unit(weight)

    def _trained(self, weight: Array) -> dict[str, Array]:
        """The parameters that are trained in place of the weights, which start as these."""
        raise NotImplementedError  # derived classes define it


class WeightNorm(_Reparametrised):
    """A layer whose weights have their length and their direction as parameters of their own.

    Forward:   y = layer(x) with weight = g * v / |v| for the weights of each unit, such as a filter
    Backward:  dg = dw . v / |v|, dv = g / |v| * (dw - dg / |v| * v), where dw is the layer's gradient of the weights

    layer: any with a parameter `weight`, such as Conv2D or Dense; weight_v: as its weights; weight_g: (units,), which
    starts as the length of v, so that the layer begins as it would without this one. x, y: those of the layer.
    Raises ConfigError for a layer without such a parameter, and what the layer raises.
    Source: Salimans, Kingma (2016), Weight Normalization.
    """

    lesson = (
        "It computes what the layer inside computes; but how long each unit's weights are together, and which way they "
        "point, are learned separately.",
        "A step changes the direction without changing the length, which makes learning faster and its rate matter "
        "less.",
    )
    examples = (
        Example("WeightNorm(Conv2D(3, 3, padding=1))", (2, 6, 5)),
        Example("WeightNorm(Conv2D(4, (2, 3), 2, groups=2, bias=False))", (4, 7, 5)),
        Example("WeightNorm(DepthwiseConv2D(3, multiplier=2))", (3, 5, 6)),
        Example("WeightNorm(ConvTranspose2D(4, 3, 2, groups=2))", (6, 3, 5)),
        Example("WeightNorm(Conv1D(3, 3, dilation=2))", (2, 9)),
        Example("WeightNorm(Dense(7, initializer=HeNormal()))", (13,)),
        Example("WeightNorm(Dense(1, bias=False))", (5,)),
    )
    cost = _Reparametrised.cost

    def effective(self, empty: Callable[[Shape], Array]) -> Effective:
        """Norms are summed in float64; a direction of length 0 gives weights of 0."""
        direction, gain = self.params[DIRECTION], self.params[LENGTH]
        units, axes = self.by_unit(direction)
        norms = np.sqrt(np.square(units, dtype=np.float64).sum(axis=axes, keepdims=True))
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        scale = gain.reshape(norms.shape) * inverse
        weight = empty(direction.shape)
        np.multiply(units, scale.astype(direction.dtype), out=self.by_unit(weight)[0])
        return Effective(weight, (inverse, scale))

    def trained_grads(self, dweight: Array, kept: Cache, ctx: Context) -> Grads:
        """The part of dw along v goes to the length, the rest to the direction."""
        inverse, scale = kept
        direction, gain = self.params[DIRECTION], self.params[LENGTH]
        units, axes = self.by_unit(direction)
        dunits, _ = self.by_unit(np.ascontiguousarray(dweight))
        along = np.multiply(dunits, units, dtype=np.float64).sum(axis=axes, keepdims=True) * inverse
        dv = ctx.gradient(DIRECTION, direction.shape)
        parts, _ = self.by_unit(dv)
        np.multiply(units, (along * inverse).astype(direction.dtype), out=parts)
        np.subtract(dunits, parts, out=parts)
        parts *= scale.astype(direction.dtype)
        return {LENGTH: along.reshape(gain.shape).astype(gain.dtype), DIRECTION: dv}

    def _trained(self, weight: Array) -> dict[str, Array]:
        """Weights of 0 have the direction of ones: they are 0 because their length is."""
        if is_one_zero(weight):  # reserved: it takes no memory, and both have other numbers at once
            units, axes = self.by_unit(weight)
            count = math.prod(size for axis, size in enumerate(units.shape) if axis not in axes)
            return {LENGTH: np.zeros(count), DIRECTION: weight}
        weight = np.require(weight, requirements="W")
        units, axes = self.by_unit(weight)
        norms = np.sqrt(np.square(units).sum(axis=axes, keepdims=True))
        np.copyto(units, 1.0, where=norms == 0)
        return {LENGTH: norms.ravel(), DIRECTION: weight}


class WeightStandardization(_Reparametrised):
    """A layer whose weights have mean 0 and variance 1 in each unit, such as a filter.

    Forward:   y = layer(x) with what = (v - mean(v)) / sqrt(var(v) + epsilon) as weights, v those of a unit
    Backward:  dv = (dw - mean(dw) - what * mean(dw * what)) / sqrt(var(v) + epsilon), where dw is the layer's gradient

    layer: any with a parameter `weight` of three numbers or more for a unit; v is trained under that name. x, y: those
    of the layer, which a normalisation should follow: outputs have a variance of as many as a unit has weights.
    Raises ConfigError for a layer without such a parameter and for epsilon not above 0, ShapeError for units with fewer
    weights, and what the layer raises.
    Source: Qiao, Wang, Liu, Shen, Yuille (2019), Micro-Batch Training with Batch-Channel Normalization and Weight
    Standardization; with this epsilon in Kolesnikov et al. (2020), Big Transfer.
    """

    lesson = (
        "It computes what the layer inside computes, with weights from which the mean of their filter is subtracted, "
        "and which are divided by its spread.",
        "With it and a normalisation over groups of channels, networks learn from batches of a few images.",
    )
    examples = (
        Example("WeightStandardization(Conv2D(3, 3, padding=1))", (2, 6, 5)),
        Example("WeightStandardization(Conv2D(4, (2, 3), 2, groups=2, bias=False), epsilon=0.001)", (4, 7, 5)),
        Example("WeightStandardization(DepthwiseConv2D(3))", (3, 5, 6)),
        Example("WeightStandardization(ConvTranspose2D(4, 3, groups=2))", (6, 3, 5)),
        Example("WeightStandardization(Conv1D(3, 3))", (2, 7)),
        Example("WeightStandardization(Dense(4), 0.01)", (9,)),
    )
    cost = _Reparametrised.cost

    def __init__(self, layer: Layer, epsilon: float = 1e-10) -> None:
        super().__init__(layer)
        self.epsilon = positive("epsilon", epsilon)

    def effective(self, empty: Callable[[Shape], Array]) -> Effective:
        """Means and variances are summed in float64."""
        trained = self.params[WEIGHT]
        units, axes = self.by_unit(trained)
        mean = units.mean(axis=axes, keepdims=True, dtype=np.float64)
        var = np.square(units - mean).mean(axis=axes, keepdims=True)
        inverse = (1 / np.sqrt(var + self.epsilon)).astype(trained.dtype)
        weight = empty(trained.shape)
        standard, _ = self.by_unit(weight)
        np.subtract(units, mean, out=standard, casting="same_kind")
        standard *= inverse
        return Effective(weight, (weight, inverse))

    def trained_grads(self, dweight: Array, kept: Cache, ctx: Context) -> Grads:
        """As of a normalisation: without what would move the mean or stretch all."""
        weight, inverse = kept
        standard, axes = self.by_unit(weight)
        dunits, _ = self.by_unit(np.ascontiguousarray(dweight))
        mean = dunits.mean(axis=axes, keepdims=True, dtype=np.float64)
        stretch = np.multiply(dunits, standard, dtype=np.float64).mean(axis=axes, keepdims=True)
        dv = ctx.gradient(WEIGHT, weight.shape)
        parts, _ = self.by_unit(dv)
        np.multiply(standard, stretch.astype(weight.dtype), out=parts)
        np.subtract(dunits, parts, out=parts)
        parts -= mean.astype(weight.dtype)
        parts *= inverse
        return {WEIGHT: dv}

    def _trained(self, weight: Array) -> dict[str, Array]:
        """The weights themselves."""
        units, axes = self.by_unit(weight)
        count = math.prod(units.shape[axis] for axis in axes)
        if count < 3:
            raise ShapeError(
                f"WeightStandardization expects three weights or more for each unit, {self.layer!r} has {count} here: "
                "one would be 0, and two -1 and 1, whatever is learned; use a larger kernel, or the layer by itself"
            )
        return {WEIGHT: weight}


class _Inside:
    """The context of a layer, for the one inside it, whose weights no gradient is kept of."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def gradient(self, name: str, shape: Shape) -> Array:
        """Memory for the gradient of the effective weights; for others where it is kept."""
        return self._ctx.empty(shape) if name == WEIGHT else self._ctx.gradient(name, shape)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


def inside_of(ctx: Context) -> Context:
    """The context for the layer inside one whose weights are computed."""
    return cast(Context, _Inside(ctx))


def as_computed(layer: Layer | Merge) -> Layer | Merge:
    """The layer inside, with the weights by which it computes now; another layer itself."""
    return as_computed(layer.inside(layer.computed().weight)) if isinstance(layer, _Reparametrised) else layer


def innermost(layer: Layer | Merge) -> Layer | Merge:
    """The layer inside, for what its class and its geometry tell; another layer itself."""
    return innermost(layer._inside) if isinstance(layer, _Reparametrised) else layer


def is_reparametrised(layer: Layer | Merge) -> TypeGuard[_Reparametrised]:
    """Whether it is one of these layers, and no class derived from one, which may compute something else."""
    return type(layer) in (WeightNorm, WeightStandardization)
