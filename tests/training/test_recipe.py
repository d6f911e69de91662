"""Recipes: reading, overriding, writing, and the text of every error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cnnkit
from cnnkit.arguments import LEARNING_RATE
from cnnkit.components.expressions import parse
from cnnkit.errors import RecipeError
from cnnkit.losses import CrossEntropy
from cnnkit.optimizers import SGD
from cnnkit.training.recipe import Recipe, load_recipe, recipe_descriptions, recipe_names
from cnnkit.training.recipe_tables import CompareSection
from cnnkit.training_options import OPTIONS

SHIPPED = sorted((Path(cnnkit.__file__).parent / "recipes").glob("*.toml"))
README = Path(__file__).parents[2] / "README.md"

SMALL = """
[model]
name = "small"
layers = ['Conv2D(8, 3, padding="same")', "Flatten()", "Dense(10)"]
[data]
dataset = "Digits()"
[train]
optimizer = "Adam(0.001)"
epochs = 2
batch_size = 32
"""


def small() -> Recipe:
    return Recipe.from_toml(SMALL, "small.toml")


def message(text: str) -> str:
    """What reading this TOML answers."""
    with pytest.raises(RecipeError) as error:
        Recipe.from_toml(text, "my.toml")
    return str(error.value)


def problems(text: str) -> list[str]:
    """The lines of the answer, one for each problem."""
    first, *lines = message(text).split("\n  ")
    assert first == "the recipe in my.toml cannot be used:"
    return lines


def test_values_and_defaults() -> None:
    recipe = small()
    assert recipe.model.name == "small"
    assert recipe.model.layers == ('Conv2D(8, 3, padding="same")', "Flatten()", "Dense(10)")
    assert (recipe.data.dataset, recipe.data.validation) == ("Digits()", 0.0)
    assert (
        dict(recipe.train).items()
        >= {
            "optimizer": "Adam(0.001)",
            "loss": "CrossEntropy()",
            "gradient": None,
            "schedule": "Constant()",
            "metrics": ("Accuracy()",),
            "callbacks": (),
            "augmentations": (),
            "record": (),
            "epochs": 2,
            "batch_size": 32,
            "seed": 0,
            "clip_norm": None,
            "rollback": None,
            "average": None,
            "keep": "last",
        }.items()
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_by_name_and_by_path(path: Path) -> None:
    recipe = load_recipe(path.stem)
    assert recipe == load_recipe(path) == load_recipe(str(path))
    assert recipe.model.name == path.stem
    assert path.read_text("utf-8").startswith("# ")


def test_recipes_ship() -> None:
    assert recipe_names() == sorted(path.stem for path in SHIPPED)
    assert {"digits", "fashion-compact", "mnist-compact"} <= set(recipe_names())


def test_the_description_of_a_recipe_is_the_comment_at_its_beginning() -> None:
    about = recipe_descriptions()
    assert list(about) == recipe_names()
    assert about["mnist-lenet5"] == "MNIST, two epochs: LeNet-5 (LeCun et al. 1998)."
    assert about["signals"].endswith("and one-dimensional convolutions; done in seconds.")


def test_the_readme_names_every_recipe() -> None:
    section = README.read_text("utf-8").partition("## Recipes")[2].partition("You can write your own")[0]
    named = set(re.findall(r"`((?:digits|mnist|fashion|cifar|signals)[a-z0-9-]*)`", section))
    assert named == set(recipe_names())


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, "utf-8")
    assert load_recipe(path, {"epochs": 5}) == small().override({"epochs": 5})


def test_a_comparison_stands_in_a_table_of_its_own() -> None:
    recipe = Recipe.from_toml(f'{SMALL}[compare]\ncodes = ["c4p"]\ngrid = ["epochs=1,2"]\nseeds = 2\n', "small.toml")
    assert recipe.compare is not None
    assert (recipe.compare.codes, recipe.compare.grid, recipe.compare.seeds) == (("c4p",), ("epochs=1,2",), (0, 1))
    assert recipe.override({"compare.seeds": [3, 5]}).compare == recipe.compare.model_copy(update={"seeds": (3, 5)})
    assert recipe.override({"epochs": 9}).compare == recipe.compare
    assert Recipe.from_toml(recipe.to_toml(), "memory") == recipe
    assert recipe.to_dict() == small().to_dict()  # what a training needs, and what is kept with its model
    assert small().override({"compare.codes": ["p"]}).compare == CompareSection(codes=("p",))


def test_a_recipe_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        small().train.epochs = 3  # type: ignore[attr-defined]  # wrong on purpose


# Overrides


@pytest.mark.parametrize(
    ("overrides", "changed"),
    [
        ({"epochs": 3, "data.validation": 0.1}, {"train.epochs": 3, "data.validation": 0.1}),
        (["train.epochs=3", " seed = 7 "], {"train.epochs": 3, "train.seed": 7}),
        (["train.optimizer=SGD(0.1, momentum=0.9)"], {"train.optimizer": "SGD(0.1, momentum=0.9)"}),
        (['optimizer="SGD(0.1)"'], {"train.optimizer": "SGD(0.1)"}),
        (['model.layers=["Flatten()", "Dense(2)"]'], {"model.layers": ("Flatten()", "Dense(2)")}),
        (['data.dataset=Folder("a=b")'], {"data.dataset": 'Folder("a=b")'}),
        (["keep=best", "clip_norm=1"], {"train.keep": "best", "train.clip_norm": 1.0}),
        ({"optimizer": SGD(0.5), "loss": CrossEntropy(0.1)}, {
            "train.optimizer": "SGD(lr=0.5)", "train.loss": "CrossEntropy(label_smoothing=0.1)"
        }),
    ],
)  # fmt: skip
def test_overrides(overrides: Mapping[str, Any] | list[str], changed: dict[str, Any]) -> None:
    before, after = small(), small().override(overrides)
    for title in ("model", "data", "train"):
        for name, value in dict(getattr(after, title)).items():
            assert value == changed.get(f"{title}.{name}", getattr(getattr(before, title), name))


def test_none_takes_an_option_back() -> None:
    assert small().override({"clip_norm": 1.0}).override({"clip_norm": None}) == small()


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ({"epoch": 3}, "[train] has no key 'epoch'; did you mean epochs?"),
        ({"train.lr": 0.1}, f"[train] has no key 'lr': {LEARNING_RATE}"),
        ({"name": "x"}, "[train] has no key 'name'; did you mean model.name?"),
        ({"trian.epochs": 3}, "there is no table [trian]; did you mean train?"),
        ({"train.epochs.x": 3}, "[train] has no key 'epochs.x'; did you mean epochs?"),
        (["train.epochs=many"], "train.epochs: expected a whole number, 1 or above, found 'many'"),
        (["train.epochs="], "train.epochs: expected a whole number, 1 or above, found ''"),
        (["train.epochs=3\nseed=1"], "train.epochs: expected a whole number, 1 or above, found '3\\nseed=1'"),
        ({"model.layers": "Dense(3)"},
         "model.layers: expected a list of 1 to 10,000 layers, such as "
         "[\"Flatten()\", \"Dense(10)\"], found 'Dense(3)'"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_named(overrides: Mapping[str, Any] | list[str], problem: str) -> None:
    with pytest.raises(RecipeError) as error:
        small().override(overrides)
    key = next(iter(overrides)).partition("=")[0]
    assert str(error.value) == f"the recipe in 'small' with the overrides {key} cannot be used:\n  {problem}"


def test_an_override_without_a_value_is_refused() -> None:
    with pytest.raises(RecipeError) as error:
        small().override(["train.epochs"])
    assert str(error.value) == "an override has the form key=value, such as \"train.epochs=3\", got 'train.epochs'"


# Writing


def test_the_dict_has_everything_but_options_that_are_none() -> None:
    sections = small().to_dict()
    assert sections["model"] == {"name": "small", "layers": ['Conv2D(8, 3, padding="same")', "Flatten()", "Dense(10)"]}
    assert sections["data"] == {"dataset": "Digits()", "fraction": 1.0, "validation": 0.0}
    assert "clip_norm" not in sections["train"]
    assert Recipe.from_dict(sections, "memory") == small()


@pytest.mark.parametrize("width", [40, 80])
def test_the_toml_is_as_wide_as_it_should_be(width: int) -> None:
    long = f"Choose({', '.join('Shift(2)' for _ in range(40))})"
    several = 'Choose(\n        Shift(2),\n        Folder("""a"""),\n    )'
    recipe = small().override({"augmentations": [long, several], "data.dataset": f'Arrays("{"a name " * 30}")'})
    text = recipe.to_toml(width)
    assert max(map(len, text.split("\n"))) <= width
    assert "\n        Shift(2),\n" in text
    assert Recipe.from_toml(text, "memory") == recipe


def test_the_toml_is_short_to_read() -> None:
    assert small().override({"metrics": [], "clip_norm": 5}).to_toml() == (
        '[model]\nname = "small"\nlayers = [\n    \'Conv2D(8, 3, padding="same")\',\n    "Flatten()",\n'
        '    "Dense(10)",\n]\n\n[data]\ndataset = "Digits()"\nfraction = 1.0\nvalidation = 0.0\n\n[train]\n'
        'optimizer = "Adam(0.001)"\nloss = "CrossEntropy()"\nschedule = "Constant()"\nmetrics = []\ncallbacks = []\n'
        "augmentations = []\nrecord = []\n"
        'epochs = 2\nbatch_size = 32\nseed = 0\nclip_norm = 5.0\nkeep = "last"\n'
    )


@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r")),
    lines=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\\'"))),
    width=st.integers(1, 120),
    clip_norm=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    seed=st.integers(0, 2**63 - 1),
)
def test_toml_reads_back_to_an_equal_recipe(
    text: str, lines: list[str], width: int, clip_norm: float, seed: int
) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    recipe = small().override({"data.dataset": f'Folder("{quoted}\x7f")', "clip_norm": clip_norm, "seed": seed})
    shifts = "Choose(\n" + ",\n".join(f"  One('{line}')" for line in lines) + "\n)"
    recipe = recipe.override({"augmentations": [shifts, "Shift(1)"]})
    again = Recipe.from_toml(recipe.to_toml(width), "memory")
    assert again == recipe
    assert parse(again.data.dataset).args == (f"{text}\x7f",)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_read_back_to_equal_recipes(path: Path) -> None:
    assert Recipe.from_toml(load_recipe(path).to_toml(), "memory") == load_recipe(path)


# Errors


def test_a_syntax_error_has_line_and_column() -> None:
    expected = "the recipe in my.toml is not valid TOML: Invalid value (at line 2, column 7)"
    assert message("[model]\nname =\n") == expected


def test_values_that_nest_too_deeply_are_refused() -> None:
    assert (
        message("a = " + 100_000 * "[")
        == "the recipe in my.toml is not valid TOML: expected values that nest at most 32 deep, it has deeper ones"
    )


def test_an_empty_recipe_lists_the_tables() -> None:
    assert problems("") == [
        "model: expected the table [model] with the keys name, layers, architecture, node, start, found none",
        "data: expected the table [data] with the keys dataset, fraction, validation, found none",
        f"train: expected the table [train] with the keys {', '.join(OPTIONS)}, found none",
    ]


def test_several_problems_are_listed_together() -> None:
    text = SMALL.replace("epochs = 2", "epoch = 2").replace("32", '"big"').replace("dataset", "datset")
    assert problems(text) == [
        'data.dataset: expected a dataset, such as "MNIST()", found none',
        "[data] has no key 'datset'; did you mean dataset?",
        "train.epochs: expected a whole number, 1 or above, found none",
        "train.batch_size: expected a whole number of samples, 1 or above, found 'big'",
        "[train] has no key 'epoch'; did you mean epochs?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("layers = [", "layers = [3, ", "model.layers[0]: expected an expression as text, found 3"),
        ('"Flatten()"', '"Flatten("',
         "model.layers[1]: cannot read 'Flatten(' at column 8: '(' was never closed; "
         'expected the form "Conv2D(8, 3)"'),
        ("Adam(0.001)", "__import__('os').getcwd()",
         "train.optimizer: \"__import__('os').getcwd\" is not allowed in \"__import__('os').getcwd()\": "
         "arguments are numbers, strings, True, False, None, lists, tuples, dicts, or other components"),
        ("[train]", "validation = 0.6\n[train]",
         "data.validation: expected the share of the training samples to validate on, from 0.0 to 0.5, found 0.6"),
        ("[train]", "validation = nan\n[train]",
         "data.validation: expected the share of the training samples to validate on, from 0.0 to 0.5, found nan"),
        ("epochs = 2", "epochs = 2.0", "train.epochs: expected a whole number, 1 or above, found 2.0"),
        ("epochs = 2", "epochs = true", "train.epochs: expected a whole number, 1 or above, found True"),
        ("epochs = 2", "epochs = 2\nseed = -1", "train.seed: expected a whole number from 0 to 2^63 - 1, found -1"),
        ("epochs = 2", "epochs = 2\nclip_norm = inf",
         "train.clip_norm: expected the largest norm of all gradients together, a number above 0, found inf"),
        ("epochs = 2", 'epochs = 2\nkeep = "first"',
         "train.keep: expected \"last\" or \"best\": the epoch whose weights are kept, found 'first'"),
        ("epochs = 2", "epochs = 2\nworkers = 4",
         f"[train] has no key 'workers'; expected one of {', '.join(OPTIONS)}"),
         ("[train]", "[compare]\nseeds = 0\n[train]",
          "compare.seeds: expected a number of seeds, 1 to 1,000, or a list of different whole numbers from 0 to "
          "2^63 - 1, found 0"),
         ("[train]", "[compare]\nseeds = [1, 1]\n[train]",
          "compare.seeds: expected a number of seeds, 1 to 1,000, or a list of different whole numbers from 0 to "
          "2^63 - 1, found [1, 1]"),
         ("[train]", "[compare]\ncodes = [8]\n[train]", "compare.codes[0]: expected text, found 8"),
         ("[train]", "[compare]\ngrid = 3\n[train]",
          'compare.grid: expected a list of keys with their values, such as ["train.epochs=3,6"], found 3'),
         ("[train]", "[compare]\ncode = []\n[train]", "[compare] has no key 'code'; did you mean codes?"),
        ("[model]", "[mode]\n[model]", "there is no table [mode]; did you mean model?"),
        ("[model]", "[zzz]\n[model]", "there is no table [zzz]; expected one of model, data, train, compare"),
    ],
)  # fmt: skip
def test_each_problem_names_key_expected_and_found(old: str, new: str, problem: str) -> None:
    text = SMALL.replace(old, new)
    assert text != SMALL
    assert problems(text) == [problem]


@pytest.mark.parametrize("name", ["", "Small", "../small", "a/b", "a..b", ".a", "a b", "a\n", 65 * "a"])
def test_a_name_that_no_registry_takes_is_refused(name: str) -> None:
    with pytest.raises(RecipeError) as error:
        small().override({"model.name": name})
    assert str(error.value).endswith(
        "\n  model.name: expected 1 to 64 lower-case letters, digits, '.', '_' and '-', beginning with a letter or "
        f"digit and without '..', found {name!r}"
    )


@pytest.mark.parametrize("name", ["a", "0.1-x_y", "a.", "a-.b", 64 * "a"])
def test_a_name_that_a_registry_takes_is_taken(name: str) -> None:
    assert small().override({"model.name": name}).model.name == name


def test_a_long_value_is_shortened() -> None:
    (problem,) = problems(SMALL.replace("epochs = 2", f'epochs = "{1000 * "x"}"'))
    assert problem == f"train.epochs: expected a whole number, 1 or above, found '{75 * 'x'} ..."


def test_an_unknown_name_is_answered_with_the_close_ones() -> None:
    ending = "(give a recipe of yours by the path of its file, which ends in .toml)"
    names = ", ".join(recipe_names())
    with pytest.raises(RecipeError) as error:
        load_recipe("digi")
    assert (
        str(error.value) == f"no recipe named 'digi' ships with cnnkit, only {names} do; did you mean digits? {ending}"
    )
    with pytest.raises(RecipeError) as error:
        load_recipe("zzz")
    assert str(error.value) == f"no recipe named 'zzz' ships with cnnkit, only {names} do {ending}"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(tmp_path / "mine.toml")
    assert str(error.value) == f"cannot read the recipe {tmp_path / 'mine.toml'}: No such file or directory"
    with pytest.raises(RecipeError, match=r"; 'digits', without \.toml, ships with cnnkit$"):
        load_recipe(str(tmp_path / "digits.toml"))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"abc\xff")
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    assert str(error.value) == f"{path} is not a recipe: expected UTF-8 text, byte 3 is not"


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[model\n", "utf-8")
    with pytest.raises(RecipeError, match=r"^the recipe in .*mine\.toml is not valid TOML: .*line 1, column 7"):
        load_recipe(path)
