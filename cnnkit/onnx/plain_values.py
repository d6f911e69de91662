"""The model's own values inside of a file, worked out by the plain layers from any values before them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cnnkit.network import INPUT, Network
from cnnkit.network.execution.plain_nodes import PlainNodes
from cnnkit.onnx.export import Lowered
from cnnkit.onnx.outputs import compared_outputs, output_names, probabilities_of
from cnnkit.types import Array


class PlainValues:
    """Values by their ONNX names, in the dtype of the model; given: those that are known already."""

    def __init__(self, model: Network, lowered: Lowered, given: Mapping[str, Array]) -> None:
        self._model, self._lowered = model, lowered
        self._known = {name: value.astype(model.dtype) for name, value in given.items()}
        self._nodes = PlainNodes(model.nodes, np.dtype(model.dtype))

    def of(self, name: str, sample: Array) -> Array:
        """A value; those of outputs are worked out from the sample, (1, *input_shape)."""
        model, values = self._model, self._lowered.values
        if name in self._known:
            return self._known[name]
        if name == self._lowered.preprocessed:
            factor, offset = model.preprocessing.affine(np.dtype(model.dtype), len(model.input_shape))
            return np.asarray(sample * factor + offset, model.dtype)
        if name not in values:
            names = output_names(model)
            outputs = compared_outputs(model, sample, names)
            return outputs if name == names[0] else probabilities_of(model, outputs)
        node = model.nodes[values.index(name)]
        inputs = [self._lowered.preprocessed if i == INPUT else values[i] for i in node.inputs]
        output, _ = self._nodes.forward(node, [self.of(one, sample) for one in inputs])
        self._known[name] = np.array(output)
        return self._known[name]
