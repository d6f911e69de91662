"""The checkpoint of a run: one at a time, whole whatever fails, and trained by one process."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing import Failing, PowerOff  # type: ignore[import-not-found]  # beside this file
from states import temporary_files  # type: ignore[import-not-found]  # beside this file

from cnnkit.errors import RegistryError
from cnnkit.registry import Files, RunFolder, Runs
from cnnkit.registry import work_folders as module
from cnnkit.registry.format import sealing

ARRAYS = {"dense_1.weight": np.arange(6.0)}
NAME = "net-20260301T120000-a1b2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run whose checkpoint is that of step 1."""
    with RunFolder(Files(), tmp_path / "template" / ".runs" / NAME) as run:
        run.save({"step": 1}, ARRAYS)
    return run.folder


def load(folder: Path) -> Any:
    with RunFolder(Files(), folder) as run:
        return run.load()[0]["step"]


def test_a_checkpoint_comes_back_and_is_replaced(folder: Path) -> None:
    with Runs(folder.parents[1]).find("latest") as run:
        record, arrays = run.load()
        assert record["step"] == 1
        np.testing.assert_array_equal(arrays["dense_1.weight"], ARRAYS["dense_1.weight"])
        run.save({"step": 2}, ARRAYS)
    assert load(folder) == 2
    assert Runs(folder.parents[1]).names() == [NAME]
    run.remove()
    run.remove()
    assert Runs(folder.parents[1]).names() == []


def test_runs_that_are_not_there_are_named(tmp_path: Path, folder: Path) -> None:
    assert Runs(tmp_path).names() == []
    for name in ("latest", "other"):
        with pytest.raises(
            RegistryError, match=f"there is no interrupted run '{name}' in .*: a training leaves one when it is"
        ):
            Runs(tmp_path).find(name)
    with pytest.raises(RegistryError, match=f"there is no interrupted run 'ne' in .*: there is {NAME}"):
        Runs(folder.parents[1]).find("ne")
    (folder / "checkpoint.h5").unlink()
    with pytest.raises(RegistryError, match=f"the run {NAME} has no checkpoint: it ended or was stopped too early"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it has 0 bytes"),
        (bytes(sealing.pack(b"[]", {})), "expected {'format': 'cnnkit checkpoint'"),
        (bytes(sealing.pack(b'{"format": "cnnkit model", "format_version": 1}', {})), "expected {'format'"),
        (bytes(sealing.pack(b"{", {})), "its JSON cannot be read"),
    ],
)
def test_a_checkpoint_that_is_none_is_refused(folder: Path, content: bytes, reason: str) -> None:
    (folder / "checkpoint.h5").write_bytes(content)
    with pytest.raises(RegistryError, match=f"the checkpoint .* cannot be used: {reason}"):
        load(folder)


def test_a_run_is_trained_by_one_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.registry.work_folders.PATIENCE", 0.05)
    with RunFolder(Files(), folder) as run:
        run.load()
        with pytest.raises(RegistryError, match=f"the run {NAME} is being trained by another process"):
            load(folder)
    assert load(folder) == 1


def test_a_checkpoint_that_cannot_be_read_is_one_line(folder: Path) -> None:
    class Broken(Files):
        def read(self, path: Path, most: int, *, whole: bool = True, **options: Any) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    with (
        RunFolder(Broken(), folder) as run,
        pytest.raises(RegistryError, match=r"cannot read the checkpoint .*checkpoint\.h5: Input/output error$"),
    ):
        run.load()


def test_a_file_system_without_locks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    assert load(folder) == 1


def attempts(tmp_path: Path, folder: Path, change: Any, dead: bool) -> list[Path]:
    """Copies of the run in which the change failed at its first operation, its second, and so on; the last is whole."""
    folders = []
    for at in range(1, 100):
        folders.append(shutil.copytree(folder, tmp_path / str(at) / NAME))
        failing = Failing(at, dead)
        run = RunFolder(failing, folders[-1])
        with contextlib.suppress(RegistryError, OSError, PowerOff):
            change(run)
        failing.end()
        run.release()
        if failing.count < at:
            return folders
    raise AssertionError("the change has no end")


