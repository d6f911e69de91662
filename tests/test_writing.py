"""Files appear whole or not at all, links stay links, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnkit import Registry, Sequential, export_bundle, export_onnx, load_recipe, validate_onnx
from cnnkit.errors import ConfigError, OnnxError, PlotError
from cnnkit.file_writing import check_target, write_whole
from cnnkit.user_folders import expanded


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"one", PlotError)
    write_whole(path, b"two", PlotError)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_whole(tmp_path / "link", b"x", PlotError)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_what_was_there_is_kept_if_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OnnxError) as error:
        write_whole(path, b"new", OnnxError)
    assert str(error.value) == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", [".", "missing/a.bin"])
def test_what_can_be_no_file_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    for write in (check_target, lambda path, error: write_whole(path, b"", error)):
        with pytest.raises(PlotError, match=r"expected the name of a file in a folder that exists$"):
            write(tmp_path / name, PlotError)


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(PlotError, match="cannot write /dev/null: expected the name of a file"):
        write_whole(Path("/dev/null"), b"", PlotError)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/a.png") == tmp_path / "a.png"
    with pytest.raises(ConfigError, match="expected a home folder for ~nobody-is-called-so, but there is none"):
        expanded("~nobody-is-called-so/a.png")
    model = Sequential(["Dense(2)"], (3,))
    assert export_onnx(model, "~/a.onnx") == tmp_path / "a.onnx"
    assert validate_onnx("~/a.onnx", model).ok
    version = Registry("~/models").save(model, "net")
    assert export_bundle(version.ref, "~/a.zip", "~/models") == tmp_path / "a.zip"
    assert (tmp_path / "a.zip").exists()
    shipped = load_recipe("digits")
    (tmp_path / "a.toml").write_text(shipped.to_toml())
    assert load_recipe("~/a.toml") == shipped
