"""What weights are held to after each update of a training."""

from __future__ import annotations

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.layers.reparametrised import LENGTH, WeightNorm
from cnnkit.network import Constraint
from cnnkit.types import Array


def non_negative(weights: Array) -> None:
    """w = max(w, 0)."""
    np.maximum(weights, 0, out=weights)


def max_norm(layer: Layer | Merge, name: str, limit: float) -> Constraint:
    """w = w * limit / |w| for the weights w of each unit of which |w| > limit, of the parameter of this name.

    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), Dropout, section 5.1.
    """

    def hold(weights: Array) -> None:
        units, norms = _norms(layer, name, weights)
        units *= np.divide(limit, norms, out=np.ones_like(norms), where=norms > limit).astype(units.dtype)

    return hold


def unit_norm(layer: Layer | Merge, name: str) -> Constraint:
    """w = w / |w| for the weights w of each unit, of the parameter of this name; those that are all 0 stay."""

    def hold(weights: Array) -> None:
        units, norms = _norms(layer, name, weights)
        units *= np.divide(1.0, norms, out=np.ones_like(norms), where=norms > 0).astype(units.dtype)

    return hold


def _norms(layer: Layer | Merge, name: str, weights: Array) -> tuple[Array, Array]:
    """A view of the weights, and the norm of those of each unit, float64, which can be multiplied with it.

    A parameter of one axis, such as a bias, is taken as that of one unit; but that of WeightNorm which has a length for
    each unit as that of as many.
    """
    axes: tuple[int, ...]
    units, axes = weights, (0,)
    if type(layer) is WeightNorm and name == LENGTH:
        axes = ()
    elif weights.ndim > 1 and not isinstance(layer, Merge):
        units, axes = layer.by_unit(weights)
    return units, np.sqrt(np.square(units, dtype=np.float64).sum(axis=axes, keepdims=True))
