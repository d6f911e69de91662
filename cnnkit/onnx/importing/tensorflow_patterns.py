"""What TensorFlow writes out and tf2onnx keeps: normalisations of single samples, and pixels that are repeated."""

from __future__ import annotations

from typing import cast

import numpy as np

from cnnkit.onnx.importing.foreign_graph import ForeignNode
from cnnkit.onnx.importing.matching import Matching, both_ways, instead

NORM, GROUP_NORM, REPEAT = "normalisation over axes", "normalisation of groups", "repetition"
"""What is no operator of ONNX."""


def tensordot(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """Keras' Dense on images: all pixels of all samples as rows, a product of matrices, and the pixels again."""
    product = matching.maker(node.inputs[0], "MatMul") if node.operator == "Reshape" else None
    there = matching.maker(product.inputs[0], "Reshape") if product else None
    weight = matching.constant(product.inputs[1]) if product else None
    if product is None or there is None or weight is None or weight.ndim != 2:
        return None
    before, after = matching.lengths(there.inputs[0]), matching.lengths(node.outputs[0])
    if before[-1:] != weight.shape[:1] or after != (*before[:-1], weight.shape[1]):
        return None
    if matching.lengths(there.outputs[0]) != before[-1:]:
        return None
    return instead(product, "MatMul", [there.inputs[0], product.inputs[1]], outputs=node.outputs)


def normalisation(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """x * g + (beta - mean * g), where g is gamma / sqrt(mean of (x - mean)^2 + epsilon), over some axes."""
    if node.operator != "Add":
        return None
    for scaled, offset in (node.inputs, node.inputs[::-1]):
        product = matching.maker(scaled, "Mul")
        for x, factor in both_ways(product):
            found = _factor(factor, x, matching)
            if found is None:
                continue
            mean, axes, epsilon, gamma = found
            beta = _offset(offset, mean, factor, matching)
            if beta is not None:
                return instead(node, NORM, [x, gamma, beta], axes=axes, epsilon=epsilon)
    return None


def _factor(value: str, x: str, matching: Matching) -> tuple[str, list[int], float, str] | None:
    """The mean, the axes, epsilon and gamma ("" for 1) of a factor g."""
    gamma = ""
    if (scaled := matching.maker(value, "Mul")) is not None and (beside := matching.beside_constant(scaled)):
        value, gamma = beside[0], next(name for name in scaled.inputs if name != beside[0])
    inverse = matching.maker(value, "Reciprocal")
    root = matching.maker(inverse.inputs[0], "Sqrt") if inverse else None
    total = matching.maker(root.inputs[0], "Add") if root else None
    around = matching.beside_constant(total) if total else None
    variance = matching.maker(around[0], "ReduceMean") if around else None
    square = matching.maker(variance.inputs[0], "Mul", "Pow") if variance else None
    difference = matching.maker(square.inputs[0], "Sub") if square else None
    if around is None or variance is None or difference is None or around[1].size != 1:
        return None
    base, mean = difference.inputs[0], matching.maker(difference.inputs[1], "ReduceMean")
    if mean is None or mean.inputs[0] != base or not matching.is_power(variance.inputs[0], difference.outputs[0], 2):
        return None
    axes = matching.axes(mean)
    kept = all(one.attributes.get("keepdims", 1) for one in (mean, variance))
    if not axes or axes != matching.axes(variance) or not kept:
        return None
    if base != x:  # transposed, which the mean of all numbers does not notice
        turned = matching.maker(x, "Transpose")
        if turned is None or turned.inputs[0] != base or len(axes) != len(matching.lengths(base)):
            return None
    return mean.outputs[0], axes, float(around[1].reshape(-1)[0]), gamma


def _offset(value: str, mean: str, factor: str, matching: Matching) -> str | None:
    """The beta of beta - mean * factor, "" for 0; None if it is something else."""
    beta, node = "", matching.maker(value, "Add")
    if node is not None and (beside := matching.beside_constant(node)):
        value, beta = beside[0], next(name for name in node.inputs if name != beside[0])
    for negative, other in both_ways(matching.maker(value, "Mul")):
        maker = matching.maker(negative, "Neg")
        if other == factor and maker is not None and maker.inputs[0] == mean:
            return beta
    return None


def group_normalisation(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """Keras' GroupNormalization: the last axis in groups, a normalisation of each group, and the axes as before."""
    inner = matching.maker(node.inputs[0], NORM) if node.operator == "Reshape" else None
    there = matching.maker(inner.inputs[0], "Reshape") if inner else None
    if inner is None or there is None:
        return None
    before, apart = matching.lengths(there.inputs[0]), matching.lengths(there.outputs[0])
    rank = len(apart) + 1
    if not before or before != matching.lengths(node.outputs[0]) or before[:-1] != apart[:-2]:
        return None
    axes = sorted(axis % rank for axis in cast(list[int], inner.attributes["axes"]))
    numbers = [matching.constant(name) for name in inner.inputs[1:]]
    if axes != [*range(1, rank - 2), rank - 1]:
        return None
    names = []
    for name, array in zip(inner.inputs[1:], numbers, strict=True):
        if name and (array is None or array.shape[-2:] != apart[-2:] or array.size != before[-1]):
            return None
        names.append(matching.as_vector(name) if name else "")
    epsilon = cast(float, inner.attributes["epsilon"])
    return instead(node, GROUP_NORM, [there.inputs[0], *names], groups=cast(int, apart[-2]), epsilon=epsilon)


def repeated(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """A new axis behind another one, which is repeated and becomes one with that; perhaps transposed between."""
    if node.operator != "Reshape":
        return None
    turned = matching.maker(node.inputs[0], "Transpose")
    tile = matching.maker(turned.inputs[0] if turned else node.inputs[0], "Tile")
    wider = matching.maker(tile.inputs[0], "Unsqueeze") if tile else None
    times = matching.constant(tile.inputs[1]) if tile else None
    new = matching.axes(wider) if wider else None
    if wider is None or times is None or new is None or len(new) != 1:
        return None
    rank = times.size
    place = new[0] % rank
    if [int(n) for n in np.delete(times, place)] != [1] * (rank - 1):
        return None
    order = cast(list[int], turned.attributes.get("perm")) if turned else list(range(rank))
    apart, lengths = list(matching.lengths(node.inputs[0])), list(matching.lengths(node.outputs[0]))
    at = order.index(place)
    if order[0] != 0 or at < 2 or len(apart) != rank - 1 or not all(isinstance(n, int) for n in apart):
        return None
    joined = [*apart[: at - 2], cast(int, apart[at - 2]) * cast(int, apart[at - 1]), *apart[at:]]
    if joined != lengths:
        return None
    left = [axis - (axis > place) for axis in order if axis != place]
    return instead(node, REPEAT, [wider.inputs[0]], perm=left, axes=[at - 1], times=[int(times[place])])


def repeated_twice(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """Pixels that are repeated along one axis, and then along another one."""
    first = matching.maker(node.inputs[0], REPEAT) if node.operator == REPEAT else None
    if first is None or not matching.is_used_once(node.inputs[0]):
        return None
    one, two = (cast(list[int], each.attributes["perm"]) for each in (first, node))
    given = [two.index(axis) for axis in cast(list[int], first.attributes["axes"])]
    return instead(
        node,
        REPEAT,
        first.inputs,
        perm=[one[axis] for axis in two],
        axes=[*given, *cast(list[int], node.attributes["axes"])],
        times=[*cast(list[int], first.attributes["times"]), *cast(list[int], node.attributes["times"])],
    )


TENSORFLOW = normalisation, group_normalisation, repeated, repeated_twice
"""In this order: a later one may be made of what an earlier one wrote."""
