"""Pictures as files: three formats, the same bytes each time, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import PlotError
from cnnkit.plotting.confusion import draw_confusion
from cnnkit.plotting.saving import save

pytest.importorskip("matplotlib")
MATRIX = np.array([[3, 1], [0, 2]])


def _figure() -> Any:
    return draw_confusion(MATRIX, ["cat", "$dog$"], "net@1")


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_equal_pictures_have_equal_bytes_without_a_date(tmp_path: Path, suffix: str, magic: bytes) -> None:
    files = [save(_figure(), tmp_path / f"{name}{suffix}").read_bytes() for name in "ab"]
    assert files[0] == files[1]
    assert files[0].startswith(magic)
    assert not any(word in files[0] for word in (b"dc:date", b"CreationDate", b"tIME"))


def test_the_text_of_an_svg_is_text(tmp_path: Path) -> None:
    text = save(_figure(), tmp_path / "a.SVG").read_text()
    for words in ("net@1", "true class", ">cat<", ">$dog$<"):
        assert words in text


def test_a_file_is_replaced_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.png").write_bytes(b"old")
    (tmp_path / "link.png").symlink_to("real.png")
    save(_figure(), tmp_path / "link.png")
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "real.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.jpg", "expected a name that ends in .png, .svg, .pdf"),
        ("a", "expected a name that ends in .png, .svg, .pdf"),
        ("missing/a.png", "expected the name of a file in a folder that exists"),
        ("folder.png", "expected the name of a file in a folder that exists"),
        ("a" * 300 + ".png", "File name too long"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(PlotError, match=message):
        save(_figure(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_failure_while_writing_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(b"old")

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PlotError, match=r"cannot write .*a\.png: No space left on device"):
        save(_figure(), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"
