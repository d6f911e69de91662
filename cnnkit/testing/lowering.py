"""Whether a layer's lowering computes what its forward computes."""

from __future__ import annotations

import copy

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.errors import CheckError
from cnnkit.network import Sequential
from cnnkit.types import Shape, Task

RELATIVE, ABSOLUTE = 1e-4, 1e-5


def check_lowering(layer: Layer | Merge, in_shape: Shape) -> None:
    """The exported layer gives the values of its forward in prediction, for any batch size; without `lower` it passes.

    Parameters and buffers are moved off their first values, which often are zeros and ones that hide mistakes.
    Raises CheckError with the largest difference, OnnxError for what ONNX refuses.
    """
    if type(layer).lower in (Layer.lower, Merge.lower):
        return
    from cnnkit.onnx.export import to_onnx  # here, so that `from cnnkit import testing` stays light
    from cnnkit.onnx.runtimes import ReferenceEvaluator

    rng = np.random.default_rng(0)
    model = Sequential([copy.deepcopy(layer)], in_shape, task=Task("values"))
    model.load_state({name: rng.uniform(0.5, 1.5, value.shape) for name, value in model.state().items()})
    exported = to_onnx(model).SerializeToString()
    for batch in (1, 3):
        x = rng.normal(size=(batch, *in_shape)).astype(np.float32)
        expected = model.trace(x)[-1]
        given = ReferenceEvaluator().run(exported, {"input": x})["values"]
        if given.shape != expected.shape:
            raise CheckError(
                f"lower gives outputs of shape {given.shape} for {batch} samples, expected {expected.shape}"
            )
        if not np.allclose(given, expected, RELATIVE, ABSOLUTE):
            raise CheckError(
                f"lower computes something else than forward does in prediction: for {batch} samples they differ by up "
                f"to {np.abs(given - expected).max():.1e}"
            )
