"""A recipe for data alone: it fits the data, trains, and is what a user would have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit import train
from cnnkit.errors import ConfigError, DataError, RecipeError
from cnnkit.training.recipe import Recipe
from cnnkit.training.recipe_source import find_recipe
from cnnkit.types import Array

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own cache folder for each test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def arrays(path: Path, x: Array, y: Array) -> Path:
    np.savez(path, x=x, y=y)
    return path


def photos(path: Path, *images: Array) -> Path:
    for label in ("cat", "dog"):
        (path / label).mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image + (label == "dog")).save(path / label / f"{number}.png")
    return path


def grey(height: int, width: int) -> Array:
    return RNG.integers(0, 200, (height, width), dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([grey(20, 30) for _ in range(3)], "size=(20, 30), channels=1, "),
        ([grey(20, 30), grey(30, 20)], "size=(96, 96), channels=1, "),
        ([grey(200, 200), grey(200, 200)], "size=(96, 96), channels=1, "),
        ([RNG.integers(0, 200, (64, 64, 3), dtype=np.uint8)] * 2, ""),
    ],
)
def test_images_keep_their_size_and_colours_if_all_have_the_same(
    tmp_path: Path, images: list[Array], expected: str
) -> None:
    images = [image + np.uint8(number) for number, image in enumerate(images)]
    recipe = find_recipe(photos(tmp_path / "photos", *images))
    assert recipe.data.dataset == f'ImageFolder("{tmp_path / "photos"}", {expected}on_error="skip")'


def test_larger_images_are_halved_at_once(tmp_path: Path) -> None:
    for size, stride in ((64, ""), (65, ", stride=2")):
        x = np.zeros((10, 1, size, size), np.uint8)
        layers = find_recipe(arrays(tmp_path / f"{size}.npz", x, np.arange(10) % 2)).model.expressions
        assert (", stride=2" in layers[0]) == bool(stride)
        pooled = [layer for layer in layers if layer.startswith("AvgPool2D")]
        assert pooled == ["AvgPool2D((4, 4))"]


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 64, 64), (3, 5, 90), (1, 1, 1), (2, 96, 96), (6,)])
def test_networks_fit_images_and_vectors_of_any_size(tmp_path: Path, shape: tuple[int, ...]) -> None:
    x = RNG.normal(size=(30, *shape)).astype(np.float32)
    recipe = find_recipe(arrays(tmp_path / "Some Data.npz", x, np.arange(30) % 3))
    assert recipe.model.name == "some-data"
    run = train(recipe.override({"train.epochs": 1}))
    assert run.model.output_shape == (3,)
    assert "validation_accuracy" in run.history


@pytest.mark.parametrize(
    ("y", "loss", "last"),
    [
        (np.arange(30) % 4, "CrossEntropy()", "Dense(4)"),
        (np.array(["no", "yes"])[np.arange(30) % 2], "CrossEntropy()", "Dense(2)"),
        (np.eye(3, dtype=np.float32)[np.arange(30) % 3], "CrossEntropy()", "Dense(3)"),
        ((np.arange(90).reshape(30, 3) % 4 == 0).astype(np.int64), "BinaryCrossEntropy()", "Dense(3)"),
        (RNG.normal(size=(30, 2)).astype(np.float32), "MSE()", "Dense(2)"),
        (RNG.normal(size=30).astype(np.float32), "MSE()", "Dense(1)"),
    ],
)
def test_the_targets_say_what_the_network_ends_in(tmp_path: Path, y: Array, loss: str, last: str) -> None:
    recipe = find_recipe(arrays(tmp_path / "data.npz", RNG.normal(size=(30, 5)).astype(np.float32), y))
    assert (recipe.train.loss, recipe.model.expressions[-1]) == (loss, last)
    train(recipe.override({"train.epochs": 1}))


def colourful(path: Path, *, tells: bool) -> Path:
    """Bright squares of any colour on grey, or of one colour for each class."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = np.full((90, 3, 16, 16), 100.0) + rng.normal(0, 5, (90, 3, 16, 16))
    x[np.arange(90), y if tells else rng.integers(0, 3, 90), 4:12, 4:12] += 100
    return arrays(path, x.astype(np.float32), y)


