"""What the reference evaluator needs to run a model.

It copies all that the windows of a convolution see, at once, and all weights of an attention.
"""

from __future__ import annotations

import math

from cnnkit.errors import CostError
from cnnkit.layers import Conv2D, SelfAttention2D
from cnnkit.layers.reparametrised import innermost
from cnnkit.network import Network, Node
from cnnkit.network.execution.available_memory import readable
from cnnkit.onnx.available_runtimes import Available
from cnnkit.onnx.runtimes import ReferenceEvaluator

COPIED, INDEXED = 8, 16
"""Bytes for each number in a window: two copies for each sample, and two indices."""
FREE_BYTES = 96 << 20
"""What the evaluator may take for one sample of any model."""
EXPANSION, WEIGHTS = 2_000, 3
"""Beyond that, how many times the bytes of the sample and the parameters it may take."""


def window_numbers(model: Network) -> int:
    """Numbers that the windows of a convolution see, or that an attention has for weights: the most, for one sample."""
    return max(map(_seen, model.nodes), default=0)


def without_reference(available: Available, model: Network) -> Available:
    """The runtimes without the reference evaluator where it takes too much; CostError if none is left."""
    widest = max(model.nodes, key=_seen)
    outputs = 4 * sum(math.prod(node.out_shape) for node in model.nodes)
    needed = outputs + (COPIED + INDEXED) * _seen(widest)
    given = EXPANSION * math.prod(model.input_shape) + WEIGHTS * model.parameter_count()
    name = ReferenceEvaluator.__name__
    if needed <= max(FREE_BYTES, 4 * given):
        return available
    reason = f"it takes about {readable(needed)} of memory for one sample, most of it for {widest}"
    others = [runtime for runtime in available.runtimes if not isinstance(runtime, ReferenceEvaluator)]
    if not others:
        raise CostError(
            f"the export cannot be compared with the model: of the runtimes there is only {name}, and {reason}; "
            "install onnxruntime, or export without validation"
        )
    return Available(others, {**available.unusable, name: reason}, available.broken)


def _seen(node: Node) -> int:
    """What the windows of a convolution see of one sample, with what a dilated one leaves out: zeros are put there.

    Of an attention, the scores and the weights that are made of them.
    """
    layer = innermost(node.layer)
    if isinstance(layer, SelfAttention2D):
        return 2 * layer.heads * math.prod(node.out_shape[1:]) ** 2
    if not isinstance(layer, Conv2D):
        return 0
    rows, columns = layer.window.rows, layer.window.columns
    return node.in_shapes[0][0] * rows.reach * columns.reach * rows.positions * columns.positions
