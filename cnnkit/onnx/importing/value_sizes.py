"""The sizes of what operators give, from those of their inputs. Source: https://onnx.ai/onnx/operators

What does not follow from sizes and constants is not known, and that is no error: a layer checks its own input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.attributes import (
    axes_within,
    axis_within,
    called,
    integer,
    integers,
    known_axes,
    text,
    whole_numbers,
)
from cnnkit.onnx.importing.constant_operators import permutation, slices, split_sizes
from cnnkit.onnx.importing.foreign_graph import ForeignNode
from cnnkit.onnx.importing.free_sizes import Size, broadcast, product
from cnnkit.types import Array

Shape = tuple[Size, ...]
Outputs = list[Shape | None]
WHOLE = 2**31 - 1
"""An end of a Slice that is beyond all axes, as files write it."""


@dataclass(frozen=True)
class Known:
    """What is known of the inputs of a node."""

    node: ForeignNode
    opset: int
    shapes: Sequence[Shape | None]
    """The sizes of each input; None for one that is left out, or of which nothing is known."""
    constants: Sequence[Array | None]

    def shape(self, at: int = 0) -> Shape:
        """The sizes of an input. Raises _UnknownError if they are not known."""
        found = self.shapes[at] if at < len(self.shapes) else None
        if found is None:
            raise _UnknownError
        return found

    def numbers(self, at: int, what: str) -> list[int] | None:
        """The whole numbers in a constant input; None if it is left out."""
        if at >= len(self.node.inputs) or not self.node.inputs[at]:
            return None
        found = self.constants[at]
        if found is None or found.dtype == object:
            raise _UnknownError
        return whole_numbers(self.node, found, what)

    def axis(self, default: int, rank: int) -> int:
        """The attribute `axis`, counted from the first one."""
        return axis_within(self.node, integer(self.node, "axis", default), rank)


class _UnknownError(Exception):
    """The sizes do not follow from what is known."""


def sizes_of(known: Known) -> Outputs:
    """The sizes of each output of a node. Raises OnnxError for attributes that make no sense."""
    rule = RULES.get(known.node.operator)
    count = len(known.node.outputs)
    if rule is None:
        return [None] * count
    try:
        found = rule(known)
    except _UnknownError:
        return [None] * count
    return [*found, *[None] * (count - len(found))][:count]


def _same(known: Known) -> Outputs:
    return [known.shape()]


def _together(known: Known) -> Outputs:
    return [broadcast([known.shape(at) for at in range(len(known.shapes))])]


def _convolution(known: Known) -> Outputs:
    shape, weight = known.shape(0), known.shape(1)
    if len(shape) < 3 or len(weight) != len(shape):
        raise _UnknownError
    integer(known.node, "group", 1)  # of which the layer says whether it fits
    kernel = [size if isinstance(size, int) else 0 for size in weight[2:]]
    return [(shape[0], weight[0], *_windows(known.node, shape[2:], kernel))]


def _pooling(known: Known) -> Outputs:
    shape, kernel = known.shape(), integers(known.node, "kernel_shape")
    if kernel is None or len(kernel) != len(shape) - 2:
        raise OnnxError(f"{called(known.node)}: expected a kernel_shape for {len(shape) - 2} axes, got {kernel}")
    found: Shape = (*shape[:2], *_windows(known.node, shape[2:], kernel))
    return [found, found]


def _transposed_convolution(known: Known) -> Outputs:
    node, shape, weight = known.node, known.shape(0), known.shape(1)
    rank = len(shape) - 2
    if rank < 1 or len(weight) != len(shape):
        raise _UnknownError
    channels = product((weight[1], integer(node, "group", 1)))
    asked = integers(node, "output_shape")
    if asked is not None:
        return [(shape[0], channels, *asked[-rank:])]
    strides, dilations, pads = _geometry(node, rank)
    further = integers(node, "output_padding") or [0] * rank
    found: list[Size] = []
    for at, size in enumerate(shape[2:]):
        kernel = weight[2 + at]
        if not isinstance(size, int) or not isinstance(kernel, int):
            found.append(None)
        elif text(node, "auto_pad", "NOTSET").startswith("SAME"):
            found.append(size * strides[at])
        else:
            window = dilations[at] * (kernel - 1) + 1
            found.append(strides[at] * (size - 1) + further[at] + window - pads[at] - pads[at + rank])
    return [(shape[0], channels, *found)]


def _geometry(node: ForeignNode, rank: int) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations and pads. Raises OnnxError for a wrong number of them, or such as no window has."""
    strides = integers(node, "strides") or [1] * rank
    dilations = integers(node, "dilations") or [1] * rank
    pads = integers(node, "pads") or [0] * 2 * rank
    steps = strides + dilations
    if (
        len(strides) != rank
        or len(dilations) != rank
        or not 1 <= min(steps) <= max(steps) < 2**31
        or len(pads) != 2 * rank
    ):
        raise OnnxError(
            f"{called(node)} has strides {strides!s:.60}, dilations {dilations!s:.60} and pads {pads!s:.60} "
            f"for {rank} axes; expected steps from 1 to 2^31, and twice as many pads"
        )
    return strides, dilations, pads


