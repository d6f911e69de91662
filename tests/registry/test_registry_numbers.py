"""Numbers: none is used twice, whatever was lost or deleted; and numbers of NumPy in what is saved."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, commit, digest_log


def test_numbers_of_numpy_are_kept_as_numbers(registry: Registry, model: Sequential) -> None:
    metrics = {"accuracy": np.float32(0.5), "count": np.int64(3)}
    version = registry.save(model, "net", metrics=metrics, recipe=MappingProxyType({"train": {"epochs": np.int64(2)}}))
    assert registry.read(version.ref).manifest.metrics == {"accuracy": 0.5, "count": 3}
    (entry,) = registry.search("accuracy=0.5")
    assert entry.version == version
    assert registry.search("train.epochs=2")


@pytest.mark.parametrize("lost", [3, 2])
def test_the_number_of_a_lost_version_is_not_used_again(registry: Registry, model: Sequential, lost: int) -> None:
    for _ in range(3):
        registry.save(model, "net")
    if lost == 2:
        registry.delete("net@3")
        lost = 3
    (registry.path / "net" / f"v{lost:06}.h5").unlink()
    version = registry.save(model, "net")
    assert version.number == 4
    assert registry.read("net@4")
    assert [problem.path.name for problem in registry.verify()] == ["v000003.h5"]


def test_many_deletions_do_not_hide_the_highest_number(registry: Registry, model: Sequential) -> None:
    folder = registry.path / "net"
    digest = [registry.save(model, "net") for _ in range(3)][-1].digest
    (folder / "v000003.h5").rename(folder / "v000090.h5")  # far behind, as after many saves
    registry._files.append(folder / digest_log.LOG, digest_log.record(digest_log.COMMIT, 90, digest))
    for _ in range(60):  # the end of the log has nothing else
        registry._files.append(folder / digest_log.LOG, digest_log.record(digest_log.DELETE, 1, "0" * 64))
    assert registry.save(model, "net").number == 91


def test_a_lost_log_is_not_begun_anew(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    (registry.path / "net" / digest_log.LOG).unlink()
    with pytest.raises(RegistryError, match=r"the digest log .* is missing, and a new one would not know the versions"):
        registry.save(model, "net")
    assert registry.read("net@1")


def test_a_log_that_could_not_be_read_is_not_begun(
    registry: Registry, model: Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = registry.save(model, "net").path.with_name(digest_log.LOG)
    monkeypatch.setattr(digest_log, "MAX_LOG_BYTES", path.stat().st_size + digest_log.END_BYTES)
    registry.save(model, "net")
    with pytest.raises(RegistryError, match=r"the digest log .* bytes and cannot grow, .* use another name"):
        registry.save(model, "net")
    assert registry.read("net@2")
    os.truncate(path, 2**40)  # a sparse file, which takes no room
    with pytest.raises(RegistryError, match=r"has 1,099,511,627,776 bytes; at most"):
        registry.read("net@2")


def test_facts_that_are_too_many_begin_anew(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    path = registry.path / "net" / commit.FACTS
    os.truncate(path, 2**40)
    registry.save(model, "net")
    assert path.stat().st_size < 4096
    assert [entry.ref for entry in registry.search()] == ["net@1", "net@2"]


def test_an_imported_file_is_added_once_however_often_at_once(
    registry: Registry, model: Sequential, tmp_path: Path
) -> None:
    data = registry.save(model, "net").path.read_bytes()
    other = Registry(tmp_path / "other")
    with ThreadPoolExecutor(6) as pool:
        versions = list(pool.map(lambda _: other.add(data).number, range(6)))
    assert versions == [1] * 6


class Taken(Files):
    """A file system without hard links, on which somebody else is always faster once."""

    faster = True

    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def claim(self, path: Path) -> None:
        if self.faster:
            self.faster = False
            path.touch()
        super().claim(path)


def test_a_number_that_is_taken_at_this_moment_is_left(registry: Registry, model: Sequential) -> None:
    assert Registry(registry.path, files=Taken()).save(model, "net").number == 2
    assert [version.number for version in registry.versions("net")] == [2]
    assert registry.verify() == []


def test_a_listing_has_aliases_and_keeps_the_notes_of_what_is_there(registry: Registry, model: Sequential) -> None:
    registry.save(model, "net")
    registry.set_alias("net@1", "champion")
    registry.set_tag("net@1", "stage", "live")
    (entry,) = registry.search()
    assert (entry.aliases, entry.tags) == (("champion",), {"stage": "live"})
    assert registry.leftovers() == []
    os.truncate(entry.version.path, 100)  # damaged is not deleted
    assert registry.leftovers() == []
