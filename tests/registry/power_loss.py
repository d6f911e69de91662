"""What a disk may hold after a power failure, from a record of the file operations before it.

A file's bytes are safe once the file was synced, and a name once its folder was; whatever else was done may have come
to the disk or not, each part for itself: names in any selection, bytes up to any point or as zeros.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cnnkit.registry import Files

FOLDER = -1
"""Stands for a folder where a file has its node."""
Step = Callable[["Disk"], None]
Tree = dict[Path, bytes | None]
"""Content by path, None for a folder."""


@dataclass
class Disk:
    """Nodes with their bytes, and names by folder: what was done, and how much of it is safe."""

    written: dict[int, bytes] = field(default_factory=dict)
    safe: dict[int, bytes] = field(default_factory=dict)
    names: dict[Path, int] = field(default_factory=dict)
    """The names that are safe."""
    pending: dict[Path, list[dict[Path, int | None]]] = field(default_factory=dict)
    """Changes of names in each folder since it was synced; each comes to the disk whole or not at all."""

    def change(self, names: dict[Path, int | None]) -> None:
        self.pending.setdefault(next(iter(names)).parent, []).append(names)

    def write(self, node: int, data: bytes) -> None:
        self.written[node] = self.written.get(node, b"") + data

    def sync(self, node: int) -> None:
        self.safe[node] = self.written.get(node, b"")

    def sync_folder(self, folder: Path) -> None:
        for names in self.pending.pop(folder, []):
            _apply(self.names, names)

    def after(self, keep_name: Callable[[], bool], keep_bytes: Callable[[bytes], bytes]) -> Tree:
        """What is there when the power is back."""
        names = dict(self.names)
        for changes in self.pending.values():
            for change in changes:
                if keep_name():
                    _apply(names, change)
        tree: Tree = {}
        for path, node in sorted(names.items()):
            if path.parent in tree or path.parent not in {*self.names, *self._made()}:
                safe = self.safe.get(node, b"")
                lost = self.written.get(node, b"")[len(safe) :]
                tree[path] = None if node == FOLDER else safe + keep_bytes(lost)
        return tree

    def _made(self) -> set[Path]:
        return {path for changes in self.pending.values() for change in changes for path in change}


def _apply(names: dict[Path, int], change: dict[Path, int | None]) -> None:
    for path, node in change.items():
        if node is None:
            names.pop(path, None)
        else:
            names[path] = node


class Recording(Files):
    """Files that record what changes the disk; `asleep`: as if no fsync had come to its end yet."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.asleep = False
        self.nodes: dict[Path, int] = {}
        self.opened: dict[int, int] = {}
        self.count = 0

    def create(self, path: Path) -> int:
        file = super().create(path)
        self.opened[file] = self._new(path)
        return file

    def open_end(self, path: Path) -> int:
        new = not path.exists()
        file = super().open_end(path)
        self.opened[file] = self._new(path) if new else self.nodes[path]
        return file

    def claim(self, path: Path) -> None:
        super().claim(path)
        self._new(path)

    def write(self, file: int, data: bytes | memoryview) -> None:
        super().write(file, data)
        node, copy = self.opened[file], bytes(data)
        self.steps.append(lambda disk: disk.write(node, copy))

    def sync(self, file: int) -> None:
        node = self.opened[file]
        if not self.asleep:
            self.steps.append(lambda disk: disk.sync(node))

    def sync_folder(self, path: Path) -> None:
        if not self.asleep:
            self.steps.append(lambda disk: disk.sync_folder(path))

    def link(self, source: Path, target: Path) -> None:
        super().link(source, target)
        self.nodes[target] = self.nodes[source]
        self._change({target: self.nodes[source]})

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        self.nodes[target] = self.nodes.pop(source)
        self._change({target: self.nodes[target], source: None})

    def remove(self, path: Path) -> None:
        super().remove(path)
        del self.nodes[path]
        self._change({path: None})

    def add_folder(self, path: Path) -> None:
        super().add_folder(path)
        self._change({path: FOLDER})

    def _new(self, path: Path) -> int:
        self.count += 1
        self.nodes[path] = self.count
        self._change({path: self.count})
        return self.count

    def _change(self, names: dict[Path, int | None]) -> None:
        self.steps.append(lambda disk: disk.change(names))


def failures(steps: list[Step], subsets: int) -> Iterator[tuple[int, Tree]]:
    """After each number of steps, what the disk may hold: the least, the most, and random subsets between them."""
    rng = random.Random(0)

    def some(lost: bytes) -> bytes:
        kept = rng.randint(0, len(lost))
        return lost[:kept] + rng.choice([b"", bytes(len(lost) - kept)])

    disk = Disk()
    for done in range(len(steps) + 1):
        yield done, disk.after(lambda: False, lambda lost: b"")
        yield done, disk.after(lambda: True, lambda lost: lost)
        for _ in range(subsets):
            yield done, disk.after(lambda: rng.random() < 0.5, some)
        if done < len(steps):
            steps[done](disk)
