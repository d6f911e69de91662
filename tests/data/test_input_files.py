"""Inputs: arrays and images from files, pipes and standard input."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from cnnkit.data.formats.input_files import read_inputs
from cnnkit.data.formats.pictures import Picture
from cnnkit.errors import DataError

SHAPE = (1, 8, 8)
IMAGE = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(IMAGE).save(file, "PNG")
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, IMAGE)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.npy", "a.NPY", "a", "a.png"])
def test_an_array_is_taken_as_it_is_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(npy())
    x = read_inputs(tmp_path / name, SHAPE)
    assert isinstance(x, np.ndarray)
    assert x.dtype == np.uint8
    assert_array_equal(x, IMAGE[None, None])


def test_an_image_comes_as_a_picture_of_its_own_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(png())
    found = read_inputs(tmp_path / "a", (3, 5, 5))
    assert isinstance(found, Picture)
    assert_array_equal(found.thumbnail(8), np.broadcast_to(IMAGE, (3, 8, 8)))


@pytest.mark.parametrize(("content", "is_image"), [(png(), True), (npy(), False)])
def test_a_pipe_and_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, is_image: bool
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for file in (pipe, "-"):
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        if file == "-":
            monkeypatch.setattr(sys, "stdin", pipe.open())
        found = read_inputs(file, SHAPE)
        writer.join()
        assert isinstance(found, Picture) == is_image
        x = found.thumbnail(8)[None] if isinstance(found, Picture) else found
        assert_array_equal(x, IMAGE[None, None])
    sys.stdin.close()


def test_an_array_from_standard_input_is_judged_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, more = os.pipe()
    with os.fdopen(begun, "rb") as pipe, os.fdopen(more, "wb", buffering=0) as writer:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        for shape, message in (((10**12, 9, 9), "expected an array of shape"), ((-1, 8, 8), "whole numbers from 0")):
            np.lib.format.write_array_header_1_0(writer, {"descr": "|u1", "fortran_order": False, "shape": shape})
            with pytest.raises(DataError, match=message):
                read_inputs("-", SHAPE)  # which ends although the pipe does not


def test_an_array_that_is_declared_and_not_there(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**15, *SHAPE)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(DataError, match=r"is not an array of numbers in NumPy's format: .* \((_Array)?MemoryError\)"):
        read_inputs(tmp_path / "a.npy", SHAPE)


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(DataError, match="expected an image on standard input, which is closed"):
        read_inputs("-", SHAPE)


@pytest.mark.parametrize("shape", [(64,), (2, 8, 8), (3, 4)])
def test_a_model_that_takes_no_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(DataError) as caught:
        read_inputs(tmp_path / "a.png", shape)
    assert str(caught.value) == (
        f"{tmp_path / 'a.png'}: an image gives inputs of shape (1, H, W) or (3, H, W), the model takes {shape}: "
        "give a .npy file with such an array"
    )
    np.save(tmp_path / "a.npy", np.ones((2, *shape)))
    found = read_inputs(tmp_path / "a.npy", shape)
    assert isinstance(found, np.ndarray)
    assert found.shape == (2, *shape)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ((2, 8, 6, 3), ": with x for the array, save x.transpose(0, 3, 1, 2)"),
        ((8, 6, 3), ": with x for the array, save x.transpose(2, 0, 1)[None]"),
        ((2, 9, 6, 3), ""),
    ],
)
def test_channels_last_are_refused_with_what_to_save(tmp_path: Path, given: tuple[int, ...], advice: str) -> None:
    np.save(tmp_path / "a.npy", np.ones(given))
    with pytest.raises(DataError) as caught:
        read_inputs(tmp_path / "a.npy", (3, 8, 6))
    assert str(caught.value) == (
        f"{tmp_path / 'a.npy'}: expected an array of shape (3, 8, 6) or (N, 3, 8, 6), got {given}{advice}"
    )
