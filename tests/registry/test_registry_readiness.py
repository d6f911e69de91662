"""What would keep a model from being registered is found before it is trained, and nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Registry, Runs, digest_log


def linked(path: Path) -> None:
    path.rename(path.with_name(".other"))
    path.symlink_to(path.with_name(".other"))


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def crlf(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def last_number(path: Path) -> None:
    path.write_bytes(digest_log.record(digest_log.COMMIT, 999_999_999, "0" * 64))


def to_file(path: Path) -> None:
    path.rmdir()
    path.touch()


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "the log is a link": ("net/digests.log", linked, "digests.log must be a regular file; it is a link"),
    "the log is a folder": ("net/digests.log", as_folder, "digests.log must be a regular file"),
    "the log is gone": ("net/digests.log", Path.unlink, "is missing, and a new one would not know the versions"),
    "autocrlf": ("net/digests.log", crlf, "text files were changed by autocrlf, .* see 'Registries in git' in"),
    "no number is left": ("net/digests.log", last_number, "has no version number left: v999999999.h5 is the last one"),
    "the model is a link": ("net", linked, "net must be a folder; it is a link or a file"),
    "the registry is a file": (
        ".",
        lambda path: linked_to_file(path),
        "registry is not a folder that can be written to",
    ),
    "checkpoints cannot be kept": (
        ".runs",
        to_file,
        ".runs is not a folder that can",
    ),
}


def linked_to_file(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.touch()


@pytest.mark.parametrize("kind", BROKEN)
def test_what_a_save_would_meet_is_found_before(registry: Registry, model: Sequential, kind: str) -> None:
    registry.save(model, "net")
    (registry.path / ".runs").mkdir()
    registry.check_save("net")
    below, change, message = BROKEN[kind]
    change(Path(os.path.normpath(registry.path / below)))
    with pytest.raises(
        RegistryError, match=rf"cannot store the model 'net': .*{message}.*; choose another registry with"
    ):
        registry.check_save("net")
    if kind != "checkpoints cannot be kept":  # it says what is so
        with pytest.raises(RegistryError):
            registry.save(model, "net")


def test_a_check_writes_nothing(registry: Registry, model: Sequential, tmp_path: Path) -> None:
    registry.check_save("net", 1000)
    assert list(tmp_path.iterdir()) == []
    registry.save(model, "net")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    registry.check_save("net")
    registry.check_save("other")
    (registry.path / "empty").mkdir()
    registry.check_save("empty")
    assert {path: path.stat().st_mtime_ns for path in before if path != registry.path} == {
        path: when for path, when in before.items() if path != registry.path
    }
    with pytest.raises(RegistryError, match="a model is named with"):
        registry.check_save("../x")


@pytest.mark.parametrize(
    ("room", "message"),
    [
        ({"f_bavail": 10}, r"has 40,960 bytes left, a version of this model takes up to 2,048,576; choose"),
        ({"f_favail": 0}, "the file system of .* has no room for more files; choose"),
    ],
)
def test_a_full_disk_is_found_before(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, room: dict[str, int], message: str
) -> None:
    status = {"f_bavail": 10**6, "f_frsize": 4096, "f_files": 100, "f_favail": 50}
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**status | room))
    with pytest.raises(RegistryError, match=message):
        registry.check_save("net", 10**6)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**status | {"f_files": 0, "f_favail": 0}))
    registry.check_save("net", 10**6)


def test_what_the_system_refuses_is_one_line(
    registry: Registry, model: Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save(model, "net")
    opened = os.open

    def refuse(path: str, flags: int, *arguments: int, **options: int) -> int:
        if path == "digests.log":
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RegistryError, match=r"cannot store the model 'net': digests\.log: Permission denied; choose"):
        registry.check_save("net")


def test_the_home_folder_is_meant_by_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Sequential
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Registry("~/models").path == tmp_path / "models"
    monkeypatch.setenv("CNNKIT_REGISTRY", "~/models")
    assert Registry().save(model, "net").path == tmp_path / "models" / "net" / "v000001.h5"
    assert Runs(Path("~/models")).folder == tmp_path / "models" / ".runs"
