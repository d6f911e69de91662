"""Every reader says what a file is: each kind of file in the place of each that is read."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from cnnkit import Registry, load_dataset, load_model, load_recipe
from cnnkit.data.formats.checked_files import Published, open_published
from cnnkit.data.formats.idx import read_idx
from cnnkit.data.formats.images import read_image
from cnnkit.data.formats.input_files import read_inputs
from cnnkit.data.formats.text_tables import first_line, read_table
from cnnkit.errors import CnnkitError
from cnnkit.file_kinds import kind_of
from cnnkit.network import Sequential
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.load import check
from cnnkit.onnx.validate import validate_onnx
from cnnkit.registry.bundle import read_version_file
from cnnkit.registry.exchange import receive


def network() -> Sequential:
    return Sequential(["Flatten()", "Dense(2)"], (1, 4, 4))


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((3, 1, 4, 4), np.uint8))
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros((3, 1, 4, 4), np.uint8), y=np.zeros(3, int))
    return stream.getvalue()


def hdf5() -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["a"] = np.zeros(3)
    return stream.getvalue()


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, "content")
    return stream.getvalue()


def tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    return stream.getvalue()


def image(form: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, form)
    return stream.getvalue()


def model_file() -> bytes:
    registry = Registry("a registry for one file")
    return registry.save(network(), "one").path.read_bytes()


PAGE = b"\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n"
WRONG: dict[str, tuple[Callable[[], bytes], str]] = {
    "pointer": (lambda: LFS, "a pointer of Git LFS, not the data: run `git lfs pull`"),
    "web page": (lambda: PAGE, "seems to be a web page, as a download that failed leaves it: download the file"),
    "XML": (lambda: b'<?xml version="1.0"?>\n<Error><Code>NoSuchKey</Code></Error>', "seems to be an XML document"),
    "JSON": (lambda: b'{"error": "not found"}', "seems to be JSON"),
    "npy": (npy, "seems to be a NumPy array (.npy)"),
    "npz": (npz, "seems to be a NumPy archive (.npz)"),
    "HDF5": (hdf5, "seems to be an HDF5 file"),
    "IDX": (lambda: bytes((0, 0, 8, 1, 0, 0, 0, 2, 1, 1)), "seems to be an IDX file"),
    "PNG": (lambda: image("PNG"), "seems to be a PNG image"),
    "JPEG": (lambda: image("JPEG"), "seems to be a JPEG image"),
    "WebP": (lambda: image("WEBP"), "seems to be a WebP image"),
    "model": (model_file, "seems to be a model file of cnnkit"),
    "ONNX": (lambda: to_onnx(network()).SerializeToString(), "seems to be an ONNX file"),
    "PyTorch": (lambda: zipped("archive/data.pkl"), "seems to be a PyTorch file"),
    "pickle": (lambda: pickle.dumps({"a": 1}), "seems to be a Python pickle"),
    "tar": (tar, "seems to be a tar archive"),
    "gzip": (lambda: gzip.compress(b"content"), "seems to be a gzip archive"),
    "zip": (lambda: zipped("a.txt"), "seems to be a zip archive"),
    "PDF": (lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "seems to be a PDF document"),
    "Parquet": (lambda: b"PAR1\x15\x04\x15\0", "seems to be a Parquet table"),
}
"""Each kind of wrong file: its content, and how a message names it."""


def arrays(path: Path) -> object:
    arguments = f"{path.name!r}, targets={path.name!r}" if path.suffix == ".npy" else repr(path.name)
    return load_dataset(f"Arrays({arguments})", path.parent)


def published(path: Path) -> object:
    with open_published(path, Published("images.gz", 10_000_000, f"sha256:{'0' * 64}")) as file:
        return file.read()


def version_in_place(path: Path) -> object:
    """As in a registry, into which a wrong file has come."""
    registry = Registry(path.parent / "registry")
    version = registry.save(network(), "net")
    version.path.chmod(0o644)
    version.path.write_bytes(path.read_bytes())
    return load_model("net@1", registry.path)


def gzipped_idx(path: Path) -> object:
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return read_idx(packed, 3)


READERS: dict[str, tuple[Callable[[Path], object], str, set[str]]] = {
    "npz": (arrays, "file.npz", {"npz", "zip"}),
    "npy": (arrays, "file.npy", {"npy"}),
    "HDF5": (arrays, "file.h5", {"HDF5"}),
    "IDX": (lambda path: read_idx(path, 3), "file-idx3-ubyte", {"IDX", "gzip"}),
    "IDX in gzip": (gzipped_idx, "file-idx3-ubyte", {"IDX", "gzip"}),
    "published": (published, "images.gz", {"gzip", "zip"}),
    "image": (lambda path: read_image(path, 1, 4, 1.0), "file.png", {"PNG", "JPEG", "WebP"}),
    "inputs": (lambda path: read_inputs(path, (1, 4, 4), 255), "file.npy", {"npy"}),
    "images": (lambda path: read_inputs(path, (1, 4, 4), 255), "file.png", {"npy", "PNG", "JPEG", "WebP"}),
    "table": (lambda path: read_table(path, 0), "file.csv", set()),
    "first line": (first_line, "file.csv", set()),
    "recipe": (load_recipe, "file.toml", set()),
    "import": (lambda path: receive(read_version_file(path)), "file.zip", {"model", "zip"}),
    "registry": (version_in_place, "file.h5", {"model"}),
    "ONNX": (lambda path: check(path.read_bytes(), path), "file.onnx", {"ONNX"}),
    "validation": (lambda path: validate_onnx(path, network()), "file.onnx", {"ONNX"}),
}
"""What reads a file, what the file is called, and the kinds that it takes, or opens to say what is wrong inside."""


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_says_what_a_file_is(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read, name, own = READERS[reader]
    # Of what runs in a process of its own, one is enough: it reads with what is tried just before.
    kinds = ["web page"] if reader == "validation" else WRONG.keys() - own
    for kind in sorted(kinds):
        make, named = WRONG[kind]
        folder = tmp_path / kind
        folder.mkdir()
        path = folder / name
        path.write_bytes(make())
        with pytest.raises(CnnkitError) as caught:
            read(path)
        assert named in str(caught.value), (reader, kind)


@pytest.mark.parametrize("kind", WRONG)
def test_a_kind_is_told_from_all_others(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make, named = WRONG[kind]
    found = kind_of(make())
    assert found in named or named.split(" seems to be ")[-1].removeprefix("seems to be ") in found
    assert sum(found == kind_of(other()) for other, _ in WRONG.values()) == 1


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"1 2 3\n4 5 6\n", bytes(100), b"BMI,age\n1,2\n", b"Mz"])
def test_nothing_is_made_out_where_nothing_is_known(content: bytes) -> None:
    assert kind_of(content) in ("empty", "a table as text (CSV)", "text", "something else")


NODES = """\
[[model.node]]
name = "out"
layer = "Flatten()"
[model]
name = "a"
[data]
dataset = "Digits()"
[train]
optimizer = "SGD(0.1)"
epochs = 1
batch_size = 64
"""


@pytest.mark.parametrize("text", [NODES, f"# drawn as <svg>, shown in <html>\n{NODES}"])
def test_a_recipe_may_begin_with_its_nodes_or_speak_of_web_pages(text: str, tmp_path: Path) -> None:
    (tmp_path / "graph.toml").write_text(text)
    assert load_recipe(tmp_path / "graph.toml").model.name == "a"


def test_a_table_may_have_tags_in_its_cells(tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_text("links,tag\n3,<html>\n5,<svg\n")
    assert list(read_table(tmp_path / "pages.csv", 1).targets) == ["<html>", "<svg"]


@pytest.mark.parametrize("make", [hdf5, npy, lambda: image("PNG"), model_file])
def test_what_describes_itself_in_xml_is_no_xml(
    make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = make()
    assert kind_of(content[:64] + b'<?xml version="1.0"?><svg>' + content[64:]) == kind_of(content)


@pytest.mark.parametrize("content", [b"[[1, 2], [3, 4]]", b' ["a", "b"]', b"[[]]", b'[{"a": 1}]', b"{}"])
def test_json_is_told_from_toml(content: bytes) -> None:
    assert kind_of(content) == "JSON"
    assert [kind_of(text) for text in (b"[model]\n", b"[[model.node]]\n", b'["model"]\n')] == ["text"] * 3
