"""Plans: from recipes, codes and grids to configurations; everything wrong is found before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.comparison.comparison_plan import ComparisonPlan, Datasets, make_plan
from cnnkit.errors import ConfigError, RecipeError, RegistryError
from cnnkit.registry.references import is_name
from cnnkit.training.recipe import Recipe, load_recipe

TINY = """\
[model]
name = "tiny"
layers = ["Flatten()", "Dense(10)"]
[data]
dataset = "Digits()"
[train]
optimizer = "SGD(0.1)"
epochs = 1
batch_size = 256
"""
COMPARE = """
[compare]
codes = ["c4p", "c2"]
grid = ["train.optimizer=SGD(0.1),Adam(0.01)"]
seeds = [5, 7]
"""


def plan(*sources: Any, **options: Any) -> ComparisonPlan:
    return make_plan(sources, Datasets(None), **options)


def names(made: ComparisonPlan) -> list[str]:
    return [configuration.name for configuration in made.configurations]


def tiny(more: str = "") -> Recipe:
    return Recipe.from_toml(TINY + more, "tiny.toml")


def test_codes_take_the_place_of_the_layers_of_their_base() -> None:
    made = plan("c4p", "pc2", base="digits", overrides={"epochs": 2})
    assert names(made) == ["c4p", "pc2"]
    recipe = made.configurations[0].recipe
    assert recipe.model.layers == ("Conv2D(4, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)")
    assert recipe.model.name == "digits-c4p"
    assert recipe.train == load_recipe("digits", {"epochs": 2}).train
    assert (made.name, made.seeds, made.register) == ("digits", (0, 1, 2), "best")


def test_a_recipe_is_compared_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    made = plan("digits", tmp_path / "tiny.toml", seeds=1)
    assert [configuration.recipe for configuration in made.configurations] == [
        load_recipe("digits"),
        tiny().override({"data.validation": 0.1}),
    ]
    assert (names(made), made.seeds) == (["digits", "tiny"], (0,))
    assert names(plan(str(tmp_path / "tiny.toml"), "c4", base=None, overrides=["data.dataset=Digits()"])) == [
        "tiny",
        "c4",
    ]


def test_a_recipe_may_carry_its_comparison() -> None:
    made = plan(tiny(COMPARE))
    assert names(made) == [
        "c4p optimizer=SGD(0.1)",
        "c4p optimizer=Adam(0.01)",
        "c2 optimizer=SGD(0.1)",
        "c2 optimizer=Adam(0.01)",
    ]
    assert made.seeds == (5, 7)
    assert {configuration.recipe.model.name for configuration in made.configurations} == {"tiny-c4p", "tiny-c2"}
    assert all(configuration.recipe.compare is None for configuration in made.configurations)
    given = plan(tiny(COMPARE), grid={"optimizer": ["SGD(0.5)"], "epochs": [2]}, seeds=[3])
    assert names(given) == ["c4p optimizer=SGD(0.5) epochs=2", "c2 optimizer=SGD(0.5) epochs=2"]
    assert given.seeds == (3,)


def test_codes_leave_the_comparison_of_their_base_alone() -> None:
    made = plan("p", base=tiny(COMPARE))
    assert (names(made), made.seeds) == (["p"], (0, 1, 2))


def test_the_shipped_comparison(tmp_path: Path) -> None:
    recipe = load_recipe("mnist-configs")
    assert recipe.compare is not None
    x, y = np.zeros((20, 1, 28, 28), np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    made = plan(overrides={"data.dataset": f'Arrays("{tmp_path / "mine.npz"}", test=0.5)'})
    assert names(made) == list(recipe.compare.codes)
    assert {"c16pc16", "c8pc16", "c8pc8p", "c16p", "c8pc8pc8p"} <= set(names(made))
    assert made.configurations[0].recipe.model.layers == recipe.model.layers  # what `cnnkit train` trains


def test_a_grid_without_codes_is_over_the_recipe() -> None:
    made = plan("digits", grid=["train.batch_size=32,64", "loss=CrossEntropy(),MSE()"])
    assert len(made.configurations) == 4
    assert names(made)[1] == "digits batch_size=32 loss=MSE()"
    assert made.configurations[2].recipe.train.batch_size == 64
    assert {configuration.recipe.model.name for configuration in made.configurations} == {"digits"}


def test_a_grid_over_the_learning_rate_names_it() -> None:
    made = plan(tiny(), grid=["lr=0.1,0.5", "epochs=1,2"])
    assert names(made) == [f"tiny lr={lr} epochs={epochs}" for lr in (0.1, 0.5) for epochs in (1, 2)]
    last = made.configurations[3].recipe.train
    assert (last.optimizer, last.epochs) == ("SGD(lr=0.5)", 2)
    adam = plan(tiny(), grid={"train.lr": [0.001, 0.01]}, overrides={"train.optimizer": "Adam(0.01)"})
    assert names(adam) == ["tiny lr=0.001", "tiny lr=0.01"]
    assert adam.configurations[0].recipe.train.optimizer == "Adam()"


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (["mnist-config"], {}, "cannot read the code 'mnist-config' at position 1: .*; did you mean the recipe mnist"),
        (["zz"], {}, "cannot read the code 'zz' at position 1: .*; the recipes are .*digits, .* ends in .toml"),
        (["digits", "digits"], {}, "two configurations are named digits: remove one, or give it another model.n"),
        (["digits"], {"base": "digits"}, "--base applies to codes, but recipes were given: remove"),
        (["c4"], {"base": "digits", "grid": {"model.layers": [["Flatten()"]]}}, "codes and the grid both set model.l"),
        (["digits"], {"seeds": 0}, "seeds: expected a number of seeds, 1 to 1,000, or a list of .* found 0"),
        (["digits"], {"seeds": [1, 1]}, r"seeds: expected .*, found \[1, 1\]"),
        (["digits"], {"seeds": [-1]}, r"seeds: expected .*, found \[-1\]"),
        (["digits"], {"seeds": True}, "seeds: expected .*, found True"),
        (["digits"], {"seeds": 10**30}, "seeds: expected .*, found 1000"),
        (["digits"], {"register": "some"}, "register must be one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(sources: list[str], options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(*sources, **options)


def test_recipes_with_other_seeds_need_a_word() -> None:
    two = tiny(COMPARE).override({"model.name": "two", "compare.codes": ["p"], "compare.seeds": [1]})
    with pytest.raises(ConfigError, match=r"the recipes have different seeds in \[compare\]: choose them with --seeds"):
        plan(tiny(COMPARE), two)
    assert plan(tiny(COMPARE), two, seeds=1).seeds == (0,)


def test_a_name_that_gets_too_long_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.name: expected 1 to 64 lower-case letters"):
        plan(60 * "p", base=tiny())
    assert is_name(plan(59 * "p", base=tiny()).configurations[0].recipe.model.name)


def test_data_without_classes_have_no_codes(tmp_path: Path) -> None:
    np.savez(tmp_path / "values.npz", x=np.zeros((20, 1, 8, 8), np.float32), y=np.zeros((20, 2), np.float32))
    recipe = tiny().override({"data.dataset": f'Arrays("{tmp_path / "values.npz"}")'})
    with pytest.raises(ConfigError, match=r"the code 'p' ends with one output for each class, but .* has no classes"):
        plan("p", base=recipe)


def test_classes_without_names_are_counted(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", x=np.zeros((20, 1, 8, 8), np.float32), y=np.arange(20) % 7)
    recipe = tiny().override({"data.dataset": f'Arrays("{tmp_path / "plain.npz"}")'})
    assert plan("p", base=recipe).configurations[0].recipe.model.expressions[-1] == "Dense(7)"


def test_a_plan_comes_back_from_its_record() -> None:
    made = plan(tiny(COMPARE), register="all")
    assert ComparisonPlan.from_record(made.to_record(), "here") == made


@pytest.mark.parametrize(
    "change",
    [
        {"configurations": 3},
        {"configurations": [{}]},
        {"seeds": "x"},
        {"register": "x"},
        {"register": []},
        {"data": {}},
        {"data": 3},
        {"ranked_on": "training"},
        {"validation": None},
    ],
)
def test_a_record_that_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RegistryError, match="the plan of here cannot be used"):
        ComparisonPlan.from_record(plan("digits").to_record() | change, "here")
