"""Losses of several labels, each of which is there or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from cnnkit.components.checks import positive
from cnnkit.components.contracts import Loss
from cnnkit.errors import ShapeError
from cnnkit.losses.rows import check_outputs, mean_of_each
from cnnkit.types import Array, Example


class BinaryCrossEntropy(Loss):
    """Negative log-likelihood of several labels, each there or not, from logits.

    Forward:   loss = mean_k (max(z_k, 0) - z_k t_k + log(1 + exp(-|z_k|)))
    Backward:  dz = weight / K * (sigmoid(z) - t)

    This is -t log(sigmoid(z)) - (1 - t) log(1 - sigmoid(z)), written so that no exponent overflows. With pos_weight w,
    what is said of a label that is there counts w times, -w t log(sigmoid(z)): above 1 more of them are found, below 1
    fewer are found by mistake. Then dz = weight / K * (sigmoid(z) (1 + (w - 1) t) - w t).

    z: (N, K) logits, (N, K, L) or (N, K, H, W), K of them for each step or pixel; t: 0 to 1, of the same shape;
    pos_weight: a number, or one for each of the K labels; loss: (N,), in nats.
    Raises ConfigError unless each pos_weight is above 0, ShapeError for targets of another shape or outside 0 to 1, and
    for another number of weights than labels.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 4.3.2.
    """

    gives = "labels"
    from_logits: ClassVar[bool] = True
    twin = "torch.nn.BCEWithLogitsLoss"
    examples = (
        Example("BinaryCrossEntropy()", (5,), "", "labels"),
        Example("BinaryCrossEntropy()", (1,), "", "values"),
        Example("BinaryCrossEntropy()", (2, 3, 4), "", "labels"),
        Example("BinaryCrossEntropy()", (2, 7), "", "labels"),
        Example("BinaryCrossEntropy(pos_weight=2.5)", (4,), "pos_weight=2.5", "labels"),
        Example("BinaryCrossEntropy(pos_weight=[0.5, 3.0])", (2,), "pos_weight=[0.5, 3.0]", "values"),
        Example("BinaryCrossEntropy(pos_weight=[0.5, 3.0])", (2, 3, 5), targets="labels"),
    )

    def __init__(self, pos_weight: float | Sequence[float] | None = None) -> None:
        self.pos_weight = pos_weight
        if isinstance(pos_weight, list | tuple):
            self.pos_weight = [positive(f"pos_weight[{at}]", one) for at, one in enumerate(pos_weight)]
        elif pos_weight is not None:
            self.pos_weight = positive("pos_weight", pos_weight)

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, tuple[Array, Array, Array | None]]:
        check_outputs(outputs)
        if targets.shape != outputs.shape:
            raise ShapeError(
                f"the targets must say of each label whether it is there, zeros and ones of the outputs' shape "
                f"{outputs.shape}; got {targets.dtype} of shape {targets.shape}: for one class of several, use the "
                "loss CrossEntropy()"
            )
        t = targets.astype(outputs.dtype, copy=False)
        if targets.size and not (t.min() >= 0 and t.max() <= 1):  # NaN is not either
            wrong = int(np.argmin(((t >= 0) & (t <= 1)).reshape(len(t), -1).all(axis=1)))
            raise ShapeError(
                f"the targets must be 0 to 1, one for each label; target {wrong} is {targets[wrong]}: for values to "
                "regress, use the loss MSE()"
            )
        small = np.exp(-np.abs(outputs))
        p = np.where(outputs >= 0, 1, small) / (1 + small)
        if self.pos_weight is None:
            return mean_of_each(np.maximum(outputs, 0) - outputs * t + np.log1p(small)), (p, t, None)
        w = self._weights(outputs)
        losses = (1 - t) * outputs + (1 + (w - 1) * t) * (np.log1p(small) + np.maximum(-outputs, 0))
        return mean_of_each(losses), (p, t, w)

    def backward(self, cache: tuple[Array, Array, Array | None], weight: float) -> Array:
        p, t, w = cache
        dz: Array = p - t if w is None else p * (1 + (w - 1) * t) - w * t
        dz *= weight / math.prod(p.shape[1:])
        return dz

    def _weights(self, outputs: Array) -> Array:
        """That of each label, in a shape that fits to the outputs."""
        w = np.asarray(self.pos_weight, outputs.dtype)
        if w.ndim and len(w) != outputs.shape[1]:
            raise ShapeError(
                f"pos_weight needs one weight for each of the {outputs.shape[1]} labels, or one for all of them; got "
                f"{len(w)}: {self.pos_weight}"
            )
        return w.reshape(-1, *(1 for _ in outputs.shape[2:])) if w.ndim else w
