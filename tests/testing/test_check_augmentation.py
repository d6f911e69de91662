"""The conformance suite for augmentations must accept a foreign one and find each breach of the contract by name."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cnnkit.components import Augmentation, Catalog, Mixing, Plugin, hookimpl
from cnnkit.components.checks import not_negative
from cnnkit.errors import CheckError, ComponentError, ConfigError
from cnnkit.testing import augmentation, check_augmentation, comparing
from cnnkit.types import Array, Draws


class Noise(Augmentation):
    """Adds noise of this standard deviation: written by someone who knows the contract only."""

    def __init__(self, sigma: float = 1.0) -> None:
        self.sigma = not_negative("sigma", sigma)

    def apply(self, x: Array, draws: Draws) -> Array:
        return x + (self.sigma * draws.normal(*x.shape[1:])).astype(np.float32)


class Average(Mixing):
    """Half of each; likewise."""

    def mix(self, x: Array, y: Array, other_x: Array, other_y: Array, draws: Draws) -> tuple[Array, Array]:
        return (x + other_x) / 2, (y + other_y) / 2


class Smaller(Noise):
    def apply(self, x: Array, draws: Draws) -> Array:
        return x[:, :, 1:]


class Double(Noise):
    def apply(self, x: Array, draws: Draws) -> Array:
        return x + draws.normal(*x.shape[1:])


class OneSample(Noise):
    """Forgets the axis of a single sample."""

    def apply(self, x: Array, draws: Draws) -> Array:
        return np.squeeze(x, axis=0) if len(x) == 1 else x


class NotFinite(Noise):
    def apply(self, x: Array, draws: Draws) -> Array:
        x[draws.uniform() < 0.1] = np.nan
        return x


class GlobalRandomness(Noise):
    def apply(self, x: Array, draws: Draws) -> Array:
        return x * np.float32(np.random.random())


class PythonsRandomness(Noise):
    def apply(self, x: Array, draws: Draws) -> Array:
        return x if random.random() < 0.5 else x + 1


class FreshGenerator(Noise):
    def apply(self, x: Array, draws: Draws) -> Array:
        return x + np.random.default_rng().normal(size=x.shape).astype(np.float32)


class FixedGenerator(Noise):
    """The same numbers whatever the samples."""

    def apply(self, x: Array, draws: Draws) -> Array:
        return x + np.random.default_rng(0).normal(size=x.shape).astype(np.float32)


class OfTheTile(Noise):
    def apply(self, x: Array, draws: Draws) -> Array:
        return np.asarray(x - x.mean())


class OfTheFirst(Noise):
    """One number for all samples."""

    def apply(self, x: Array, draws: Draws) -> Array:
        return np.asarray(x * draws.uniform()[0].astype(np.float32))


class DrawsSometimes(Noise):
    """Takes numbers only if some sample needs them, which moves those of the others on."""

    def apply(self, x: Array, draws: Draws) -> Array:
        chosen = draws.uniform() < 0.1
        if chosen.any():
            x[chosen] += draws.normal()[chosen, None, None, None].astype(np.float32)
        return x * draws.uniform()[:, None, None, None].astype(np.float32)


class Neighbours(Noise):
    """Writes beyond its samples."""

    def apply(self, x: Array, draws: Draws) -> Array:
        if x.base is not None and x.base.shape[1:] == x.shape[1:]:
            x.base[-1] = 0
        return x


class SameMemory(Noise):
    memory: dict[tuple[int, ...], Array] = {}  # noqa: RUF012 - shared by all that are made, which is the fault

    def apply(self, x: Array, draws: Draws) -> Array:
        y = self.memory.setdefault(x.shape, np.empty_like(x))
        y[...] = x * draws.uniform()[:, None, None, None]
        return y


class Counting(Noise):
    def __init__(self) -> None:
        self.calls = 0

    def apply(self, x: Array, draws: Draws) -> Array:
        self.calls += 1
        return x


class KeepsNothing(Noise):
    def __init__(self, strength: float) -> None:
        super().__init__(strength)


class Lopsided(Average):
    def mix(self, x: Array, y: Array, other_x: Array, other_y: Array, draws: Draws) -> tuple[Array, Array]:
        return x, y + other_y


class ForgetsTargets(Average):
    def mix(self, x: Array, y: Array, other_x: Array, other_y: Array, draws: Draws) -> tuple[Array, Array]:
        return x, y.argmax(axis=1)


class MixesTheTile(Average):
    """Mixes with the next sample of the tile."""

    def mix(self, x: Array, y: Array, other_x: Array, other_y: Array, draws: Draws) -> tuple[Array, Array]:
        return (x + np.roll(x, 1, axis=0)) / 2, (y + np.roll(y, 1, axis=0)) / 2


def test_good_ones_pass() -> None:
    check_augmentation(Noise(3.0))
    check_augmentation(Average(), (1, 28, 28))
    check_augmentation("Choose(Flip(), Rotate(10))")


@pytest.mark.parametrize(
    ("one", "check", "reason"),
    [
        (Smaller(), "shapes", r"shape of the images: expected \(1, 3, 12, 10\), got \(1, 3, 11, 10\)"),
        (Double(), "shapes", "dtype of the images: expected float32, got float64"),
        (OneSample(), "shapes", r"expected \(1, 3, 12, 10\), got \(3, 12, 10\)"),
        (Augmentation(), "shapes", "NotImplementedError: Augmentation has no apply"),
        (Mixing(), "shapes", "NotImplementedError: Mixing has no mix"),
        (ForgetsTargets(), "shapes", r"shape of the targets: expected \(1, 3\), got \(1,\)"),
        (NotFinite(), "finite", "the images have NaN or infinite values where all that came in were finite"),
        (Lopsided(), "targets", "targets must be shares that add up to 1, a sample got"),
        (GlobalRandomness(), "own draws", "global random numbers were drawn: take them from `draws`"),
        (PythonsRandomness(), "own draws", "global random numbers were drawn"),
        (FreshGenerator(), "own draws", "the images of the same samples in the same epoch, asked for again,"),
        (FixedGenerator(), "tiles", "the images of samples alone: expected the same values bit for bit"),
        (OfTheTile(), "tiles", "the images of samples alone: expected the same values bit for bit"),
        (OfTheFirst(), "tiles", "the images of samples alone"),
        (DrawsSometimes(), "tiles", "the images of samples alone"),
        (MixesTheTile(), "tiles", "the images of samples alone"),
        (Neighbours(), "own memory", "samples beside those that were given: expected the same values"),
        (SameMemory(), "own memory", "the images that an earlier call returned: expected the same values"),
        (Counting(), "no call state", "a call changed self.calls; keep nothing between calls"),
        (KeepsNothing(2.0), "repr", "takes 'strength' but keeps no attribute of that name"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Augmentation | Mixing) else "",
)
def test_each_breach_is_named(one: Augmentation | Mixing, check: str, reason: str) -> None:
    with pytest.raises(CheckError, match=reason) as caught:
        check_augmentation(one)
    assert f"on images of shape (3, 12, 10) fails the check {check!r}: " in str(caught.value)


def test_a_repr_that_makes_another_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    class Another(Noise):
        def __init__(self, sigma: float) -> None:
            super().__init__(sigma)
            self.given, self.sigma = sigma, 5.0

        def apply(self, x: Array, draws: Draws) -> Array:
            return x * np.float32(self.given)

    class Module:
        @staticmethod
        @hookimpl
        def cnnkit_augmentations() -> list[type[Augmentation | Mixing]]:
            return [Noise, Another]

    catalog = Catalog([Plugin("cnnkit-noise", "1", "noise", Module)])
    for module in (augmentation, comparing):
        monkeypatch.setattr(module, "installed_catalog", lambda: catalog)
    check_augmentation("Noise(2.0)")
    with pytest.raises(
        CheckError, match=r"fails the check 'repr': the images of the augmentation made from repr, Anoth"
    ):
        check_augmentation(Another(2.0))


def test_what_is_no_augmentation_is_refused() -> None:
    with pytest.raises(ComponentError, match="there is no augmentation named 'Rotat'"):
        check_augmentation("Rotat(10)")
    with pytest.raises(ConfigError, match="degrees must be a number from 0 to 180"):
        check_augmentation("Rotate(-1)")


def test_the_component_is_left_as_it_is() -> None:
    one = Noise(2.0)
    check_augmentation(one)
    assert vars(one) == {"sigma": 2.0}