@pytest.mark.parametrize("dead", [False, True], ids=["error", "crash"])
def test_whatever_operation_fails_the_checkpoint_is_old_or_new(tmp_path: Path, folder: Path, dead: bool) -> None:
    steps = []
    for copy in attempts(tmp_path, folder, lambda run: run.save({"step": 2}, ARRAYS), dead):
        steps.append(load(copy))
        assert temporary_files(copy) == []
    assert set(steps) == {1, 2}
    assert steps[-1] == 2


def test_positive_control_a_checkpoint_written_in_place_is_caught(tmp_path: Path, folder: Path) -> None:
    def in_place(run: RunFolder) -> None:
        data = (run.folder / "checkpoint.h5").read_bytes()
        (run.folder / "checkpoint.h5").unlink()
        file = run._files.create(run.folder / "checkpoint.h5")
        run._files.write(file, data)

    _, written_half, *_ = attempts(tmp_path, folder, in_place, True)
    with pytest.raises(RegistryError, match="cannot be used: it should have"):
        load(written_half)


def test_a_folder_that_was_removed_meanwhile_is_no_lock(tmp_path: Path) -> None:
    place = Runs(tmp_path / "registry").new("net")
    place.save({}, {"dense_1.weight": np.zeros(2, np.float32)})
    shutil.rmtree(place.folder)
    place.save({}, {"dense_1.weight": np.zeros(2, np.float32)})
    assert not Runs(tmp_path / "registry").find(place.name).is_free()
    place.release()


def test_what_runs_that_were_killed_early_have_left_is_removed(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "registry")
    left = runs.new("net").folder
    left.mkdir(parents=True)
    (left / f".tmp-{'0' * 32}").touch()
    runs.new("net")
    assert not left.exists()


def test_the_latest_run_is_one_that_nobody_trains(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    first, second = runs.new("net"), runs.new("net")
    for run in (first, second):
        run.save({"step": 1}, ARRAYS)
    first.release()
    assert runs.find("latest").name == first.name
    second.release()
    with second:
        second.load()
        with runs.find(second.name) as other:
            assert not other.is_free()


def test_a_forked_process_leaves_the_locks_to_its_parent(folder: Path) -> None:
    run = RunFolder(Files(), folder)
    run.load()
    other = RunFolder(Files(), folder)
    assert not other.is_free()
    module._leave_to_parent()  # as in the child, whose coverage nobody measures
    run._lock = None
    assert other.is_free()
    other.release()


def test_a_forked_process_that_outlives_its_parent_keeps_no_lock(folder: Path) -> None:
    run = RunFolder(Files(), folder)
    run.load()
    (begun, tell), (wait, end) = os.pipe(), os.pipe()
    if not (child := os.fork()):
        os.close(end)
        os.write(tell, b".")
        os.read(wait, 1)
        os._exit(0)
    try:
        os.read(begun, 1)
        run.release()
        with RunFolder(Files(), folder) as other:
            assert other.is_free()
    finally:
        os.close(end)
        os.waitpid(child, 0)
        for pipe in (begun, tell, wait):
            os.close(pipe)


@pytest.mark.parametrize("odd", ["folder", "link"])
def test_what_has_no_regular_file_is_left_alone(tmp_path: Path, folder: Path, odd: str) -> None:
    path = folder / "checkpoint.h5"
    if odd == "link":
        path.rename(folder / "other.h5")
        path.symlink_to("other.h5")
    else:
        path.unlink()
        path.mkdir()
    runs = Runs(folder.parents[1])
    with runs.new("net") as run:
        run.save({"step": 1}, ARRAYS)
    assert runs.names() == [run.name]
    assert runs.find("latest").name == run.name
    assert os.path.lexists(path)


class Swept(Files):
    """Another training begins at the very moment in which the folder of this one is made."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        if self.times and path.parent.name == ".runs":
            self.times -= 1
            Runs(path.parents[1]).new("net")


@pytest.mark.parametrize("times", [1, 2, 5])
def test_the_first_checkpoint_is_written_although_its_folder_was_swept_away(tmp_path: Path, times: int) -> None:
    with Runs(tmp_path, Swept(times)).new("net") as run:
        run.save({"step": 1}, ARRAYS)
    assert load(run.folder) == 1


def test_a_folder_that_nobody_leaves_in_place_is_an_error(tmp_path: Path) -> None:
    with Runs(tmp_path, Swept(1000)).new("net") as run, pytest.raises(FileNotFoundError):
        run.save({"step": 1}, ARRAYS)
