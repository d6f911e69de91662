"""Attributes of nodes and the numbers that stand for them in constants, with the types that an operator expects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from cnnkit.errors import CnnkitError, OnnxError
from cnnkit.onnx.importing.draft import UntranslatableError
from cnnkit.onnx.importing.foreign_graph import Attribute, ForeignNode
from cnnkit.types import Array

REPORT = "report this fault of the import"
"""What every message asks for that no test may bring about."""


def called(node: ForeignNode) -> str:
    """What messages call a node."""
    return f"node {node.name!r:.100} ({node.operator:.60})"


@contextmanager
def naming(node: ForeignNode) -> Iterator[None]:
    """Raise OnnxError, which names the node, for an error that nobody foresaw: a file may say anything."""
    try:
        yield
    except (CnnkitError, UntranslatableError):
        raise
    except Exception as error:
        raise OnnxError(
            f"{called(node)} cannot be translated, {type(error).__name__}: {error}; if a runtime runs the file, please "
            f"{REPORT}"
        ) from error


def integer(node: ForeignNode, name: str, default: int) -> int:
    """A whole number. Raises OnnxError for an attribute of another type."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise _wrong(node, name, "a whole number", value)
    return value


def number(node: ForeignNode, name: str, default: float) -> float:
    """A number. Raises OnnxError for an attribute of another type."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int | float):
        raise _wrong(node, name, "a number", value)
    return float(value)


def integers(node: ForeignNode, name: str) -> list[int] | None:
    """Whole numbers; None if the node does not have them. Raises OnnxError for an attribute of another type."""
    value = node.attributes.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(one, int) for one in value):
        raise _wrong(node, name, "whole numbers", value)
    return [int(one) for one in value]


def text(node: ForeignNode, name: str, default: str) -> str:
    """A text. Raises OnnxError for an attribute of another type."""
    value = node.attributes.get(name, default)
    if not isinstance(value, str):
        raise _wrong(node, name, "a text", value)
    return value


def whole_numbers(node: ForeignNode, array: Array, what: str) -> list[int]:
    """The numbers of a constant that must be whole, such as axes. Raises OnnxError for others."""
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise OnnxError(f"{called(node)}: expected whole numbers as {what}, got {array.dtype} of shape {array.shape}")
    return [int(one) for one in array.ravel()]


def axis_within(node: ForeignNode, axis: int, rank: int) -> int:
    """An axis counted from the first one. Raises OnnxError for one that there is not."""
    if not -rank <= axis < rank:
        raise OnnxError(f"{called(node)}: axis {axis} of a value with {rank} axes; expected {-rank} to {rank - 1}")
    return axis % rank


def axes_within(node: ForeignNode, axes: Sequence[int], rank: int) -> list[int]:
    """Axes counted from the first one, each once, in the order given."""
    found = [axis_within(node, axis, rank) for axis in axes]
    if len(set(found)) < len(found):
        raise OnnxError(f"{called(node)}: the axes {list(axes)} name one twice; expected each once")
    return found


def known_axes(node: ForeignNode, constants: Sequence[Array | None]) -> list[int] | None:
    """The axes of a node, from its second input or, in older operator sets, its attribute; None if it names none.

    Raises OnnxError if they are not constant.
    """
    if len(node.inputs) > 1 and node.inputs[1]:
        given = constants[1]
        if given is None or given.dtype == np.object_:
            raise OnnxError(f"{called(node)}: its axes are computed while it runs; expected constant ones")
        return whole_numbers(node, given, "axes")
    return integers(node, "axes")


def _wrong(node: ForeignNode, name: str, expected: str, value: Attribute) -> OnnxError:
    return OnnxError(f"{called(node)}: expected {expected} as attribute {name!r}, got {str(value)!r:.100}")
