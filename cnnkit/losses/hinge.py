"""Losses that want the right class to be ahead of the others by a margin."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cnnkit.components.checks import positive, whole
from cnnkit.components.sums import sum_over
from cnnkit.components.value_description import shown
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.losses.class_loss import _RowLoss
from cnnkit.types import Array, Example


class Hinge(_RowLoss):
    """Scores of other classes count as far as they come closer to that of the right one than a margin.

    Forward:   loss = 1/K sum_{k != t} m_k^p,  with m_k = max(0, margin - x_t + x_k)
    Backward:  dx_k = weight / K * p m_k^(p - 1) [m_k > 0] for k != t,  dx_t = -sum_{k != t} dx_k

    At the kink, where m_k would be 0 exactly, the gradient is 0. The scores are no logits: they have no probabilities.
    Of images it is the mean over the pixels whose target is not `ignore_index`.

    x: (N, K) scores, (N, K, L) or (N, K, H, W); targets: class indices, (N,), (N, L) or (N, H, W); p: 1 or
    2; loss: (N,).
    Raises ConfigError unless margin > 0 and p is 1 or 2, ShapeError for other targets.
    Source: Weston, Watkins (1999), Support Vector Machines for Multi-Class Pattern Recognition; the mean over
    the classes as in torch.nn.MultiMarginLoss.
    """

    twin = "torch.nn.MultiMarginLoss"
    from_logits: ClassVar[bool] = False
    examples = (
        Example("Hinge()", (5,), "", "classes"),
        Example("Hinge(margin=0.5)", (3,), "margin=0.5", "classes"),
        Example("Hinge(p=2)", (7,), "p=2", "classes"),
        Example("Hinge(2.0, p=2)", (3, 4, 5), targets="classes"),
        Example("Hinge()", (3, 6), targets="classes"),
        Example("Hinge(ignore_index=1)", (3, 2, 3), targets="classes"),
    )

    def __init__(self, margin: float = 1.0, p: int = 1, ignore_index: int | None = None) -> None:
        super().__init__(ignore_index)
        self.margin = positive("margin", margin)
        self.p = whole("p", p)
        if p > 2:
            raise ConfigError(f"p must be 1 or 2, got {shown(p)}")

    def checked(self, outputs: Array, targets: Array) -> tuple[Array, Array | None]:
        if targets.shape == outputs.shape:
            raise ShapeError(
                f"{type(self).__name__} needs one right class, integers of shape {(len(outputs), *outputs.shape[2:])}; "
                f"got {targets.dtype} of shape {targets.shape}: for shares of the classes, use the loss CrossEntropy()"
            )
        return super().checked(outputs, targets)

    def of_rows(self, x: Array, targets: Array) -> tuple[Array, tuple[Array, Array]]:
        place = np.arange(len(x)), targets
        m = np.maximum(x - x[place][:, None] + x.dtype.type(self.margin), 0)
        m[place] = 0
        return sum_over(m if self.p == 1 else np.square(m), 1) / x.dtype.type(x.shape[1]), (m, targets)

    def gradient_of_rows(self, kept: tuple[Array, Array]) -> Array:
        m, targets = kept
        dx = (m > 0).astype(m.dtype) if self.p == 1 else 2 * m
        dx /= dx.dtype.type(dx.shape[1])
        dx[np.arange(len(dx)), targets] = -sum_over(dx, 1)
        return dx
