"""The ways that a file from elsewhere takes through cnnkit, each a process that is watched.

usage: hostile_ways.py FOLDER, with this folder's `watched`, tests/registry and tests/onnx in PYTHONPATH; prints the
counts as a JSON object, and before, to stderr, what became of each file.
"""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hostile_calls  # type: ignore[import-not-found]  # beside this file, and so are the next but two
import hostile_files  # type: ignore[import-not-found]  # in tests/registry
import hostile_manifests  # type: ignore[import-not-found]  # beside this file
import hostile_models  # type: ignore[import-not-found]  # in tests/onnx
import hostile_zips  # type: ignore[import-not-found]  # in tests/registry
import numpy as np
from hostile_calls import Seen
from PIL import Image

LOAD = """
import sys
from cnnkit.errors import CnnkitError
from cnnkit.registry import Registry
try:
    Registry().load("net@1")
except CnnkitError as error:
    sys.exit(f"refused: {error}")
"""
CLI = ("-P", "-m", "cnnkit.cli")
VERSION, BUNDLE, ONNX = "registry/net/v000001.h5", "given/net.zip", "given/net.onnx"
ANSWERS = (0, 1, 2)
"""Exit codes that a command may have, whatever the file is."""


@dataclass(frozen=True)
class Way:
    """A command, and what it may open beside the registry: files in the folder `given`, the folder of its output."""

    arguments: tuple[str, ...]
    given: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    starts: tuple[tuple[str, ...], ...] = ()


WAYS = {
    "load": Way(("-P", "-c", LOAD)),
    "predict": Way((*CLI, "predict", "net@1", "../given/x.png", "../given/x.npy"), ("x.png", "x.npy")),
    "evaluate": Way((*CLI, "evaluate", "net@1")),
    "export": Way((*CLI, "export", "net@1", "-o", "../out/net.onnx"), writes=("out", "registry", "tmp")),
    "validate": Way(
        (*CLI, "validate", "../given/net.onnx", "net@1"), ("net.onnx",), ("registry",), (hostile_calls.ISOLATED,)
    ),
    "explain": Way((*CLI, "explain", "net@1", "--sample", "0", "-o", "../out/net.html"), writes=("out",)),
    "explain a picture": Way(
        (*CLI, "explain", "net@1", "--image", "../given/x.png", "-o", "../out/net.html"), ("x.png",), ("out",)
    ),
}
"""What takes a version file."""
IMPORT = Way((*CLI, "models", "import", "../given/net.zip"), ("net.zip",), ("registry",))
"""What takes a bundle."""


