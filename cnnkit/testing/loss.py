"""The conformance suite for losses: everything that training and evaluation assume about one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from cnnkit.components import BatchCoupledLoss, Loss, installed_catalog
from cnnkit.errors import CheckError
from cnnkit.testing.comparing import (
    Suite,
    check_expression,
    check_unchanged_by,
    close,
    equal,
    named,
    run_all,
    same_bits,
)
from cnnkit.testing.example_inputs import LARGE
from cnnkit.testing.example_outputs import Tried, kinds_for, told, tried
from cnnkit.testing.gradcheck import THRESHOLD, GradientReport
from cnnkit.testing.gradcheck_loss import loss_errors
from cnnkit.types import Array, Shape

SAMPLES = 12
CUTS = ([1], [3, 4], list(range(1, SAMPLES)))
WEIGHT = 0.25


def check_loss(
    loss: Loss | str, out_shape: Shape = (5,), *, targets: Array | None = None, outputs: Array | None = None
) -> None:
    """Check that a loss keeps its contract; `CHECKS` lists what that is.

    loss: a component or its expression; out_shape: of the network's outputs, without the batch axis, (K,) or
    (K, H, W); targets: (N, ...), if None those that the loss does not refuse: class indices, values from 0 to 1, shares
    of the classes, or labels of 0 and 1; outputs: (N, *out_shape), if None any numbers for a loss from logits, else
    numbers from 0 to 1, or probabilities that add up to 1 if the loss takes no others.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe a loss; what the loss raises, if it
    refuses all targets.
    """
    run_all(suites(cast("Loss", installed_catalog().build("loss", loss)), out_shape, targets, outputs))


def suites(
    component: Loss, out_shape: Shape, targets: Array | None = None, outputs: Array | None = None
) -> Iterator[Suite]:
    """For each kind of targets that it takes."""
    rng = np.random.default_rng(0)
    found = tried(component.forward, kinds_for(component), out_shape, SAMPLES, rng, outputs, targets)
    if len(found.outputs) < 2:
        raise CheckError(f"expected two samples or more, got {len(found.outputs)}")
    for kind, one in found.targets.items():
        trial = LossTrial(component, found.outputs.astype(np.float32), one, found.kind, kind)
        subject = f"{named(component)} on {told(found, out_shape)}, targets are {kind},"
        yield Suite(subject, component, CHECKS, (trial,))


@dataclass(frozen=True)
class LossTrial:
    """A loss with outputs and targets, and of what kinds these are."""

    loss: Loss
    outputs: Array
    targets: Array
    outputs_are: str
    targets_are: str

    def results(self, outputs: Array | None = None, weight: float = WEIGHT) -> dict[str, Array]:
        """What forward and backward give, by name."""
        return self.of(self.outputs if outputs is None else outputs, self.targets, weight)

    def of(self, outputs: Array, targets: Array, weight: float = WEIGHT) -> dict[str, Array]:
        """What forward and backward give for these samples, by name."""
        losses, cache = self._forward(outputs, targets)
        return {"loss": losses, "gradient": self.loss.backward(cache, weight)}

    def of_tile(self, own: slice) -> dict[str, Array]:
        """What forward and backward give for a tile; a coupled loss is given the whole batch with it."""
        if not isinstance(self.loss, BatchCoupledLoss):
            return self.of(self.outputs[own], self.targets[own])
        losses, cache = self.loss.forward(self.outputs, self.targets, own)
        _, batch = self.loss.forward(self.outputs, self.targets)
        everyones = self.loss.shared(batch).astype(np.float64)
        return {"loss": losses, "gradient": self.loss.backward(cache, WEIGHT, everyones)}

    def _forward(self, outputs: Array, targets: Array) -> tuple[Array, object]:
        given = self.loss.forward(outputs, targets)
        if not isinstance(given, tuple) or len(given) != 2:
            raise CheckError(f"forward must return (losses, cache), it returned {type(given).__name__}")
        return given

    def parts(self) -> Iterator[dict[str, Array]]:
        """The results of the batch, cut in several ways and put together again."""
        for cut in CUTS:
            cut = [at for at in cut if at < len(self.outputs)]
            tiles = [slice(*ends) for ends in itertools.pairwise([0, *cut, len(self.outputs)])]
            pieces = [self.of_tile(tile) for tile in tiles]
            yield {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def check_shapes(trial: LossTrial) -> None:
    """One loss for each sample, a gradient of the outputs' shape and dtype, for one sample as for many."""
    for count in (len(trial.outputs), 1):
        found = trial.of(trial.outputs[:count], trial.targets[:count])
        for name, expected in (("loss", (count,)), ("gradient", trial.outputs[:count].shape)):
            value = found[name]
            if not isinstance(value, np.ndarray) or value.shape != expected:
                raise CheckError(
                    f"the {name} must be an array of shape {expected} for {count} samples, got "
                    f"{type(value).__name__} of shape {np.shape(value)}"
                    + ("; the mean over the batch is the engine's task" if name == "loss" else "")
                )
        equal("kind of the loss's dtype", found["loss"].dtype.kind, "f")
        equal("dtype of the gradient", str(found["gradient"].dtype), str(trial.outputs.dtype))


