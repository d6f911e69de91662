"""What stands in the output of a command: texts as they are, one value on one line, bounded, on any terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cnnkit.cli.output import fail, note, say, say_pairs, say_table, told_warnings, warn
from cnnkit.printable_text import MAX_LINE, NAME, on_one_line
from cnnkit.training.progress import LiveProgress

HOSTILE = "[red]:smile: a\nb\tc\x1b[2J"
SHOWN = "[red]:smile: a\\nb\\tc\\x1b[2J"


def test_texts_stand_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/data/:smile:/[bold]x[/bold]/:100:"
    for printing in (say, note, warn, fail):
        printing(path)
    say_pairs({"file": path})
    say_table(("file",), [(path,)])
    out, err = capsys.readouterr()
    assert out == f"{path}\nfile  {path}\nfile\n{path}\n"
    assert err == f"{path}\nwarning: {path}\nerror: {path}\n"


def test_a_name_forges_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    say_pairs({HOSTILE: HOSTILE})
    say_table((HOSTILE, "value"), [(HOSTILE, 1.0)])
    assert capsys.readouterr().out == f"{SHOWN}  {SHOWN}\n{SHOWN}  value\n{SHOWN}      1\n"


def test_a_metric_forges_no_line_of_the_progress() -> None:
    for is_terminal in (False, True):
        file = io.StringIO()
        console = Console(file=file, force_terminal=is_terminal, width=200)
        with LiveProgress(console) as progress:
            progress.epoch_started(1, 1, 1)
            progress.step_done(1, 8, {"[/red]" + HOSTILE: 0.5})
            progress.epoch_done({HOSTILE: 0.5, "x" * 1000: 1.0})
            progress.warn(HOSTILE)
        shown = file.getvalue()
        assert f"epoch 1/1  {SHOWN} 0.5000  " in shown
        assert "x" * NAME not in shown
        assert "c\\x1b[2J" in shown


def test_long_values_are_cut_and_fill_no_other_row(capsys: pytest.CaptureFixture[str]) -> None:
    label = "ü" * 1_000_000
    say_table(("label", "n"), [(label, 1), *(("a", 2) for _ in range(1000))])
    say_pairs({label: label})
    note(f"{label}\n{label}")
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) < 3 * MAX_LINE
    assert len(out) < 5 * MAX_LINE + 1000 * 300
    assert [len(line) <= MAX_LINE for line in err.splitlines()] == [True, True]
    assert err.splitlines()[0].endswith("... (995,944 characters more)")


def test_a_path_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/" + "x" * (MAX_LINE - 1)
    assert on_one_line(path) == path
    assert on_one_line(on_one_line(path * 2)) == on_one_line(path * 2)


def test_warnings_are_lines_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with told_warnings():
        warnings.simplefilter("default")
        for _ in range(2):
            warnings.warn("overflow encountered in\nexp", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "warning: overflow encountered in\\nexp\n"


@pytest.mark.parametrize(
    "environment", [{"FORCE_COLOR": "1", "COLUMNS": "30"}, {"COLUMNS": "0"}, {"TTY_COMPATIBLE": "1"}]
)
def test_only_a_terminal_is_one(trained: Any, tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "cnnkit.cli", "models", "list"]
    plain, done = (
        subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        for env in (os.environ, os.environ | environment)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, plain.stdout, "")
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("columns", ["0", "1"])
def test_a_terminal_without_columns(trained: Any, tmp_path: Path, columns: str) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "cnnkit.cli", "models", "list"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"COLUMNS": columns}, stdout=end)
    os.close(end)
    shown = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert done.returncode == 0
    assert "digest" in shown
    assert "Digits" in shown