class Place:
    """A folder with all that a way needs, and files outside that hostile ones point to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("cache", "config", "given", "home", "out", "registry/net", "tmp"):
            (folder / name).mkdir(parents=True)
        hostile_manifests.lay_out(self.outside)
        np.save(folder / "given" / "x.npy", np.zeros((1, 1, 8, 8), np.float32))
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(folder / "given" / "x.png")
        self.put(VERSION, good(self.outside))
        self.put(ONNX, hostile_models.build(lambda proto: proto.graph.node[0].ClearField("doc_string")))  # a stranger's

    @property
    def outside(self) -> Path:
        return self.folder / "outside"

    def put(self, where: str, data: bytes) -> None:
        (self.folder / where).write_bytes(data)

    def take(self, way: Way) -> Seen:
        """Let the file take a way; what it should not have done stands among the problems."""
        seen = hostile_calls.watched(
            way.arguments,
            self.folder,
            read=[self.folder / "given" / name for name in way.given],
            write=[self.folder / name for name in way.writes],
            children=way.starts,
        )
        if seen.code not in ANSWERS or "Traceback" in seen.said:
            seen.problems.append(f"exit code {seen.code}: {seen.said[-500:]}")
        if (self.outside / "touched").exists():
            seen.problems.append("a command of the file was carried out")
        return seen


def good(outside: Path) -> bytes:
    """The version file without any harm."""
    return bytes(hostile_manifests.version({}, outside))


def damaged(version: bytes) -> dict[str, bytes]:
    """The same file, damaged after it was sealed, and what is none."""
    flipped, header = bytearray(version), bytearray(version)
    flipped[len(version) // 2] ^= 1
    header[20] ^= 0xFF
    return {
        "damaged_bit": bytes(flipped),
        "damaged_header": bytes(header),
        "cut_in_half": version[: len(version) // 2],
        "cut_to_the_header": version[:512],
        "empty": b"",
        "zeros": bytes(len(version)),
        "text": b"#!/bin/sh\ntouch touched\n",
        "pickle": b"\x80\x04cposix\nsystem\n(S'touch touched'\ntR.",
        "twice": version * 2,
    }


@dataclass(frozen=True)
class File:
    """A hostile file."""

    name: str
    build: Callable[[Path], bytes]
    """From the folder that it points to."""
    place: str
    """Where it stands in a `Place`."""
    ways: Mapping[str, Way]
    """Those that take it."""


def built(change: Callable[[Any, Path], object], outside: Path) -> bytes:
    """A version file that HDF5 was made to write."""
    return bytes(hostile_files.seal(hostile_files.image(change, outside / "secret")))


def _other(name: str, outside: Path) -> bytes:
    return bytes(hostile_files.others(outside / "secret")[name])


def _described(change: Mapping[str, Any], outside: Path) -> bytes:
    return bytes(hostile_manifests.version(change, outside))


def _damaged(name: str, outside: Path) -> bytes:
    return damaged(good(outside))[name]


def _bundled(build: Callable[[bytes], bytes], outside: Path) -> bytes:
    return build(good(outside))


def _modelled(change: Callable[[Any], None], outside: Path) -> bytes:
    return bytes(hostile_models.build(change))


def files() -> list[File]:
    """All of them."""
    versions: dict[str, Callable[[Path], bytes]] = {
        **{name: partial(built, change) for name, change in hostile_files.BUILDS.items()},
        **{name: partial(_other, name) for name in hostile_files.others(Path())},
        **{name: partial(_described, change) for name, change in hostile_manifests.CHANGES.items()},
        **{name: partial(_damaged, name) for name in damaged(good(Path()))},
    }
    bundles = {name: partial(_bundled, build) for name, (build, _) in hostile_zips.BUILDS.items()}
    models = {name: partial(_modelled, change) for name, change in hostile_models.CHANGES.items()}
    return [
        *(File(f"ONNX {name}", build, ONNX, {"validate": WAYS["validate"]}) for name, build in models.items()),
        *(File(f"bundle {name}", build, BUNDLE, {"import": IMPORT}) for name, build in bundles.items()),
        *(File(f"version {name}", build, VERSION, WAYS) for name, build in versions.items()),
    ]


def taken(folder: Path, file: File, way: str) -> Seen:
    """What was seen when a file took a way, in a new place."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Place(Path(name))
        place.put(file.place, file.build(place.outside))
        return place.take(file.ways[way])


def main(folder: Path) -> Mapping[str, object]:
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    problems = {}
    steps = [(file, way) for file in files() for way in file.ways]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (file, way), seen in zip(steps, pool.map(lambda step: taken(folder, *step), steps), strict=True):
            numbers = {"files": 1, "calls": seen.calls, "events": seen.events, "started": seen.started}
            counts[way].update(numbers | {f"exit code {seen.code}": 1})
            if seen.problems:
                problems[f"{file.name}, {way}"] = seen.problems
            record = {"file": file.name, "way": way, **numbers, "code": seen.code, "said": seen.said[-2000:]}
            print(json.dumps(record | {"problems": seen.problems}), file=sys.stderr, flush=True)
    return {"files": len(files()), "runs": len(steps), "ways": counts, "problems": problems}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1])), indent=2))
