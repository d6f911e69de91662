"""The gradient check of a loss: by the kinds of targets that it takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cnnkit.components import Loss
from cnnkit.errors import CheckError
from cnnkit.testing.example_outputs import PROBABILITIES, Tried, outputs_for
from cnnkit.testing.finite_differences import Directions, Point, beside_kinks, direction_errors, free_directions
from cnnkit.types import Array


def loss_errors(loss: Loss, found: Tried, rng: np.random.Generator, threshold: float) -> dict[str, float]:
    """The errors by the kind of targets, with the outputs that were found and, where the loss takes them, large ones.

    Probabilities that add up to 1 are moved so that they still do.
    """
    errors: dict[str, float] = {}
    for kind, targets in found.targets.items():
        for where, outputs in outputs_for(loss, found, targets, rng).items():
            place = _Place(loss, targets, outputs, found.kind, rng, threshold)
            errors[f"outputs{where}, targets are {kind}"] = beside_kinks(place.draw, place.errors_at)[1]["outputs"]
    return errors


class _Place:
    """A loss with targets, and outputs that are given in another order where some lie on a kink."""

    def __init__(
        self, loss: Loss, targets: Array, outputs: Array, kind: str, rng: np.random.Generator, threshold: float
    ) -> None:
        self.loss, self.targets, self.outputs, self.kind = loss, targets, outputs, kind
        self.rng, self.threshold = rng, threshold
        self.weight = rng.uniform(0.2, 0.8)
        self.is_new = True

    def draw(self) -> tuple[Point, Directions]:
        """The outputs, at first as they are, and directions."""
        point = {
            "outputs": self.outputs if self.is_new else self.rng.permutation(self.rng.permuted(self.outputs, axis=1))
        }
        self.is_new = False
        directions = free_directions(self.rng, point)
        if self.kind == PROBABILITIES:
            return point, ((name, d - d.mean(axis=1, keepdims=True), step) for name, d, step in directions)
        return point, directions

    def errors_at(self, point: Point, directions: Directions, *, kinks_are_errors: bool) -> dict[str, float]:
        """Raises CheckError for other shapes than those of the samples, Kink as all do."""
        outputs = point["outputs"]
        losses, cache = self.loss.forward(outputs, self.targets)
        if np.shape(losses) != (len(outputs),):
            raise CheckError(
                f"{self.loss!r}: forward must give one loss for each sample, {(len(outputs),)}, it returned "
                f"{np.shape(losses)}"
            )
        gradients = {"outputs": self.loss.backward(cache, self.weight)}
        if gradients["outputs"].shape != outputs.shape:
            raise CheckError(
                f"{self.loss!r}: backward must give a gradient of shape {outputs.shape}, it returned "
                f"{gradients['outputs'].shape}"
            )
        # Terms of size 1, such as exponents of large logits, may cancel to losses of almost 0.
        scale = self.weight * float(np.abs(losses).sum() + len(losses))
        return direction_errors(
            self._value, point, gradients, directions, scale, self.threshold, kinks_are_errors=kinks_are_errors
        )

    def _value(self, point: Mapping[str, Array]) -> float:
        return self.weight * float(self.loss.forward(point["outputs"], self.targets)[0].sum())
