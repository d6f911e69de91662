"""The catalog: which class a name means, what is imported to find it, and what a wrong name or argument is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cnnkit.components import Catalog, Layer, Optimizer, Plugin, installed_catalog
from cnnkit.components.catalog import CALLED
from cnnkit.components.distribution_names import normalized
from cnnkit.components.expressions import Call
from cnnkit.errors import ComponentError, ConfigError, ExpressionError

MakePlugin = Callable[..., Plugin]


class Dense(Layer):
    """A layer."""

    def __init__(self, units: int, bias: bool = True) -> None:
        if not isinstance(units, int):
            raise ConfigError(f"units must be a whole number, got {units!r}")
        if units > 1000:
            raise ValueError("too many units")
        self.units, self.bias = units, bias


class Chain(Layer):
    """A layer of layers."""

    def __init__(self, *layers: Any, options: Any = None) -> None:
        self.layers, self.options = layers, options


def another_dense() -> type[Layer]:
    return type("Dense", (Layer,), {"__doc__": "Another layer of that name."})


def complaint(catalog: Catalog, expression: Any, error: type[Exception] = ComponentError) -> str:
    with pytest.raises(error) as caught:
        catalog.build("layer", expression)
    assert type(caught.value) is error
    return str(caught.value)


class TestWhatIsImported:
    def test_nothing_to_list_the_plugins(self, make_plugin: MakePlugin, imported: list[str]) -> None:
        catalog = Catalog([make_plugin("cnnkit", Dense), make_plugin("walsh", Chain)])
        assert [(p.distribution, p.version) for p in catalog.plugins] == [("cnnkit", "1.2"), ("walsh", "1.2")]
        assert imported == []

    def test_no_plugin_for_a_built_in_name(self, make_plugin: MakePlugin, imported: list[str]) -> None:
        catalog = Catalog([make_plugin("walsh", Chain), make_plugin("cnnkit", Dense)])
        assert catalog.find("layer", "Dense") is Dense
        assert imported == ["cnnkit"]

    def test_every_plugin_once_for_another_name(self, make_plugin: MakePlugin, imported: list[str]) -> None:
        catalog = Catalog([make_plugin("cnnkit", Dense), make_plugin("a", Chain), make_plugin("b")])
        assert catalog.find("layer", "Chain") is catalog.find("layer", "Chain") is Chain
        assert imported == ["cnnkit", "a", "b"]

    def test_only_the_distribution_that_is_named(self, make_plugin: MakePlugin, imported: list[str]) -> None:
        catalog = Catalog([make_plugin("cnnkit", Dense), make_plugin("a", Chain), make_plugin("b")])
        assert catalog.build("layer", "a:Chain()") == Chain()
        assert imported == ["a"]

    def test_a_name_is_looked_up_in_its_kind(self, make_plugin: MakePlugin) -> None:
        class Dense(Optimizer):
            """An optimizer that shares a layer's name."""

        catalog = Catalog([make_plugin("cnnkit", globals()["Dense"], hooks={"cnnkit_optimizers": lambda: [Dense]})])
        assert catalog.find("optimizer", "Dense") is Dense
        assert catalog.find("layer", "Dense") is not Dense


class TestCollisions:
    def test_built_in_components_keep_their_names(self, make_plugin: MakePlugin) -> None:
        theirs = another_dense()
        catalog = Catalog([make_plugin("a", theirs), make_plugin("cnnkit", Dense)])
        assert catalog.find("layer", "Dense") is Dense
        assert catalog.find("layer", "Dense", "a") is theirs
        assert catalog.find("layer", "Dense", "cnnkit") is Dense

    def test_two_plugins_with_one_name_are_an_error_when_it_is_used(self, make_plugin: MakePlugin) -> None:
        one, other = another_dense(), another_dense()
        catalog = Catalog([make_plugin("a", one, Chain), make_plugin("b", other)])
        assert catalog.find("layer", "Chain") is Chain
        assert catalog.names("layer") == ["Chain", "Dense"]
        assert complaint(catalog, "Dense()") == "Dense is provided by several plugins: write a:Dense or b:Dense"
        assert catalog.find("layer", "Dense", "b") is other

    def test_origin_tells_classes_of_one_name_apart(self, make_plugin: MakePlugin) -> None:
        one, other = another_dense(), another_dense()
        first, second = make_plugin("a", one), make_plugin("b", other)
        catalog = Catalog([first, second])
        assert catalog.origin(one) is None
        assert catalog.names("layer") == ["Dense"]
        assert catalog.origin(one) is first
        assert catalog.origin(other) is second
        assert catalog.origin(Dense) is None