def test_colours_change_much_unless_they_tell_classes(tmp_path: Path) -> None:
    recipe = find_recipe(colourful(tmp_path / "any.npz", tells=False))
    assert recipe.train.augmentations == ("PadCrop(2)", "RotateColors(180)")
    recipe = find_recipe(colourful(tmp_path / "own.npz", tells=True))
    assert recipe.train.augmentations == ("PadCrop(2)", "RotateColors(15)")


def test_rare_classes_weigh_as_much_as_others(tmp_path: Path) -> None:
    x = RNG.normal(size=(40, 5)).astype(np.float32)
    assert find_recipe(arrays(tmp_path / "rare.npz", x, np.arange(40) // 30)).train.class_weight == "balanced"
    assert find_recipe(arrays(tmp_path / "less.npz", x, np.arange(40) // 28)).train.class_weight is None


def test_a_dataset_that_is_set_is_what_the_recipe_suits(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", *(RNG.integers(0, 200, (40, 40, 3), dtype=np.uint8) for _ in range(5)))
    assert "RotateColors" in find_recipe(folder).train.augmentations[-1]
    text = f'ImageFolder("{folder}", size=96, channels=1, on_error="skip")'
    recipe = find_recipe(folder, [f"data.dataset={text}", "epochs=2"])
    assert (recipe.data.dataset, recipe.model.name) == (text, "photos")
    assert (recipe.train.augmentations, recipe.train.epochs) == (("PadCrop(12)",), 2)
    with pytest.raises(RecipeError, match=r"data\.dataset"):
        find_recipe(folder, {"data.dataset": 3})


def test_targets_of_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected one target for each sample"):
        find_recipe(arrays(tmp_path / "data.npz", np.zeros((9, 1, 4, 4), np.float32), np.zeros((9, 4, 4), np.int64)))


def test_a_table_names_its_targets(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("a,Class\n" + "".join(f"{n},{n % 2}\n" for n in range(30)))
    assert find_recipe(table).data.dataset == f'Table("{table}", "Class")'
    table.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"""found 0: give the table .*, as in 'Table\("table.csv", "b"\)'"""):
        find_recipe(table)


def test_a_written_recipe_is_the_same(tmp_path: Path) -> None:
    recipe = find_recipe(arrays(tmp_path / "data.npz", RNG.normal(size=(30, 5)), np.arange(30) % 2))
    assert Recipe.from_toml(recipe.to_toml(), "text") == recipe
    assert f"dataset = 'Arrays(\"{tmp_path / 'data.npz'}\")'" in recipe.to_toml()


def test_shipped_recipes_and_files_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "digits", grey(8, 8))
    assert find_recipe("digits").model.name == "digits"
    assert "Digits()" in find_recipe("digits").data.dataset
    assert "ImageFolder" in find_recipe("digits/").data.dataset
    assert "ImageFolder" in find_recipe("./digits", ["train.epochs=3"]).data.dataset


def test_what_is_no_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        find_recipe(tmp_path / "nothing.csv")


def test_a_dataset_stands_where_its_path_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("My Boxes.csv").write_text("a,kind\n" + "".join(f"{n},{n % 2}\n" for n in range(30)))
    recipe = find_recipe('Table("My Boxes.csv", "kind")', ["train.epochs=3"])
    assert (recipe.model.name, recipe.data.dataset) == ("my-boxes", 'Table("My Boxes.csv", "kind")')
    assert recipe.train.epochs == 3
    photos(Path("photos"), grey(8, 8), grey(8, 8))
    of_path, of_dataset = find_recipe("photos"), find_recipe('ImageFolder("photos", 8, 1, on_error="skip")')
    assert of_dataset.to_dict() == of_path.to_dict()
    assert find_recipe("Digits()").model.name == "digits"
    assert train('ImageFolder("photos", 8, 1)', epochs=1).history["loss"]


def test_a_path_that_reads_like_an_expression_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos(Path("photos(2)"), grey(8, 8), grey(8, 8))
    assert find_recipe("photos(2)").model.name == "photos-2"


def test_what_is_neither_recipe_nor_data_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros(3))
    for source in ("a.npy", "./a.npy"):
        with pytest.raises(RecipeError, match=r"a\.npy is nothing to train on, .*: it has no targets; "):
            find_recipe(source)
