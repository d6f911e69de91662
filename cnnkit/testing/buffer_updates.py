"""Whether the buffers of a layer that is coupled over the batch follow the batches that it is trained on."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components import BatchCoupledLayer, Layer, Merge
from cnnkit.errors import CheckError
from cnnkit.testing.example_inputs import ORDINARY, domain_of, moved_into
from cnnkit.testing.layer_trial import Trial
from cnnkit.types import Array, Shape

SAMPLES, CUT = 70, 23
"""So many that a variance over n - 1 of them is almost that over n, and where they are cut into two tiles."""
STEPS = 3000
"""How often the batch is absorbed at most; running statistics with a momentum of 0.1 are settled after 200."""
LEFT = 0.25
"""How much of the distance between prediction and training may be left when the buffers are settled."""
ROUNDING = 1e-4
"""A distance that is none, of outputs of size 1."""


def check_absorbing(layer: Layer | Merge, in_shape: Shape) -> None:
    """Absorbed again and again, a batch makes prediction approach what training gives, and buffers stay finite.

    A buffer that training uses, too, may be a constant. Prediction is not compared if it uses no buffer that changes,
    or if the layer draws at random.
    """
    trial = Trial.make(layer, in_shape, batch=SAMPLES)
    own = trial.built.layer
    if not isinstance(own, BatchCoupledLayer) or not own.buffers:
        return
    trial.xs = [_off_centre(trial.xs[0].shape, domain_of(own))]
    in_training, in_prediction = (
        {name for name in own.buffers if _uses(trial, own.buffers[name], training=training)}
        for training in (True, False)
    )
    before = {name: value.copy() for name, value in own.buffers.items()}
    distance = _distance(trial)
    steps, is_settled = _absorb(trial, own, depends_on_buffers=bool(in_training))
    changed = {name for name, value in own.buffers.items() if not np.array_equal(value, before[name])}
    if not changed and type(own).absorb is not BatchCoupledLayer.absorb:
        raise CheckError(
            f"absorb changed none of the buffers {', '.join(before)}: write into them, such as "
            f"self.buffers[{next(iter(before))!r}][...] = value, or remove absorb if they are constants"
        )
    for name in before:
        if name in in_prediction - in_training - changed:
            raise CheckError(
                f"prediction uses buffers[{name!r}] and training does not, so it should follow the batches, but absorb "
                f"never changes it: write into it, self.buffers[{name!r}][...] = value"
            )
    y = trial.forward(training=False)
    if not np.isfinite(y).all():
        raise CheckError(
            f"y in prediction is {y[~np.isfinite(y)][0]} after a batch was absorbed {steps} times: keep the buffers "
            "where prediction can take them, such as a variance above 0"
        )
    if trial.is_random() or not changed & in_prediction:
        return
    left = _distance(trial)
    if not left <= max(distance * (LEFT if is_settled else 1), ROUNDING):
        raise CheckError(
            f"prediction does not approach what training gives for a batch: after it was absorbed {steps} times, the "
            f"outputs differ by {left:.2g} of their size, before by {distance:.2g}; make absorb move the buffers "
            "towards the statistics that training takes"
        )


def _absorb(trial: Trial, layer: BatchCoupledLayer, *, depends_on_buffers: bool) -> tuple[int, bool]:
    """Absorb the batch until the buffers are settled: in how many steps, and whether they are.

    depends_on_buffers: whether the total may, so that it is computed again in each step.
    Raises CheckError if buffers become NaN or infinite or get another dtype or shape, or if the total is changed.
    """
    forms = {name: (value.dtype, value.shape) for name, value in layer.buffers.items()}
    total = _total(trial)
    for step in range(1, STEPS + 1):
        before = {name: value.copy() for name, value in layer.buffers.items()}
        given = total.copy()
        layer.absorb(given)
        if not np.array_equal(given, total, equal_nan=True):
            raise CheckError("absorb changed the total in place, which forward is given after it: work on a copy")
        for name, value in layer.buffers.items():
            if forms.get(name) != (value.dtype, value.shape):
                raise CheckError(
                    f"absorb changed dtype or shape of buffers[{name!r}]; write into it: buffer[...] = value"
                )
            if not np.isfinite(value).all():
                raise CheckError(
                    f"buffers[{name!r}] is {value[~np.isfinite(value)][0]} after a batch was absorbed {step} times: "
                    "keep it finite"
                )
        if all(np.array_equal(value, before[name]) for name, value in layer.buffers.items()):
            return step, True
        total = _total(trial) if depends_on_buffers else total
    return STEPS, False


def _total(trial: Trial) -> Array:
    """The batch's, of two tiles."""
    trial.forward(tiles=[CUT])
    return trial.tiles[0].ctx.total


def _distance(trial: Trial) -> float:
    """How far prediction is from training, root mean square, in that of training; infinite for NaN."""
    expected, given = (trial.forward(training=training).astype(np.float64) for training in (True, False))
    size = math.sqrt(np.square(expected).mean())
    distance = math.sqrt(np.square(given - expected).mean()) / (size or 1.0)
    return math.inf if math.isnan(distance) else distance


def _uses(trial: Trial, buffer: Array, *, training: bool) -> bool:
    """Whether the output depends on what a buffer holds."""
    kept, expected = buffer.copy(), trial.forward(training=training)
    buffer[...] = 1.5 * kept + 0.5
    try:
        found = trial.forward(training=training)
    except Exception:  # other contents are refused, such as positions that do not exist
        return True
    finally:
        buffer[...] = kept
    return not np.array_equal(found, expected, equal_nan=True)


def _off_centre(shape: Shape, domain: tuple[float, float]) -> Array:
    """Inputs whose means are not 0 and differ between channels, nor are their variances 1."""
    channels = np.arange(shape[1])
    centres = (-1.0) ** channels * np.linspace(1, 2, shape[1])
    spread = np.random.default_rng(3).uniform(-1, 1, shape)
    return moved_into(spread + centres.reshape(-1, *(1 for _ in shape[2:])), ORDINARY, domain).astype(np.float32)