def _windows(node: ForeignNode, shape: Shape, kernel: Sequence[int]) -> Shape:
    """How many windows there are along each axis."""
    strides, dilations, pads = _geometry(node, len(shape))
    mode, up = text(node, "auto_pad", "NOTSET"), bool(integer(node, "ceil_mode", 0))
    found: list[Size] = []
    for at, size in enumerate(shape):
        if not isinstance(size, int):
            found.append(size if kernel[at] == strides[at] == 1 and not pads[at] + pads[at + len(shape)] else None)
            continue
        if kernel[at] < 1:
            raise OnnxError(f"{called(node)} has a kernel of {list(kernel)!s:.60}; expected at least 1")
        window, step = dilations[at] * (kernel[at] - 1) + 1, strides[at]
        if mode.startswith("SAME"):
            found.append(-(-size // step))
            continue
        before, after = (0, 0) if mode == "VALID" else (pads[at], pads[at + len(shape)])
        room = size + before + after - window
        count = (-(-room // step) if up else room // step) + 1
        if up and (count - 1) * step >= size + before:  # no window begins in the padding that follows
            count -= 1
        found.append(max(0, count))
    return tuple(found)


def _global_pooling(known: Known) -> Outputs:
    shape = known.shape()
    return [(*shape[:2], *[1] * (len(shape) - 2))]


def _gemm(known: Known) -> Outputs:
    a, b = known.shape(0), known.shape(1)
    if len(a) != 2 or len(b) != 2:
        raise OnnxError(f"{called(known.node)} has inputs with {len(a)} and {len(b)} axes; expected two each")
    return [(a[integer(known.node, "transA", 0) and 1], b[0 if integer(known.node, "transB", 0) else 1])]


def _product(known: Known) -> Outputs:
    a, b = known.shape(0), known.shape(1)
    if len(a) < 2 or len(b) < 2:
        raise _UnknownError
    return [(*broadcast([a[:-2], b[:-2]]), a[-2], b[-1])]


def _concat(known: Known) -> Outputs:
    shapes = [known.shape(at) for at in range(len(known.shapes))]
    axis = known.axis(1, len(shapes[0]))
    if any(len(shape) != len(shapes[0]) for shape in shapes):
        raise OnnxError(f"{called(known.node)} has inputs of different numbers of axes")
    sizes = [shape[axis] for shape in shapes]
    fixed = [size for size in sizes if isinstance(size, int)]
    found = list(shapes[0])
    found[axis] = sum(fixed) if len(fixed) == len(sizes) else None
    return [tuple(found)]


def _split(known: Known) -> Outputs:
    shape = known.shape()
    axis = known.axis(0, len(shape))
    whole = shape[axis]
    parts = known.numbers(1, "sizes") or integers(known.node, "split")
    if not isinstance(whole, int):
        raise _UnknownError
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in split_sizes(known.node, whole, parts)]


def _slice(known: Known) -> Outputs:
    found = list(known.shape())
    for at in range(1, len(known.node.inputs)):
        known.numbers(at, "places")
    for axis, part in slices(known.node, known.constants, found).items():
        size = found[axis]
        whole = part.start == 0 and part.step == 1 and part.stop is not None and part.stop >= WHOLE
        if not whole:
            found[axis] = len(range(*part.indices(size))) if isinstance(size, int) else None
    return [tuple(found)]


def _gather(known: Known) -> Outputs:
    shape, places = known.shape(0), known.shape(1)
    axis = known.axis(0, len(shape))
    return [(*shape[:axis], *places, *shape[axis + 1 :])]


def _transpose(known: Known) -> Outputs:
    shape = known.shape()
    return [tuple(shape[axis] for axis in permutation(known.node, len(shape)))]


def _flatten(known: Known) -> Outputs:
    shape, axis = known.shape(), integer(known.node, "axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise OnnxError(f"{called(known.node)}: axis {axis} of a value with {len(shape)} axes")
    at = axis if axis >= 0 else axis + len(shape)
    return [(product(shape[:at]), product(shape[at:]))]


def _squeeze(known: Known) -> Outputs:
    shape, axes = known.shape(), known_axes(known.node, known.constants)
    if axes is None:
        axes = [axis for axis, size in enumerate(shape) if size == 1]
    left_out = axes_within(known.node, axes, len(shape))
    if any(shape[axis] not in (1, None) for axis in left_out):
        sizes = ", ".join(str(shape[axis]) for axis in left_out)
        raise OnnxError(f"{called(known.node)} leaves axes of size {sizes} out; expected 1")
    return [tuple(size for axis, size in enumerate(shape) if axis not in left_out)]


def _unsqueeze(known: Known) -> Outputs:
    shape, axes = known.shape(), known_axes(known.node, known.constants)
    rank = len(shape) + len(axes or [])
    new, old = axes_within(known.node, axes or [], rank), iter(shape)
    return [tuple(1 if axis in new else next(old) for axis in range(rank))]


def _pad(known: Known) -> Outputs:
    found = list(known.shape())
    pads = known.numbers(1, "pads") or integers(known.node, "pads") or []
    axes = axes_within(known.node, known.numbers(3, "axes") or list(range(len(found))), len(found))
    if len(pads) != 2 * len(axes):
        raise OnnxError(f"{called(known.node)} has {len(pads)} pads for {len(axes)} axes; expected two for each")
    for at, axis in enumerate(axes):
        before, more = found[axis], pads[at] + pads[at + len(axes)]
        found[axis] = before + more if isinstance(before, int) else None if more else before
    return [tuple(found)]


def _resize(known: Known) -> Outputs:
    node, shape = known.node, known.shape()
    axes = axes_within(node, integers(node, "axes") or list(range(len(shape))), len(shape))
    wanted = known.numbers(3, "sizes") if len(node.inputs) > 3 else None
    found = list(shape)
    if wanted is not None:
        if len(wanted) != len(axes) or text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
            raise _UnknownError
        for axis, one in zip(axes, wanted, strict=True):
            found[axis] = one or shape[axis]  # 0 keeps the batch axis, as `fold_constants` writes it
        return [tuple(found)]
    at = 1 if node.operator == "Upsample" or known.opset < 11 else 2
    given = known.constants[at] if at < len(node.inputs) else None
    scales = node.attributes.get("scales") if given is None else [float(one) for one in given.ravel()]
    if not isinstance(scales, list) or len(scales) != len(axes):
        raise _UnknownError
    for axis, scale in zip(axes, map(float, scales), strict=True):
        size = found[axis]
        if not 0 < scale < math.inf:
            raise OnnxError(f"{called(node)} scales by {scale}; expected more than 0")
        found[axis] = int(size * scale) if isinstance(size, int) else size if scale == 1 else None
    return [tuple(found)]


def _depth_to_space(known: Known) -> Outputs:
    shape, block = known.shape(), integer(known.node, "blocksize", 0)
    if block < 1 or len(shape) != 4:
        raise OnnxError(f"{called(known.node)} has blocks of {block} in {len(shape)} axes; expected 1 or more, in 4")
    n, c, h, w = shape
    if not isinstance(c, int) or not isinstance(h, int) or not isinstance(w, int):
        raise _UnknownError
    if known.node.operator == "DepthToSpace":
        return [(n, c // block**2, h * block, w * block)]
    return [(n, c * block**2, h // block, w // block)]


def _reduced(known: Known) -> Outputs:
    node, shape = known.node, known.shape()
    if node.operator.startswith("Arg"):
        axes: list[int] | None = [integer(node, "axis", 0)]
    else:
        axes = known_axes(node, known.constants)
        if not axes and integer(node, "noop_with_empty_axes", 0):
            return [shape]
    gone = axes_within(node, axes, len(shape)) if axes else range(len(shape))
    if integer(node, "keepdims", 1):
        return [tuple(1 if axis in gone else size for axis, size in enumerate(shape))]
    return [tuple(size for axis, size in enumerate(shape) if axis not in gone)]


def _expand(known: Known) -> Outputs:
    wanted = known.numbers(1, "a shape")
    if wanted is None:
        raise _UnknownError
    return [broadcast([known.shape(), tuple(wanted)])]


def _tile(known: Known) -> Outputs:
    shape, repeats = known.shape(), known.numbers(1, "repeats")
    if repeats is None or len(repeats) != len(shape):
        raise _UnknownError
    return [tuple(size if n == 1 else product((n, size)) for size, n in zip(shape, repeats, strict=True))]


def _several(rule: Callable[[Known], Outputs], names: str) -> dict[str, Callable[[Known], Outputs]]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Callable[[Known], Outputs]] = {
    **_several(
        _same,
        "Abs Acos Acosh Asin Asinh Atan Atanh Cos Cosh CumSum IsInf IsNaN Sin Sinh Tan "
        "BatchNormalization Cast Ceil Celu Clip Dropout Elu Erf Exp Floor Gelu GroupNormalization HardSigmoid "
        "HardSwish Hardmax Identity InstanceNormalization LRN LayerNormalization LeakyRelu Log LogSoftmax "
        "LpNormalization MeanVarianceNormalization Mish Neg Not PRelu "
        "RMSNormalization Reciprocal Relu Round Selu Shrink Sigmoid Sign "
        "Softmax Softplus Softsign Sqrt Swish Tanh ThresholdedRelu",
    ),
    **_several(
        _together,
        "Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow Sub Sum Where Xor",
    ),
    **_several(_pooling, "AveragePool LpPool MaxPool"),
    **_several(_global_pooling, "GlobalAveragePool GlobalLpPool GlobalMaxPool"),
    **_several(
        _reduced,
        "ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
        "ReduceSum ReduceSumSquare",
    ),
    **_several(_resize, "Resize Upsample"),
    **_several(_depth_to_space, "DepthToSpace SpaceToDepth"),
    "Concat": _concat,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _product,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
