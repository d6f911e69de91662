"""What a user names to get data: expressions, paths, and what is neither."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.data.at_path import is_data
from cnnkit.data.named import is_expression, looks_like_path, named_dataset, why_no_data
from cnnkit.errors import ComponentError, DataError, ExpressionError
from cnnkit.file_kinds import ARRAY


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_expressions_and_paths_of_data() -> None:
    np.savez("x.npz", x=np.zeros((4, 2), np.float32), y=np.arange(4) % 2)
    for label in ("cat", "dog"):
        Path("photos", label).mkdir(parents=True)
        Image.new("L", (8, 8)).save(f"photos/{label}/0.png")
    found = {name: repr(named_dataset(name)) for name in ("Digits()", "Digits", "x.npz", 'Arrays("x.npz")', "photos")}
    assert found["Digits()"] == found["Digits"] == "Digits()"
    assert found["x.npz"] == found['Arrays("x.npz")'] == 'Arrays("x.npz")'
    assert found["photos"].startswith('ImageFolder("photos"')


def test_the_name_of_a_dataset_is_one_beside_a_folder_of_that_name() -> None:
    Path("Digits").mkdir()
    assert repr(named_dataset("Digits")) == "Digits()"
    with pytest.raises(DataError):
        named_dataset("Digits/")


def test_other_names_are_refused_as_names() -> None:
    with pytest.raises(ComponentError, match="there is no dataset named 'Digit'\n  did you mean Digits"):
        named_dataset("Digit")
    with pytest.raises(ExpressionError, match=r'such as "MNIST\(\)"'):
        named_dataset("not one")


@pytest.mark.parametrize(
    ("text", "expression", "path"),
    [
        ('Table("boxes.csv", "kind")', True, False),
        (' my.dist:Table("boxes.csv") ', True, False),
        ("digits", False, False),
        ("c16pc8p", False, False),
        ("digits@1", False, False),
        ("x.npz", False, True),
        ("w.pth", False, True),
        ("photos/", False, True),
        ("here", False, True),
        ("here (2)", False, True),
    ],
)
def test_what_looks_like_what(text: str, expression: bool, path: bool) -> None:
    Path("here").mkdir()
    Path("here (2)").mkdir()
    assert (is_expression(text), looks_like_path(text)) == (expression, path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.png", b"\x89PNG\r\n\x1a\n", "seems to be a PNG image: one image is no dataset"),
        ("w.pth", b"PK\x03\x04" + 26 * b"\0" + b"archive/data.pkl", "a PyTorch file: it holds a network, not samples"),
        ("m.keras", b"PK\x03\x04", "documents are: it holds a network, not samples"),
        ("photos.zip", b"PK\x03\x04", "documents are: unpack it first, and give the folder that comes out"),
        ("photos.tar.gz", b"\x1f\x8b", "a gzip archive: unpack it first"),
        ("photos.tar", 257 * b"\0" + b"ustar", "a tar archive: unpack it first"),
        ("a.npy", b"\x93NUMPY\1\0", "(.npy): it has no targets; save both in one file, as np.savez("),
        ("x.np", b"PK\x03\x04" + 26 * b"\0" + b"x.npy", "(.npz): let its name end in .npz"),
        ("x.dat", b"\x89HDF\r\n\x1a\n", "an HDF5 file: let its name end in .h5"),
        ("old.h", b"cnnkit model\0\1", "a model file of cnnkit: `cnnkit reproduce NAME@VERSION` trains"),
        ("table.dat", b"a,b\n1,2\n", "a table as text (CSV): let its name end in .csv"),
        ("notes.md", b"some words", "text: the name of a table ends in .csv, that of a recipe in .toml"),
        ("lfs.zip", b"version https://git-lfs.github.com/spec/v1", "this is a pointer of Git LFS, not the data: run"),
        ("page.zip", b"<html>", "a web page, as a download that failed leaves it: download the file again"),
        ("none.bin", b"", "this is empty: expected a folder of images, a file of arrays (.npz, .h5, .hdf5) or a table"),
        ("some.bin", b"\x01\x02", "something else: expected a folder of images"),
    ],
)
def test_each_kind_of_file_is_told_with_what_to_do(name: str, content: bytes, message: str) -> None:
    Path(name).write_bytes(content)
    assert not is_data(Path(name))
    assert message in why_no_data(name)
    with pytest.raises(DataError) as error:
        named_dataset(name)
    assert str(error.value) == why_no_data(name)


def test_what_is_not_there_and_what_is_no_file() -> None:
    Path("photos").mkdir()
    assert why_no_data("photo/") == "there is no folder photo/; did you mean photos?"
    assert why_no_data("gone/a.png") == "there is no file or folder gone/a.png"
    os.mkfifo("pipe")
    assert "pipe is nothing to train on, this is neither a file nor a folder" in why_no_data("pipe")


def test_arrays_are_known_by_their_content() -> None:
    np.save("a.npy", np.zeros(3))
    assert ARRAY in why_no_data("a.npy")
