"""The user's folders, with HOME in many states."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cnnkit.cli import blas_tuning
from cnnkit.data import default_data_dir
from cnnkit.errors import ConfigError
from cnnkit.user_folders import expanded, user_folder


@pytest.fixture(autouse=True)
def linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CNNKIT_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir="/home/known"))


def without_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize(
    ("said", "folder"),
    [("/home/me", "/home/me"), ("", "/home/known"), ("relative", "/home/known"), ("~", "/home/known")],
)
def test_only_an_absolute_home_is_one(monkeypatch: pytest.MonkeyPatch, said: str, folder: str) -> None:
    monkeypatch.setenv("HOME", said)
    assert user_folder("cache") == Path(folder, ".cache/cnnkit")
    assert user_folder("config") == Path(folder, ".config/cnnkit")
    assert default_data_dir() == Path(folder, ".cache/cnnkit/data")
    assert expanded("~/models") == Path(folder, "models")
    assert (expanded("~"), expanded("models/~"), expanded("/x")) == (Path(folder), Path("models/~"), Path("/x"))


def test_macos_has_folders_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setenv("HOME", "/Users/me")
    assert user_folder("cache") == Path("/Users/me/Library/Caches/cnnkit")
    assert user_folder("config") == Path("/Users/me/Library/Application Support/cnnkit")


@pytest.mark.parametrize(("chosen", "folder"), [("/else", "/else/cnnkit"), ("else", "/home/me/.cache/cnnkit")])
def test_a_folder_that_is_chosen_must_be_absolute(monkeypatch: pytest.MonkeyPatch, chosen: str, folder: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", chosen)
    assert user_folder("cache") == Path(folder)


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    without_entry(monkeypatch)
    assert user_folder("cache") is None
    assert default_data_dir() == Path("data")
    assert (blas_tuning.setting_path(), blas_tuning.stored_setting()) == (None, None)
    with pytest.raises(
        ConfigError,
        match=r"^--tune stores its setting in the home folder, which does not exist: set XDG_",
    ):
        blas_tuning.tune()
    for path, missing in (("~/models", "~"), ("~nobody-of-this-name/models", "~nobody-of-this-name")):
        with pytest.raises(ConfigError, match=f"^{path}: expected a home folder for {missing}, but there is none"):
            expanded(path)


def test_a_setting_that_cannot_be_stored_is_said_before_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    assert blas_tuning.stored_setting() is None
    monkeypatch.setattr(blas_tuning, "measure", lambda coretype: pytest.fail("it was measured"))
    with pytest.raises(
        ConfigError,
        match=r"--tune cannot store its setting in .*blas\.json: Not a directory; set XDG_",
    ):
        blas_tuning.tune()


@pytest.mark.parametrize("said", ["", "relative"])
def test_libraries_do_not_write_into_the_working_folder(tmp_path: Path, said: str) -> None:
    program = (
        "import os, sys\nfrom cnnkit.cli import main\ntry: main(['--version'])\nfinally: print('HOME' in os.environ)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"HOME": said}, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout.splitlines()[-1], list(tmp_path.iterdir())) == ("False", [])
