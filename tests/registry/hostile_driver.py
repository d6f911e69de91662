"""Reads hostile files or mutants under an audit hook; prints what happened as one JSON object.

usage: hostile_driver.py corpus|mutants|mutants-trusted|control|CONTROL FOLDER [COUNT]; CONTROL: a careless reader

Each read may take 5 seconds; a longer one ends this process by SIGALRM. The outside file that links and external
storage point to is a named pipe: whoever opens it for reading waits until that happens. That is how HDF5 is watched,
whose calls of the operating system the audit hook does not see.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hostile_files  # type: ignore[import-not-found]  # beside this script
import numpy as np

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Registry

FOREIGN = (
    "ctypes",
    "exec",
    "import",
    "marshal",
    "open",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "pickle",
    "shutil",
    "socket",
    "subprocess",
    "urllib",
)
"""Audit events that reading a file has no business with; `open` is allowed inside the registry."""
SECONDS = 600
"""Ends a reader that hangs; far above what any file takes, however loaded the machine is."""


def load_safely(folder: Path, data: bytes) -> object:
    (folder / "net" / "v000001.h5").write_bytes(data)
    return Registry(folder).load("net@1")


def trust(folder: Path, data: bytes) -> object:
    """Positive control: everything in the file is read with h5py, its seal is not looked at."""
    with h5py.File(io.BytesIO(data), "r") as file:
        return [file["manifest"][:], *(array[:] for array in file["state"].values())]


def follow(folder: Path, data: bytes) -> object:
    """Positive control: the file that a link names is opened."""
    with h5py.File(io.BytesIO(data), "r") as file:
        return os.open(file.get("state/dense_1.weight", getlink=True).filename, os.O_RDONLY | os.O_NONBLOCK)


def unpickle(folder: Path, data: bytes) -> object:
    """Positive control: the manifest is unpickled."""
    with h5py.File(io.BytesIO(data), "r") as file:
        return pickle.loads(file["manifest"][:].tobytes())


def execute(folder: Path, data: bytes) -> None:
    """Positive control: the manifest is run as code."""
    with h5py.File(io.BytesIO(data), "r") as file:
        exec(file["manifest"][:].tobytes(), {})


CONTROLS: dict[str, tuple[Callable[[Path, bytes], object], str]] = {
    "trust": (trust, "external_storage"),
    "follow": (follow, "ExternalLink_at_state_dense_1_weight"),
    "unpickle": (unpickle, "manifest_with_no_json"),
    "execute": (execute, "manifest_with_a_command"),
}
"""Each careless reader, and the hostile file that it falls for."""


def load(folder: Path, data: bytes, reader: Callable[[Path, bytes], object] = load_safely) -> str:
    """The outcome of loading a file as net@1: its error, or "loaded"."""
    signal.alarm(SECONDS)
    try:
        reader(folder, data)
    except RegistryError as error:
        return f"refused: {error}"
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return "loaded"


def peak() -> int:
    """The most bytes of memory that this process has had."""
    try:  # ru_maxrss begins with what the parent process had
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def watched(folder: Path) -> list[str]:
    """A list that is filled with the events outside the registry that the interpreter sees from now on."""
    foreign: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        # A number is a file that is open already: the call that opened it was seen.
        inside = event == "open" and (isinstance(arguments[0], int) or str(arguments[0]).startswith(f"{folder}/"))
        if event.startswith(FOREIGN) and not inside:
            foreign.append(f"{event} {arguments}"[:200])

    sys.addaudithook(watch)
    return foreign


def corpus(folder: Path) -> dict[str, Any]:
    """What became of each hostile file, and the events outside the registry."""
    secret = folder.parent / "secret"
    files = hostile_files.corpus(secret)
    os.mkfifo(secret)
    good = hostile_files.seal(hostile_files.image(lambda file, secret: None, secret))
    outcomes = {"good": load(folder, good)}
    before = peak()
    foreign = watched(folder)
    outcomes |= {name: load(folder, data) for name, data in files.items()}
    seen = list(foreign)  # before `peak`, which opens a file itself
    return {"outcomes": outcomes, "foreign": seen, "memory": peak() - before}


def careless(name: str, folder: Path) -> dict[str, Any]:
    """The events that a careless reader of one hostile file causes."""
    secret = folder.parent / "secret"
    reader, file = CONTROLS[name]
    data = hostile_files.corpus(secret)[file]
    os.mkfifo(secret)
    foreign = watched(folder)
    return {"outcome": load(folder, data, reader), "foreign": foreign}


def mutants(folder: Path, count: int, reader: Callable[[Path, bytes], object]) -> dict[str, Any]:
    """What became of files with random damage, half of them sealed again."""
    Registry(folder).save(Sequential(["Dense(2)"], (3,)), "valid")
    originals = [
        (folder / "valid" / "v000001.h5").read_bytes(),
        hostile_files.seal(hostile_files.image(lambda file, secret: None, folder)),
    ]
    load(folder, originals[0], reader)
    before = peak()
    rng = np.random.default_rng(0)
    outcomes: dict[str, int] = {"raw loaded": 0, "raw refused": 0, "sealed loaded": 0, "sealed refused": 0}
    strange = []
    for i in range(count):
        data = bytearray(originals[i // 2 % 2])
        start = 0 if i % 2 == 0 else 512
        for _ in range(rng.integers(1, 6)):
            position = int(rng.integers(start, len(data)))
            match rng.integers(4):
                case 0:
                    data[position] ^= 1 << int(rng.integers(8))
                case 1:
                    data[position : position + 8] = rng.bytes(8)
                case 2:
                    data[position : position + 8] = b"\xff" * 8
                case _:
                    del data[position : position + int(rng.integers(1, 16))]
        if data == originals[i // 2 % 2]:
            data[start] ^= 1
        outcome = load(folder, hostile_files.seal(data) if i % 2 else bytes(data), reader).partition(":")[0]
        key = f"{'sealed' if i % 2 else 'raw'} {outcome}"
        if key in outcomes:
            outcomes[key] += 1
        else:
            strange.append(f"{i}: {outcome}")
    return {"outcomes": outcomes, "strange": strange, "memory": peak() - before}


def control(folder: Path) -> dict[str, Any]:
    """What a reader that trusts HDF5 takes from a file outside the registry, and one that trusts a layer of memory."""
    secret = folder / "secret"
    secret.write_bytes(np.arange(6, dtype=np.float32).tobytes())
    image = hostile_files.image(hostile_files.BUILDS["external_storage"], secret)
    with h5py.File(io.BytesIO(image), "r") as file:
        taken = file["state/dense_1.weight"][:].ravel().tolist()
    before = peak()
    Sequential(["Dense(4_000_000)"], (3,))
    return {"taken": taken, "memory": peak() - before}


if __name__ == "__main__":
    registry = Path(sys.argv[2]) / "registry"
    (registry / "net").mkdir(parents=True)
    match sys.argv[1]:
        case "corpus":
            result = corpus(registry)
        case "mutants":
            result = mutants(registry, int(sys.argv[3]), load_safely)
        case "mutants-trusted":
            resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, resource.RLIM_INFINITY))
            result = mutants(registry, int(sys.argv[3]), trust)
        case "control":
            result = control(registry)
        case name:
            SECONDS = 1  # of which each is waited for
            result = careless(name, registry)
    print(json.dumps(result))
