"""`Graph`: a network as nodes with names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from cnnkit.input_units import Range
from cnnkit.network.graph.building import Given, build_graph, outline, read_graph
from cnnkit.network.graph.node import Node
from cnnkit.network.graph.parameter_limit import Building
from cnnkit.network.network import CLASSES, InputDtype, Network
from cnnkit.types import FITTED, Framing, Preprocessing, Task


class Graph(Network):
    """A network of named nodes, each of which takes the outputs of others.

        Graph(
            {
                "stem": "Conv2D(16, 3, padding=1)",
                "body": ("ReLU()", "stem"),
                "sum": ("Add()", ["stem", "body"]),
                "flat": "Flatten()",
                "scores": "Dense(10)",
            },
            input_shape=(1, 28, 28),
        )

    nodes: what each node is, by its name: a layer or its expression, which takes the node before it, or a pair of it
    and the name of its input, or of it and a list of names; "input" is the network's input. Several inputs are for
    merges without branches, `Add()`, `Multiply()` and `Concat()`. A layer object that stands in two places has one set
    of parameters, whose gradients are added; layers in the branches of merges stand in one place alone. output: the
    node whose output the network gives; None for the only one that no other takes. Everything else as `Network` says.
    Raises ConfigError, naming the nodes, for names and inputs that are missing, for circles, and for nodes that the
    output does not need.
    """

    def __init__(
        self,
        nodes: Given,
        input_shape: Sequence[int],
        *,
        output: str | None = None,
        labels: Sequence[str] = (),
        preprocessing: Preprocessing | None = None,
        input_dtype: InputDtype = "float32",
        input_range: Range | None = None,
        framing: Framing = FITTED,
        task: Task = CLASSES,
        seed: int = 0,
        dtype: Literal["float32", "float64"] = "float32",
        limit: int | None = None,
    ) -> None:
        self.origin: Mapping[str, Any] | None = None
        """What a registry records of the file that the network was made of, `import_onnx`'s."""
        self.graph = read_graph(nodes, output)
        self.layers = [node.layer for node in self.graph]
        super().__init__(
            input_shape,
            labels=labels,
            preprocessing=preprocessing,
            input_dtype=input_dtype,
            input_range=input_range,
            framing=framing,
            task=task,
            seed=seed,
            dtype=dtype,
            limit=limit,
        )

    def expressions(self) -> list[str]:
        """A line for each node, with its name, its layer, and what it takes."""
        return [outline(node.name, repr(node.layer), node.inputs, node.shares) for node in self.graph]

    def _nodes(self, building: Building) -> list[Node]:
        return build_graph(self.graph, self.input_shape, self.seed, building)

    def _given(self) -> Any:
        return {
            node.name: (node.layer, node.inputs[0] if len(node.inputs) == 1 else node.inputs) for node in self.graph
        }
