"""What the metadata of a plugin says without its being imported: its API, its former names, and what blocks it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cnnkit import Registry, Sequential, load_model
from cnnkit.components import Catalog, Plugin, installed_catalog, installed_plugins
from cnnkit.components.plugin_metadata import missing_requirements, of_distribution
from cnnkit.errors import ComponentError, ConfigError, RegistryError
from cnnkit.registry.trust import Trust, build

LAYERS = """
from cnnkit import Layer, hookimpl
class {name}(Layer):
    def forward(self, x, ctx): return x, None
    def backward(self, dy, cache, ctx): return dy, {{}}
@hookimpl
def cnnkit_layers():
    return [{name}]
"""
Install = Callable[..., Plugin]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install("cnnkit-a", "A", "[cnnkit.api]\\n1 = cnnkit_a") leaves what pip does of a distribution with a layer."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def put(distribution: str, layer: str, more: str = "", metadata: str = "") -> Plugin:
        module = distribution.replace("-", "_")
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n{metadata}")
        (info / "entry_points.txt").write_text(f"[cnnkit]\nplugin = {module}\n{more}")
        (site / f"{module}.py").write_text(LAYERS.format(name=layer))
        importlib.invalidate_caches()
        return next(plugin for plugin in installed_plugins() if plugin.distribution == distribution)

    yield put
    installed_catalog.cache_clear()
    for module in set(sys.modules) - before:
        if str(site) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("", ""),
        ("[cnnkit.api]\n1 = metadata_a\n", ""),
        ("[cnnkit.api]\n1 = metadata_a\n2 = metadata_a\n", ""),
        (
            "[cnnkit.api]\n2 = metadata_a\n",
            "it is for version 2 of the plugin API, and this cnnkit has version 1: install a newer cnnkit",
        ),
        (
            "[cnnkit.api]\n0 = metadata_a\n",
            "it is for version 0 of the plugin API, and this cnnkit has version 1: install a newer metadata-a",
        ),
    ],
)
def test_a_plugin_for_another_api_is_not_imported(install: Install, declared: str, said: str) -> None:
    catalog = Catalog([install("metadata-a", "Apied", declared)])
    (plugin,) = catalog.plugins
    assert plugin.mismatch == said
    assert catalog.problems(plugin) == ([said] if said else [])
    assert catalog.names("layer") == ([] if said else ["Apied"])
    if said:
        with pytest.raises(ComponentError) as caught:
            catalog.find("layer", "Apied")
        assert str(caught.value) == (
            f"there is no layer named 'Apied'\n  metadata-a 1.0 is broken and may provide it: {said}"
        )


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("CNNKIT_NO_PLUGINS", "1", "CNNKIT_NO_PLUGINS is set"),
        ("CNNKIT_BLOCK_PLUGINS", "other, Metadata_A", "CNNKIT_BLOCK_PLUGINS names it"),
    ],
)
def test_a_plugin_that_is_blocked_is_not_imported(
    install: Install, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    plugin = install("metadata-a", "Blocked")
    catalog = Catalog(installed_plugins())
    assert plugin.blocked == reason
    assert catalog.problems(plugin) == []
    assert "Conv2D" in catalog.names("layer")
    with pytest.raises(ComponentError) as caught:
        catalog.find("layer", "Blocked")
    assert f"metadata-a 1.0 is blocked and may provide it: {reason}" in str(caught.value)
    with pytest.raises(ComponentError) as caught:
        catalog.build("layer", "metadata-a:Blocked()")
    assert str(caught.value) == f"the expression metadata-a:Blocked names a plugin that is blocked: {reason}"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CNNKIT_NO_PLUGINS", "yes", "CNNKIT_NO_PLUGINS must be 1, to use no plugins, or 0, got 'yes'"),
        ("CNNKIT_BLOCK_PLUGINS", "a;b", "such as cnnkit-elastic,cnnkit-walsh, got 'a;b'"),
        ("CNNKIT_BLOCK_PLUGINS", "cnnkit", "cnnkit's own components cannot be blocked"),
    ],
)
def test_variables_that_cannot_be_understood_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as caught:
        installed_plugins()
    assert message in str(caught.value)


def test_a_plugin_that_was_renamed_is_found_by_its_former_name(install: Install, tmp_path: Path) -> None:
    renamed = "[cnnkit.renamed]\nMetadata.Old = metadata_new\n"
    plugin = install("metadata-new", "Renamed", renamed)
    assert plugin.former == ("metadata-old",)
    assert of_distribution([plugin], "metadata_old") == of_distribution([plugin], "metadata-new") == [plugin]
    assert of_distribution([plugin], "metadata-other") == []
    assert type(Catalog([plugin]).build("layer", "metadata-old:Renamed()")).__name__ == "Renamed"


def test_the_name_itself_comes_before_a_former_one(install: Install) -> None:
    taker = install("metadata-new", "Taker", "[cnnkit.renamed]\nmetadata-a = metadata_new\ncnnkit = metadata_new\n")
    own = install("metadata-a", "Own")
    assert of_distribution([taker, own], "metadata-a") == [own]
    assert [p.distribution for p in of_distribution(installed_plugins(), "cnnkit")] == ["cnnkit"]


def test_an_old_model_finds_a_plugin_under_its_new_name(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("kept-old", "Kept")
    installed_catalog.cache_clear()
    registry = Registry(tmp_path / "registry")
    model = Sequential(["kept-old:Kept()", "Flatten()", "Dense(2)"], (1, 2, 2))
    version = registry.save(model, "kept")
    info = tmp_path / "site" / "kept_old-1.0.dist-info"
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    installed_catalog.cache_clear()
    with pytest.raises(RegistryError, match=r"comes from kept-old 1\.0, which is not installed"):
        load_model(version.ref, registry.path)
    install("kept-new", "Kept", "[cnnkit.renamed]\nkept-old = kept_new\n")
    installed_catalog.cache_clear()
    x = np.ones((1, 1, 2, 2), np.float32)
    np.testing.assert_array_equal(load_model(version.ref, registry.path).outputs(x), model.outputs(x))
    manifest = registry.read(version.ref).manifest
    distrusted: list[Trust] = [frozenset(), frozenset({"kept-old"})]
    for trust in distrusted:
        with pytest.raises(RegistryError, match=r"^Kept comes from kept-new: if you trust it, add --trust kept-new$"):
            build("layer", "kept-old:Kept()", manifest, trust)
    assert type(build("layer", "kept-old:Kept()", manifest, frozenset({"kept-new"}))).__name__ == "Kept"
    monkeypatch.setenv("CNNKIT_NO_PLUGINS", "1")
    installed_catalog.cache_clear()
    with pytest.raises(RegistryError, match="names a plugin that is blocked: CNNKIT_NO_PLUGINS is set"):
        load_model(version.ref, registry.path)


def test_what_a_plugin_needs_and_lacks_is_said(install: Install) -> None:
    needs = 'Requires-Dist: numpy>=2\nRequires-Dist: metadata-gone >=1.0\nRequires-Dist: pytest; extra == "test"\n'
    plugin = install("metadata-a", "Needing", metadata=needs)
    assert missing_requirements(plugin) == ["metadata-gone"]
    assert Catalog([plugin]).problems(plugin) == []  # it works without
    broken = install("metadata-b", "Broken", metadata=needs)
    (Path(broken.load.__self__.dist._path).parent / "metadata_b.py").write_text("import metadata_gone")  # type: ignore[attr-defined]  # of the bound method
    assert Catalog([broken]).problems(broken) == [
        "importing metadata_b failed: ModuleNotFoundError: No module named 'metadata_gone'",
        "it needs metadata-gone, which is not installed",
    ]
