"""One run of ONNX's reference evaluator, which leaves no memory behind."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.reference

from cnnkit.types import Array


def run_reference(model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """All outputs of the model, by name; raises whatever its operators do.

    The parts of an evaluator refer to it: its weights would stay until Python looks for such circles.
    """
    evaluator = onnx.reference.ReferenceEvaluator(onnx.load_model_from_string(model))
    try:
        with np.errstate(all="ignore"):  # an infinity is an answer, to be compared like any other
            return dict(zip(evaluator.output_names, evaluator.run(None, dict(inputs)), strict=True))
    finally:
        evaluator.__dict__.clear()
