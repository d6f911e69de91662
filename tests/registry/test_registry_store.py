"""The registry as its users see it."""

from __future__ import annotations

import dataclasses
import errno
import importlib.metadata
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Layer
from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Origin, Registry, commit, models, sealing
from cnnkit.types import Preprocessing


class Scale(Layer):
    """A layer that no plugin brings."""

    def __init__(self, by: float) -> None:
        self.by = by


def other_scale() -> Layer:
    class Scale(Layer):
        pass

    return Scale()


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
    assert record.manifest.versions.keys() == {"python", "numpy", "cnnkit"}
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
    for number in range(2, 2000):
        (tmp_path / "net" / commit.version_file(number)).touch()
    Counting.listings = 0
    assert registry.save(model, "net").number == 2000
    assert Counting.listings == 1


def test_numbers_beyond_six_digits() -> None:
    assert commit.number_of("v999999.h5") == 999_999
    assert commit.number_of(commit.version_file(1_000_000)) == 1_000_000
    for name in ("v000000.h5", "v0000001.h5", "v1.h5", "v000001.h5.bak", "v0000a1.h5"):
        assert commit.number_of(name) is None


def test_a_number_is_never_used_twice(registry: Registry, model: Sequential) -> None:
    for _ in range(3):
        registry.save(model, "net")
    assert registry.delete("net@3").ref == "net@3"
    registry.delete("net")
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
    with pytest.raises(RegistryError, match=r"net@1, to which net@champion points, does not exist; .* are none"):
        registry.load("net@champion")


def test_unknown_references_say_what_exists(registry: Registry, model: Sequential) -> None:
    registry.save(model, "digits")
    registry.set_alias("digits", "champion")
    for ref, message in {
        "digit": "there is no model 'digit' in the registry .*: did you mean digits?",
        "faces@2": "there is no model 'faces' in the registry .*: there is digits",
        "digits@9": "digits@9 does not exist; the latest versions are 1",
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_unwritable_registry_is_one_line(registry: Registry, model: Sequential) -> None:
    registry.path.mkdir(mode=0o500)
    with pytest.raises(RegistryError, match=r"cannot save net in .*: Permission denied"):
        registry.save(model, "net")


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path: Path, model: Sequential) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RegistryError, match=r"cannot save net in .*file: Not a directory"):
        Registry(tmp_path / "file").save(model, "net")
    (tmp_path / "net").touch()
    with pytest.raises(RegistryError, match="net must be a folder; it is a link or a file"):
        Registry(tmp_path).save(model, "net")


def test_files_are_private_until_they_are_complete(
    tmp_path: Path, model: Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    class Watching(Files):
        def write(self, file: int, data: bytes | memoryview) -> None:
            modes.append(stat.S_IMODE(os.fstat(file).st_mode))
            super().write(file, data)

    before = os.umask(0o027)
    try:
        version = Registry(tmp_path / "r", files=Watching()).save(model, "net")
    finally:
        assert os.umask(before) == 0o027
    assert 0o600 in modes
    assert stat.S_IMODE(version.path.stat().st_mode) == 0o640


def test_symbolic_links_are_refused(registry: Registry, model: Sequential, tmp_path: Path) -> None:
    path = registry.save(model, "net").path
    path.rename(tmp_path / "elsewhere.h5")
    path.symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(RegistryError, match=r"v000001.h5 must be a regular file; it is a link"):
        registry.load("net@1")
    assert [version.digest for version in registry.versions("net")] == [""]
    (registry.path / "link").symlink_to(registry.path / "net")
    with pytest.raises(RegistryError, match="link must be a folder; it is a link"):
        registry.save(model, "link")
    with pytest.raises(RegistryError, match="there is no model 'link'"):
        registry.versions("link")


def test_the_reader_itself_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(__file__)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(RegistryError, match=f"{name} must be a regular file"):
            Files().read(tmp_path / name, 100)
    (tmp_path / "large").write_bytes(bytes(101))
    with pytest.raises(RegistryError, match="large has 101 bytes; at most 100 are read"):
        Files().read(tmp_path / "large", 100)
    assert Files().read(tmp_path / "large", 100, whole=False) == bytes(100)


class NoLinks(Files):
    """A file system without hard links."""

    def __init__(self, number: int = errno.EPERM) -> None:
        self.number = number

    def link(self, source: Path, target: Path) -> None:
        raise OSError(self.number, os.strerror(self.number), str(target))


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP])
def test_file_systems_without_hard_links(tmp_path: Path, model: Sequential, number: int) -> None:
    registry = Registry(tmp_path, files=NoLinks(number))
    assert [registry.save(model, "net").number for _ in range(2)] == [1, 2]
    registry.delete("net@2")
    assert registry.save(model, "net").number == 3
    assert registry.load("net").state().keys() == model.state().keys()
    assert registry.verify() == []
    assert not [name for name in os.listdir(tmp_path / "net") if name.startswith(".tmp")]


