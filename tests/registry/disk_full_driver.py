"""Saves and deletions that meet a full disk, each in a separate process; prints what became of them as JSON.

usage: disk_full_driver.py limit|mount|delete safe|naive FOLDER

limit: no file may grow beyond so many bytes (RLIMIT_FSIZE), every 256 bytes of a version file; the log counts too.
mount: a file system in memory with so many pages left, and so many files; the process must be allowed to mount one.
delete: deletions on such a file system.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
from states import fresh  # type: ignore[import-not-found]  # beside this script

from cnnkit.errors import RegistryError
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry, commit
from cnnkit.registry.files import reported
from cnnkit.registry.format import sealing

Save = Callable[[Path], object]
MODEL = Sequential(["Dense(64)"], (64,))
PAGE = 4096
SIZE = 256 * 1024
FILES = 24
"""Bytes and files of the file system in memory."""


def save_safely(folder: Path) -> object:
    return Registry(folder).save(MODEL, "net")


def save_naively(folder: Path) -> None:
    """With h5py, straight to the path."""
    with h5py.File(folder / "net" / "v000004.h5", "w") as file:
        for name, array in MODEL.state().items():
            file[f"state/{name}"] = array


def delete_safely(folder: Path) -> object:
    return Registry(folder).delete("net@2")


def delete_naively(folder: Path) -> None:
    """A tombstone as on a disk that has room."""
    path = folder / "net"
    with reported("cannot delete"), Files().hold(path):
        commit._bury(Files(), path, 2, sealing.tombstone())


def attempt(save: Save, folder: Path, limit: int = resource.RLIM_INFINITY) -> str:
    """How a save in a separate process ended: "saved", its error, or its signal."""
    told, tell = os.pipe()
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            save(folder)
        except RegistryError as error:
            os.write(tell, f"refused: {error}".encode())
        except BaseException as error:
            os.write(tell, f"failed: {type(error).__name__}: {error}".encode())
        else:
            os.write(tell, b"saved")
        os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as stream:
        text = stream.read().decode()
    status = os.waitpid(child, 0)[1]
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else text


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the log, which keeps what was intended."""
    return {path.name: path.read_bytes() for path in (folder / "net").iterdir() if path.name != "digests.log"}


def is_whole(path: Path) -> bool:
    try:
        with h5py.File(path, "r") as file:
            return all(np.array_equal(file[f"state/{name}"], array) for name, array in MODEL.state().items())
    except (KeyError, OSError):
        return False


def judge(save: Save, folder: Path, ended: str, before: dict[str, bytes]) -> str:
    """What is wrong after a save that met a full disk, "" if nothing is; there is room again by now."""
    after = contents(folder)
    if ended == "saved":
        return "" if is_whole(folder / "net" / "v000004.h5") else "what was saved is not whole"
    if after != before:
        return f"{ended}; it leaves {sorted(after.keys() - before.keys())}"
    if not ended.startswith("refused: cannot save net in "):
        return ended
    problems = Registry(folder).verify()
    ended = attempt(save, folder)
    problems += Registry(folder).verify()
    return f"then {ended}, with {problems}" if problems or ended != "saved" else ""


def limits(save: Save, folder: Path, template: Path) -> Iterator[tuple[str, str]]:
    """How each save ended, and what was wrong after it."""
    size = Registry(template).find("net").path.stat().st_size
    for limit in range(0, size + 256, 256):
        copy = shutil.copytree(template, folder / str(limit))
        before = contents(copy)
        ended = attempt(save, copy, limit)
        yield ended, judge(save, copy, ended, before)
        shutil.rmtree(copy)


def judge_deletion(save: Save, folder: Path, ended: str, before: dict[str, bytes]) -> str:
    """What is wrong after a deletion; there is room again by now."""
    wrong = [str(problem) for problem in Registry(folder).verify()]
    numbers = [version.number for version in Registry(folder).versions("net")]
    if (folder / "net" / "v000002.h5").read_bytes() != sealing.tombstone():
        wrong.append("there is no tombstone")
    return f"{ended}: {numbers}, {wrong}" if ended != "saved" or numbers != [1, 3] or wrong else ""


def mounts(
    save: Save, folder: Path, template: Path, judge: Callable[[Save, Path, str, dict[str, bytes]], str] = judge
) -> Iterator[tuple[str, str]]:
    """The same on a file system with 0, 1, 2 ... pages left, and then with room for 0, 1, 2 more files."""
    full, filler = folder / "full", folder / "full" / "filler"
    full.mkdir()
    options = f"size={SIZE},nr_inodes={FILES},mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(full)], check=True)
    pages = 3 + Registry(template).find("net").path.stat().st_size // PAGE

    def fill(left: int) -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(PAGE)) == PAGE:
                pass
        os.truncate(filler, filler.stat().st_size - left * PAGE)

    def crowd(left: int) -> None:
        made = []
        with contextlib.suppress(OSError):
            for number in range(FILES):
                made.append(full / f"filler{number}")
                made[-1].touch()
        for path in made[-1 - left : -1]:
            path.unlink()

    for use, left in [*((fill, left) for left in range(pages)), *((crowd, left) for left in range(3))]:
        copy = shutil.copytree(template, full / "registry")
        before = contents(copy)
        use(left)
        ended = attempt(save, copy)
        for path in full.glob("filler*"):
            path.unlink()
        yield ended, judge(save, copy, ended, before)
        shutil.rmtree(copy)


if __name__ == "__main__":
    folder = Path(sys.argv[3])
    template = fresh(folder / "template")
    Registry(template).save(MODEL, "net")
    if sys.argv[1] == "delete":
        delete = {"safe": delete_safely, "naive": delete_naively}[sys.argv[2]]
        ends = list(mounts(delete, folder, template, judge_deletion))
    else:
        harness = {"limit": limits, "mount": mounts}[sys.argv[1]]
        ends = list(harness({"safe": save_safely, "naive": save_naively}[sys.argv[2]], folder, template))
    saved = sum(ended == "saved" for ended, _ in ends)
    refused = sorted({ended for ended, wrong in ends if ended != "saved" and not wrong})
    print(json.dumps({"saved": saved, "count": len(ends), "refused": refused, "wrong": [w for _, w in ends if w]}))
