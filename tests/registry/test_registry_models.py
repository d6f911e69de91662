"""From a version back to its model: where its layers come from, and what they may ask for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Catalog, Initializer, Layer, Plugin, Weights, hookimpl, installed_plugins
from cnnkit.errors import PluginVersionWarning, RegistryError
from cnnkit.layers import Dense
from cnnkit.network import Sequential
from cnnkit.registry import Files, Origin, Registry, model_manifest
from cnnkit.types import Array


class Scale(Layer):
    """A layer that no plugin provides."""

    def __init__(self, by: float) -> None:
        self.by = by


def other_scale() -> Layer:
    class Scale(Layer):
        pass

    return Scale()


def test_a_record_makes_its_model(registry: Registry, model: Sequential) -> None:
    class Counting(Files):
        reads = 0

        def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
            self.reads += whole and path.suffix == ".h5"
            return super().read(path, most, whole=whole, **options)

    registry.save(model, "net")
    files = Counting()
    record = Registry(registry.path, files=files).read("net")
    x = np.random.default_rng(0).random((2, 1, 5, 5))
    np.testing.assert_array_equal(record.model().logits(x), model.logits(x))
    assert files.reads == 1


def test_more_layers_than_a_file_may_describe_are_not_saved(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_manifest, "MAX_COMPONENTS", 3)
    registry.save(Sequential(["Residual(ReLU(), ReLU())"], (3,)), "net")
    with pytest.raises(
        RegistryError, match="a model may have at most 3 layers, merges and empty branches, this one has more"
    ):
        registry.save(Sequential(["Residual(ReLU(), ReLU())", "ReLU()"], (3,)), "net")


def test_an_empty_branch_counts_as_a_layer(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_manifest, "MAX_COMPONENTS", 5)
    registry.save(Sequential(["Concat([], [], [], ReLU())"], (3,)), "net")
    with pytest.raises(
        RegistryError, match="a model may have at most 5 layers, merges and empty branches, this one has more"
    ):
        registry.save(Sequential(["Concat([], [], [], [], ReLU())"], (3,)), "net")


def test_merges_in_merges_are_looked_at_once(registry: Registry) -> None:
    """Each has its layers twice, as arguments and in its branches: 2^20 ways lead to the innermost."""
    registry.save(Sequential(["Residual(" * 20 + "ReLU()" + ")" * 20], (3,)), "net")
    assert set(registry.read("net").manifest.components) == {"Residual", "ReLU"}


def test_a_layer_from_no_plugin_is_given_by_its_class(registry: Registry) -> None:
    registry.save(Sequential([Scale(2.0), "Dense(2)"], (3,)), "net")
    assert registry.load("net", components=[Scale]).layers[0] == Scale(2.0)
    with pytest.raises(
        RegistryError,
        match=r"net@1 cannot be loaded: it needs Scale, which did not come from a plugin; give",
    ):
        registry.load("net")
    with pytest.raises(RegistryError, match="components must be classes of layers, merges or initializers, got 3"):
        registry.load("net", components=[3])  # type: ignore[list-item]  # wrong on purpose
    assert registry.read("net").state.keys() == {"dense_1.weight", "dense_1.bias"}


def test_an_initializer_is_given_by_its_class(registry: Registry) -> None:
    class Halves(Initializer):
        """All weights are a half."""

        def values(self, weights: Weights, rng: np.random.Generator) -> Array:
            return np.full(weights.shape, 0.5)

    registry.save(Sequential([Dense(3, initializer=Halves())], (4,)), "halves")
    again = registry.load("halves", components=[Halves])
    assert again.layers == [Dense(3, initializer=Halves())]
    np.testing.assert_array_equal(again.state()["dense_1.weight"], np.full((3, 4), 0.5))


class Sum(Scale):
    """A layer whose arguments are layers and plain lists."""

    def __init__(self, by: list[float], inner: tuple[Layer, ...], named: dict[str, Layer]) -> None:
        self.by, self.inner, self.named = by, inner, named  # type: ignore[assignment]  # of other types than a Scale's


class Shift(Scale):
    """A layer that stands in a dict."""


def test_components_among_the_arguments_are_tied_to_their_origin_too(registry: Registry) -> None:
    layer = Sum([1.0], (Scale(2.0),), {"a": Shift(3.0)})
    registry.save(Sequential([layer, "Dense(2)"], (3,)), "net")
    assert registry.read("net").manifest.components.keys() == {"Sum", "Scale", "Shift", "Dense"}
    assert registry.load("net", components=[Scale, Sum, Shift]).layers[0] == layer
    with pytest.raises(RegistryError, match="it needs Shift, which did not come from a plugin"):
        registry.load("net", components=[Sum, Scale])
    with pytest.raises(RegistryError, match="it needs Scale, which did not come from a plugin"):
        registry.load("net", components=[Sum])


def test_only_the_plugins_that_a_file_names_are_imported(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Good:
        @hookimpl
        def cnnkit_layers(self) -> list[type[Layer]]:
            return [Sum, Scale, Shift]

    imported: list[str] = []
    plugins = [Plugin("other", "1", "other", lambda: imported.append("other")), Plugin("good", "1", "good", Good)]
    catalog = Catalog([*installed_plugins(), *plugins])
    monkeypatch.setattr(model_manifest, "installed_catalog", lambda: catalog)
    layer = Sum([1.0], (Scale(2.0),), {"a": Shift(3.0)})
    registry.save(Sequential([layer], (3,)), "net")
    record = registry.read("net")
    named = dict.fromkeys(("Sum", "Scale", "Shift"), Origin("good", "1"))
    manifest = dataclasses.replace(record.manifest, components=named)
    assert model_manifest.rebuild(manifest, record.state, "net@1").layers == [layer]
    del named["Shift"]
    with pytest.raises(RegistryError, match="it needs Shift, which did not come from a plugin"):
        model_manifest.rebuild(manifest, record.state, "net@1")
    assert imported == []
    catalog.build("layer", "Shift(1.0)")
    assert imported == ["other"]


def test_a_layer_of_a_missing_plugin_names_what_to_install(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_manifest, "_origin", lambda cls: Origin("cnnkit-walsh", "0.1.0"))
    registry.save(Sequential([Scale(2.0)], (3,)), "net")
    with pytest.raises(
        RegistryError,
        match=r"^net@1 cannot be loaded: the file says that Scale comes from cnnkit-walsh 0.1.0, which is not "
        r"installed: if you trust that distribution, run pip install cnnkit-walsh$",
    ):
        registry.load("net")
    assert registry.read("net").manifest.versions["cnnkit-walsh"] == "0.1.0"


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ("0.9", "0.9"),
        ("", "an unknown version"),
        ("1\nerror: no", r"'1\nerror: no'"),
        ("1; rm -rf /", "'1; rm -rf /'"),
    ],
)
def test_a_plugin_in_another_version_is_a_warning(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, recorded: str, said: str
) -> None:
    class Good:
        @hookimpl
        def cnnkit_layers(self) -> list[type[Layer]]:
            return [Sum, Scale]

    catalog = Catalog([*installed_plugins(), Plugin("My_Good", "1.0", "good", Good)])
    monkeypatch.setattr(model_manifest, "installed_catalog", lambda: catalog)
    registry.save(Sequential([Sum([1.0], (Scale(2.0),), {})], (3,)), "net")
    record = registry.read("net")
    same = dict.fromkeys(("Sum", "Scale"), Origin("my-good", "1.0"))
    model_manifest.rebuild(
        dataclasses.replace(record.manifest, components=same), record.state, "net@1"
    )  # warns of nothing
    other = dict.fromkeys(("Sum", "Scale"), Origin("my.good", recorded))
    with pytest.warns(PluginVersionWarning) as caught:
        model_manifest.rebuild(dataclasses.replace(record.manifest, components=other), record.state, "net@1")
    (warning,) = caught
    assert str(warning.message) == (
        f"net@1 was saved with my-good {said}, and my-good 1.0 is installed: its answers differ if Sum or Scale "
        "has changed"
    )
    model_manifest.rebuild(dataclasses.replace(record.manifest, components=other), record.state, "net@1", [Sum, Scale])


def test_two_classes_of_one_name_cannot_be_saved(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="two classes of this model are named Scale"):
        registry.save(Sequential([Scale(1.0), other_scale()], (3,)), "net")


def test_weights_that_do_not_fit_are_refused(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    record = registry.read("net")
    changed = dataclasses.replace(record.manifest, layers=record.manifest.layers[:-1])
    with pytest.raises(RegistryError, match="net@1 cannot be loaded: the state does not fit the network"):
        model_manifest.rebuild(changed, record.state, "net@1")
    huge = dataclasses.replace(record.manifest, layers=("Flatten()", f"Dense({10**17})"))
    with pytest.raises(RegistryError, match="net@1 cannot be loaded: "):
        model_manifest.rebuild(huge, record.state, "net@1")
