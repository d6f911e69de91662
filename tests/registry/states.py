"""What changes a registry, and all that a reader can see of one: the material of harnesses that let changes fail."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnnkit.network import Sequential
from cnnkit.registry import Registry, commit
from cnnkit.registry import digest_log as digest_log
from cnnkit.registry.format import sealing

Action = Callable[[Registry], object]
MODEL = Sequential(["Dense(2)"], (3,))
ACTIONS: dict[str, Action] = {
    "save": lambda registry: registry.save(MODEL, "net"),
    "first save": lambda registry: registry.save(MODEL, "new"),
    "alias": lambda registry: registry.set_alias("net@2", "champion"),
    "remove alias": lambda registry: registry.remove_alias("net", "champion"),
    "delete": lambda registry: registry.delete("net@2"),
}
DEAD = f".tmp-{'0' * 32}"
"""A temporary file of a process that is no more."""


def fresh(folder: Path) -> Path:
    """A registry with net@1, to which the alias champion points, and net@2."""
    registry = Registry(folder)
    registry.save(MODEL, "net")
    registry.save(MODEL, "net")
    registry.set_alias("net@1", "champion")
    return folder


def state(folder: Path) -> tuple[object, ...]:
    """All that a reader can see; reading it proves every version whole."""
    registry = Registry(folder)
    seen = []
    for name in registry.models():
        numbers = []
        for version in registry.versions(name):
            np.testing.assert_array_equal(
                registry.load(version.ref).state()["dense_1.weight"], MODEL.state()["dense_1.weight"]
            )
            numbers.append(version.number)
        seen.append((name, tuple(numbers), tuple(registry.aliases(name).items())))
    return tuple(seen)


def temporary_files(folder: Path) -> list[str]:
    """What an operation has left that was not brought to its end."""
    return [name for _, _, names in os.walk(folder) for name in names if commit.TEMPORARY.fullmatch(name)]


def save_in_place(registry: Registry) -> None:
    """Positive control: the log is kept as it should be, but the bytes come under the version's name one by one."""
    files, folder = registry._files, registry.path / "net"
    described = dataclasses.replace(registry.read("net").manifest, settings={"saved": "in place"})
    data = sealing.pack(described.encode(), MODEL.state())
    digest = sealing.check(bytes(data))
    files.append(folder / digest_log.LOG, digest_log.record(digest_log.INTENT, 3, digest))
    file = files.create(folder / commit.version_file(3))
    files.write(file, data[: len(data) // 2])
    files.write(file, data[len(data) // 2 :])
    files.close(file)
    files.append(folder / digest_log.LOG, digest_log.record(digest_log.COMMIT, 3, digest))
