"""Writers that are killed or race each other; prints what became of their versions as one JSON object.

usage: crash_driver.py kill|race safe|naive FOLDER COUNT
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cnnkit.errors import RegistryError
from cnnkit.registry import Files, Manifest, Registry, commit, sealing
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
    commit.prepare(files, folder)
    return commit.register(files, folder, data, sealing.check(data))


def save_half(folder: Path, data: bytes) -> int:
    return save_safely(folder, data, Stopping())


def save_naively(folder: Path, data: bytes) -> int:
    """In place, under the number after the last: what a crash tears and a race loses.

    It pauses where it is vulnerable, so that the harnesses meet it there on any machine, however busy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max(filter(None, map(commit.number_of, os.listdir(folder))), default=0)
    time.sleep(0.001)
    with (folder / commit.version_file(number)).open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(0.002)
        file.write(data[len(data) // 2 :])
    return number


def write(save: Save, folder: Path, writer: int, count: int, acknowledged: int) -> None:
    for i in range(count):
        manifest = dataclasses.replace(MANIFEST, settings={"writer": writer, "i": i})
        data = bytes(sealing.pack(manifest.encode(), PAYLOAD))
        number = save(folder, data)
        os.write(acknowledged, f"{number} {sealing.header(data)[1]}\n".encode())


def kill(save: Save, folder: Path, count: int) -> list[list[str]]:
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
    return acknowledged


def race(save: Save, folder: Path, count: int) -> list[list[str]]:
    """Eight writers at once, while this process reads whatever can be seen."""
    reader, sender = os.pipe()
    children = []
    for writer in range(8):
        if (child := os.fork()) == 0:
            os.close(reader)
            write(save, folder, writer, count, sender)
            os._exit(0)
        children.append(child)
    os.close(sender)
    with os.fdopen(reader, "rb") as stream:
        acknowledged = []
        for line in stream:
            acknowledged.append(line.decode().split())
            if save is save_safely:
                for path in list(folder.glob("v*.h5"))[-3:]:
                    sealing.check(path.read_bytes())
    for child in children:
        os.waitpid(child, 0)
    return acknowledged


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
    writer = {"safe": save_safely, "naive": save_naively}[sys.argv[2]]
    model = Path(sys.argv[3]) / "net"
    print(json.dumps(judge(model, harness(writer, model, int(sys.argv[4])))))
