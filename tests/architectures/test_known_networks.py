"""Known networks have the sizes that their papers say, and work as any other network does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import numpy as np
import pytest

import cnnkit
from cnnkit import Sequential, export_onnx, load_recipe, validate_onnx
from cnnkit.architectures import ARCHITECTURES
from cnnkit.components import Architecture, installed_catalog
from cnnkit.errors import CnnkitError
from cnnkit.training.recipe import recipe_names
from cnnkit.types import Published
from docs.architectures import PAGE, TABLE, counted, table

SMALL = {"ResNet": "ResNet(20)", "UNet": "UNet(2)"}
"""Configurations of those that have no default, or another end than ten scores."""
PUBLISHED = [published for one in ARCHITECTURES for published in one.published]
PRODUCTS_BESIDE = {"LeNet5(padding=0)": "the paper counts connections, and its second convolution has fewer"}
"""Whose products are not compared, and why."""
PARAMETERS_BESIDE = {
    "EfficientNetB0(1000, stride=2)": "",
    "MobileNetV3Small(1000, stride=2)": "",
}
RECIPES = [
    name
    for name in recipe_names()
    if "architecture" in (Path(cnnkit.__file__).parent / "recipes" / f"{name}.toml").read_text("utf-8")
]


def small(architecture: type[Architecture]) -> Architecture:
    expression = SMALL.get(architecture.__name__, f"{architecture.__name__}()")
    return cast(Architecture, installed_catalog().build("architecture", expression))


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: one.expression)
def test_counts_are_those_of_the_paper(published: Published) -> None:
    parameters, products = counted(published.expression, published.input_shape)
    if published.parameters is not None:
        assert parameters == pytest.approx(published.parameters, rel=0.06)
    if published.products is not None and published.expression not in PRODUCTS_BESIDE:
        assert products == pytest.approx(published.products, rel=0.06)


def test_the_page_has_the_counts() -> None:
    found = TABLE.search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[0] == table(), "run python docs/architectures.py"


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.__name__)
def test_small_images_go_through_and_the_file_equals_the_model(
    architecture: type[Architecture], tmp_path: Path
) -> None:
    built = small(architecture)
    model = Sequential(built.layers(), (1, 28, 28), seed=1)
    x = np.random.default_rng(0).normal(size=(3, 1, 28, 28)).astype(np.float32)
    y = model.outputs(x)
    assert y.shape[0] == 3
    assert np.isfinite(y).all()
    export_onnx(model, tmp_path / "model.onnx")
    assert validate_onnx(tmp_path / "model.onnx", model, x).ok


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.__name__)
def test_its_expression_gives_the_same_layers_each_time(architecture: type[Architecture]) -> None:
    built = small(architecture)
    again = cast(Architecture, installed_catalog().build("architecture", repr(built)))
    assert again == built
    first, second = built.layers(), again.layers()
    assert first == second
    assert not set(map(id, first)) & set(map(id, second))
    assert re.search(r"Source: .*\d{4}", architecture.__doc__ or "", re.DOTALL)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_of_a_known_network_has_its_layers(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.model.architecture is None
    assert len(recipe.model.expressions) > 5
    assert recipe.model.expressions[-1] == "Dense(10)" or name == "mnist-squeezenet"


def test_another_architecture_replaces_the_layers() -> None:
    recipe = load_recipe("digits", {"model.architecture": "ResNet(8, width=4)"})
    assert recipe.model.expressions[0] == "Conv2D(4, 3, padding=1, bias=False)"
    assert "architecture" not in recipe.to_toml()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ('architecture = "ResNet(20)"\nlayers = ["Dense(10)"]', "remove one of them"),
        ('architecture = "ResNet(21)"', "depth must be 6 n + 2"),
        ('architecture = "ResNot(20)"', "there is no architecture named 'ResNot'"),
        ("architecture = 20", "a known network, such as"),
    ],
)
def test_a_wrong_architecture_is_refused(model: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f'[model]\nname = "wrong"\n{model}\n[data]\ndataset = "Digits()"\n[train]\n', "utf-8")
    with pytest.raises(CnnkitError, match=re.escape(said)):
        load_recipe(path)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("ResNet(120002)", "depth must be 6 n + 2, from 8 to 1,202"),
        ("WideResNet(160000)", "depth must be 6 n + 4, from 10 to 1,202"),
        ("DenseNet(30001)", "depth must be 3 n + 4, from 7 to 1,202"),
        ("UNet(1, 1, 100000)", "depth must be a whole number from 1 to 12"),
        ("VGG(10, (1000000000000,))", "blocks must"),
        ("VGG(10, (700, 700))", "blocks must add up to 1,202 at most"),
        ("ConvNeXt(10, (2000,), (32,))", "depths must add up to 1,202 at most"),
        ("ConvNeXt(10, (2, 2), (32,))", "widths must be a tuple with a number for each stage of depths"),
        ("LeNet5(padding=1.9)", "padding must be a whole number, 0 or above, got 1.9"),
    ],
)
def test_what_is_too_deep_is_refused_before_a_layer_is_made(expression: str, said: str) -> None:
    with pytest.raises(CnnkitError, match=re.escape(said)):
        installed_catalog().build("architecture", expression)
