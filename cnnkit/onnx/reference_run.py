"""ONNX's reference evaluator with a model, which leaves no memory behind."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx.reference
from onnx import ModelProto, numpy_helper

from cnnkit.types import Array


def reference(model: ModelProto) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """What gives all outputs of a model by name for inputs by name; raises whatever its operators do.

    It does not keep `model`: the weights are arrays beside a graph without them, for a message frees nothing of what
    is deleted from it.
    """
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    evaluator = onnx.reference.ReferenceEvaluator(_without_weights(model))

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with np.errstate(all="ignore"):  # an infinity is an answer, to be compared like any other
            outputs = evaluator.run(None, {**weights, **inputs})
        return dict(zip(evaluator.output_names, outputs, strict=True))

    # The parts of an evaluator refer to it: they would stay until Python looks for such circles.
    weakref.finalize(run, evaluator.__dict__.clear).atexit = False
    return run


def run_reference(model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """All outputs of the model, by name; raises whatever its operators do."""
    return reference(onnx.load_model_from_string(model))(inputs)


def _without_weights(model: ModelProto) -> ModelProto:
    """A copy of all that the evaluator looks at."""
    graph = model.graph
    small = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    small.graph.name = graph.name
    for field in ("node", "input", "output", "sparse_initializer", "value_info"):
        getattr(small.graph, field).extend(getattr(graph, field))
    return small
