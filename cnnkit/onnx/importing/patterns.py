"""Several operators that are one layer: they are found from behind, and the last of them becomes that one operator.

Each pattern is a function of the last node, which returns the node in its place, or None where it is something else.
What nothing takes any more is removed at the end, and what something else takes stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np

from cnnkit.onnx.importing.attributes import integer, naming
from cnnkit.onnx.importing.foreign_graph import ForeignGraph, ForeignNode
from cnnkit.onnx.importing.matching import EXACT, Matching, instead
from cnnkit.onnx.importing.tensorflow_patterns import TENSORFLOW, tensordot

Pattern = Callable[[ForeignNode, Matching], ForeignNode | None]
SAME_FROM = 17.0
"""log(1 + exp(x)) - x = 4e-8 here, a quarter of a unit in the last place of x in float32."""
SHUFFLE, LAYER_NORM, AFFINE = "channel shuffle", "normalisation along an axis", "scale and offset"
TWO_CLASSES = "probabilities of two classes"
"""What is no operator of ONNX, but a layer."""


def find_patterns(graph: ForeignGraph, output: str) -> None:
    """Write one operator in the place of several, wherever a pattern fits, until none does."""
    for pattern in PATTERNS:
        matching = Matching(graph)
        nodes = []
        for node in graph.nodes:
            with naming(node):
                nodes.append(pattern(node, matching) or node)
        graph.nodes = nodes
        remove_unused(graph, output)


def remove_unused(graph: ForeignGraph, output: str) -> None:
    """Remove the nodes that the output does not need."""
    needed, kept = {output}, []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    graph.nodes = kept[::-1]


def hard_sigmoid(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """Clip(x + 3, 0, 6) / 6."""
    clipped = matching.beside_number(node.outputs[0], "Mul", 1 / 6)
    if node.operator == "Div" and matching.is_number(node.inputs[1], 6):
        clipped = node.inputs[0]
    x = _clipped(clipped, matching)
    return instead(node, "HardSigmoid", [x], alpha=1 / 6, beta=0.5) if x else None


def _clipped(value: str, matching: Matching) -> str:
    """The x of Clip(x + 3, 0, 6)."""
    node = matching.maker(value, "Clip")
    if node is None:
        return ""
    bounds = [node.attributes.get("min"), node.attributes.get("max")]
    if len(node.inputs) == 3:
        bounds = [matching.number(node.inputs[1]), matching.number(node.inputs[2])]
    return matching.beside_number(node.inputs[0], "Add", 3) if bounds == [0, 6] else ""


def hard_swish(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """x times its hard sigmoid, divided by 6 before or after that."""
    for factor in matching.factors(node.outputs[0]):
        maker = matching.maker(factor, "HardSigmoid")
        if maker is not None and _is_sixth(maker) and matching.is_product(node.outputs[0], 1, maker.inputs[0], factor):
            return instead(node, "HardSwish", maker.inputs)
        x = _clipped(factor, matching)
        if x and matching.is_product(node.outputs[0], 1 / 6, x, factor):
            return instead(node, "HardSwish", [x])
    return None


def _is_sixth(node: ForeignNode) -> bool:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return isinstance(alpha, float) and math.isclose(alpha, 1 / 6, rel_tol=EXACT) and beta == 0.5


def softsign(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """x / (1 + |x|)."""
    size = matching.beside_number(node.inputs[1], "Add", 1) if node.operator == "Div" else ""
    absolute = matching.maker(size, "Abs")
    return instead(node, "Softsign", absolute.inputs) if absolute and absolute.inputs[0] == node.inputs[0] else None


def gated(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """x times its sigmoid, or times the hyperbolic tangent of its softplus."""
    if node.operator != "Mul":
        return None
    for x, gate in (node.inputs, node.inputs[::-1]):
        sigmoid = matching.maker(gate, "Sigmoid")
        if sigmoid is not None and sigmoid.inputs[0] == x:
            return instead(node, "Swish", [x])
        tanh = matching.maker(gate, "Tanh")
        softplus = matching.maker(tanh.inputs[0], "Softplus") if tanh is not None else None
        if softplus is not None and softplus.inputs[0] == x:
            return instead(node, "Mish", [x])
    return None


def gelu(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """x / 2 times 1 + erf(x / sqrt(2)), or 1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))."""
    for factor in matching.factors(node.outputs[0]) if node.operator in ("Mul", "Div") else ():
        curve = matching.maker(matching.beside_number(factor, "Add", 1), "Erf", "Tanh")
        if curve is None:
            continue
        x = (_erf_of if curve.operator == "Erf" else _tanh_of)(curve.inputs[0], matching)
        if x and matching.is_product(node.outputs[0], 0.5, x, factor):
            return instead(node, "Gelu", [x], approximate="none" if curve.operator == "Erf" else "tanh")
    return None


def _erf_of(value: str, matching: Matching) -> str:
    found = [x for x in matching.factors(value) if matching.is_product(value, math.sqrt(0.5), x)]
    return found[0] if found else ""


def _tanh_of(value: str, matching: Matching) -> str:
    for total in matching.factors(value):
        node = matching.maker(total, "Add")
        if node is None or not matching.is_product(value, math.sqrt(2 / math.pi), total):
            continue
        for x, cubic in (node.inputs, node.inputs[::-1]):
            for cube in matching.factors(cubic):
                if matching.is_product(cubic, 0.044715, cube) and matching.is_power(cube, x, 3):
                    return x
    return ""


def softplus(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """PyTorch's Softplus: x itself where it is large, so that float32 has no other number for the softplus."""
    large = matching.maker(node.inputs[0], "Greater") if node.operator == "Where" else None
    curve = matching.maker(node.inputs[2], "Softplus") if large else None
    if large is None or curve is None or not large.inputs[0] == node.inputs[1] == curve.inputs[0]:
        return None
    limit = matching.number(large.inputs[1])
    return instead(node, "Softplus", curve.inputs) if limit is not None and limit >= SAME_FROM else None


