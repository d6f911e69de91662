"""Which components of its recipe a version may choose: by what is recorded, and whom the user trusts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from cnnkit.components import Catalog, Loss, Plugin, hookimpl, installed_plugins
from cnnkit.errors import ConfigError, RegistryError
from cnnkit.losses import CrossEntropy
from cnnkit.network import Sequential
from cnnkit.registry import Manifest, Origin, Registry, model_manifest, trust
from cnnkit.registry.trust import build, is_built_in, trusted


class Own(Loss):
    """A loss of a plugin, perhaps around another."""

    def __init__(self, inner: Loss | None = None) -> None:
        self.inner = inner


class Brings:
    @hookimpl
    def cnnkit_losses(self) -> list[type[Loss]]:
        return [Own]


class Idle:
    @hookimpl
    def cnnkit_losses(self) -> list[type[Loss]]:
        return []


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is imported of Good_One, which provides Own, good.two, which does, too, and other, which does not."""
    found: list[str] = []

    def plugin(distribution: str, module: Any) -> Plugin:
        def load() -> Any:
            found.append(distribution)
            return module()

        return Plugin(distribution, "1", distribution, load)

    added = [plugin("Good_One", Brings), plugin("good.two", Brings), plugin("other", Idle)]
    added.append(Plugin("bad", "1", "bad", lambda: 1 / 0))
    catalog = Catalog([*installed_plugins(), *added])
    for module in (model_manifest, trust):
        monkeypatch.setattr(module, "installed_catalog", lambda: catalog)
    return found


@pytest.fixture
def manifest(registry: Registry, model: Sequential, imported: list[str]) -> Manifest:
    """One that says nothing of the loss Own."""
    registry.save(model, "net")
    return registry.read("net").manifest


def recorded(manifest: Manifest, distribution: str) -> Manifest:
    origins = manifest.components | {"loss Own": Origin(distribution, "1")}
    return dataclasses.replace(manifest, components=origins)


@pytest.mark.parametrize("name", ["good-one", "Good_One", "GOOD.one", "good--one"])
def test_what_a_trusted_distribution_brings_is_built(manifest: Manifest, imported: list[str], name: str) -> None:
    assert type(build("loss", "Own()", recorded(manifest, "good-one"), trusted([name]))) is Own
    assert type(build("loss", f"{name}:Own()", manifest, trusted(["good-one"]))) is Own
    assert imported == ["Good_One"]


def test_what_is_not_trusted_is_not_imported(manifest: Manifest, imported: list[str]) -> None:
    with pytest.raises(RegistryError, match=r"^Own comes from good-one: if you trust it, add --trust good-one$"):
        build("loss", "Own()", recorded(manifest, "Good_One"), trusted(["good-two"]))
    with pytest.raises(RegistryError, match=r"^Own comes from good-two: if you trust it, add --trust good-two$"):
        build("loss", "good.two:Own()", recorded(manifest, "Good_One"), trusted(["good-one"]))
    assert imported == []


def test_arguments_need_trust_too(manifest: Manifest, imported: list[str]) -> None:
    of_two = recorded(manifest, "good.two")
    assert build("loss", "Own(Own())", of_two, trusted(["good.two"])) == Own(Own())
    with pytest.raises(RegistryError, match="Own comes from good-two: if you trust it"):
        build("loss", "good-one:Own(Own())", of_two, trusted(["good-one"]))
    assert "Good_One" not in imported


@pytest.mark.parametrize("expression", ["CrossEntropy()", "cnnkit:CrossEntropy()", "CNNKIT:CrossEntropy"])
def test_cnnkits_own_components_need_no_trust(manifest: Manifest, imported: list[str], expression: str) -> None:
    loss = build("loss", expression, manifest)
    assert loss == CrossEntropy()
    assert is_built_in(loss)
    assert not is_built_in(Own())
    assert imported == []