class TestUnknownNames:
    def test_close_names_are_offered(self, make_plugin: MakePlugin) -> None:
        catalog = Catalog([make_plugin("cnnkit", Dense), make_plugin("a", Chain)])
        assert complaint(catalog, "dense(10)") == "there is no layer named 'dense'\n  did you mean Dense?"
        assert complaint(catalog, "Chan()") == "there is no layer named 'Chan'\n  did you mean Chain?"

    def test_what_other_libraries_call_it_is_known(self, make_plugin: MakePlugin) -> None:
        catalog = Catalog([make_plugin("cnnkit", Dense), make_plugin("a", Chain)])
        assert complaint(catalog, "Linear(10)") == "there is no layer named 'Linear'\n  did you mean Dense?"
        assert "did you mean" not in complaint(Catalog([make_plugin("a", Chain)]), "Linear(10)")
        for (kind, name), ours in CALLED.items():
            names = installed_catalog().names(kind)
            assert ours in names
            assert name not in names

    def test_what_is_of_another_kind_is_told(self) -> None:
        told = complaint(installed_catalog(), "ResNet(20)").splitlines()
        assert told[0] == "there is no layer named 'ResNet'"
        assert told[-1] == "  ResNet is an architecture, for model.architecture"

    def test_all_names_are_listed_if_none_is_close(self, make_plugin: MakePlugin) -> None:
        catalog = Catalog([make_plugin("cnnkit", Dense), make_plugin("a", Chain)])
        assert complaint(catalog, "Xyz()") == "there is no layer named 'Xyz'\n  the layer names are Chain, Dense"
        assert complaint(Catalog([]), "Xyz") == "there is no layer named 'Xyz'\n  the layer names are none"

    def test_the_distribution_that_brings_a_known_name_is_told(self, make_plugin: MakePlugin) -> None:
        assert complaint(Catalog([make_plugin("cnnkit", Chain)]), "HadamardDense(3)") == (
            "there is no layer named 'HadamardDense'\n"
            "  HadamardDense comes with cnnkit-walsh; from cnnkit's source, run: pip install ./plugins/cnnkit-walsh"
        )

    def test_a_distribution_that_is_missing_is_named(self, make_plugin: MakePlugin, imported: list[str]) -> None:
        assert complaint(Catalog([make_plugin("cnnkit", Dense)]), "cnnkit-x:Dense(3)") == (
            "the expression cnnkit-x:Dense names the distribution cnnkit-x, which is not installed: if you trust that "
            "distribution, run pip install cnnkit-x"
        )
        assert imported == []

    def test_a_name_that_the_distribution_does_not_bring(self, make_plugin: MakePlugin) -> None:
        catalog = Catalog([make_plugin("cnnkit", Dense), make_plugin("a", Chain)])
        assert complaint(catalog, "a:Dense(3)") == "there is no layer named 'Dense'\n  the layer names are Chain"


class TestBuilding:
    @pytest.fixture
    def catalog(self, make_plugin: MakePlugin) -> Catalog:
        return Catalog([make_plugin("cnnkit", Dense, Chain)])

    def test_nested_components(self, catalog: Catalog) -> None:
        built = catalog.build("layer", 'Chain(Dense(3), [Dense(4)], (Dense(5), 1), options={"head": Dense(6)})')
        assert built == Chain(Dense(3), [Dense(4)], (Dense(5), 1), options={"head": Dense(6)})
        assert isinstance(built, Chain)
        assert isinstance(built.options["head"], Dense)

    def test_calls_and_components_pass(self, catalog: Catalog) -> None:
        layer = Dense(3)
        assert catalog.build("layer", Call("Dense", (3,))) == layer
        assert catalog.build("layer", layer) is layer

    def test_a_component_of_another_kind_is_refused(self, catalog: Catalog) -> None:
        with pytest.raises(ConfigError, match=r"^expected an optimizer, got Dense\(3\)$"):
            catalog.build("optimizer", Dense(3))

    @pytest.mark.parametrize(
        ("expression", "problem"),
        [
            ("Dense()", "missing a required argument: 'units'"),
            ("Dense(3, depth=2)", "Dense has no argument depth: it takes units, bias"),
            ("Dense(3, True, 1)", "too many positional arguments"),
            ("Dense(3, units=4)", "multiple values for argument 'units'"),
            ("Dense(1001)", "too many units"),
        ],
    )
    def test_wrong_arguments_are_explained(self, catalog: Catalog, expression: str, problem: str) -> None:
        expected = f"{expression}: {problem}; expected Dense(units, bias=True)"
        assert complaint(catalog, expression, ConfigError) == expected
        assert complaint(catalog, f"Chain(Dense(3), {expression})", ConfigError) == expected

    def test_a_component_explains_its_wrong_values(self, catalog: Catalog) -> None:
        text = """Dense("a"): units must be a whole number, got 'a'"""
        assert complaint(catalog, "Dense('a')", ConfigError) == text

    def test_wrong_expressions_are_explained(self, catalog: Catalog) -> None:
        assert "is not allowed in 'Dense(a.b)'" in complaint(catalog, "Dense(a.b)", ExpressionError)
        assert complaint(catalog, "Dense(1e999)", ExpressionError) == (
            "inf cannot be written in an expression: use a finite number"
        )


@pytest.mark.parametrize("name", ["my-plugin", "My_Plugin", "MY.PLUGIN", "my--plugin"])
def test_distributions_are_compared_as_pip_compares_them(name: str) -> None:
    assert normalized(name) == "my-plugin"


def test_a_prefix_names_a_distribution_however_it_is_written(make_plugin: MakePlugin, imported: list[str]) -> None:
    catalog = Catalog([make_plugin("cnnkit", Dense), make_plugin("My_Plugin", Chain), make_plugin("other", Chain)])
    assert repr(catalog.build("layer", "my-plugin:Chain()")) == "Chain()"
    assert imported == ["My_Plugin"]
    assert catalog.bringing("layer", "Chain", "MY.plugin") == catalog.plugins[1]
    catalog.load(catalog.plugins[2])
    assert catalog.bringing("layer", "Chain") is None  # `find` would not choose
