"""Which files of a folder are images, and which images look inverted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cnnkit.data.formats.images import find_images
from cnnkit.errors import DataError


def test_images_of_a_folder(tmp_path: Path) -> None:
    kept = ["B.PNG", "a.jpg", "deep/er/c.webp", "deep/z.tif", "e.jpeg"]
    others = [".hidden.png", ".git/x.png", "deep/._b.png", "notes.txt", "array.npy"]
    for name in kept + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)] == kept


def test_a_pipe_in_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "link.png").symlink_to("a.png")
    os.mkfifo(tmp_path / "b.png")
    assert find_images(tmp_path) == [tmp_path / "a.png", tmp_path / "link.png"]


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=r"expected images in this folder, files ending in \.png, .*; found none"):
        find_images(tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*gone: No such file or directory"):
        find_images(tmp_path / "gone")
