"""What there is to say about a network and one image: all numbers, before any page is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from cnnkit.components import Loss, installed_catalog
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.explanation.markup import cut
from cnnkit.explanation.tracing import Trace, trace
from cnnkit.measures import check_scores, not_finite
from cnnkit.network import Sequential
from cnnkit.types import Array


@dataclass(frozen=True)
class Explanation:
    """A network, an image, and everything that happened to it on its way."""

    model: Sequential
    title: str
    """What the network is called."""
    source: str
    """Where the image is from."""
    image: Array
    """(C, H, W) or (F,), in the dataset's own units."""
    loss: Loss
    target: Array
    """(1,) index of the class, or (1, F) values."""
    target_known: bool
    """False if the target is what the network itself predicts."""
    probabilities: Array
    """(classes,): softmax of what the last layer gives, or of the values before it if it is a Softmax."""
    trace: Trace

    @property
    def predicted(self) -> int | None:
        """The most probable class; None for values to regress, and for probabilities that are NaN."""
        if self.target_class is None or not np.isfinite(self.probabilities).all():
            return None
        return int(self.probabilities.argmax())

    @property
    def target_class(self) -> int | None:
        """The index of the class, None for values."""
        return int(self.target[0]) if self.target.ndim == 1 else None

    def label(self, index: int) -> str:
        """What a class is called."""
        return cut(self.model.labels[index]) if self.model.labels else str(index)


def explain(
    model: Sequential,
    image: Array,
    *,
    target: int | Array | None = None,
    loss: Loss | str = "CrossEntropy()",
    title: str = "this network",
    source: str = "",
) -> Explanation:
    """Take one image through a network and back.

    image: (*input_shape), or (1, *input_shape), in the dataset's own units; target: index of the true class, or (F,)
    values; the predicted class if None; loss: what the gradients are of.
    Raises ShapeError if image, network and loss do not fit, ConfigError for a class that the network does not have, and
    for probabilities that are NaN, without a target.
    """
    x = np.asarray(image)
    x = x[None] if x.shape == model.input_shape else x
    if model.check_input(x).shape[0] != 1:
        raise ShapeError(f"expected one image, got {len(x)}: explain them one after the other")
    check_scores(model.output_shape)
    component = cast(Loss, installed_catalog().build("loss", loss))
    with np.errstate(over="ignore", invalid="ignore"):
        probabilities = model.predict_proba(x)[0]
    if target is None and not np.isfinite(probabilities).all():
        raise ConfigError(f"{not_finite(title, 'the image')}. So it predicts no class: give the true one")
    wanted: Any = int(probabilities.argmax()) if target is None else target
    if isinstance(wanted, int | np.integer):
        if not 0 <= wanted < len(probabilities):
            raise ConfigError(f"expected a class from 0 to {len(probabilities) - 1}, got {wanted}")
        targets = np.array([wanted], np.int64)
    else:
        targets = np.asarray(wanted)[None]
    found = trace(model, x, component, targets)
    return Explanation(model, title, source, x[0], component, targets, target is not None, probabilities, found)
