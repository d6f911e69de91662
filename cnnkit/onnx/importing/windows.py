"""Where a window lands: the padding of ONNX's convolutions and poolings as layers say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.onnx.importing.draft import UntranslatableError
from cnnkit.onnx.importing.step import Step, one_or_pair

Edges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Windows:
    """A window on images or signals, along each axis."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    edges: Edges
    """Padding before and after each axis."""
    same: bool
    """Whether that is what "same" gives."""

    def argument(self, numbers: Sequence[int]) -> int | tuple[int, int]:
        """One number for both axes or for the only one, or a pair."""
        return numbers[0] if len(numbers) == 1 else one_or_pair(numbers)

    @property
    def of_signal(self) -> Windows | None:
        """The same on signals, where the window is on images one pixel high and as high as these; None where not."""
        if len(self.kernel) != 2 or self.kernel[0] != 1 or self.edges[0] != (0, 0):
            return None
        return Windows(self.kernel[1:], self.strides[1:], self.dilations[1:], self.edges[1:], self.same)

    @property
    def padding(self) -> int | tuple[int, int] | str | None:
        """The argument of a layer; None where the padding has to come before it."""
        if all(before == after for before, after in self.edges):
            return self.argument([before for before, _ in self.edges])
        return "same" if self.same else None


def windows_of(step: Step, lengths: Sequence[int], kernel: Sequence[int] | None = None) -> Windows:
    """The window of a node over axes of these lengths; kernel: of weights, the node's attribute if None."""
    count = len(lengths)
    size = list(kernel) if kernel is not None else step.numbers("kernel_shape")
    strides = step.numbers("strides", [1] * count)
    dilations = step.numbers("dilations", [1] * count)
    if not len(size) == len(strides) == len(dilations) == count:
        raise UntranslatableError(f"it has a window of {len(size)} axes on {count}; layers have one or two")
    same = _same(lengths, size, strides, dilations)
    match step.text("auto_pad", "NOTSET"):
        case "NOTSET":
            pads = step.numbers("pads", [0] * 2 * count)
            if len(pads) != 2 * count:
                raise UntranslatableError(f"it has {len(pads)} pads on {count} axes")
            edges = tuple(zip(pads[:count], pads[count:], strict=True))
        case "VALID":
            edges = ((0, 0),) * count
        case "SAME_UPPER":
            edges = same
        case "SAME_LOWER":
            edges = tuple((after, before) for before, after in same)
        case other:
            raise UntranslatableError(f"it has auto_pad {other!r}")
    return Windows(size, strides, dilations, edges, edges == same)


def _same(lengths: Sequence[int], size: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Edges:
    """The padding with which a window with stride s gives ceil(length / s), the odd one behind."""
    edges = []
    for length, kernel, stride, dilation in zip(lengths, size, strides, dilations, strict=True):
        reach = (kernel - 1) * dilation + 1
        total = max(0, (-(-length // stride) - 1) * stride + reach - length)
        edges.append((total // 2, total - total // 2))
    return tuple(edges)
