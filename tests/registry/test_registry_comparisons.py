"""The place of a comparison: its plan and its runs, whole whatever fails, and carried out by one process."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from failing import Failing, PowerOff  # type: ignore[import-not-found]  # beside this file
from states import temporary_files  # type: ignore[import-not-found]  # beside this file

from cnnkit import Registry, Sequential
from cnnkit.errors import RegistryError
from cnnkit.registry import ComparisonFolder, Comparisons, Files
from cnnkit.registry.format.contents import pack

NAME = "net-20260301T120000-a1b2"
PLAN = {"seeds": [0, 1]}


def version(seed: int = 0) -> bytes:
    model = Sequential(["Dense(2)"], (3,), seed=seed)
    return bytes(pack(model, "net", model.state(), metrics={"accuracy": 0.5})[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a comparison with one run."""
    with ComparisonFolder(Files(), tmp_path / "template" / ".comparisons" / NAME) as place:
        place.begin(PLAN)
        place.keep("0-0", version())
    return place.folder


def test_plan_and_runs_come_back(folder: Path) -> None:
    with Comparisons(folder.parents[1]).find("latest") as place:
        plan = place.load()
        assert plan["seeds"] == [0, 1]
        assert plan["environment"]["python"]
        kept = place.kept("0-0")
        assert kept is not None
        assert kept[1].metrics == {"accuracy": 0.5}
        assert place.kept("0-1") is None
        assert Registry(folder.parents[1]).add(kept[0]).ref == "net@1"
        place.remove()
    assert Comparisons(folder.parents[1]).names() == []
    assert not folder.exists()


def test_a_model_listing_does_not_see_comparisons(folder: Path) -> None:
    store = Registry(folder.parents[1])
    assert (store.models(), store.verify(), store.leftovers()) == ([], [], [])


@pytest.mark.parametrize("content", [b"", b"half"])
def test_a_damaged_run_is_none(folder: Path, content: bytes) -> None:
    (folder / "0-0.h5").write_bytes(content)
    with ComparisonFolder(Files(), folder) as place:
        assert place.kept("0-0") is None


@pytest.mark.parametrize("run", ["", "0", "0-", "../0-0", "0-0.h5", "a-b"])
def test_a_run_is_called_by_its_position_and_seed(folder: Path, run: str) -> None:
    with (
        ComparisonFolder(Files(), folder) as place,
        pytest.raises(RegistryError, match="a run is named by its configuration and seed, such as '2-0', got"),
    ):
        place.keep(run, version())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", r"the plan .*plan\.json cannot be used: expected {'format': 'cnnkit comparison'"),
        (b'{"format": "cnnkit checkpoint", "format_version": 1}', r"cannot be used: expected {'format'"),
        (b"{", "its JSON cannot be read"),
    ],
)
def test_a_plan_that_is_none_is_refused(folder: Path, content: bytes, message: str) -> None:
    (folder / "plan.json").write_bytes(content)
    with ComparisonFolder(Files(), folder) as place, pytest.raises(RegistryError, match=message):
        place.load()


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(RegistryError, match=f"there is no unfinished comparison 'ne' in .*: there is {NAME}"):
        Comparisons(folder.parents[1]).find("ne")
    (folder / "plan.json").unlink()
    with (
        ComparisonFolder(Files(), folder) as place,
        pytest.raises(RegistryError, match=f"the comparison {NAME} has no plan: it has ended"),
    ):
        place.load()


def test_a_comparison_is_carried_out_by_one_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.registry.work_folders.PATIENCE", 0.05)
    with ComparisonFolder(Files(), folder) as place:
        place.load()
        with (
            ComparisonFolder(Files(), folder) as other,
            pytest.raises(RegistryError, match=f"the comparison {NAME} is being carried out by another process"),
        ):
            other.load()


class Broken(Files):
    """A disk that does not answer, or has no room."""

    def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def sync(self, file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "file")


