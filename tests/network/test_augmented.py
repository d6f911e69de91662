"""Augmented samples: what a sample becomes depends on seed, epoch and position alone; what is given back is checked."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit import Sequential, Trainer, load_dataset
from cnnkit.augmentations import Affine, Choose, CutMix, Erase, Flip, Mixup, Shift
from cnnkit.components import Augmentation, Mixing
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.network import Augmented
from cnnkit.types import Array, Draws, Samples

MANY: list[Augmentation | Mixing] = [
    Shift(1),
    Choose(Affine(degrees=20), Erase(), Shift(2)),
    Mixup(1.0),
    CutMix(1.0, p=0.5),
]


def digits(count: int = 300) -> Samples:
    return load_dataset("Digits()").train.take(slice(count))


def augmented(*augmentations: Augmentation | Mixing, samples: Samples | None = None) -> Augmented:
    samples = samples or digits()
    return Augmented(samples.x, samples.y, augmentations, 10)


def test_a_sample_is_the_same_whatever_is_beside_it() -> None:
    samples = augmented(*MANY)
    positions = np.random.default_rng(0).permutation(300)
    whole = samples.at(positions, 7, 2)
    for size in (1, 7, 64, 299):
        parts = [samples.at(positions[i : i + size], 7, 2) for i in range(0, 300, size)]
        np.testing.assert_array_equal(np.concatenate([part.x for part in parts]), whole.x)
        np.testing.assert_array_equal(np.concatenate([part.y for part in parts]), whole.y)
    assert whole.x.dtype == whole.y.dtype == np.float32


def test_epochs_and_seeds_differ() -> None:
    samples = augmented(*MANY)
    first = samples.at(np.arange(300), 0, 0)
    for seed, epoch in ((0, 1), (1, 0)):
        other = samples.at(np.arange(300), seed, epoch)
        assert (other.x != first.x).any(axis=(1, 2, 3)).mean() > 0.98


def test_the_same_augmentation_at_two_places_draws_other_numbers() -> None:
    one = np.zeros((200, 1, 9, 9), np.uint8)
    one[:, 0, 4, 4] = 1
    moved = augmented(Shift(2), Shift(2), samples=Samples(one, np.zeros(200, np.int64))).at(np.arange(200), 0, 0).x
    rows = moved.any(axis=(1, 3)).argmax(axis=1) - 4
    assert set(rows.tolist()) == set(range(-4, 5))
    assert (rows % 2 == 1).mean() > 0.3  # twice the same shift would be even


def test_the_samples_themselves_stay_as_they_are() -> None:
    samples = digits()
    floats = Samples(np.asarray(samples.x, np.float32), samples.y)
    for given in (samples, floats):
        before = np.array(given.x), given.y.copy()
        augmented(Flip(1.0), *MANY, samples=given).at(np.arange(300), 0, 0)
        np.testing.assert_array_equal(given.x, before[0])
        np.testing.assert_array_equal(given.y, before[1])


def test_samples_are_mixed_with_others_as_they_look_in_this_epoch() -> None:
    """A blend of two flipped images is what the flipped images have blended."""
    samples = augmented(Flip(1.0), Mixup(1.0))
    plain = augmented(Flip(1.0)).at(np.arange(300), 0, 0).x.reshape(300, -1)
    mixed = samples.at(np.arange(20), 0, 0).x.reshape(20, -1)
    for i in range(20):
        residuals = [np.linalg.lstsq(np.stack([plain[i], other], 1), mixed[i], rcond=None)[1] for other in plain]
        assert min(float(r[0]) for r in residuals if r.size) < 1e-6


def test_targets_become_shares_only_where_samples_are_mixed() -> None:
    positions = np.arange(50)
    np.testing.assert_array_equal(augmented(Shift(1)).at(positions, 0, 0).y, digits().y[:50])
    shares = augmented(Mixup(1.0)).at(positions, 0, 0).y
    assert shares.shape == (50, 10)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    values = np.random.default_rng(0).normal(size=(300, 3))
    mixed = augmented(Mixup(1.0), samples=Samples(digits().x, values)).at(positions, 0, 0).y
    assert mixed.shape == (50, 3)


def trained(workers: int, *augmentations: Augmentation | Mixing | str, epochs: int = 2) -> Array:
    data = load_dataset("Digits()")
    layers = ["Conv2D(4, 3)", "BatchNorm2D()", "ReLU()", "Flatten()", "Dropout(0.2)", "Dense(10)"]
    model = Sequential(layers, data.input_shape, preprocessing=data.preprocessing)
    trainer = Trainer(epochs=epochs, batch_size=600, workers=workers, augmentations=augmentations)
    trainer.fit(model, data.train)
    return model.parameters.vector.copy()


def test_trainings_do_not_depend_on_the_workers() -> None:
    one = trained(1, *MANY)
    for workers in (2, 3):
        np.testing.assert_array_equal(trained(workers, *MANY), one)
    assert not np.array_equal(trained(1, *MANY[:1]), one)


def test_a_training_sees_what_at_gives() -> None:
    """A step over all samples, once augmented by the engine and once before."""
    data = load_dataset("Digits()")
    before = augmented(*MANY, samples=data.train).at(np.arange(len(data.train)), 3, 0)
    results = []
    for samples, augmentations in ((data.train, MANY), (before, [])):
        model = Sequential(["Flatten()", "Dense(10)"], data.input_shape, preprocessing=data.preprocessing, seed=0)
        trainer = Trainer(epochs=1, batch_size=len(data.train), seed=3, augmentations=augmentations)
        results.append((trainer.fit(model, samples).history["loss"], model.parameters.vector.tolist()))
    assert results[0] == results[1]


def test_strings_are_expressions() -> None:
    np.testing.assert_array_equal(
        trained(1, "Shift(1)", "Mixup(0.3)", epochs=1), trained(1, Shift(1), Mixup(0.3), epochs=1)
    )


class Wrong(Augmentation):
    given: object = None

    def apply(self, x: Array, draws: Draws) -> Array:
        return self.given  # type: ignore[return-value]  # wrong on purpose


class WrongMixing(Mixing):
    given: object = None

    def mix(self, x: Array, y: Array, other_x: Array, other_y: Array, draws: Draws) -> tuple[Array, Array]:
        return x if self.given is None else (x, self.given)  # type: ignore[return-value]  # wrong on purpose


def giving(one: Wrong | WrongMixing, given: object) -> Augmentation | Mixing:
    one.given = given
    return one


class Looks(Augmentation):
    """Turns images into another dtype and order of memory."""

    def apply(self, x: Array, draws: Draws) -> Array:
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        return np.asfortranarray(x.astype(np.float64))


class Raises(Augmentation):
    def apply(self, x: Array, draws: Draws) -> Array:
        raise IndexError("out of bounds")


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (
            giving(Wrong(), np.zeros((2, 3))),
            "must return images of shape (4, 1, 8, 8); it returned an array of shape (2, 3)",
        ),
        (Wrong(), "Wrong() must return images of shape (4, 1, 8, 8); it returned NoneType"),
        (giving(Wrong(), (1, 2)), "must return images of shape (4, 1, 8, 8); it returned (int, int)"),
        (
            WrongMixing(),
            "WrongMixing() must return a pair: images of shape (4, 1, 8, 8) and targets of shape (4, 10); it returned "
            "an array of shape (4, 1, 8, 8)",
        ),
        (giving(WrongMixing(), np.zeros(4)), "it returned (an array of shape (4, 1, 8, 8), an array of shape (4,))"),
    ],
)
def test_what_an_augmentation_gives_is_checked(one: Augmentation | Mixing, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        augmented(one).at(np.arange(4), 0, 0)
    assert str(caught.value).endswith(message)


def test_the_next_augmentation_gets_what_the_contract_says() -> None:
    assert augmented(Looks(), Looks(), Looks()).at(np.arange(4), 0, 0).x.dtype == np.float32


def test_an_augmentation_that_fails_is_named() -> None:
    with pytest.raises(IndexError, match="out of bounds") as caught:
        augmented(Shift(1), Raises()).at(np.arange(4), 0, 0)
    assert caught.value.__notes__ == ["in the augmentation Raises()"]
    with pytest.raises(IndexError, match="out of bounds") as told:
        trained(2, Raises())
    assert "in the augmentation Raises()" in told.value.__notes__


def test_only_images_can_be_augmented() -> None:
    with pytest.raises(ConfigError) as caught:
        augmented(Flip(), samples=Samples(np.zeros((3, 5)), np.zeros(3)))
    assert str(caught.value) == (
        "augmentations need images of shape (N, C, H, W), the training samples have (3, 5): train without them"
    )
    augmented(samples=Samples(np.zeros((3, 5)), np.zeros(3)))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            np.full(300, 10),
            "the network has 10 outputs, so class indices must be 0 to 9; there is the target 10: give the last layer "
            "one output for each class, or correct the targets",
        ),
        (np.full(300, -1), "so class indices must be 0 to 9; there is the target -1: give"),
        (np.zeros(300), "or values of shape (N, F); got float64 of shape (4,): reshape the targets"),
    ],
)
def test_targets_that_cannot_be_mixed_are_refused(targets: Array, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        augmented(Mixup(), samples=Samples(digits().x, targets)).at(np.arange(4), 0, 0)
    assert message in str(caught.value)


@pytest.mark.parametrize("many", [[Mixup()] * 5, [Shift(1)] * 101])
def test_lists_that_would_take_for_ever_are_refused(many: list[Augmentation | Mixing]) -> None:
    with pytest.raises(ConfigError, match="expected at most 100 augmentations, and 4 of them that mix samples"):
        augmented(*many)
    assert len(augmented(*[Mixup()] * 4).at(np.arange(3), 0, 0)) == 3


def test_shares_of_many_classes_take_no_more_than_they_need() -> None:
    """A square of all classes would take 10 GB."""
    samples = Augmented(digits().x, digits().y, [Mixup()], 50_000)
    assert samples.at(np.arange(2), 0, 0).y.shape == (2, 50_000)


class Squeezes(Augmentation):
    """Gives one number for each image."""

    def apply(self, x: Array, draws: Draws) -> Array:
        return np.asarray(x.mean(axis=(1, 2, 3), keepdims=True))


def test_what_is_chosen_is_checked_as_well() -> None:
    with pytest.raises(ShapeError, match=r"Squeezes\(\) must return images of shape \(\d+, 1, 8, 8\); it returned"):
        augmented(Choose(Squeezes())).at(np.arange(4), 0, 0)
