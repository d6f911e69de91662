"""Two users of one group, and a reader who holds a lock: each a process with a user id of its own, which needs root."""

from __future__ import annotations

import collections
import errno
import fcntl
import functools
import importlib.metadata
import json
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, Runs
from cnnkit.registry import files as module

GROUP, OTHER = 60_100, 60_101
USERS = 60_001, 60_002
READER = 60_003
MODEL = Sequential(["Dense(2)"], (3,))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


def as_user(user: int, group: int, action: Callable[[], Any], umask: int = 0o002) -> Callable[[], Any]:
    """Begin an action in a process of a user; what is returned waits for its answer, as JSON has it, or its error."""
    told, tell = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            os.umask(umask)
            answer = json.dumps(action())
        except BaseException as error:
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        os.write(tell, answer.encode())
        os._exit(0)
    os.close(tell)

    def answer_of() -> Any:
        with os.fdopen(told, "rb") as stream:
            answer = json.load(stream)
        os.waitpid(child, 0)
        return answer

    return answer_of


@pytest.fixture(scope="module")
def read_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The modules and versions that the users' work asks for: they may not be able to read a private environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "version", functools.cache(importlib.metadata.version))
        work(tmp_path_factory.mktemp("read_before"), 0, 2)
        yield


@pytest.fixture
def shared(read_before: None) -> Iterator[Path]:
    """A folder of the group, which the users can reach: pytest closes its own to everyone else."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o711)
        folder = Path(place) / "models"
        folder.mkdir()
        os.chown(folder, 0, GROUP)
        folder.chmod(0o2775)
        yield folder


def work(folder: Path, seed: int, changes: int) -> dict[str, Any]:
    """Saves, deletes, notes and lists by turns; what was saved and deleted."""
    registry = Registry(folder)
    saved: list[int] = []
    deleted: list[int] = []
    for step in range(changes):
        saved.append(registry.save(MODEL, "net").number)
        registry.set_tag(f"net@{saved[-1]}", "by", str(seed))
        registry.set_alias(f"net@{saved[-1]}", "newest")
        listed = {entry.version.number: entry.problem for entry in registry.search()}
        assert saved[-1] in listed
        assert not any(listed.values()), listed
        if step % 2:
            number = saved[-2]
            registry.delete(f"net@{number}")
            deleted.append(number)
        with Runs(folder).new("net") as run:
            run.save({"step": step}, {})
            run.remove()
    return {"saved": saved, "deleted": deleted}


def check_two_users(shared: Path, changes: int, umask: int) -> None:
    waiting = [
        as_user(user, GROUP, lambda user=user: work(shared, user, changes), umask)  # type: ignore[misc]  # mypy gives no type to a lambda with a default
        for user in USERS
    ]
    answers = [wait() for wait in waiting]
    assert [answer.get("error") for answer in answers] == [None, None], answers
    saved = sorted(number for answer in answers for number in answer["saved"])
    deleted = {number for answer in answers for number in answer["deleted"]}
    assert saved == list(range(1, 2 * changes + 1))
    registry = Registry(shared)
    assert {version.number for version in registry.versions("net")} == set(saved) - deleted
    assert len(deleted) == changes // 2 * 2
    assert registry.verify() == []
    owners = collections.Counter(path.stat().st_uid for path in (shared / "net").glob("v*.h5"))
    assert set(owners) == set(USERS)
    for path in (shared / "net").iterdir():
        assert (stat.S_IMODE(path.stat().st_mode) & 0o660, path.stat().st_gid) == (0o660, GROUP), path


@needs_root
@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077], ids=oct)
def test_two_users_share_a_registry(shared: Path, umask: int) -> None:
    check_two_users(shared, 10, umask)


@needs_root
@pytest.mark.full
def test_two_users_share_a_registry_full(shared: Path) -> None:
    check_two_users(shared, 100, 0o002)


@needs_root
def test_positive_control_with_the_modes_of_the_umask_the_second_fails(shared: Path) -> None:
    class Own(Files):
        """Files as a umask of 022 makes them."""

        def share(self, file: int, folder: Path) -> None:
            os.fchmod(file, 0o644)

        def open_end(self, path: Path) -> int:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

        def add_folder(self, path: Path) -> None:
            path.mkdir()

    def save() -> str:
        return Registry(shared, files=Own()).save(MODEL, "net").ref

    assert as_user(USERS[0], GROUP, save, 0o022)() == "net@1"
    assert "cannot save net in" in as_user(USERS[1], GROUP, save, 0o022)()["error"]


@needs_root
def test_what_is_not_shared_stays_with_its_owner(shared: Path) -> None:
    """In a folder whose group is not that of new files, their group is another one: it gets nothing."""
    shared.chmod(0o777)
    as_user(USERS[0], OTHER, lambda: Registry(shared).save(MODEL, "net").ref, 0o022)()
    assert stat.S_IMODE((shared / "net").stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in (shared / "net").iterdir()} == {0o644}


@needs_root
def test_a_version_that_is_closed_to_the_user_is_a_row_that_says_so(shared: Path) -> None:
    registry = Registry(shared)
    for _ in range(2):
        registry.save(MODEL, "net")  # which keeps the facts that a listing shows
    registry.find("net@1").path.chmod(0o600)
    listed = as_user(USERS[0], GROUP, lambda: {entry.ref: entry.problem for entry in Registry(shared).search()})()
    assert listed == {"net@1": "it cannot be read: Permission denied", "net@2": ""}


@needs_root
def test_a_reader_cannot_lock_out_writers_for_ever(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(USERS[0], GROUP, lambda: Registry(shared).save(MODEL, "net").ref)()
    (begun, tell), (wait, end) = os.pipe(), os.pipe()

    def lock() -> None:
        file = os.open(shared / "net", os.O_RDONLY)
        fcntl.flock(file, fcntl.LOCK_EX)
        os.close(end)
        os.write(tell, b".")
        os.read(wait, 1)

    ended = as_user(READER, OTHER, lock)
    os.close(tell)
    assert os.read(begun, 1) == b".", ended()
    monkeypatch.setattr(module, "TOLD", 0.05)
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    try:
        with (
            pytest.warns(UserWarning, match=r"^waiting for another process that holds the lock of .*net$"),
            pytest.raises(
                RegistryError, match=r"has held the lock of .*net for 0\.3 seconds: nothing was changed; try again"
            ),
        ):
            Registry(shared).set_alias("net@1", "best")
        assert Registry(shared).save(MODEL, "net").number == 2  # which needs no lock
        assert Registry(shared).aliases("net") == {}
    finally:
        os.close(end)
        ended()
        for pipe in (begun, wait):
            os.close(pipe)
    assert Registry(shared).set_alias("net@1", "best").number == 1


def test_a_lock_that_is_given_up_in_time_is_taken(tmp_path: Path) -> None:
    file = Files().lock(tmp_path)
    taken: list[int] = []
    waiting = threading.Thread(target=lambda: taken.append(Files().lock(tmp_path)))
    waiting.start()
    time.sleep(0.05)
    assert taken == []
    Files().close(file)
    waiting.join(600)
    Files().close(taken[0])


def test_threads_leave_the_umask_as_it_was(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        registries = [Registry(tmp_path / str(number)) for number in range(4)]
        threads = [threading.Thread(target=registry.save, args=(MODEL, "net")) for registry in registries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        assert os.umask(before) == 0o027
    assert {stat.S_IMODE(registry.find("net").path.stat().st_mode) for registry in registries} == {0o640}


def test_a_file_system_without_locks_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    Registry(tmp_path).save(MODEL, "net")
    assert Registry(tmp_path).set_alias("net@1", "best").number == 1
