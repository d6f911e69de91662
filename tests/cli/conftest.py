"""Running the command line inside the test's process, on a network that is trained in a blink."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cnnkit.cli import main

RECIPE = """\
[model]
name = "tiny"
layers = ["Flatten()", "Dense(10)"]
[data]
dataset = "Digits()"
[train]
optimizer = "SGD(0.1, momentum=0.9)"
epochs = 1
batch_size = 256
"""


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("train", "tiny.toml")`, run in `tmp_path`, where `tiny.toml` is, with the data folder `tmp_path/data`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CNNKIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "40")  # what is no terminal must not care
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tiny.toml").write_text(RECIPE)

    def run(*arguments: str | Path) -> Result:
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(SystemExit) as stop:
            main(list(map(str, arguments)))
        signal.signal(signal.SIGINT, handler)  # a process that was interrupted does not listen any more
        out, err = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Result(stop.value.code, out, err)

    return run


@pytest.fixture
def trained(cli: Cli) -> Cli:
    """The same, with tiny@1 registered."""
    result = cli("train", "tiny.toml")
    assert result.code == 0, result.err
    return cli
