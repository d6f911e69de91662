"""Versions from elsewhere: checked as in a load, registered as in a save, and never twice."""

from __future__ import annotations

from pathlib import Path

import hostile_files  # type: ignore[import-not-found]  # beside this file
import numpy as np
import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, digest_log
from cnnkit.registry.exchange import find, receive
from cnnkit.registry.format import sealing

LAYERS = {
    f"manifest_with_{name}"
    for name in (
        "code",
        "a_lambda",
        "an_attribute",
        "a_missing_component",
        "a_missing_distribution",
        "a_huge_layer",
        "a_negative_layer",
        "another_network",
        "a_component_in_a_dict",
        "a_component_without_origin",
        "a_layer_larger_than_the_file",
        "many_channels",
        "many_layers",
        "layers_in_layers",
        "the_name_of_another_model",
    )
}
"""Files whose harm is in their layers, which are text as long as nobody makes a model of them; and one of a model that
is called otherwise, which is no harm here."""


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "other")


@pytest.fixture
def data(registry: Registry, model: Sequential) -> bytes:
    return registry.save(model, "net", metrics={"loss": 1.0}).path.read_bytes()


def test_a_version_goes_from_one_registry_to_another(registry: Registry, other: Registry, data: bytes) -> None:
    version = other.add(data)
    assert (version.ref, version.digest) == ("net@1", registry.find("net").digest)
    assert version.path.read_bytes() == data
    assert other.find("net@1") == version
    assert other.verify() == []
    digests = digest_log.read(Files(), version.path.parent)
    assert digests is not None
    assert digests.committed == {1: {version.digest}}


def test_it_becomes_the_next_version(other: Registry, data: bytes, model: Sequential) -> None:
    other.save(model, "net")
    assert other.add(data).ref == "net@2"
    assert other.verify() == []


def test_the_very_same_version_is_not_added_again(other: Registry, data: bytes, model: Sequential) -> None:
    first = other.add(data)
    other.save(model, "net")
    before = {path: path.read_bytes() for path in other.path.rglob("*") if path.is_file()}
    assert other.add(data) == first
    assert {path: path.read_bytes() for path in other.path.rglob("*") if path.is_file()} == before


def test_a_deleted_version_may_come_again(other: Registry, data: bytes) -> None:
    other.add(data)
    other.delete("net@1")
    assert other.add(data).ref == "net@2"


def test_a_damaged_version_does_not_stand_in_its_way(other: Registry, data: bytes) -> None:
    path = other.add(data).path
    damaged = bytearray(data)
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert other.add(data).ref == "net@2"
    assert other.read("net@2").manifest.metrics == {"loss": 1.0}


def test_another_name_means_another_seal(registry: Registry, other: Registry, data: bytes, model: Sequential) -> None:
    version = other.add(data, "net-from-afar")
    record, original = other.read("net-from-afar@1"), registry.read("net@1")
    assert record.manifest.name == "net-from-afar"
    assert version.digest == record.version.digest != original.version.digest
    assert (record.manifest.created, record.manifest.metrics) == (original.manifest.created, {"loss": 1.0})
    for name, array in original.state.items():
        np.testing.assert_array_equal(record.state[name], array)
    assert list(record.state) == list(original.state)
    assert other.verify() == []
    assert other.add(data, "net-from-afar") == version  # equal bytes and names give equal bytes
    assert other.add(data, "net").digest == original.version.digest  # its own name changes nothing


def test_find_tells_whether_a_version_is_there(registry: Registry, other: Registry, data: bytes) -> None:
    assert find(registry, receive(data)) == registry.find("net@1")
    assert find(other, receive(data)) is None
    assert find(registry, receive(data, "other-name")) is None
    assert not other.path.exists()


@pytest.mark.parametrize("name", ["../net", "", "Net", "a/b"])
def test_a_name_that_cannot_be(other: Registry, data: bytes, name: str) -> None:
    with pytest.raises(RegistryError, match="a model is named with"):
        other.add(data, name)
    assert not other.path.exists()


@pytest.mark.parametrize("name", [None, "mine"])
def test_damaged_bytes_are_refused_before_anything_is_written(other: Registry, data: bytes, name: str | None) -> None:
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    for bad in (b"", data[:-1], data + b"\0", bytes(flipped), data[:512], b"PK" + data):
        with pytest.raises(RegistryError, match="the file cannot be imported, it is damaged: "):
            other.add(bad, name)
    with pytest.raises(RegistryError, match="it is the remnant of a deleted version"):
        other.add(sealing.tombstone(), name)
    assert not other.path.exists()


@pytest.mark.parametrize("name", [None, "mine"])
def test_hostile_files_are_refused_before_anything_is_written(
    other: Registry, tmp_path: Path, name: str | None
) -> None:
    """The corpus of the reader, once more through this door; what is wrong with layers alone is found by loading."""
    refused, taken = 0, []
    for kind, data in hostile_files.corpus(tmp_path / "secret").items():
        try:
            receive(data, name)
            taken.append(kind)
        except RegistryError:
            refused += 1
            with pytest.raises(RegistryError, match="the file cannot be imported, it is damaged: "):
                other.add(data, name)
    assert refused > 60
    assert set(taken) == LAYERS
    assert not other.path.exists()


def test_layers_that_harm_are_found_by_loading(other: Registry, tmp_path: Path) -> None:
    corpus = hostile_files.corpus(tmp_path / "secret")
    for kind in sorted(LAYERS - {"manifest_with_the_name_of_another_model"}):
        version = other.add(corpus[kind])
        with pytest.raises(RegistryError, match=f"{version.ref} cannot be loaded: "):
            other.load(version.ref)


def test_a_disk_that_is_full_is_one_line(registry: Registry, data: bytes, tmp_path: Path) -> None:
    class Full(Files):
        def write(self, file: int, data: bytes | memoryview) -> None:
            raise OSError(28, "No space left on device", "x")

    full = Registry(tmp_path / "full", files=Full())
    with pytest.raises(RegistryError, match=r"cannot save net in .*full: No space left on device"):
        full.add(data)
    assert list(full.path.rglob("*.h5")) == []
