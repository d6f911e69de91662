"""Trouble with learning that shows early: what is seen of it, and what to try.

After the first epoch with enough steps, once more later, and at the end if there are rare classes, a few training
samples go through the network as in a prediction. It changes nothing, and takes a small part of an epoch. At the end,
the accuracies on training and validation samples are compared.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cnnkit.class_indices import are_indices, first_outside
from cnnkit.components.predicted_class import predicted_classes
from cnnkit.layers import ReLU
from cnnkit.losses import CrossEntropy
from cnnkit.losses.class_loss import ignored_by
from cnnkit.network import Engine, Network, Objective, Session
from cnnkit.network.graph.node import INPUT
from cnnkit.training.class_balance import rare_classes
from cnnkit.training.run import History
from cnnkit.types import Array, Inputs, Samples, Shape
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
OF_RARE, FEWEST_OF_RARE = 16, 4
"""Samples of a rare class that a look takes, as far as there are so many; and how many can say that it is missed."""
GAP, GUESSES = 0.15, 3.0
"""Difference of two accuracies that shows overfitting, and how many standard deviations of the smaller sample."""


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
        self._of_class = _counts(samples.y, model.output_shape[0])
        """Training samples of each class, (K,); empty where targets are none."""
        positions = _looked_at(samples.y, self._of_class)
        self._samples = Samples(samples.x[positions], samples.y[positions])
        shares = self._of_class[self._samples.y] / self._count if len(self._of_class) else np.ones(1)
        self._constant = -float(np.log(shares).mean())
        """The cross-entropy, in nats, of one answer for all samples: the shares of the classes in the training."""
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

    def after(self, epoch: int, accuracy: float | None, *, is_last: bool = False) -> dict[str, str]:
        """Each trouble with its hint, after so many epochs; accuracy: on all training samples, if it was measured."""
        rare_only = is_last and epoch not in self._epochs and bool(rare_classes(self._of_class).any())
        if not (rare_only or epoch in self._epochs) or not (seen := self._look()):
            return {}
        y, classes = self._samples.y, self._model.output_shape[0]
        loss = self._objective.loss
        is_classes = len(self._of_class) and loss.task(y, (classes,)).gives == "classes" and ignored_by(loss) is None
        predicted = predicted_classes(seen.outputs) if is_classes and seen.outputs.ndim == 2 else None
        found: dict[str, str] = {}
        if rare_only and (predicted is None or not self._missed(predicted)):
            return found
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
        missed = self._missed(predicted)
        if not missed and isinstance(self._objective.loss, CrossEntropy) and loss < LEARNS * self._constant:
            return ""
        others = int((y != predicted[0]).sum())
        balance = 'class_weight="balanced" or sampling="balanced"'
        if (predicted == predicted[0]).all() and (missed or others >= max(RARE * count, 4)):
            share = self._of_class[predicted[0]] / self._count if predicted[0] >= 0 else 0.0
            never = f"; never predicted: {missed}" if missed else ""
            advice = balance if missed or share >= 0.5 else "a lower learning rate"
            return (
                f"all predictions for {self._many} are the class {self._name(predicted[0])}, which {share:.0%} of all "
                f"have{never}: try {advice}, and look whether inputs and targets belong together"
            )
        if missed:
            return f"never predicted for {self._many}: {missed}: try {balance}"
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

    def _missed(self, predicted: Array) -> str:
        """The rare classes that no prediction is, although some of their samples are looked at."""
        seen = np.bincount(self._samples.y, minlength=len(self._of_class))
        missed = rare_classes(self._of_class) & (seen >= FEWEST_OF_RARE)
        missed[predicted[predicted >= 0]] = False
        names = [
            f"{self._name(one)} ({counted(int(self._of_class[one]), 'training sample')})"
            for one in np.flatnonzero(missed).tolist()
        ]
        return ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])])

    def _name(self, number: int) -> str:
        labels = self._model.labels
        return repr(labels[number]) if labels and number >= 0 else f"{number}"

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


def about_gap(history: History, epoch: int, validated: Samples, shape: Shape, augmented: bool) -> str:
    """What to do where far more training samples than validation samples are right, "" if that is not so.

    epoch: the one whose weights are kept, from 1; shape: of an input.
    """
    if not (0 < epoch <= len(history.get("validation_accuracy", ())) and "accuracy" in history):
        return ""
    trained, found = history["accuracy"][epoch - 1], history["validation_accuracy"][epoch - 1]
    count = len(validated) + 4  # two right and two wrong more, after Agresti and Coull (1998): few samples prove little
    likely = (found * len(validated) + 2) / count
    if not trained - likely >= max(GAP, GUESSES * math.sqrt(likely * (1 - likely) / count)):
        return ""
    images = ["stronger augmentations" if augmented else "augmentations"] if len(shape) == 3 else []
    images += ["channels=1 where colours do not matter"] if shape[0] == 3 and len(shape) == 3 else []
    return (
        f"the accuracy is {trained:.3f} on the training samples and {found:.3f} on "
        f"{counted(len(validated), 'validation sample')}: what was learned holds for the training samples alone "
        f"(overfitting); try {', '.join(['more samples', *images])}, weight decay as in "
        "AdamW(0.001, weight_decay=0.1), or Dropout(0.3) before the last layer"
    )


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


def _counts(y: Array, classes: int) -> Array:
    """How many targets there are of each class, (K,); empty for targets that are no classes of these."""
    if not are_indices(y) or y.ndim != 1 or first_outside(y, classes):
        return np.zeros(0, np.intp)
    return np.bincount(y, minlength=classes)


def _looked_at(y: Array, counts: Array) -> Array:
    """The positions of the samples of a look, in order: evenly spaced ones, and some of each of the rarest classes."""
    count = min(len(y), min(max(len(y) // PART, FEWEST), MOST))
    positions = np.arange(count) * len(y) // count
    rare = np.flatnonzero(rare_classes(counts))
    for one in rare[np.argsort(counts[rare], kind="stable")][: MOST // OF_RARE].tolist():
        own = np.flatnonzero(y == one)
        some = min(len(own), OF_RARE)
        positions = np.union1d(positions, own[np.arange(some) * len(own) // some])
    return positions


def _traced(engine: Engine, x: Array) -> list[Array]:
    with np.errstate(all="ignore"):
        return engine.trace(x)
