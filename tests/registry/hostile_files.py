"""Files that somebody built to harm the reader; each has a valid seal, so that only the walk stands against it."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

GOOD = json.dumps(
    {
        "format": "cnnkit model",
        "format_version": 1,
        "name": "net",
        "created": "2026-03-01T12:00:00+00:00",
        "layers": ["Dense(2)"],
        "components": {"Dense": {"distribution": "cnnkit", "version": "0.1.0"}},
        "input_shape": [3],
        "input_dtype": "float32",
        "labels": [],
        "preprocessing": {"scale": 1.0, "mean": [0.0], "std": [1.0]},
        "seed": 0,
        "dtype": "float32",
        "state": ["dense_1.weight", "dense_1.bias"],
        "versions": {},
        "environment": {},
        "recipe": None,
        "history": {},
        "metrics": {},
        "dataset": None,
        "settings": {},
    }
)
NORM = {name: {"distribution": "cnnkit", "version": "0.1.0"} for name in ("Dense", "Residual", "BatchNorm2D")}
FLOATS = np.ones((2, 3), np.float32)
Build = Callable[[h5py.File, Path], object]
BUILDS: dict[str, Build] = {}


def hostile(build: Build) -> Build:
    BUILDS[build.__name__] = build
    return build


def seal(image: bytes | bytearray) -> bytes:
    """As docs/format.md says, written here once more."""
    payload = bytes(image[512:])
    head = struct.pack("<16sQQ32s", b"cnnkit model\r\n\x1a\n", 1, len(payload), hashlib.sha256(payload).digest())
    return head.ljust(512, b"\0") + payload


def image(change: Build, secret: Path, libver: str = "earliest") -> bytes:
    """A valid file, made hostile by `change`. `secret` is a file outside the registry."""
    data = io.BytesIO()
    with h5py.File(data, "w", userblock_size=512, libver=(libver, "latest")) as file:
        put(file, "manifest", np.frombuffer(GOOD.encode(), np.uint8))
        put(file, "state/dense_1.weight", FLOATS)
        put(file, "state/dense_1.bias", np.zeros(2, np.float32))
        change(file, secret)
    return data.getvalue()


def put(file: h5py.File, name: str, data: Any = None, **how: Any) -> h5py.Dataset:
    """A dataset in the place of what had this name before."""
    if name in file:
        del file[name]
    return file.create_dataset(name, data=data, **how)


def text(file: h5py.File, manifest: str | bytes) -> None:
    raw = manifest.encode() if isinstance(manifest, str) else manifest
    put(file, "manifest", np.frombuffer(raw, np.uint8))


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(GOOD) | changes)


def link(name: str, target: Callable[[Path], Any]) -> None:
    """A file in which `name` is a link instead of an object."""

    def build(file: h5py.File, secret: Path) -> None:
        del file[name]
        file[name] = target(secret)

    where = name.replace("/", "_").replace(".", "_")
    BUILDS[f"{type(target(Path('x'))).__name__}_at_{where}"] = build


for place in ("manifest", "state", "state/dense_1.weight"):
    link(place, lambda secret: h5py.SoftLink("/state/dense_1.bias"))
    link(place, lambda secret: h5py.ExternalLink(str(secret), "/x"))


@hostile
def external_storage(file: h5py.File, secret: Path) -> None:
    put(file, "state/dense_1.weight", shape=(2, 3), dtype="f4", external=[(str(secret), 0, 24)])


@hostile
def external_storage_of_the_manifest(file: h5py.File, secret: Path) -> None:
    put(file, "manifest", shape=(24,), dtype="u1", external=[(str(secret), 0, 24)])


@hostile
def virtual_dataset(file: h5py.File, secret: Path) -> None:
    del file["state/dense_1.weight"]
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "x", (2, 3))
    file.create_virtual_dataset("state/dense_1.weight", layout)


@hostile
def virtual_dataset_without_end(file: h5py.File, secret: Path) -> None:
    del file["state/dense_1.weight"]
    layout = h5py.VirtualLayout((2, 3), "f4", maxshape=(None, 3))
    source = h5py.VirtualSource(str(secret), "x", (2, 3), maxshape=(None, 3))
    layout[: h5py.h5s.UNLIMITED, :] = source[: h5py.h5s.UNLIMITED, :]
    file.create_virtual_dataset("state/dense_1.weight", layout)


@hostile
def gzip_bomb(file: h5py.File, secret: Path) -> None:
    put(file, "state/dense_1.weight", np.zeros(2**20, np.float32), compression="gzip", chunks=(2**18,))


@hostile
def huge_shape_without_storage(file: h5py.File, secret: Path) -> None:
    put(file, "state/dense_1.weight", shape=(2**50,), dtype="u1")


@hostile
def huge_shape_in_chunks(file: h5py.File, secret: Path) -> None:
    put(file, "state/dense_1.weight", shape=(2**50,), dtype="u1", chunks=(2**16,))


@hostile
def shape_without_storage(file: h5py.File, secret: Path) -> None:
    put(file, "state/dense_1.weight", shape=(2, 3), dtype="f4", fillvalue=7.0)


@hostile
def unknown_filter(file: h5py.File, secret: Path) -> None:
    del file["state/dense_1.weight"]
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_chunk((2, 3))
    created.set_filter(40_000, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((2, 3))
    h5py.h5d.create(file["state"].id, b"dense_1.weight", h5py.h5t.IEEE_F32LE, space, dcpl=created)


def stored(name: str, **how: Any) -> None:
    BUILDS[name] = lambda file, secret: put(file, "state/dense_1.weight", FLOATS, **how)


stored("shuffled", shuffle=True, chunks=(2, 3))
stored("checksummed", fletcher32=True, chunks=(2, 3))
stored("chunked", chunks=(1, 3))
stored("resizable", maxshape=(None, 3))


DTYPES: dict[str, Any] = {
    "vlen_strings": h5py.string_dtype(),
    "fixed_strings": "S4",
    "vlen_floats": h5py.vlen_dtype("f4"),
    "object_references": h5py.ref_dtype,
    "region_references": h5py.regionref_dtype,
    "compound": [("a", "f4"), ("b", "f4")],
    "big_endian": ">f4",
    "half": "f2",
    "complex": "c8",
    "bool": "?",
    "opaque": h5py.opaque_dtype(np.dtype("V4")),
    "array_type": np.dtype(("f4", (2,))),
    "datetime": h5py.opaque_dtype(np.dtype("M8[s]")),
}


def typed(name: str, dtype: Any) -> None:
    BUILDS[f"type_{name}"] = lambda file, secret: put(file, "state/dense_1.weight", shape=(2, 3), dtype=dtype)


for type_name, type_dtype in DTYPES.items():
    typed(type_name, type_dtype)


@hostile
def named_type(file: h5py.File, secret: Path) -> None:
    del file["state/dense_1.weight"]
    file["state/dense_1.weight"] = np.dtype("f4")


@hostile
def data_of_a_named_type(file: h5py.File, secret: Path) -> None:
    named = h5py.h5t.IEEE_F32LE.copy()
    named.commit(file["state"].id, b"x_1.type")
    del file["state/dense_1.weight"]
    space = h5py.h5s.create_simple((2, 3))
    dataset = h5py.h5d.create(file["state"].id, b"dense_1.weight", named, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, FLOATS)
    del file["state/x_1.type"]


@hostile
def null_space(file: h5py.File, secret: Path) -> None:
    put(file, "state/dense_1.weight", h5py.Empty("f4"))


@hostile
def attributes_of_the_root(file: h5py.File, secret: Path) -> None:
    for i in range(1000):
        file.attrs[f"a{i}"] = "x" * 1000


@hostile
def attribute_of_the_state(file: h5py.File, secret: Path) -> None:
    file["state"].attrs["a"] = ["x", "y"]


@hostile
def attribute_of_an_array(file: h5py.File, secret: Path) -> None:
    file["state/dense_1.weight"].attrs["a"] = 1


@hostile
def deep_groups(file: h5py.File, secret: Path) -> None:
    file.create_group("state/" + "/".join(["x"] * 500))


@hostile
def group_named_like_an_array(file: h5py.File, secret: Path) -> None:
    file.create_group("state/x_1.weight")


@hostile
def group_in_the_place_of_the_manifest(file: h5py.File, secret: Path) -> None:
    del file["manifest"]
    file.create_group("manifest")


@hostile
def array_in_the_place_of_the_state(file: h5py.File, secret: Path) -> None:
    put(file, "state", FLOATS)


@hostile
def no_state(file: h5py.File, secret: Path) -> None:
    del file["state"]


@hostile
def another_member(file: h5py.File, secret: Path) -> None:
    put(file, "code", np.zeros(1, np.uint8))


@hostile
def a_loop(file: h5py.File, secret: Path) -> None:
    file["state/x_1.root"] = file["/"]


@hostile
def the_root_as_its_own_state(file: h5py.File, secret: Path) -> None:
    del file["state"]
    file["state"] = file["/"]


@hostile
def one_array_with_two_names(file: h5py.File, secret: Path) -> None:
    file["state/x_1.weight"] = file["state/dense_1.weight"]


@hostile
def too_many_axes(file: h5py.File, secret: Path) -> None:
    put(file, "state/dense_1.weight", np.ones((1,) * 20, np.float32))


@hostile
def too_many_arrays(file: h5py.File, secret: Path) -> None:
    for i in range(10_001):
        h5py.h5g.create(file["state"].id, f"x_{i}.w".encode())


NAMES = {
    "dots": "..x.weight",
    "path": "..\\..\\etc.passwd",
    "line_break": "dense_1.x\n",
    "no_dot": "weight",
    "long": "x" * 5000 + ".weight",
    "not_ascii": "d\u00e9nse.weight",
    "control": "a\x1b[2J.weight",
}


def named(name: str, bad: str) -> None:
    BUILDS[f"name_{name}"] = lambda file, secret: put(file, f"state/{bad}", FLOATS)


for name_name, name_bad in NAMES.items():
    named(name_name, name_bad)


@hostile
def name_not_utf8(file: h5py.File, secret: Path) -> None:
    h5py.h5g.create(file["state"].id, b"\xff\xfe.weight")


TEXTS: dict[str, str | bytes] = {
    "the_same_key_twice": GOOD[:-1] + ', "name": "other"}',
    "deep": GOOD.replace('"history": {}', '"history": {"a": ' + "[" * 5000 + "]" * 5000 + "}"),
    "nan": GOOD.replace('"scale": 1.0', '"scale": NaN'),
    "no_json": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "a_command": "import os; os.system('true')",
    "another_key": changed(code="import os"),
    "another_format": changed(format_version=2),
    "a_path_for_a_name": changed(name="../../etc"),
    "other_arrays": changed(state=["dense_1.weight"]),
    "the_same_array_twice": changed(state=["dense_1.weight", "dense_1.bias", "dense_1.bias"]),
    "code": changed(layers=["__import__('os').system('true')"]),
    "a_lambda": changed(layers=["Dense((lambda: 2)())"]),
    "an_attribute": changed(layers=["os.system('true')"]),
    "a_missing_component": changed(layers=["System('true')"]),
    "a_missing_distribution": changed(components={"Dense": {"distribution": "evil", "version": "1"}}),
    "a_distribution_that_is_a_command": changed(components={"Dense": {"distribution": "x; rm -rf /", "version": "1"}}),
    "a_huge_layer": changed(layers=["Dense(100000000000000000000)"]),
    "a_negative_layer": changed(layers=["Dense(-1)"]),
    "another_network": changed(layers=["Dense(5)"]),
    "a_component_in_a_dict": changed(layers=['Dense({"a": Foo()})']),
    "a_component_without_origin": changed(layers=["Foo()"], components={}),
    "a_layer_larger_than_the_file": changed(layers=["Dense(60000000)"]),
    "many_channels": changed(layers=["BatchNorm2D()"], input_shape=[60_000_000, 1, 1], components=NORM),
    "many_layers": changed(layers=["Dense(1)"] * 10_001),
    "layers_in_layers": changed(layers=["Residual(" + "Dense(1)," * 1000 + ")"] * 20, components=NORM),
    "the_name_of_another_model": changed(name="other"),
    "a_number_beyond_floats": GOOD.replace('"scale": 1.0', '"scale": 1e999'),
    "a_history_of_one_number": changed(history={"loss": 3}),
    "a_recipe_without_sections": changed(recipe={"train": 3}),
}


def described(name: str, manifest: str | bytes) -> None:
    BUILDS[f"manifest_with_{name}"] = lambda file, secret: text(file, manifest)


for text_name, text_manifest in TEXTS.items():
    described(text_name, text_manifest)


@hostile
def manifest_as_a_table(file: h5py.File, secret: Path) -> None:
    put(file, "manifest", np.zeros((2, 2), np.uint8))


@hostile
def manifest_of_floats(file: h5py.File, secret: Path) -> None:
    put(file, "manifest", np.zeros(2, np.float32))


def overlapping_arrays(secret: Path) -> bytes:
    """Two arrays of 100,000 bytes that share their bytes, in a file that has room for one."""
    offsets = []

    def build(file: h5py.File, secret: Path) -> None:
        for name in ("state/dense_1.weight", "state/dense_1.bias"):
            offsets.append(put(file, name, np.ones(100_000, np.uint8)).id.get_offset())

    data = bytearray(image(build, secret))
    first, second = (struct.pack("<Q", offset - 512) for offset in offsets)
    assert data.count(second) == 1
    data = data[: offsets[1]].replace(second, first)
    data[512 + 40 : 512 + 48] = struct.pack("<Q", len(data))  # where the superblock has the end of the file
    return seal(data)


def others(secret: Path) -> dict[str, bytes]:
    """Those that are made of the bytes of a file, by name, sealed."""
    plain = image(lambda file, secret: None, secret)
    return {
        "name_with_a_zero_byte": seal(plain.replace(b"dense_1.weight\0", b"dense_1.w\0ight\0")),
        "overlapping_arrays": overlapping_arrays(secret),
        "bytes_after_the_end": seal(plain + b"EVIL" * 1000),
        "bytes_before_the_beginning": seal(plain[:512] + bytes(512) + plain[512:]),
        "no_hdf5": seal(bytes(512) + b"not HDF5" * 100),
        "hdf5_cut_short": seal(plain[:-200]),
    }


def corpus(secret: Path) -> dict[str, bytes]:
    """All hostile files by name, sealed."""
    return {name: seal(image(build, secret)) for name, build in BUILDS.items()} | others(secret)
