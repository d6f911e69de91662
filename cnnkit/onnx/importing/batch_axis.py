"""The batch axis, free again where a file was written for a fixed number of samples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from cnnkit.errors import OnnxError
from cnnkit.onnx.importing.attributes import called
from cnnkit.onnx.importing.foreign_graph import BATCH, ForeignGraph, ForeignNode, Sizes
from cnnkit.onnx.importing.free_sizes import SAMPLES, Free, Size, product, samples_in


def free_batch(graph: ForeignGraph) -> ForeignGraph:
    """The graph with a free first axis of each input, and the number of samples that it was written for.

    Raises OnnxError for inputs of different numbers of samples, and for one without axes.
    """
    baked: dict[str, int] = {}
    inputs, used = [], {name for node in graph.nodes for name in node.inputs}
    for value in graph.inputs:
        if value.sizes is None or value.name not in used:
            inputs.append(value)
            continue
        if not value.sizes:
            raise OnnxError(f"the input {value.name!r:.100} is a single number; expected one with a batch axis")
        first, *others = value.sizes
        if isinstance(first, int):
            baked[value.name] = first
        sizes: Sizes = (BATCH, *(f"{size} of {value.name}" if size == BATCH else size for size in others))
        inputs.append(dataclasses.replace(value, sizes=sizes))
    if len(set(baked.values())) > 1:
        each = ", ".join(f"{name!r:.60}: {count}" for name, count in baked.items())
        raise OnnxError(f"the inputs have different first axes, {each}; expected one number of samples for all of them")
    outputs = [dataclasses.replace(value, sizes=None) for value in graph.outputs] if baked else graph.outputs
    return dataclasses.replace(graph, inputs=inputs, outputs=outputs, baked_batch=next(iter(baked.values()), 0))


def reshaped(
    node: ForeignNode, given: Sequence[Size], target: Sequence[Size], baked: int
) -> tuple[list[int] | None, tuple[Size, ...]]:
    """What a Reshape shall be told, with 0 or -1 for the batch, and the sizes that it gives; None if that is not known.

    given: the sizes of its input; target: what it is told, in which 0 is replaced by what it stands for; baked: the
    number of samples that the file was written for, 0 if it takes any.
    Raises OnnxError for sizes that do not fit, and where it is not sure which of them has the samples.
    """
    if any(size is None for size in target):
        return None, tuple(target)
    total = product(given)
    if total is None:
        return None, tuple(None if size == -1 else size for size in target)
    if isinstance(total, int):
        return _without_batch(node, given, target, total)
    each = samples_in(given)
    if each is None:
        return None, tuple(None if size == -1 else size for size in target)
    result = _with_batch(node, target, each, baked)
    if result is None:
        raise OnnxError(
            f"{called(node)} gives {_shown(target)} of {_shown(given)}: it keeps no batch axis, or not surely; export "
            "the model again with a free batch size (in PyTorch, dynamic_shapes or dynamic_axes)"
        )
    told: list[int] = []
    for at, size in enumerate(result):
        if isinstance(size, int):
            told.append(size)
        else:
            told.append(0 if at < len(given) and given[at] == size else -1)
    return told, result


def _without_batch(
    node: ForeignNode, given: Sequence[Size], target: Sequence[Size], total: int
) -> tuple[list[int] | None, tuple[Size, ...]]:
    sizes = [size for size in target if isinstance(size, int)]
    others = math.prod(size for size in sizes if size != -1)
    if len(sizes) < len(target):
        return None, tuple(None if size == -1 else size for size in target)
    if sizes.count(-1) == 1 and others and total % others == 0:
        sizes[sizes.index(-1)] = total // others
    if math.prod(sizes) != total or min(sizes, default=0) < 0:
        raise _unfit(node, given, target)
    return sizes, tuple(sizes)


def _with_batch(node: ForeignNode, target: Sequence[Size], each: int, baked: int) -> tuple[Size, ...] | None:
    """The sizes of a value with `each` numbers for a sample; None if it is not sure which axis has the samples."""
    found = list(target)
    open_at = [at for at, size in enumerate(found) if size == -1]
    free = [size for size in found if isinstance(size, Free)]
    if len(open_at) > 1 or len(free) > 1:
        return None
    rest = math.prod(size for size in found if isinstance(size, int) and size != -1)
    if free:
        return _filled(node, found, open_at, each, rest * free[0].times) if free[0].name == BATCH else None
    if found and found[0] == baked > 0 and open_at:  # the batch, and one axis of which the size follows
        return _filled(node, [SAMPLES, *found[1:]], open_at, each, rest // baked)
    if open_at:
        if baked and rest and each % rest and baked * each % rest == 0:
            return None
        if not rest or each % rest:
            raise _unfit(node, (Free(BATCH, each),), target)
        found[open_at[0]] = Free(BATCH, each // rest)
        return tuple(found)
    first = found[0] if found else None
    if isinstance(first, int) and first > 0 and first == (baked or first) and rest == first * each:
        return (SAMPLES, *found[1:])
    return None


def _filled(
    node: ForeignNode, target: Sequence[Size], open_at: Sequence[int], each: int, rest: int
) -> tuple[Size, ...]:
    """The sizes with that of an open axis."""
    found = list(target)
    if open_at and rest and each % rest == 0:
        found[open_at[0]] = each // rest
    elif open_at or rest != each:
        raise _unfit(node, (Free(BATCH, each),), target)
    return tuple(found)


def _unfit(node: ForeignNode, given: Sequence[Size], target: Sequence[Size]) -> OnnxError:
    return OnnxError(f"{called(node)}: cannot give {_shown(target)} of {_shown(given)}, which has another count")


def _shown(sizes: Sequence[Size]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in sizes)})"
