"""Bundles: what is written, whole or not at all, and which zip files are taken in."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import hostile_zips  # type: ignore[import-not-found]  # beside this file
import numpy as np
import onnx
import pytest

import cnnkit.onnx.export
from cnnkit import api
from cnnkit.errors import CheckError, RegistryError
from cnnkit.network import Sequential
from cnnkit.plotting.network_picture import network_png
from cnnkit.registry import Registry, bundle
from cnnkit.registry.bundle import MAX_BUNDLE_BYTES, MEMBERS, read_version_file, write_bundle
from cnnkit.registry.format import sealing
from cnnkit.types import Preprocessing

TRAINED: dict[str, Any] = {
    "recipe": {"train": {"epochs": 2}},
    "history": {"loss": [2.0, 1.0], "accuracy": [0.5, 0.75]},
    "metrics": {"accuracy": 0.75},
    "dataset": {"name": "Digits()", "digest": "abc"},
}


@pytest.fixture
def version_file(registry: Registry, model: Sequential) -> bytes:
    return registry.save(model, "net").path.read_bytes()


def test_a_bundle_has_the_version_its_onnx_file_and_a_card(registry: Registry, tmp_path: Path) -> None:
    model = Sequential(
        ["Flatten()", "Dense(2)"],
        (1, 2, 2),
        labels=("no", "yes"),
        preprocessing=Preprocessing(1 / 16),
        input_dtype="uint8",
    )
    version = registry.save(model, "net", **TRAINED)
    assert api.export_bundle("net@1", tmp_path / "net.zip", registry) == tmp_path / "net.zip"
    with zipfile.ZipFile(tmp_path / "net.zip") as archive:
        assert tuple(archive.namelist()) == MEMBERS
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read("model.h5") == version.path.read_bytes()
        proto = onnx.load_model_from_string(archive.read("model.onnx"))
        assert archive.read("curves.png").startswith(b"\x89PNG")
        assert archive.read("network.png") == network_png(model, "net@1")
        card = archive.read("card.md").decode()
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert (metadata["reference"], metadata["digest"], metadata["dataset"]) == ("net@1", version.digest, "Digits()")
    assert f"| digest (sha256) | `{version.digest}` |" in card
    assert "compared on `random inputs`" in card
    assert "![Loss and metrics by epoch](curves.png)" in card
    assert "## Layers\n\n![The layers and what each takes](network.png)\n\n| name |" in card
    assert (tmp_path / "net.zip").stat().st_mode & 0o777 == 0o644
    assert read_version_file(tmp_path / "net.zip") == version.path.read_bytes()


def test_the_same_version_gives_the_same_bytes(registry: Registry, model: Sequential, tmp_path: Path) -> None:
    registry.save(model, "net", **TRAINED)
    for name in ("a.zip", "b.zip"):
        api.export_bundle("net@1", tmp_path / name, str(registry.path))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_without_matplotlib_no_word_is_said_of_pictures(
    registry: Registry, model: Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    registry.save(model, "net", **TRAINED)
    api.export_bundle("net@1", tmp_path / "net.zip", registry)
    with zipfile.ZipFile(tmp_path / "net.zip") as archive:
        assert tuple(archive.namelist()) == MEMBERS[:3]
        assert b".png" not in archive.read("card.md")
        assert b"matplotlib" not in archive.read("card.md")


def test_a_network_too_large_for_a_picture_goes_without_one(registry: Registry, tmp_path: Path) -> None:
    registry.save(Sequential(["ReLU()"] * 601 + ["Dense(2)"], (4,)), "net", **TRAINED)
    api.export_bundle("net@1", tmp_path / "net.zip", registry)
    with zipfile.ZipFile(tmp_path / "net.zip") as archive:
        assert archive.namelist() == [name for name in MEMBERS if name != "network.png"]
        assert b"network.png" not in archive.read("card.md")


def test_a_wrong_onnx_file_goes_into_no_bundle(
    registry: Registry, model: Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = cnnkit.onnx.export.to_onnx

    def wrong(*arguments: Any, **options: Any) -> onnx.ModelProto:
        proto = original(*arguments, **options)
        weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense_1.weight")
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 2, weight.name))
        return proto

    registry.save(model, "net")
    monkeypatch.setattr(cnnkit.onnx.export, "to_onnx", wrong)
    (tmp_path / "net.zip").write_bytes(b"PK\x03\x04 what was there")
    with pytest.raises(CheckError, match=r"(?s)net.zip was not written: .* would differ from those of net@1\n.*FAIL"):
        api.export_bundle("net@1", tmp_path / "net.zip", registry)
    assert (tmp_path / "net.zip").read_bytes() == b"PK\x03\x04 what was there"


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_nothing_half_written_stays(
    registry: Registry, model: Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    registry.save(model, "net")
    record = registry.read("net@1")
    (tmp_path / "net.zip").write_bytes(b"PK\x03\x04 what was there")
    before = sorted(tmp_path.iterdir())

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(RegistryError, match=r"cannot write .*net\.zip: No space left on device"):
            write_bundle(tmp_path / "net.zip", record, {})
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "net.zip").read_bytes() == b"PK\x03\x04 what was there"
    write_bundle(tmp_path / "net.zip", record, {})
    assert read_version_file(tmp_path / "net.zip") == record.version.path.read_bytes()


def test_members_in_files_give_the_same_bundle(registry: Registry, model: Sequential, tmp_path: Path) -> None:
    registry.save(model, "net")
    record, data = registry.read("net@1"), b"x" * 3_000_000
    (tmp_path / "any.onnx").write_bytes(data)
    write_bundle(tmp_path / "memory.zip", record, {"card.md": b"card", "model.onnx": data})
    write_bundle(tmp_path / "files.zip", record, {"model.onnx": tmp_path / "any.onnx", "card.md": b"card"})
    assert (tmp_path / "files.zip").read_bytes() == (tmp_path / "memory.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "files.zip") as archive:
        assert archive.namelist() == ["model.h5", "model.onnx", "card.md"]
        assert archive.read("model.onnx") == data


def test_a_version_that_is_deleted_meanwhile_is_not_exported(
    registry: Registry, model: Sequential, tmp_path: Path
) -> None:
    registry.save(model, "net")
    record = registry.read("net@1")
    registry.delete("net@1")
    with pytest.raises(RegistryError, match="net@1 was deleted or replaced a moment ago"):
        write_bundle(tmp_path / "net.zip", record, {})
    record.version.path.unlink()
    with pytest.raises(RegistryError, match="cannot read net@1: No such file or directory"):
        write_bundle(tmp_path / "net.zip", record, {})
    assert not (tmp_path / "net.zip").exists()


def test_a_bundle_has_a_largest_size(
    registry: Registry, model: Sequential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save(model, "net")
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 66_000)
    with pytest.raises(RegistryError, match=r"a bundle may have at most 66,000 bytes, this one would have 2\d,\d\d\d"):
        write_bundle(tmp_path / "net.zip", registry.read("net@1"), {"card.md": b"x" * 20_000})
    assert not (tmp_path / "net.zip").exists()


@pytest.mark.parametrize("target", ["no/such/net.zip", "registry"])
def test_a_target_that_cannot_be_is_found_before_the_work(
    registry: Registry, model: Sequential, tmp_path: Path, target: str
) -> None:
    registry.save(model, "net")
    with pytest.raises(RegistryError, match="expected the name of a file in a folder that exists"):
        api.export_bundle("net@1", tmp_path / target, registry)


@pytest.mark.parametrize("name", sorted(hostile_zips.BUILDS))
def test_a_hostile_zip_is_refused(name: str, version_file: bytes, tmp_path: Path) -> None:
    build, reason = hostile_zips.BUILDS[name]
    path = tmp_path / "hostile.zip"
    path.write_bytes(build(version_file))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RegistryError, match=r"hostile\.zip is not a usable cnnkit bundle: ") as refused:
        read_version_file(path)
    assert reason in str(refused.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_corpus_can_fail(version_file: bytes, tmp_path: Path) -> None:
    path = tmp_path / "good.zip"
    path.write_bytes(hostile_zips.good(version_file))
    assert read_version_file(path) == version_file
    assert len(hostile_zips.BUILDS) > 30
    taken = {name for name, (build, _) in hostile_zips.BUILDS.items() if _naive(build(version_file))}
    assert taken == hostile_zips.NAIVE  # what a reader without checks takes in
    assert len(taken) > 15


def _naive(data: bytes) -> bool:
    try:
        return bool(hostile_zips.naive(data))
    except Exception:  # the module finds by itself that something is wrong
        return False


def test_a_damaged_bundle_gives_the_right_bytes_or_none(version_file: bytes, tmp_path: Path) -> None:
    """One flipped bit at a time in everything but the payload, which its own hash guards, and cuts at any place."""
    good = hostile_zips.good(version_file)
    rng = np.random.default_rng(0)
    path = tmp_path / "bundle.zip"
    start = good.index(version_file)
    around = [*range(start + 64), *range(start + len(version_file), len(good))]
    refused = 0
    mutants = []
    for at in rng.choice(around, 300, replace=False).tolist():
        flipped = bytearray(good)
        flipped[at] ^= 1 << int(rng.integers(8))
        mutants.append(bytes(flipped))
    mutants += [good[:cut] for cut in rng.choice(len(good), 100, replace=False).tolist()]
    for mutant in mutants:
        path.write_bytes(mutant)
        try:
            assert read_version_file(path) == version_file
        except RegistryError:
            refused += 1
    assert refused > 200


def test_a_version_file_is_given_as_it_is(version_file: bytes, registry: Registry, tmp_path: Path) -> None:
    assert read_version_file(registry.find("net").path) == version_file
    (tmp_path / "link.h5").symlink_to(registry.find("net").path)
    assert read_version_file(tmp_path / "link.h5") == version_file  # the user's own link
    assert sealing.check(version_file)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x89HDF\r\n\x1a\n", b"PK\x05\x06" + bytes(18)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.h5"
    path.write_bytes(content)
    with pytest.raises(RegistryError, match=r"expected a version file \(.h5\) or a bundle \(.zip\) of cnnkit"):
        read_version_file(path)


@pytest.mark.parametrize(
    ("start", "size", "text"),
    [
        (
            sealing.tombstone(),
            sealing.MAX_MODEL_FILE_BYTES,
            "cannot be imported, it is damaged: it should have 512 bytes and has 4,294,967,296",
        ),
        (b"PK\x03\x04", sealing.MAX_MODEL_FILE_BYTES, "is not a usable cnnkit bundle: it has 4,294,967,296 bytes"),
        (b"PK\x03\x04", MAX_BUNDLE_BYTES, "is not a usable cnnkit bundle: it is truncated"),
        (b"", sealing.MAX_MODEL_FILE_BYTES, "expected a version file"),
    ],
)
def test_a_large_file_is_judged_by_its_start_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes, size: int, text: str
) -> None:
    path = tmp_path / "sparse"
    path.write_bytes(start)
    os.truncate(path, size)
    monkeypatch.setattr("builtins.open", None)  # by which a file is read whole
    with pytest.raises(RegistryError, match=text):
        read_version_file(path)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"cannot read .*none.zip: No such file or directory"):
        read_version_file(tmp_path / "none.zip")
    with pytest.raises(RegistryError, match="must be a regular file"):
        read_version_file(tmp_path)
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(RegistryError, match="must be a regular file"):
        read_version_file(tmp_path / "pipe.zip")
    (tmp_path / "loop.zip").symlink_to("loop.zip")
    with pytest.raises(RegistryError, match=r"cannot read .*loop.zip"):
        read_version_file(tmp_path / "loop.zip")


def test_a_bundle_from_another_zip_program_is_read(version_file: bytes, tmp_path: Path) -> None:
    """Stored, but with times and Unix fields, and in another order."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in (("card.md", b"x"), ("model.h5", version_file)):
            entry = zipfile.ZipInfo(name, (2026, 3, 1, 12, 0, 0))
            entry.extra = b"UT\x05\x00\x01\x00\x00\x00\x00"
            archive.writestr(entry, data)
    (tmp_path / "net.zip").write_bytes(file.getvalue())
    assert read_version_file(tmp_path / "net.zip") == version_file