def test_what_the_system_refuses_is_one_line(folder: Path) -> None:
    with ComparisonFolder(Broken(), folder) as place:
        with pytest.raises(RegistryError, match=r"cannot read the plan .*plan\.json: Input/output error$"):
            place.load()
        with pytest.raises(RegistryError, match=r"cannot keep a run in .*: No space left on device$"):
            place.keep("0-1", version())
        with pytest.raises(
            RegistryError, match=r"the registry at .* cannot store a comparison: No space left on device "
        ):
            place.begin(PLAN)


def test_what_was_killed_before_its_plan_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".comparisons" / NAME).mkdir(parents=True)
    place = Comparisons(tmp_path).new("net")
    assert not (tmp_path / ".comparisons" / NAME).exists()
    place.begin(PLAN)
    place.release()
    Comparisons(tmp_path).new("net")
    assert Comparisons(tmp_path).names() == [place.name]


def attempts(tmp_path: Path, folder: Path, change: Any, dead: bool) -> list[Path]:
    """Copies in which the change failed at its first operation, its second, and so on; the last is whole."""
    folders = []
    for at in range(1, 100):
        folders.append(shutil.copytree(folder, tmp_path / str(at) / NAME))
        failing = Failing(at, dead)
        place = ComparisonFolder(failing, folders[-1])
        with contextlib.suppress(RegistryError, OSError, PowerOff):
            change(place)
        failing.end()
        place.release()
        if failing.count < at:
            return folders
    raise AssertionError("the change has no end")


@pytest.mark.parametrize("dead", [False, True], ids=["error", "crash"])
def test_whatever_operation_fails_a_run_is_there_whole_or_not_at_all(tmp_path: Path, folder: Path, dead: bool) -> None:
    data = version(1)
    found = []
    for copy in attempts(tmp_path, folder, lambda place: place.keep("0-1", data), dead):
        with ComparisonFolder(Files(), copy) as place:
            assert place.load()["seeds"] == [0, 1]
            assert temporary_files(copy) == []
            assert place.kept("0-0") is not None
            assert (place.kept("0-1") is None) == (not (copy / "0-1.h5").exists())
            found.append(place.kept("0-1") is not None)
    assert set(found) == {False, True}
    assert found[-1]


@pytest.mark.parametrize("dead", [False, True], ids=["error", "crash"])
def test_whatever_operation_fails_it_is_removed_with_all_runs_or_cannot_be_gone_on_with(
    tmp_path: Path, folder: Path, dead: bool
) -> None:
    found = []
    for copy in attempts(tmp_path, folder, lambda place: place.remove(), dead):
        begun = (copy / "plan.json").exists()
        assert not begun or (copy / "0-0.h5").exists()
        root = copy.parent / "registry"
        (root / ".comparisons").mkdir(parents=True)
        if copy.exists():
            copy.rename(root / ".comparisons" / NAME)
        Comparisons(root).new("net")  # sweeps what is left
        assert (root / ".comparisons" / NAME).exists() == begun
        found.append(begun)
    assert set(found) == {False, True}
    assert not found[-1]


class InOrder(Files):
    """Gives the plan last, as a folder may, and tells what is done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def names(self, folder: Path) -> list[str]:
        return sorted(super().names(folder), key=lambda name: (name == "plan.json", name))

    def remove(self, path: Path) -> None:
        self.done.append(path.name)
        super().remove(path)

    def sync_folder(self, path: Path) -> None:
        self.done.append("sync")
        super().sync_folder(path)


def test_the_plan_is_removed_durably_before_any_run(folder: Path) -> None:
    files = InOrder()
    ComparisonFolder(files, folder).remove()
    assert files.done == ["plan.json", "sync", "0-0.h5"]
    assert not folder.exists()


def test_positive_control_a_run_written_in_place_is_half(tmp_path: Path, folder: Path) -> None:
    data = version(1)

    def in_place(place: ComparisonFolder) -> None:
        file = place._files.create(place.folder / "0-1.h5")
        place._files.write(file, data)

    _, written_half, *_ = attempts(tmp_path, folder, in_place, True)
    with ComparisonFolder(Files(), written_half) as place:
        assert (written_half / "0-1.h5").exists()
        assert place.kept("0-1") is None
