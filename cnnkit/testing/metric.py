"""The conformance suite for metrics: everything that training and evaluation assume about one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from cnnkit.components import CollectingMetric, Metric, installed_catalog
from cnnkit.components.checks import are_shares
from cnnkit.components.quantities import VALIDATION
from cnnkit.errors import CheckError
from cnnkit.testing.comparing import Suite, check_expression, check_unchanged_by, equal, named, run_all, same_bits
from cnnkit.testing.example_outputs import ANY, FRACTIONS, PROBABILITIES, told, tried
from cnnkit.types import Array, Shape

SAMPLES = 60
CUTS = ([1], [32], [7, 9, 40], list(range(1, SAMPLES)))
TAKEN_KEYS = {"loss", "lr", "seconds", ""}
"""What a history has anyway."""


def check_metric(
    metric: Metric | str, out_shape: Shape = (5,), *, targets: Array | None = None, outputs: Array | None = None
) -> None:
    """Check that a metric keeps its contract; `CHECKS` lists what that is.

    metric: a component or its expression; out_shape: of the network's outputs, without the batch axis; targets:
    (N, ...), if None those that the metric does not refuse, of the kinds that `check_loss` tries; outputs:
    (N, *out_shape), if None any numbers; where the metric refuses those or its sums are not finite for them, numbers
    from 0 to 1, or probabilities that add up to 1; of a metric of probabilities, these first.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe a metric; what the metric raises, if it
    refuses all targets.
    """
    run_all(suites(cast("Metric", installed_catalog().build("metric", metric)), out_shape, targets, outputs))


def suites(
    component: Metric, out_shape: Shape, targets: Array | None = None, outputs: Array | None = None
) -> Iterator[Suite]:
    """For each kind of targets that it takes."""
    rng = np.random.default_rng(0)
    kinds = (PROBABILITIES, FRACTIONS) if component.of_probabilities else (ANY, FRACTIONS, PROBABILITIES)
    found = tried(component.sums, kinds, out_shape, SAMPLES, rng, outputs, targets)
    for kind, one in found.targets.items():
        trial = MetricTrial(component, found.outputs.astype(np.float32), one)
        subject = f"{named(component)} on {told(found, out_shape)}, targets are {kind},"
        yield Suite(subject, component, CHECKS, (trial,))


@dataclass(frozen=True)
class MetricTrial:
    """A metric with outputs and targets."""

    metric: Metric
    outputs: Array
    targets: Array

    @property
    def collects(self) -> bool:
        """Whether it gives rows in place of sums."""
        return isinstance(self.metric, CollectingMetric)

    def sums(self, part: slice | Array = slice(None)) -> Array:
        """Those of some samples."""
        return np.asarray(self.metric.sums(self.outputs[part], self.targets[part]))

    def total(self, part: slice | Array = slice(None)) -> Array:
        """As `value` takes them, of some samples."""
        return self.sums(part) if self.collects else self.sums(part).astype(np.float64)

    def value(self) -> float:
        """The metric of all samples."""
        return self.metric.value(self.total())

    def best_and_worst(self) -> tuple[Array, Array] | None:
        """Outputs that are right for every sample, and wrong for every sample; None for targets of no known kind.

        For classes and labels they have the numbers of the outputs, whatever these must be; else those of the targets.
        Probabilities are certain.
        """
        outputs, targets = self.outputs, self.targets
        if self.metric.of_probabilities:
            outputs = np.zeros_like(outputs)
            outputs[:, -1] = 1
            if targets.shape == outputs.shape and are_shares(targets).all():
                targets = targets.argmax(axis=1)
        if targets.shape == outputs.shape:
            if np.isin(targets, (0, 1)).all():
                low, high = outputs.min(), outputs.max()
                return np.where(targets == 1, high, low), np.where(targets == 1, low, high)
            wrong = np.roll(targets, 1, axis=1) if are_shares(targets).all() else 1 - targets
            return targets.astype(np.float32), wrong.astype(np.float32)
        if (
            targets.dtype.kind not in "iu"
            or targets.shape != (len(outputs), *outputs.shape[2:])
            or outputs.shape[1] < 2
        ):
            return None
        rising = np.sort(outputs, axis=1)
        # The target gets the largest number, or the smallest, and the classes after it those that follow.
        classes = np.arange(outputs.shape[1]).reshape(-1, *(1 for _ in outputs.shape[2:]))
        rank = (classes - targets[:, np.newaxis]) % outputs.shape[1]
        return np.take_along_axis(rising[:, ::-1], rank, axis=1), np.take_along_axis(rising, rank, axis=1)


def check_sums(trial: MetricTrial) -> None:
    """Sums are finite numbers of one shape for any number of samples, float64 or whole; rows are of one length."""
    expected = trial.sums().shape
    for count in (1, 2, len(trial.outputs)):
        sums = trial.sums(slice(count))
        if trial.collects:
            if sums.ndim != 2 or sums.shape[1:] != expected[1:]:
                raise CheckError(f"rows must be of one length, (rows, R): those of {count} samples are {sums.shape}")
        else:
            equal(f"shape of the sums of {count} samples", sums.shape, expected)
        if not trial.collects and sums.dtype != np.float64 and sums.dtype.kind not in "iu":
            raise CheckError(f"sums must be float64, or whole numbers, got {sums.dtype}: float32 loses small addends")
        if not np.isfinite(sums).all():
            raise CheckError(f"sums must be finite, those of {count} samples are {sums.tolist()}")


def check_tiles(trial: MetricTrial) -> None:
    """The sums of all samples are those of the tiles, joined, however the samples are cut."""
    whole = trial.total()
    for cut in CUTS:
        parts = [at for at in np.split(np.arange(len(trial.outputs)), cut) if len(at)]
        given = [trial.total(part) for part in parts]
        before = [one.copy() for one in given]
        joined = trial.metric.join(given)
        for one, other in zip(given, before, strict=True):
            same_bits("the sums of a tile after join, which changed them in place", one, other)
        if joined.shape != whole.shape or not np.allclose(joined, whole, 1e-4, 1e-6):
            raise CheckError(
                f"the sums of {len(parts)} tiles add up to {joined.tolist()}, those of all samples are "
                f"{whole.tolist()}: give sums and counts, and take the mean of them in value"
            )


def check_value(trial: MetricTrial) -> None:
    """The value is one real number, that of the total alone, which is left as it is."""
    total = trial.total()
    before, fresh = total.copy(), copy.deepcopy(trial.metric)
    value = trial.metric.value(total)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CheckError(f"value must be a finite number, got {value!r}")
    same_bits("the total after value", total, before)
    small = trial.total(slice(3))
    one, other = trial.metric.value(small), fresh.value(small)
    if not math.isnan(other):  # of so few, a metric may have none
        equal("value of a total after another one", one, other)
    equal("value of the same total after another one", trial.metric.value(before), value)


def check_inputs_unchanged(trial: MetricTrial) -> None:
    """Outputs and targets are left as they are."""
    outputs, targets = trial.outputs.copy(), trial.targets.copy()
    trial.metric.sums(outputs, targets)
    same_bits("outputs after sums, which changed them in place", outputs, trial.outputs)
    same_bits("targets after sums, which changed them in place", targets, trial.targets)


def check_no_call_state(trial: MetricTrial) -> None:
    """A call leaves no trace, and depends on no earlier one: several workers use the metric at once."""
    expected = trial.sums()
    check_unchanged_by(trial.metric, trial.value)
    trial.sums(slice(5))
    same_bits("the sums of the same samples, asked for again", trial.sums(), expected)


def check_key(trial: MetricTrial) -> None:
    """The name in a history is unique, and the direction is right."""
    key = trial.metric.key
    if not isinstance(key, str) or key in TAKEN_KEYS or key.startswith(VALIDATION) or "[" in key:
        raise CheckError(
            f"key must be a unique name in a history, other than loss, lr and seconds, and without 'validation_' and "
            f"brackets, got {key!r}"
        )
    equal("type of greater_is_better", type(trial.metric.greater_is_better), bool)


def check_direction(trial: MetricTrial) -> None:
    """Outputs that are all right are not worse than outputs that are all wrong."""
    made = trial.best_and_worst()
    if made is None:
        return
    others = np.roll(trial.targets, 1, axis=0)
    if np.array_equal(trial.sums(), np.asarray(trial.metric.sums(trial.outputs, others))):
        return  # it does not look at targets
    best, worst = (replace(trial, outputs=outputs).value() for outputs in made)
    if best < worst if trial.metric.greater_is_better else best > worst:
        raise CheckError(
            f"greater_is_better is {trial.metric.greater_is_better}, but right outputs give {best:g} and wrong ones "
            f"{worst:g}: set greater_is_better = {best > worst}"
        )


def check_memory_order(trial: MetricTrial) -> None:
    """The order of axes in memory changes nothing."""
    samples_last = np.moveaxis(np.ascontiguousarray(np.moveaxis(trial.outputs, 0, -1)), -1, 0)
    given = replace(trial, outputs=samples_last).sums()
    if not np.allclose(given, trial.sums(), 1e-4, 1e-6):
        raise CheckError("sums differ for outputs whose samples are the fastest axis in memory: use logical axes")


def check_repr(trial: MetricTrial) -> None:
    """`repr` is the expression that recreates the metric."""
    again = check_expression("metric", trial.metric)
    if again is not None:
        found = replace(trial, metric=cast("Metric", again))
        same_bits(f"the sums of the metric made from repr, {trial.metric!r},", found.sums(), trial.sums())


CHECKS: Mapping[str, Callable[[MetricTrial], None]] = {
    "inputs unchanged": check_inputs_unchanged,
    "sums": check_sums,
    "no call state": check_no_call_state,
    "tiles": check_tiles,
    "value": check_value,
    "memory order": check_memory_order,
    "key": check_key,
    "direction": check_direction,
    "repr": check_repr,
}
"""By name, in the order in which they run."""