def check_finite(trial: LossTrial) -> None:
    """No loss or gradient is NaN or infinite; from logits, not for outputs of 0 and +-100 either."""
    rng = np.random.default_rng(1)
    candidates = {"ordinary outputs": trial.outputs}
    if trial.loss.from_logits:
        some = rng.choice([-LARGE, 0.0, LARGE], trial.outputs.shape).astype(np.float32)
        candidates |= {"outputs of 0": np.zeros_like(some), f"outputs of 0 and +-{LARGE:g}": some}
    for what, outputs in candidates.items():
        for name, value in trial.results(outputs).items():
            if not np.isfinite(value).all():
                raise CheckError(
                    f"the {name} is {value[~np.isfinite(value)].flat[0]} for {what}: take the largest output out of "
                    "every exponent, and keep logarithms and quotients finite"
                )


def check_inputs_unchanged(trial: LossTrial) -> None:
    """Outputs and targets are left as they are."""
    given = {"outputs": trial.outputs.copy(), "targets": trial.targets.copy()}
    trial.of(given["outputs"], given["targets"])
    same_bits("outputs after forward and backward, which changed them in place", given["outputs"], trial.outputs)
    same_bits("targets after forward and backward, which changed them in place", given["targets"], trial.targets)


def check_samples(trial: LossTrial) -> None:
    """A sample's loss and gradient do not depend on the samples beside it, or of a coupled loss on the tile."""
    whole = trial.results()
    coupled = isinstance(trial.loss, BatchCoupledLoss)
    hint = "give those of `own` alone" if coupled else "a sample must not look at others"
    for parts in trial.parts():
        for name, value in parts.items():
            close(f"the {name} of samples in smaller tiles; {hint}", value, whole[name])


def check_weight(trial: LossTrial) -> None:
    """The gradient is that of weight * sum(losses)."""
    one, two = trial.results(weight=WEIGHT)["gradient"], trial.results(weight=3 * WEIGHT)["gradient"]
    close("the gradient for three times the weight, and three times the gradient; multiply by weight", two, 3 * one)


def check_memory_order(trial: LossTrial) -> None:
    """The order of axes in memory changes nothing."""
    expected = trial.results()
    samples_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(trial.outputs, 0, -1)), -1, 0)
    for name, value in trial.results(samples_last).items():
        close(f"the {name} for outputs whose samples are the fastest axis", value, expected[name])


def check_no_call_state(trial: LossTrial) -> None:
    """A call leaves no trace, and depends on no earlier one: several workers use the loss at once."""
    check_unchanged_by(trial.loss, trial.results)
    expected = trial.results()
    losses, cache = trial.loss.forward(trial.outputs, trial.targets)
    kept = losses.copy()
    trial.of(trial.outputs[::-1].copy(), trial.targets)
    same_bits("losses after another call", losses, kept)
    found = trial.loss.backward(cache, WEIGHT)
    same_bits("the gradient after another tile's forward and backward", found, expected["gradient"])


def check_repr(trial: LossTrial) -> None:
    """`repr` is the expression that recreates the loss."""
    again = check_expression("loss", trial.loss)
    if again is not None:
        expected = trial.results()
        for name, value in replace(trial, loss=cast("Loss", again)).results().items():
            same_bits(f"the {name} of the loss made from repr, {trial.loss!r},", value, expected[name])


def check_gradient(trial: LossTrial) -> None:
    """`backward` is the derivative of `forward`."""
    found = Tried(trial.outputs_are, trial.outputs.astype(np.float64), {trial.targets_are: trial.targets})
    errors = loss_errors(trial.loss, found, np.random.default_rng(0), THRESHOLD)
    report = GradientReport(repr(trial.loss), errors, THRESHOLD)
    if not report.ok:
        raise CheckError(f"{report}: make backward the derivative of weight * sum(losses)")


CHECKS: Mapping[str, Callable[[LossTrial], None]] = {
    "shapes": check_shapes,
    "inputs unchanged": check_inputs_unchanged,
    "no call state": check_no_call_state,
    "samples": check_samples,
    "weight": check_weight,
    "memory order": check_memory_order,
    "repr": check_repr,
    "finite": check_finite,
    "gradient": check_gradient,
}
"""By name, in the order in which they run."""