def test_of_an_older_file_only_trusted_distributions_are_asked(manifest: Manifest, imported: list[str]) -> None:
    manifest = dataclasses.replace(manifest, versions=manifest.versions | {"Good_One": "1", "--evil": "1"})
    add = "if you trust the distribution that does, add --trust DIST; Good_One took part in the training$"
    with pytest.raises(RegistryError, match=f"^the file does not say what provides the loss Own: {add}"):
        build("loss", "Own()", manifest)
    assert imported == []
    with pytest.raises(RegistryError, match=rf"^none of gone \(not installed\), other provides the loss Own: {add}"):
        build("loss", "Own()", manifest, trusted(["other", "gone"]))
    assert type(build("loss", "Own()", manifest, trusted(["good-one"]))) is Own
    assert imported == ["other", "Good_One"]
    with pytest.raises(RegistryError, match=r"^Good_One and good.two provide Own, and the file does not say which"):
        build("loss", "Own()", manifest, trusted(["good-one", "good-two"]))


def test_a_trusted_plugin_that_is_broken_is_named(manifest: Manifest) -> None:
    with pytest.raises(
        RegistryError, match=r"^none of bad provides the loss Own: .*; bad is broken: importing bad failed"
    ):
        build("loss", "Own()", manifest, trusted(["bad"]))


def test_what_is_not_installed_is_named_as_the_files_word(manifest: Manifest) -> None:
    said = "^the file says that Own comes from gone, which is not installed: if you trust that distribution, run pip "
    with pytest.raises(RegistryError, match=f"{said}install gone and add --trust gone$"):
        build("loss", "Own()", recorded(manifest, "gone"))
    with pytest.raises(RegistryError, match=f"{said}install gone$"):
        build("loss", "Own()", recorded(manifest, "gone"), trusted(["Gone"]))
    with pytest.raises(RegistryError, match=r"^'--index-url' is not the name of a distribution$"):
        build("loss", "--index-url:Own()", manifest)


def test_what_cannot_be_built_says_why(manifest: Manifest) -> None:
    of_one, both = recorded(manifest, "good-one"), trusted(["good-one"])
    with pytest.raises(RegistryError, match=r"Own\(1, 2\): too many positional arguments; expected Own"):
        build("loss", "Own(1, 2)", of_one, both)
    with pytest.raises(RegistryError, match="there is no loss named 'Nope'"):
        build("loss", "good-one:Nope()", of_one, both)
    with pytest.raises(RegistryError, match="expected an expression as text"):
        build("loss", 3, manifest)  # type: ignore[arg-type]  # wrong on purpose


def test_the_setting_and_the_option_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CNNKIT_TRUST", raising=False)
    assert trusted() == frozenset()
    monkeypatch.setenv("CNNKIT_TRUST", " My_Plugin, other,,")
    assert trusted(["A.B"]) == {"my-plugin", "other", "a-b"}
    with pytest.raises(
        ConfigError, match=r"^--trust: expected the name of a distribution, such as cnnkit-elastic, got"
    ):
        trusted(["--evil"])
    with pytest.raises(ConfigError, match=r"^--trust: cnnkit's own components need no trust, and what opens a file or"):
        trusted(["CNNkit"])
    monkeypatch.setenv("CNNKIT_TRUST", "a;b")
    with pytest.raises(ConfigError, match=r"^CNNKIT_TRUST: expected the name of a distribution, .* got 'a;b'$"):
        trusted()


def test_a_name_that_two_plugins_may_have_brought_is_not_recorded(
    registry: Registry, model: Sequential, imported: list[str]
) -> None:
    catalog = trust.installed_catalog()  # type: ignore[attr-defined]  # the one that the module asks
    catalog.build("loss", "Good_One:Own()")
    registry.save(model, "net", recipe={"train": {"loss": "Own()", "metrics": ["Accuracy()"]}})
    assert registry.read("net").manifest.components["loss Own"] == Origin("Good_One", "1")
    catalog.build("loss", "good.two:Own()")
    registry.save(model, "net", recipe={"train": {"loss": "Own()"}})
    assert "loss Own" not in registry.read("net").manifest.components
    registry.save(model, "net", recipe={"train": {"loss": "good-two:Own()"}})
    assert registry.read("net").manifest.components["loss Own"] == Origin("good.two", "1")
