"""Changes of a right ONNX file from which others are made that mean harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper


def named(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, [output], f"node_{output}", **attributes)


def put_first(model: ModelProto, operator: str, inputs: list[str], **attributes: Any) -> None:
    """Let the first convolution take what a new node gives."""
    model.graph.node[0].input[0] = "evil"
    model.graph.node.insert(0, helper.make_node(operator, inputs, ["evil"], "evil", **attributes))


def give_alone(model: ModelProto, operator: str, inputs: list[str], **attributes: Any) -> None:
    """Let the file give what a new node gives, at once."""
    del model.graph.node[:]
    model.graph.node.append(helper.make_node(operator, inputs, ["y"], "evil", **attributes))


def add_weight(model: ModelProto, name: str, values: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))


def set_attribute(model: ModelProto, at: int, name: str, value: Any) -> None:
    node = model.graph.node[at]
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


def varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
