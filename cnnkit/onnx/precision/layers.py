"""Which layer a node of an exported file belongs to, and the layers that shall stay in float32."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto, NodeProto

from cnnkit.errors import ConfigError
from cnnkit.network import Network
from cnnkit.onnx.export import OWN
from cnnkit.wording import did_you_mean, first_of

SHOWN = 10
"""Names that an error lists."""
PRODUCTS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
ARITHMETIC = PRODUCTS | {"Add", "AveragePool", "Concat", "GlobalAveragePool", "Mul", "Sub"}
"""Operators whose outputs are other numbers than their inputs: others, such as MaxPool, lose nothing more."""


class Layers:
    """The layers of a model, and the nodes of its file that each was lowered to."""

    def __init__(self, model: Network, proto: ModelProto) -> None:
        self.proto = proto
        self._names = {node.name for node in model.nodes}
        self.nodes: dict[str, list[NodeProto]] = {}
        """The nodes by the name of their layer, in the order of the file."""
        for node in proto.graph.node:
            if layer := self.of(node.name):
                self.nodes.setdefault(layer, []).append(node)

    def of(self, name: str) -> str:
        """The layer of a node, a value or an initializer; "" for the preprocessing and the outputs."""
        head, _, tail = name.rpartition(".")
        for one in (name, head):
            if one in OWN:
                return ""
            if one in self._names:
                return one
            if one.removesuffix(".node") in OWN:  # a layer that is called like an output
                return one.removesuffix(".node")
        return self.of(head) if tail.isdecimal() else ""

    def operators(self, layer: str) -> set[str]:
        """The operators of a layer's nodes."""
        return {node.op_type for node in self.nodes[layer]}

    def check(self, keep: Sequence[str]) -> None:
        """Raise ConfigError unless all these are names of the model's layers."""
        for name in keep:
            if name not in self._names:
                hint = did_you_mean(name, self._names) or f"its layers are {first_of(sorted(self._names), SHOWN)}"
                raise ConfigError(f"the model has no layer {name!r:.100} to keep in float32; {hint}")
            if name not in self.nodes:
                raise ConfigError(
                    f"the layer {name} cannot be kept in float32: it computes nothing, or is folded into the layer "
                    "before it; keep that"
                )
