"""Trouble with learning that shows early: what is seen of it, and what to try.

After the first epoch with enough steps, and once more later, a few training samples go through the network as in a
prediction. It changes nothing, and takes a small part of an epoch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cnnkit.classes import are_indices
from cnnkit.components.predicted import predicted_classes
from cnnkit.layers import ReLU
from cnnkit.losses import CrossEntropy
from cnnkit.losses.class_loss import ignored_by
from cnnkit.network import Engine, Network, Objective, Session
from cnnkit.network.graph.node import INPUT
from cnnkit.types import Array, Inputs, Samples
from cnnkit.wording import counted

FEWEST, MOST, PART = 32, 128, 400
"""Samples of a look: a PART-th of the training samples within these bounds."""
FIRST, SURE = 20, 100
"""Steps before the first look, and before it can be said whether anything is learned: many learn slowly at first."""
MANY = 300
"""Training samples, of which a part shows whether classes are told apart."""
LATER = 3
"""The second look is after so many times the epochs of the first, if that was sure."""
TRACED_BYTES = 32 << 20
"""Of all outputs of a network that are looked at together."""
FAR, WIDE = 5.0, 3.0
"""Inputs are not scaled if one is this far from 0, and the root of their mean square is this large: a few that are far
from the others do no harm."""
UNCHANGED = 1e-4
"""Relative change of a loss that is none."""
LEARNS = 0.9
"""A loss is below this part of the one of a constant answer if something of the inputs is used."""
RARE = 0.03
"""Share of the samples, of other classes than the one that is always predicted, that shows it to be wrong."""


class _Seen(NamedTuple):
    """What a look sees of the samples."""

    loss: float
    outputs: Array
    dead: tuple[str, ...]
    """The rectifiers that give 0 for all of them."""


class Hints:
    """Watches one training, from inside of its session."""

    def __init__(
        self, session: Session, objective: Objective, model: Network, batch_size: int, before: float | None = None
    ) -> None:
        """before: the loss before the first step, where an earlier session has seen that."""
        samples = session.samples
        self._count = len(samples)
        count = min(len(samples), min(max(len(samples) // PART, FEWEST), MOST))
        positions = np.arange(count) * len(samples) // count
        self._samples = Samples(samples.x[positions], samples.y[positions])
        self._engine, self._objective, self._model = session.engine, objective, model
        self._steps = -(-len(samples) // batch_size)
        first, sure = (-(-steps // self._steps) for steps in (FIRST, SURE))
        self._epochs = (first, sure if sure > first else LATER * first)
        """After which of them it looks."""
        self._before = before

    def begin(self) -> float | None:
        """The loss before the first step, which is noted; None where it cannot be had."""
        try:
            loss = self._loss(self._engine.predict(self._samples.x, 1))
        except Exception:  # as in a look
            loss = math.nan
        self._before = loss if math.isfinite(loss) else None
        return self._before

    def after(self, epoch: int, accuracy: float | None) -> dict[str, str]:
        """Each trouble with its hint, after so many epochs; accuracy: on all training samples, if it was measured."""
        if epoch not in self._epochs or not (seen := self._look()):
            return {}
        y, classes = self._samples.y, self._model.output_shape[0]
        loss = self._objective.loss
        is_classes = are_indices(y) and y.ndim == 1 and loss.task(y, (classes,)).gives == "classes"
        is_classes = is_classes and ignored_by(loss) is None
        predicted = predicted_classes(seen.outputs) if is_classes and seen.outputs.ndim == 2 else None
        found = {}
        learned = self._learns(seen, predicted)
        if not learned and (text := about_inputs(self._model, self._samples.x)):
            found["inputs"] = text
        if seen.dead:
            found["dead"] = self._about_dead(seen.dead)
        if found:  # a cause says more than its effects
            return found
        if epoch * self._steps < SURE:
            return found
        if self._before and abs(seen.loss - self._before) <= UNCHANGED * abs(self._before) and not learned:
            found["learning"] = (
                f"the loss has not changed: {self._before:.6g} before the training and {seen.loss:.6g} after "
                f"{counted(epoch, 'epoch')}, on {self._many}: try a higher learning rate (--find-lr suggests one), "
                "and check layers of your own with `cnnkit gradcheck`"
            )
        elif (
            predicted is not None
            and self._count >= MANY
            and (text := self._about_classes(seen.loss, predicted, accuracy))
        ):
            found["learning"] = text
        return found

    @property
    def _many(self) -> str:
        return counted(len(self._samples), "training sample")

    def _learns(self, seen: _Seen, predicted: Array | None) -> bool:
        """Whether much is learned, whatever seems to be in the way."""
        if predicted is None:
            return self._before is not None and seen.loss <= self._before / 2
        chance = 1 / self._model.output_shape[0]
        return float((predicted == self._samples.y).mean()) >= chance + (1 - chance) / 4

    def _about_dead(self, dead: tuple[str, ...]) -> str:
        return (
            f"{', '.join(dead[:3])}{', ...' if len(dead) > 3 else ''}: all outputs are 0 for {self._many}, so no "
            "gradient passes: try a lower learning rate, BatchNorm2D() before it, or LeakyReLU() instead"
        )

    def _about_classes(self, loss: float, predicted: Array, accuracy: float | None) -> str:
        """What shows that classes are not told apart, "" if they are."""
        y, count, classes = self._samples.y, len(predicted), self._model.output_shape[0]
        if isinstance(self._objective.loss, CrossEntropy) and loss < LEARNS * _entropy(y):
            return ""
        others = int((y != predicted[0]).sum())
        if (predicted == predicted[0]).all() and others >= max(RARE * count, 4):
            labels = self._model.labels
            name = repr(labels[predicted[0]]) if labels and predicted[0] >= 0 else f"{predicted[0]}"
            share = 1 - others / count
            advice = 'class_weight="balanced" or sampling="balanced"' if share >= 0.5 else "a lower learning rate"
            return (
                f"all predictions for {self._many} are the class {name}, which {share:.0%} of them have: try "
                f"{advice}, and look whether inputs and targets belong together"
            )
        chance = 1 / classes
        right = float((predicted == y).mean())
        limit = _highest(chance, count)
        if classes < 2 or right > limit or (accuracy is not None and accuracy > 1.05 * _highest(chance, self._count)):
            return ""
        return (
            f"the accuracy on {self._many} is {right:.3f}, about that of guessing, 1/{classes} = "
            f"{chance:.3f}: try another learning rate (--find-lr suggests one) and --overfit-one-batch, and look "
            "whether inputs and targets belong together (`cnnkit datasets show`)"
        )

    def _loss(self, outputs: Array) -> float:
        losses, _ = self._objective.losses(outputs, self._samples.y)
        return float(losses.mean(dtype=np.float64))

    def _look(self) -> _Seen | None:
        """None where it cannot be had: what only gives advice must not end a training."""
        nodes = self._engine.nodes
        size = sum(math.prod(node.out_shape) for node in nodes) * self._engine.dtype.itemsize
        tile = min(max(TRACED_BYTES // size, 1), FEWEST)
        alive, parts = np.zeros(len(nodes), np.bool_), []
        try:
            for start in range(0, len(self._samples), tile):
                outputs = _traced(self._engine, np.asarray(self._samples.x[start : start + tile]))
                alive |= [bool(output.any()) for output in outputs]
                parts.append(outputs[-1])
            outputs_of_all = np.concatenate(parts)
            loss = self._loss(outputs_of_all)
        except Exception:  # of a plugin's layer, or of too much work: whoever needs a prediction is told then
            return None
        dead = [node.name for node, lives in zip(nodes, alive, strict=True) if type(node.layer) is ReLU and not lives]
        return _Seen(loss, outputs_of_all, tuple(dead))


def about_inputs(model: Network, x: Inputs) -> str:
    """What is wrong with the range of inputs after preprocessing, "" if nothing is; a normalisation takes any."""
    first = [node.layer for node in model.nodes if INPUT in node.inputs]
    if all("Norm" in type(layer).__name__ for layer in first):
        return ""
    factor, offset = model.preprocessing.affine(np.dtype(np.float64), len(model.input_shape))
    values = np.asarray(x, np.float64) * factor + offset
    low, high, size = float(values.min()), float(values.max()), math.sqrt(float(np.square(values).mean()))
    if max(-low, high) <= FAR or size <= WIDE:
        return ""
    return (
        f"the inputs are not scaled: after preprocessing they reach from {low:.4g} to {high:.4g}, and networks learn "
        "best from about -1 to 1: build the model with Preprocessing(scale=...) or with the data's mean and std"
    )


def _highest(chance: float, count: int) -> float:
    """The highest accuracy that guessing reaches by chance: two standard deviations above its mean."""
    return chance + 2 * math.sqrt(chance * (1 - chance) / count)


def _entropy(y: Array) -> float:
    """The cross-entropy of one answer for all samples, the shares of the classes, in nats."""
    shares = np.bincount(y) / len(y)
    return -float(sum(share * math.log(share) for share in shares if share))


def _traced(engine: Engine, x: Array) -> list[Array]:
    with np.errstate(all="ignore"):
        return engine.trace(x)