@pytest.mark.parametrize("system", [Files, NoLinks])
def test_a_number_that_is_taken_meanwhile_is_left_alone(tmp_path: Path, system: type[Files]) -> None:
    class Late(system):  # type: ignore[misc, valid-type]
        listings = 0

        def names(self, folder: Path) -> list[str]:
            self.listings += 1
            return [] if self.listings == 1 else list(super().names(folder))

    data = bytes(sealing.pack(b"{}", {}))
    files = Late()
    commit.prepare(files, tmp_path / "net")
    (tmp_path / "net" / "v000001.h5").write_bytes(b"another writer's")
    assert commit.register(files, tmp_path / "net", data, sealing.check(data)) == 2
    assert (tmp_path / "net" / "v000001.h5").read_bytes() == b"another writer's"


def test_a_layer_from_no_plugin_is_given_by_its_class(registry: Registry) -> None:
    registry.save(Sequential([Scale(2.0), "Dense(2)"], (3,)), "net")
    assert registry.load("net", components=[Scale]).layers[0] == Scale(2.0)
    with pytest.raises(RegistryError, match=r"net@1 cannot be loaded: it needs Scale, which came from no plugin; give"):
        registry.load("net")
    with pytest.raises(RegistryError, match="components must be classes of layers or merges, got 3"):
        registry.load("net", components=[3])  # type: ignore[list-item]
    assert registry.read("net").state.keys() == {"dense_1.weight", "dense_1.bias"}


class Sum(Scale):
    """A layer whose arguments are layers and plain lists."""

    def __init__(self, by: list[float], inner: tuple[Layer, ...]) -> None:
        self.by, self.inner = by, inner  # type: ignore[assignment]


def test_components_among_the_arguments_are_tied_to_their_origin_too(registry: Registry) -> None:
    registry.save(Sequential([Sum([1.0], (Scale(2.0),)), "Dense(2)"], (3,)), "net")
    assert registry.read("net").manifest.components.keys() == {"Sum", "Scale", "Dense"}
    assert registry.load("net", components=[Scale, Sum]).layers[0] == Sum([1.0], (Scale(2.0),))
    with pytest.raises(RegistryError, match="it needs Scale, which came from no plugin"):
        registry.load("net", components=[Sum])


def test_a_layer_of_a_missing_plugin_names_what_to_install(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_origin", lambda cls: Origin("cnnkit-walsh", "0.1.0"))
    registry.save(Sequential([Scale(2.0)], (3,)), "net")
    with pytest.raises(
        RegistryError,
        match=r"net@1 cannot be loaded: it needs Scale from cnnkit-walsh 0.1.0, which is not installed; "
        r"run: pip install cnnkit-walsh$",
    ):
        registry.load("net")
    assert registry.read("net").manifest.versions["cnnkit-walsh"] == "0.1.0"


def test_two_classes_of_one_name_cannot_be_saved(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="two classes of this model are called Scale"):
        registry.save(Sequential([Scale(1.0), other_scale()], (3,)), "net")


def test_weights_that_do_not_fit_are_refused(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    record = registry.read("net")
    changed = dataclasses.replace(record.manifest, layers=(*record.manifest.layers, "Dense(2)"))
    with pytest.raises(RegistryError, match="net@1 cannot be loaded: the state does not fit the network"):
        models.rebuild(changed, record.state, "net@1")
    huge = dataclasses.replace(record.manifest, layers=("Flatten()", f"Dense({10**17})"))
    with pytest.raises(RegistryError, match="net@1 cannot be loaded: "):
        models.rebuild(huge, record.state, "net@1")


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


def test_a_manifest_that_names_other_arrays_is_refused(registry: Registry, model: Sequential) -> None:
    version = registry.save(model, "net")
    record = registry.read("net")
    state = dict(list(record.state.items())[1:])
    version.path.write_bytes(sealing.pack(record.manifest.encode(), state))
    with pytest.raises(RegistryError, match="its manifest and its arrays do not name the same things"):
        registry.read("net")


def test_a_version_that_is_deleted_while_it_is_read(tmp_path: Path, model: Sequential) -> None:
    class Deleting(Files):
        def read(self, path: Path, most: int, *, whole: bool = True) -> bytes:
            if whole and path.suffix == ".h5":
                path.write_bytes(sealing.tombstone())
            return super().read(path, most, whole=whole)

    Registry(tmp_path).save(model, "net")
    with pytest.raises(RegistryError, match="net@1 was deleted a moment ago"):
        Registry(tmp_path, files=Deleting()).read("net")