def bias(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """A convolution or a product of matrices without a bias, and a constant for each of its channels or units."""
    operands = matching.beside_constant(node) if node.operator == "Add" else None
    product = matching.maker(operands[0], "Conv", "ConvTranspose", "MatMul") if operands else None
    if operands is None or product is None or len(product.inputs) != 2 or not matching.is_used_once(operands[0]):
        return None
    numbers, weight = operands[1], matching.constant(product.inputs[1])
    if weight is None or weight.ndim < (2 if product.operator == "MatMul" else 3) or numbers.ndim < 1:
        return None
    groups = integer(product, "group", 1)
    units = {"Conv": weight.shape[0], "ConvTranspose": weight.shape[1] * groups}.get(product.operator, weight.shape[-1])
    behind = 0 if product.operator == "MatMul" else weight.ndim - 2
    if numbers.size != units or numbers.shape[numbers.ndim - 1 - behind :] != (units, *(1,) * behind):
        return None
    (name,) = (name for name in node.inputs if name != operands[0])
    inputs = [*product.inputs, matching.as_vector(name)]
    return ForeignNode(product.operator, product.name, inputs, node.outputs, product.attributes)


def scale_and_offset(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """A product and a sum with constants."""
    added = matching.beside_constant(node) if node.operator == "Add" else None
    product = matching.maker(added[0], "Mul") if added else None
    scaled = matching.beside_constant(product) if product else None
    if added is None or product is None or scaled is None or not matching.is_used_once(added[0]):
        return None
    scale, offset = (next(n for n in one.inputs if matching.constant(n) is not None) for one in (product, node))
    return instead(product, AFFINE, [scaled[0], scale, offset], outputs=node.outputs)


def normalised(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """(x - mean) / sqrt(mean of the squares of that + epsilon), along one axis."""
    difference = matching.maker(node.inputs[0], "Sub") if node.operator == "Div" else None
    root = matching.maker(node.inputs[1], "Sqrt") if difference else None
    if difference is None or root is None:
        return None
    x, mean = difference.inputs[0], matching.maker(difference.inputs[1], "ReduceMean")
    total = matching.maker(root.inputs[0], "Add")
    beside = matching.beside_constant(total) if total else None
    variance = matching.maker(beside[0], "ReduceMean") if beside else None
    if mean is None or variance is None or beside is None or mean.inputs[0] != x or beside[1].size != 1:
        return None
    axes = matching.axes(mean)
    if axes is None or len(axes) != 1 or axes != matching.axes(variance):
        return None
    if not matching.is_power(variance.inputs[0], node.inputs[0], 2):
        return None
    return instead(node, LAYER_NORM, [x], axis=axes[0], epsilon=float(beside[1].reshape(-1)[0]))


def layer_norm(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """A normalisation, and a scale and an offset along the same axis."""
    normal = matching.maker(node.inputs[0], LAYER_NORM) if node.operator == AFFINE else None
    if normal is None:
        return None
    axis, rank = cast(int, normal.attributes["axis"]), len(matching.lengths(node.outputs[0])) + 1
    place = axis if axis < 0 else axis - rank
    for name in node.inputs[1:]:
        numbers = matching.constant(name)
        if numbers is None or any(n > 1 and at != place for at, n in enumerate(numbers.shape, -numbers.ndim)):
            return None
    return ForeignNode(LAYER_NORM, node.name, [normal.inputs[0], *node.inputs[1:]], node.outputs, normal.attributes)


def group_norm(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """PyTorch's GroupNorm: the channels of a group as one, an InstanceNormalization, and a scale and an offset."""
    if node.operator != AFFINE:
        return None
    back = matching.maker(node.inputs[0], "Reshape")
    normal = matching.maker(back.inputs[0], "InstanceNormalization") if back else None
    there = matching.maker(normal.inputs[0], "Reshape") if normal else None
    if there is None or normal is None:
        return None
    plain = [matching.constant(name) for name in normal.inputs[1:]]
    learned = [matching.constant(name) for name in node.inputs[1:]]
    lengths = matching.lengths(there.inputs[0])
    if plain[0] is None or plain[1] is None or np.any(plain[0] != 1) or np.any(plain[1] != 0):
        return None
    if not lengths or lengths != matching.lengths(node.outputs[0]):
        return None
    channels, names = lengths[0], []
    for name, numbers in zip(node.inputs[1:], learned, strict=True):
        shape = (channels, *(1,) * (len(lengths) - 1))
        if numbers is None or numbers.shape[-len(shape) :] != shape or numbers.size != channels:
            return None
        names.append(matching.as_vector(name))
    epsilon = normal.attributes.get("epsilon", 1e-5)
    return instead(node, "GroupNormalization", [there.inputs[0], *names], num_groups=plain[0].size, epsilon=epsilon)


def two_classes(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """Scikit-learn's probabilities of two classes: 1 - p and p side by side, where p is a sigmoid of one number."""
    if node.operator != "Concat" or len(node.inputs) != 2 or node.attributes.get("axis") not in (1, -1):
        return None
    sigmoid = matching.maker(node.inputs[1], "Sigmoid")
    other = matching.maker(node.inputs[0], "Sub")
    if sigmoid is None or other is None or not matching.is_number(other.inputs[0], 1):
        return None
    if other.inputs[1] != node.inputs[1] or matching.lengths(sigmoid.inputs[0]) != (1,):
        return None
    return instead(node, TWO_CLASSES, sigmoid.inputs)


def shuffle(node: ForeignNode, matching: Matching) -> ForeignNode | None:
    """Reshape, Transpose, Reshape: channels in another order, or channels that become pixels, or pixels channels."""
    turned = matching.maker(node.inputs[0], "Transpose") if node.operator == "Reshape" else None
    there = matching.maker(turned.inputs[0], "Reshape") if turned else None
    if turned is None or there is None:
        return None
    x, perm = there.inputs[0], turned.attributes.get("perm")
    before, apart, after = (matching.lengths(value) for value in (x, there.outputs[0], node.outputs[0]))
    if before and before == after and perm == [0, 2, 1, *range(3, len(before) + 2)] and before[1:] == apart[2:]:
        return instead(node, SHUFFLE, [x], groups=cast(int, apart[0]))
    if len(before) != 3 or len(apart) != 5 or not all(isinstance(n, int) for n in (*before, *apart, *after)):
        return None
    a, b, c, d, e = cast(tuple[int, ...], apart)
    match perm:
        case [0, 1, 4, 2, 5, 3] if b == c and before == (a * b * c, d, e) and after == (a, d * b, e * b):
            return instead(node, "DepthToSpace", [x], mode="CRD", blocksize=b)
        case [0, 3, 4, 1, 5, 2] if a == b and before == (a * b * c, d, e) and after == (c, d * a, e * a):
            return instead(node, "DepthToSpace", [x], mode="DCR", blocksize=a)
        case [0, 1, 3, 5, 2, 4] if c == e and before == (a, b * c, d * e) and after == (a * c * e, b, d):
            return instead(node, "SpaceToDepth", [x], mode="CRD", blocksize=c)
        case [0, 3, 5, 1, 2, 4] if c == e and before == (a, b * c, d * e) and after == (a * c * e, b, d):
            return instead(node, "SpaceToDepth", [x], blocksize=c)
    return None


PATTERNS: tuple[Pattern, ...] = (
    tensordot,
    bias,
    hard_sigmoid,
    hard_swish,
    softplus,
    gated,
    softsign,
    gelu,
    scale_and_offset,
    normalised,
    layer_norm,
    group_norm,
    shuffle,
    two_classes,
    *TENSORFLOW,
)
"""In this order: a later one may be made of what an earlier one wrote."""
