"""Grad-CAM: the maps of a layer, each weighted by how much the score grows with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cnnkit.attribution.passes import Passes
from cnnkit.components import Merge
from cnnkit.errors import ConfigError
from cnnkit.network import INPUT, Node
from cnnkit.types import Array, Shape

NAMED = 20
"""Layers that a message names."""


def grad_cam(passes: Passes, x: Array, weights: Array, node: Node) -> Array:
    """Where in the image a layer has found what speaks for the score.

    a_k = mean over i, j of d score / d A_kij,   y = max(0, sum over k of a_k A_k), made as large as the image

    A: (N, K, h, w) the outputs of the layer; y: (N, H, W), interpolated linearly between the centres of its pixels. Of
    a signal, (N, K, l) and (N, L).
    Source: Selvaraju et al. (2017), Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization.
    """
    size = x.shape[2:]
    found = np.empty((len(x), *size), weights.dtype)
    for tile in passes.tiles(len(x)):
        maps, gradient = passes.back(x[tile], weights[tile], node.index)
        shares = gradient.mean(axis=tuple(range(2, gradient.ndim)), keepdims=True)
        found[tile] = enlarged(np.maximum((shares * maps).sum(axis=1), 0), size)
    return found


def layer_with_maps(nodes: Sequence[Node], layer: str | None, input_shape: Shape) -> Node:
    """The layer of this name, or the last whose maps have more than one pixel and show all that goes on to the score.

    That is one which all paths go through, such as the end of a block: a layer inside of a residual branch knows
    nothing of what is added to it. Pooling behind it does not count, as in Selvaraju et al. (2017), who take the last
    convolution. Raises ConfigError for a layer that there is not, and one that gives no maps.
    """
    fitting = {node.name: node for node in nodes if _gives_maps(node, input_shape)}
    if not fitting:
        raise ConfigError(
            "Grad-CAM needs a layer with maps, and no layer gives any for inputs of shape "
            f"{input_shape}; use the method integrated-gradients, gradient or occlusion"
        )
    if layer is None:
        whole = [node for node in _on_all_paths(nodes) if node.name in fitting]
        return _before_pooling(whole) if whole else list(fitting.values())[-1]
    if layer not in fitting:
        names = list(fitting)
        shown = ", ".join(names[-NAMED:]) + (f" and {len(names) - NAMED:,} before" if len(names) > NAMED else "")
        raise ConfigError(f"the network has no layer {layer!r} with maps of more than one pixel; choose one of {shown}")
    return fitting[layer]


def enlarged(maps: Array, size: Shape) -> Array:
    """Maps as large as the image, linear between the centres of pixels: (N, h, w) -> (N, *size), also smaller ones."""
    for axis, length in enumerate(size, start=1):
        maps = np.moveaxis(np.moveaxis(maps, axis, -1) @ _interpolation(maps.shape[axis], length), -1, axis)
    return maps


def _interpolation(before: int, after: int) -> Array:
    """(before, after): how much of each pixel is in each of the new ones; beyond the outer centres nothing changes."""
    places = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(np.arange(before)[:, None] - places)))


def _gives_maps(node: Node, input_shape: Shape) -> bool:
    return len(node.out_shape) == len(input_shape) > 1 and max(node.out_shape[1:]) > 1


def _before_pooling(nodes: Sequence[Node]) -> Node:
    """The last that learns or joins, or what follows it on maps of the same size: pooling only makes them coarser."""
    last = max((at for at, node in enumerate(nodes) if node.layer.params or isinstance(node.layer, Merge)), default=0)
    same = [node for node in nodes[last:] if node.out_shape[1:] == nodes[last].out_shape[1:]]
    return same[-1]


def _on_all_paths(nodes: Sequence[Node]) -> list[Node]:
    """The nodes that no path from the input to the last node goes around."""
    last_use = {value: node.index for node in nodes for value in node.inputs}
    found, furthest = [], last_use[INPUT]
    for node in nodes:
        if furthest <= node.index:  # nothing from before it is used behind it
            found.append(node)
        furthest = max(furthest, last_use.get(node.index, node.index))
    return found
