"""What all augmentations promise: the contract, found by their names, and no change at strength 0."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.augmentations import AUGMENTATIONS
from cnnkit.components import Augmentation, Mixing, installed_catalog
from cnnkit.components.plugin_metadata import BUILT_IN
from cnnkit.errors import ConfigError
from cnnkit.testing import check_augmentation
from cnnkit.testing.augmentation import ALL, EPOCHS, result
from cnnkit.types import Shape

EXAMPLES = {cls.__name__: list(dict.fromkeys(one.expression for one in cls.examples)) for cls in AUGMENTATIONS}
NONE = [
    "Flip(p=0.0)",
    "Shift(0)",
    "PadCrop(padding=0)",
    "Rotate(0)",
    "Affine()",
    "Brightness(0)",
    "Contrast(0)",
    "RotateColors(0)",
    "Cutout(0)",
    "Erase(p=0.0)",
    "Erase(p=1.0, scale=(0.0, 0.0))",
    "Choose(Flip(), count=0)",
    "Mixup(p=0.0)",
    "CutMix(p=0.0)",
]


def shape_for(text: str, in_shape: Shape) -> Shape:
    """A shape of images that it takes."""
    return (3, *in_shape[1:]) if text.startswith("RotateColors") else in_shape


def test_every_augmentation_is_found_by_its_name_and_has_an_example() -> None:
    assert all(EXAMPLES.values())
    catalog = installed_catalog()
    (own,) = (plugin for plugin in catalog.plugins if plugin.distribution == BUILT_IN)
    assert set(catalog.classes(own, "augmentation")) == set(EXAMPLES)
    for cls in AUGMENTATIONS:
        assert catalog.find("augmentation", cls.__name__) is cls


@pytest.mark.parametrize("in_shape", [(2, 1, 1), (1, 1, 6)], ids=str)
@pytest.mark.parametrize("text", [texts[-1] for texts in EXAMPLES.values()])
def test_images_of_one_row(text: str, in_shape: Shape) -> None:
    name = text.partition("(")[0]
    if name in ("Shift", "PadCrop", "Cutout", "Choose"):
        text = {"Cutout": "Cutout(1)", "Choose": "Choose(Flip(), Rotate(10))"}.get(name, f"{name}(0)")
    check_augmentation(text, shape_for(text, in_shape))


@pytest.mark.parametrize(
    ("text", "pixels"), [("Shift(9)", 9), ("PadCrop(padding=9)", 9), ("Cutout(10)", 9), ("Shift(10000000000)", 10**10)]
)
def test_images_that_are_too_small_are_refused(text: str, pixels: int) -> None:
    one = installed_catalog().build("augmentation", text)
    assert isinstance(one, Augmentation)
    with pytest.raises(ConfigError) as caught:
        result(one, (3, 14, 9))
    assert str(caught.value) == (
        f"{text} needs images that are higher and wider than {pixels} pixels, these have 14 x 9: use a smaller number"
    )


@pytest.mark.parametrize("text", [text for texts in EXAMPLES.values() for text in texts])
def test_the_expression_is_the_repr(text: str) -> None:
    one = installed_catalog().build("augmentation", text)
    assert repr(one) == text
    assert isinstance(one, Augmentation | Mixing)


@pytest.mark.parametrize("in_shape", [(1, 28, 28), (3, 9, 14)], ids=str)
@pytest.mark.parametrize("text", NONE)
def test_strength_zero_changes_no_bit(text: str, in_shape: Shape) -> None:
    one = installed_catalog().build("augmentation", text)
    assert isinstance(one, Augmentation | Mixing)
    in_shape = shape_for(text, in_shape)
    unchanged = result(Same(), in_shape)["images"]
    for epoch in EPOCHS:
        found = result(one, in_shape, epoch=epoch)
        np.testing.assert_array_equal(found["images"], unchanged)
        if isinstance(one, Mixing):
            np.testing.assert_array_equal(found["targets"], np.eye(3)[ALL % 3])


def test_every_augmentation_with_a_strength_has_an_example_without() -> None:
    assert {text.partition("(")[0] for text in NONE} == set(EXAMPLES)


@pytest.mark.parametrize("text", [texts[-1] for texts in EXAMPLES.values()])
def test_more_strength_changes_something(text: str) -> None:
    one = installed_catalog().build("augmentation", text)
    assert isinstance(one, Augmentation | Mixing)
    in_shape = shape_for(text, (1, 28, 28))
    assert (result(one, in_shape)["images"] != result(Same(), in_shape)["images"]).any()


class Same(Augmentation):
    def apply(self, x, draws):  # type: ignore[no-untyped-def]  # as many write it
        return x


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Flip(p=1.5)", "p must be a number from 0 to 1, got 1.5"),
        ("Shift(-1)", "by must be a whole number, 0 or above, got -1"),
        ("Shift(1.5)", "by must be a whole number, 0 or above, got 1.5"),
        ('Shift(1, fill="black")', "fill must be a finite number, got 'black'"),
        ("PadCrop(-1)", "padding must be a whole number, 0 or above, got -1"),
        ("Rotate(-10)", "degrees must be a number from 0 to 180, got -10"),
        ("Affine(translate=3)", "translate must be a number with 0 <= translate < 1, got 3"),
        ("Affine(shear=90)", "shear must be a number with 0 <= shear < 90, got 90"),
        ("Affine(scale=1.2)", "scale must be a pair of numbers, such as (0.5, 1.5), the smaller one first, got 1.2"),
        (
            "Affine(scale=(1.2, 0.8))",
            "scale must be a pair of numbers, such as (0.5, 1.5), the smaller one first, got ",
        ),
        ("Affine(scale=(0, 1))", "scale must be a pair of numbers from 0.01 to 100, got (0, 1)"),
        ("Affine(scale=(1, 101))", "scale must be a pair of numbers from 0.01 to 100, got (1, 101)"),
        ("Rotate(1, fill=1e39)", "fill must be a finite number, got 1e+39"),
        ('Affine(scale=("a", 1))', "scale[0] must be a number, 0 or above, got 'a'"),
        ("Brightness(1)", "strength must be a number with 0 <= strength < 1, got 1"),
        ("Contrast(-0.1)", "strength must be a number with 0 <= strength < 1, got -0.1"),
        ("RotateColors(200)", "degrees must be a number from 0 to 180, got 200"),
        ("Cutout(-2)", "size must be a whole number, 0 or above, got -2"),
        ("Erase(scale=(0.1, 1.1))", "scale must be a pair of numbers from 0 to 1, shares of the image, got (0.1, 1.1)"),
        ("Erase(ratio=(0, 1))", "ratio must be a pair of numbers above 0, got (0, 1)"),
        ("Mixup(0)", "alpha must be a number above 0, got 0"),
        ("CutMix(p=True)", "p must be a number from 0 to 1, got True"),
        ("Choose()", "Choose expects augmentations, such as Choose(Shift(2), Rotate(10)), got none"),
        ("Choose(Flip(), count=-1)", "count must be a whole number, 0 or above, got -1"),
        (
            "Choose(Flip(), Mixup())",
            "Choose expects augmentations of single images, such as Choose(Shift(2), Rotate(10)), got Mixup(): put "
            "augmentations that mix two samples next to it in the list",
        ),
        ("Choose(3)", "Choose expects augmentations of single images, such as Choose(Shift(2), Rotate(10)), got 3"),
    ],
)
def test_wrong_arguments_are_explained(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_catalog().build("augmentation", text)
    assert message in str(caught.value)
