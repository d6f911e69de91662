"""The conformance suite for augmentations: everything that a training assumes about one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np

from cnnkit.components import Augmentation, Mixing, installed_catalog
from cnnkit.components.checks import are_shares
from cnnkit.errors import CheckError
from cnnkit.network.execution.random_draws import Draws
from cnnkit.network.execution.tile_pass import BUFFER
from cnnkit.testing.comparing import Suite, check_expression, equal, run_all, same_bits
from cnnkit.testing.state import changes, global_generators, snapshot
from cnnkit.types import Array, Shape

SAMPLES, CLASSES = 24, 3
EPOCHS = range(3)
"""Random numbers that are looked at; what is done with probability 1/2 is done and left out in each."""
ALL = np.arange(SAMPLES)


def check_augmentation(augmentation: Augmentation | Mixing | str, in_shape: Shape = (3, 12, 10)) -> None:
    """Check that an augmentation keeps its contract; `CHECKS` lists what that is.

    augmentation: a component or its expression; in_shape: (C, H, W).
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe an augmentation.
    """
    component = cast("Augmentation | Mixing", installed_catalog().build("augmentation", augmentation))
    run_all([suite(component, in_shape)])


def suite(augmentation: Augmentation | Mixing, in_shape: Shape) -> Suite:
    """All of its checks, on images of this shape."""
    subject = f"{type(augmentation).__name__} on images of shape {in_shape}"
    return Suite(subject, augmentation, CHECKS, (augmentation, in_shape))


def result(one: Augmentation | Mixing, in_shape: Shape, positions: Array = ALL, epoch: int = 0) -> dict[str, Array]:
    """What becomes of the samples at these positions: "images" and, if samples are mixed, "targets"."""
    x, y, draws = _images(in_shape, positions), _targets(positions), Draws(0, epoch, 1, positions)
    if isinstance(one, Augmentation):
        return {"images": one.apply(x, draws)}
    others = (positions * 7 + 3) % SAMPLES
    images, targets = one.mix(x, y, _images(in_shape, others), _targets(others), draws)
    return {"images": images, "targets": targets}


def check_shapes(one: Augmentation | Mixing, in_shape: Shape) -> None:
    """Images of float32 and of the same shape come back, for any number of samples, and targets likewise."""
    for count in (1, 3, SAMPLES):
        for name, value in result(one, in_shape, ALL[:count]).items():
            equal(f"type of the {name}", type(value).__name__, "ndarray")
            equal(f"shape of the {name}", value.shape, (count, *(in_shape if name == "images" else (CLASSES,))))
            equal(f"kind of the {name}", value.dtype.kind, "f")
            if name == "images":
                equal("dtype of the images", str(value.dtype), "float32")


def check_finite(one: Augmentation | Mixing, in_shape: Shape) -> None:
    """No value is NaN or infinite."""
    for epoch in EPOCHS:
        for name, value in result(one, in_shape, epoch=epoch).items():
            if not np.isfinite(value).all():
                raise CheckError(f"the {name} have NaN or infinite values where all that came in were finite")


def check_targets(one: Augmentation | Mixing, in_shape: Shape) -> None:
    """Mixed targets are shares of the classes: not below 0, and 1 in all."""
    for epoch in EPOCHS if isinstance(one, Mixing) else ():
        targets = result(one, in_shape, epoch=epoch)["targets"]
        wrong = np.flatnonzero(~are_shares(targets))
        if wrong.size:
            raise CheckError(f"targets must be shares that add up to 1, a sample got {targets[wrong[0]].tolist()}")


def check_own_draws(one: Augmentation | Mixing, in_shape: Shape) -> None:
    """Random numbers come from `draws` alone: equal draws, equal results, and nobody else's generator is moved."""
    before = global_generators()
    first = result(one, in_shape)
    result(one, in_shape, epoch=1)
    if global_generators() != before:
        raise CheckError("global random numbers were drawn: take them from `draws`")
    for name, value in result(one, in_shape).items():
        same_bits(f"the {name} of the same samples in the same epoch, asked for again,", value, first[name])


def check_tiles(one: Augmentation | Mixing, in_shape: Shape) -> None:
    """What becomes of a sample does not depend on the samples beside it, bit for bit."""
    for epoch in EPOCHS:
        whole = result(one, in_shape, epoch=epoch)
        for what, positions in (
            ("alone", np.split(ALL, SAMPLES)),
            ("in small tiles", np.split(ALL, [5, 6, 13])),
            ("in another order", [ALL[::-1].copy()]),
        ):
            with np.errstate():  # which takes the size of NumPy's buffer back; the engine sets it
                np.setbufsize(BUFFER)
                parts = [(some, result(one, in_shape, some, epoch)) for some in positions]
            for some, part in parts:
                for name, value in part.items():
                    same_bits(f"the {name} of samples {what}", value, whole[name][some])


def check_own_memory(one: Augmentation | Mixing, in_shape: Shape) -> None:
    """Nothing is written outside the samples that were given, and what was returned stays as it is."""
    samples = _images(in_shape, ALL)
    kept = samples.copy()
    middle, draws = slice(8, 16), Draws(0, 0, 1, ALL[8:16])
    if isinstance(one, Augmentation):
        one.apply(samples[middle], draws)
    else:
        one.mix(samples[middle], _targets(ALL[middle]), _images(in_shape, ALL[middle]), _targets(ALL[middle]), draws)
    outside = np.delete(ALL, ALL[middle])
    same_bits("samples beside those that were given", samples[outside], kept[outside])
    first = result(one, in_shape)
    before = {name: value.copy() for name, value in first.items()}
    result(one, in_shape, ALL[::-1].copy(), epoch=1)
    for name, value in first.items():
        same_bits(f"the {name} that an earlier call returned", value, before[name])


def check_no_call_state(one: Augmentation | Mixing, in_shape: Shape) -> None:
    """A call leaves no trace on the augmentation: several workers use it at once."""
    before = snapshot(one)
    result(one, in_shape)
    if changed := changes(before, snapshot(one)):
        raise CheckError(f"a call changed {', '.join(changed)}; keep nothing between calls")


def check_repr(one: Augmentation | Mixing, in_shape: Shape) -> None:
    """`repr` is the expression that recreates the augmentation."""
    again = check_expression("augmentation", one)
    if again is not None:
        expected = result(one, in_shape)
        for name, value in result(cast("Augmentation | Mixing", again), in_shape).items():
            same_bits(f"the {name} of the augmentation made from repr, {one!r},", value, expected[name])


CHECKS: Mapping[str, Callable[[Augmentation | Mixing, Shape], None]] = {
    "shapes": check_shapes,
    "finite": check_finite,
    "targets": check_targets,
    "own draws": check_own_draws,
    "own memory": check_own_memory,
    "tiles": check_tiles,
    "no call state": check_no_call_state,
    "repr": check_repr,
}
"""By name, in the order in which they run."""


def _images(in_shape: Shape, positions: Array) -> Array:
    """Values from 0 to 255, all different from those of other samples."""
    images = np.random.default_rng(0).uniform(0, 255, (SAMPLES, *in_shape)).astype(np.float32)
    return images[positions].copy()


def _targets(positions: Array) -> Array:
    return np.asarray(np.eye(CLASSES, dtype=np.float32)[positions % CLASSES])
