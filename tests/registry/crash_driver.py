"""Writers that are killed or race each other; prints what became of their versions as one JSON object.

usage: crash_driver.py kill|race safe|naive|renaming FOLDER COUNT
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnnkit.errors import RegistryError
from cnnkit.registry import Files, Manifest, Registry, commit
from cnnkit.registry.format import sealing
from cnnkit.types import Preprocessing

Save = Callable[[Path, bytes], int]
PAYLOAD = {"dense_1.weight": np.arange(50_000, dtype=np.float32)}
MANIFEST = Manifest(
    name="net",
    created="2026-03-01T12:00:00+00:00",
    layers=("Dense(1)",),
    components={},
    input_shape=(50_000,),
    input_dtype="float32",
    labels=(),
    preprocessing=Preprocessing(),
    seed=0,
    dtype="float32",
    state=tuple(PAYLOAD),
    versions={},
    environment={},
)


class Stopping(Files):
    """Stops its process in the middle of the first write, so that whoever waits for that can kill it there."""

    def write(self, file: int, data: bytes | memoryview) -> None:
        super().write(file, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGSTOP)


def save_safely(folder: Path, data: bytes, files: Files | None = None) -> int:
    files = files or Files()
    with commit.prepared(files, folder):
        return commit.register(files, folder, data, sealing.check(data))


def save_half(folder: Path, data: bytes) -> int:
    return save_safely(folder, data, Stopping())


def save_naively(folder: Path, data: bytes, pause: float = 0.002) -> int:
    """In place, under the number after the last: what a crash tears and a race loses.

    It pauses where it is vulnerable, so that the harnesses meet it there on any machine, however busy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max(filter(None, map(commit.number_of, os.listdir(folder))), default=0)
    time.sleep(0.001)
    with (folder / commit.version_file(number)).open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(pause)
        file.write(data[len(data) // 2 :])
    return number


def save_by_renaming(folder: Path, data: bytes) -> int:
    """Whole files, but renamed to the number after the last: what two writers that saw the same last one lose."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max(filter(None, map(commit.number_of, os.listdir(folder))), default=0)
    path = folder / f"{os.getpid()}.tmp"
    path.write_bytes(data)
    time.sleep(0.001)
    path.rename(folder / commit.version_file(number))
    return number


def write(save: Save, folder: Path, writer: int, count: int, acknowledged: int) -> None:
    for i in range(count):
        manifest = dataclasses.replace(MANIFEST, settings={"writer": writer, "i": i})
        data = bytes(sealing.pack(manifest.encode(), PAYLOAD))
        number = save(folder, data)
        os.write(acknowledged, f"{number} {sealing.header(data)[1]}\n".encode())


def kill(save: Save, folder: Path, count: int) -> tuple[list[list[str]], dict[str, int]]:
    """One writer after the other, each killed at a random moment after its first acknowledgement.

    Every fourth one of the safe writers is killed where it has stopped, in the middle of a file.
    """
    moments = random.Random(0)
    acknowledged = []
    for writer in range(count):
        stops = save is save_safely and writer % 4 == 0
        reader, sender = os.pipe()
        if (child := os.fork()) == 0:
            os.close(reader)
            write(save_half if stops else save, folder, writer, 10_000, sender)
            os._exit(0)
        os.close(sender)
        with os.fdopen(reader, "rb") as stream:
            if stops:
                os.waitpid(child, os.WUNTRACED)
            else:
                acknowledged.append(stream.readline().decode().split())
                time.sleep(moments.uniform(0.0, 0.03))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            acknowledged += [line.decode().split() for line in stream.read().splitlines()]
    return acknowledged, {}


def read_latest(folder: Path) -> dict[str, int]:
    seen = {"reads": 0, "parts": 0}
    for path in sorted(folder.glob("v*.h5"))[-3:]:
        try:
            sealing.check(path.read_bytes())
        except RegistryError:
            seen["parts"] += 1
        seen["reads"] += 1
    return seen


def verify(folder: Path) -> dict[str, int]:
    problems = Registry(folder.parent).verify() if folder.parent.exists() else []
    return {"verifications": 1, "complaints": len(problems)}


def race(save: Save, folder: Path, count: int) -> tuple[list[list[str]], dict[str, int]]:
    """Eight writers at once, and two readers: one reads the latest versions all the time, one verifies all."""
    finished, finish = os.pipe()
    readers = []
    for read in (read_latest, verify):
        answer, sender = os.pipe()
        if os.fork() == 0:
            os.close(finish)
            seen: collections.Counter[str] = collections.Counter()
            while not select.select([finished], [], [], 0)[0]:
                seen.update(read(folder))
            os.write(sender, json.dumps(seen).encode())
            os._exit(0)
        os.close(sender)
        readers.append(answer)
    told, tell = os.pipe()
    for writer in range(8):
        if os.fork() == 0:
            os.close(told)
            write(save, folder, writer, count, tell)
            os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as stream:
        acknowledged = [line.decode().split() for line in stream]
    os.close(finish)
    told_by_readers: dict[str, int] = {}
    for answer in readers:
        with os.fdopen(answer, "rb") as stream:
            told_by_readers |= json.load(stream)
    for _ in range(10):
        assert os.wait()[1] == 0
    return acknowledged, told_by_readers


def judge(folder: Path, acknowledged: list[list[str]]) -> dict[str, object]:
    """What the folder holds, against what the writers were told."""
    digests, torn = {}, 0
    for path in sorted(folder.glob("v*.h5")):
        try:
            digests[str(commit.number_of(path.name))] = sealing.check(path.read_bytes())
        except RegistryError:
            torn += 1
    registry = Registry(folder.parent)
    return {
        "acknowledged": len(acknowledged),
        "lost": sum(digests.get(number) != digest for number, digest in acknowledged),
        "torn": torn,
        "numbers": sorted(map(int, digests)),
        "problems": [str(problem) for problem in registry.verify()],
        "removed": len(registry.gc()),
        "left": [name for name in os.listdir(folder) if name.startswith(".tmp")],
    }


if __name__ == "__main__":
    harness = {"kill": kill, "race": race}[sys.argv[1]]
    writers: dict[str, Save] = {"safe": save_safely, "naive": save_naively, "renaming": save_by_renaming}
    model = Path(sys.argv[3]) / "net"
    acknowledged, seen = harness(writers[sys.argv[2]], model, int(sys.argv[4]))
    print(json.dumps(judge(model, acknowledged) | seen))
