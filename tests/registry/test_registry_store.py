"""The registry as its users see it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Origin, Registry, commit
from cnnkit.registry.format import sealing
from cnnkit.registry.format.contents import unpack
from cnnkit.types import Preprocessing


def test_a_model_comes_back_as_it_was(registry: Registry) -> None:
    saved = Sequential(
        ["Residual(Conv2D(1, 3, padding='same'), BatchNorm2D())", "Flatten()", "Dense(2)", "Softmax()"],
        (1, 4, 4),
        labels=("no", "yes"),
        preprocessing=Preprocessing(1 / 255, (0.3,), (0.7,)),
        input_dtype="uint8",
        seed=7,
    )
    version = registry.save(saved, "net")
    loaded = registry.load("net")
    x = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 4), np.uint8)
    np.testing.assert_array_equal(loaded.logits(x), saved.logits(x))
    assert loaded.layers == saved.layers
    assert list(loaded.state()) == list(saved.state())
    for name in ("input_shape", "labels", "preprocessing", "input_dtype", "seed", "dtype"):
        assert getattr(loaded, name) == getattr(saved, name), name
    assert (version.number, version.ref, version.path.name) == (1, "net@1", "v000001.h5")
    assert registry.versions("net") == [version] == [registry.find("net")]


def test_what_a_training_tells_is_kept(registry: Registry, model: Sequential) -> None:
    told: dict[str, Any] = {
        "recipe": {"train": {"epochs": 2}},
        "history": {"loss": [2.0, float("inf")]},
        "metrics": {"accuracy": 0.75},
        "dataset": {"name": "Digits()", "digest": "abc"},
        "settings": {"workers": 2, "tile": 64},
    }
    registry.save(model, "net", **told)
    record = registry.read("net@1")
    assert {key: getattr(record.manifest, key) for key in told} == told
    assert record.manifest.versions.keys() == {"python", "numpy", "h5py", "cnnkit"}
    assert record.manifest.components["Conv2D"] == Origin("cnnkit", importlib.metadata.version("cnnkit"))
    assert list(record.state) == list(model.state())
    assert record.version == registry.find("net@1")


def test_the_folder_is_given_or_in_the_environment_or_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_REGISTRY", "/elsewhere")
    assert Registry("here").path == Path("here")
    assert Registry().path == Path("/elsewhere")
    monkeypatch.delenv("CNNKIT_REGISTRY")
    assert Registry().path == Path("registry")


def test_a_model_is_saved_in_the_current_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Sequential
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Registry("models").save(model, "net").ref == "net@1"


def test_versions_and_models_are_listed(registry: Registry, model: Sequential) -> None:
    for name in ("b", "a", "b"):
        registry.save(model, name)
    registry.save(model, "gone")
    registry.delete("gone@1")
    (registry.path / "README.md").touch()
    assert registry.models() == ["a", "b"]
    assert [version.ref for version in registry.versions("b")] == ["b@1", "b@2"]
    assert registry.versions("gone") == []
    assert registry.find("b").number == 2


def test_finding_the_next_number_lists_the_folder_once(tmp_path: Path, model: Sequential) -> None:
    class Counting(Files):
        listings = 0

        def names(self, folder: Path) -> list[str]:
            Counting.listings += 1
            return super().names(folder)

    registry = Registry(tmp_path, files=Counting())
    registry.save(model, "net")
    for number in range(2, 300):
        (tmp_path / "net" / commit.version_file(number)).touch()
    Counting.listings = 0
    assert registry.save(model, "net").number == 300  # the log ends with version 1
    assert Counting.listings == 1
    Counting.listings = 0
    assert [registry.save(model, "net").number for _ in range(2)] == [301, 302]
    registry.delete("net@302")
    registry.delete("net@1")
    Counting.listings = 0
    assert registry.save(model, "net").number == 303
    assert Counting.listings == 0
    (tmp_path / "net" / "v000303.h5").rename(tmp_path / "net" / "v000500.h5")  # not where the log has it
    assert registry.save(model, "net").number == 501
    (tmp_path / "net" / "v000502.h5").symlink_to("v000501.h5")
    assert registry.save(model, "net").number == 503


def test_numbers_beyond_six_digits() -> None:
    assert commit.number_of("v999999.h5") == 999_999
    assert commit.number_of(commit.version_file(1_000_000)) == 1_000_000
    for name in ("v000000.h5", "v0000001.h5", "v1.h5", "v000001.h5.bak", "v0000a1.h5"):
        assert commit.number_of(name) is None


def test_a_number_is_never_used_twice(registry: Registry, model: Sequential) -> None:
    for _ in range(3):
        registry.save(model, "net")
    assert registry.delete("net@3").ref == "net@3"
    registry.delete("net@latest")
    assert registry.save(model, "net").number == 4
    assert [version.number for version in registry.versions("net")] == [1, 4]
    with pytest.raises(RegistryError, match="net@3 was deleted; the latest versions are 1, 4"):
        registry.load("net@3")
    assert (registry.path / "net" / "v000003.h5").stat().st_size == 512


def test_aliases(registry: Registry, model: Sequential) -> None:
    for _ in range(2):
        registry.save(model, "net")
    assert registry.aliases("net") == {}
    assert registry.set_alias("net@1", "champion").number == 1
    assert registry.find("net@champion").number == 1
    with pytest.raises(RegistryError, match="net@1 cannot be deleted while the alias champion points to it; remove"):
        registry.delete("net@1")
    registry.set_alias("net@latest", "champion")
    assert registry.aliases("net") == {"champion": 2}
    registry.delete("net@1")
    registry.remove_alias("net", "champion")
    assert registry.aliases("net") == {}


def test_an_alias_to_a_version_that_vanished_says_so(registry: Registry, model: Sequential) -> None:
    path = registry.save(model, "net").path
    registry.set_alias("net@1", "champion")
    path.unlink()
    with pytest.raises(
        RegistryError, match=r"net@1, to which net@champion points, does not exist; there are no versions"
    ):
        registry.load("net@champion")


def test_unknown_references_say_what_exists(registry: Registry, model: Sequential) -> None:
    registry.save(model, "digits")
    registry.set_alias("digits", "champion")
    for ref, message in {
        "digit": "there is no model 'digit' in the registry .*: did you mean digits?",
        "faces@2": "there is no model 'faces' in the registry .*: there is digits",
        "digits@9": "digits@9 does not exist; the only version is 1",
        "digits@champ": "digits has no alias 'champ': did you mean champion?",
    }.items():
        with pytest.raises(RegistryError, match=message):
            registry.load(ref)
    with pytest.raises(RegistryError, match="digits has no alias 'best': there is champion"):
        registry.remove_alias("digits", "best")
    registry.remove_alias("digits", "champion")
    registry.delete("digits@1")
    with pytest.raises(RegistryError, match="the model 'digits' has no versions left"):
        registry.find("digits")


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    for use in (Registry(tmp_path / "none").models, lambda: Registry(tmp_path / "none").load("net")):
        with pytest.raises(RegistryError, match=r"there is no registry at .*none; it is created when a model is saved"):
            use()


@pytest.mark.parametrize("name", ["../x", "/x", "X", ""])
def test_nothing_is_saved_outside(registry: Registry, model: Sequential, name: str) -> None:
    with pytest.raises(RegistryError, match="a model is named"):
        registry.save(model, name)
    assert not registry.path.exists()


def test_a_damaged_version_is_named_and_the_others_stay_usable(registry: Registry, model: Sequential) -> None:
    first, second = registry.save(model, "net"), registry.save(model, "net")
    data = bytearray(first.path.read_bytes())
    data[0] ^= 1
    first.path.chmod(0o644)
    first.path.write_bytes(data)
    with pytest.raises(RegistryError, match=r"net@1 cannot be used, .*v000001.h5 is damaged: it does not begin like"):
        registry.load("net@1")
    assert [version.digest for version in registry.versions("net")] == ["", second.digest]
    assert registry.load("net").state().keys() == model.state().keys()


@pytest.mark.parametrize("size", [0, 300, 512])
def test_a_version_that_was_cut_short_is_not_passed_over(registry: Registry, model: Sequential, size: int) -> None:
    for _ in range(2):
        registry.save(model, "net")
    cut = registry.path / "net" / "v000002.h5"
    cut.write_bytes(cut.read_bytes()[:size])
    assert [version.number for version in registry.versions("net")] == [1, 2]
    for ref in ("net", "net@latest", "net@2"):
        with pytest.raises(RegistryError, match=r"net@2 cannot be used, .*v000002\.h5 is damaged"):
            registry.load(ref)


def test_a_manifest_that_names_other_arrays_is_refused(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    record = registry.read("net")
    state = dict(list(record.state.items())[1:])
    data = bytes(sealing.pack(record.manifest.encode(), state))
    with pytest.raises(RegistryError, match="its manifest and its arrays name different things"):
        unpack(data, "net")


def test_a_file_that_was_registered_under_another_number_is_refused(registry: Registry) -> None:
    paths = [registry.save(Sequential(["Dense(2)"], (3,), seed=seed), "net").path for seed in (1, 2)]
    paths[0].rename(registry.path / "net" / "x")
    paths[1].rename(paths[0])
    (registry.path / "net" / "x").rename(paths[1])
    for ref in ("net@1", "net@2"):
        with pytest.raises(RegistryError, match=f"{ref} cannot be used, .* the digest log has no version . with this"):
            registry.load(ref)
    (registry.path / "net" / "digests.log").unlink()  # nothing to compare with: `verify` says so
    assert registry.load("net@1").seed == 2


def test_a_model_whose_folder_was_renamed_is_refused(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    (registry.path / "net").rename(registry.path / "other")
    with pytest.raises(RegistryError, match="it is a version of the model 'net', in the folder of 'other'"):
        registry.load("other@1")
    assert ["in the folder of 'other'" in problem.text for problem in registry.verify()] == [True]


def test_a_version_that_is_deleted_while_it_is_read(tmp_path: Path, model: Sequential) -> None:
    class Deleting(Files):
        def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
            if whole and path.suffix == ".h5":
                path.write_bytes(sealing.tombstone())
            return super().read(path, most, whole=whole, **options)

    Registry(tmp_path).save(model, "net")
    with pytest.raises(RegistryError, match="net@1 was deleted a moment ago"):
        Registry(tmp_path, files=Deleting()).read("net")


@pytest.mark.parametrize("recipe", [{"train": 3}, {"data": []}])
def test_a_recipe_of_another_form_is_refused(registry: Registry, model: Sequential, recipe: dict[str, Any]) -> None:
    with pytest.raises(RegistryError, match=r"its manifest has recipe = .*; expected sections as objects by name"):
        registry.save(model, "net", recipe=recipe)
    assert not registry.path.exists()


@pytest.mark.parametrize("start", [b"", bytes(sealing.BLOCK), b"version https://git-lfs.github.com/spec/"])
def test_a_file_of_another_size_than_was_sealed_is_not_read(
    registry: Registry, model: Sequential, start: bytes
) -> None:
    class Counting(Files):
        def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
            data = super().read(path, most, whole=whole, **options)
            assert len(data) < 1 << 20
            return data

    path = registry.save(model, "net").path
    (path.parent / "facts.log").unlink()
    with path.open("r+b") as file:
        file.write(start)
        file.truncate(sealing.MAX_MODEL_FILE_BYTES)  # which takes no room on the disk
    hostile = Registry(registry.path, files=Counting())
    with pytest.raises(RegistryError, match=r"net@1 cannot be used, .*v000001\.h5 is damaged: it"):
        hostile.load("net@1")
    assert [entry.problem[:15] for entry in hostile.search()] == ["it is damaged: "]
    assert [problem.text[:15] for problem in hostile.verify()] == ["it is damaged: "]
