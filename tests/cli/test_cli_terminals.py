"""Commands on terminals of several widths: no line is wider, no word is cut; and where there is no terminal at all."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.text_folding import columns
from tests.cli.conftest import RECIPE

DRIVER = Path(__file__).with_name("terminal_driver.py")
COMMAND = [sys.executable, "-m", "cnnkit.cli"]
IMAGES = "a folder/with a name that has many words and is longer than any terminal/" + "x" * 70
AUGMENTATIONS = 'augmentations=["Choose(\\n    Shift(2),\\n    Affine(degrees=10, scale=(0.8, 1.15), shear=10),\\n)"]'
COMMANDS = [
    ["train", "--list"],
    ["train", "named.toml"],
    ["train", "named.toml", "--seed", "1", "--quiet"],
    ["train", "tiny.toml", "--profile"],
    ["train", "tiny.toml", "--dry-run", "--set", AUGMENTATIONS],
    ["models", "tag", "a-network-with-a-long-name@1", "stage=candidate", f"note={'y' * 70}"],
    ["models", "describe", "a-network-with-a-long-name@1", "a description of many words " * 6],
    ["evaluate", "a-network-with-a-long-name@1"],
    ["predict", "a-network-with-a-long-name@1", f"{IMAGES}/one.npy", "--top", "2"],
    ["models", "list"],
    ["models", "show", "a-network-with-a-long-name@1"],
    ["models", "diff", "a-network-with-a-long-name@1", "a-network-with-a-long-name@2"],
    ["datasets", "list"],
    ["datasets", "show", "Digits()"],
    ["plugins", "list"],
    ["summary", "named.toml"],
    ["compare", "tiny.toml", "--seeds", "2", "--jobs", "1", "--register", "all"],
    ["doctor"],
    ["export", "a-network-with-a-long-name@1", "-o", "model.onnx"],
    ["validate", "model.onnx", "a-network-with-a-long-name@1"],
    ["models", "show", "a-network-with-a-long-name@999"],
    ["train", "there-is-no-such-recipe"],
    ["attribute", "a-network-with-a-long-name@1", "--method", "guided-backpropagation"],
]
REFUSED = 3
"""The last commands, which end with 2."""
ONLY_THERE = """
values are training/validation
left out: as the terminal has 0 columns; --json has all
0 of 0 runs are done, after 0 s configuration runs accuracy loss parameters
"""
"""Words that stand on a terminal alone."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with recipes and images."""
    folder = tmp_path_factory.mktemp("terminals")
    recipe = RECIPE.replace('"tiny"', '"a-network-with-a-long-name"').replace("epochs = 1", "epochs = 2")
    (folder / "named.toml").write_text(recipe.replace("[train]", "validation = 0.1\n[train]"))
    (folder / "tiny.toml").write_text(RECIPE)
    (folder / IMAGES).mkdir(parents=True)
    np.save(folder / IMAGES / "one.npy", np.zeros((1, 8, 8), np.uint8))
    (folder / "commands.json").write_text(json.dumps(COMMANDS))
    return folder


def recorded(command: list[str], folder: Path, width: int, **environment: str) -> str:
    """What a command writes on a terminal with so many columns."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        command, cwd=folder, stdin=end, stdout=end, stderr=end, env=clean | {"TERM": "xterm"} | environment
    )
    os.close(end)
    written = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # nobody writes there any more
            break
        if not piece:
            break
        written += piece
    os.close(terminal)
    process.wait(timeout=600)
    return written.decode()


def lines_of(written: str) -> list[str]:
    """The lines, and the states of each that changes."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written))


def too_wide(written: str, width: int) -> list[str]:
    """The lines that are wider than the terminal, but for a single word, or argument of a command, on its own."""

    def is_one(line: str) -> bool:
        text = line.strip().removesuffix(" \\")
        return len(text.split()) == 1 or (text.startswith("'") and len(shlex.split(text)) == 1)

    return [line for line in lines_of(written) if columns(line.rstrip()) > width and not is_one(line)]


def words_of(written: str) -> set[str]:
    """Its words, with all numbers alike, without those that tell what takes long."""
    lasting = [line for line in lines_of(written) if not re.search(r" \.\.\. \d+ s$", line)]
    text = re.sub("[━╸╺]+|\\\\$", " ", "\n".join(lasting), flags=re.MULTILINE)
    text = re.sub(r"(tiny-\d+T\d+)-\S+", r"\1", text)  # the name of a comparison ends in random letters
    return {re.sub(r"[\d.,]*\d[\d.,]*|-:--|[a-f\d]{12,}", "0", word).rstrip(",:;") for word in text.split()}


def test_commands_fit_every_terminal(place: Path) -> None:
    command = [sys.executable, str(DRIVER), "commands.json"]
    streams: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    for _ in range(2):  # the first leaves versions and verdicts, which the others list
        redirected = subprocess.run(command, cwd=place, text=True, **streams).stdout
    codes = re.findall("<exit .*>", redirected)
    assert codes == ["<exit 0>"] * (len(COMMANDS) - REFUSED) + ["<exit 2>"] * REFUSED, redirected
    known = words_of(redirected) | words_of(ONLY_THERE)
    for width in (60, 80, 120):
        written = recorded(command, place, width)
        assert re.findall("<exit .*>", written) == codes, written
        assert too_wide(written, width) == []
        assert words_of(written) - known == set()
        assert "Traceback" not in written


def test_what_is_too_wide_or_cut_is_seen(place: Path) -> None:
    program = "print('the line is ' + 'word ' * 20)"
    written = recorded([sys.executable, "-c", program], place, 60)
    assert len(too_wide(written, 60)) == 1
    assert too_wide(written, 120) == []
    cut = "\n".join(text[i : i + 60] for text in written.split("\n") for i in range(0, len(text), 60))
    assert words_of(cut) - words_of(written)
    assert too_wide("one-word-" * 9, 60) == []


def test_a_terminal_without_colours(place: Path) -> None:
    command = [*COMMAND, "train", "tiny.toml", "--registry", "colours"]
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3|9)\d(?:;\d+)*m")
    assert colour.search(recorded(command, place, 80))
    assert not colour.search(recorded(command, place, 80, NO_COLOR="1"))


def test_a_terminal_that_can_do_nothing(place: Path) -> None:
    written = recorded([*COMMAND, "train", "tiny.toml", "--registry", "dumb"], place, 80, TERM="dumb")
    assert "\x1b" not in written
    assert "registered  tiny@1" in written


@pytest.mark.parametrize("command", [COMMANDS[0], ["compare", "tiny.toml", "--seeds", "2", "--jobs", "1"], ["doctor"]])
def test_without_terminal_and_environment_nothing_breaks(place: Path, command: list[str]) -> None:
    """As from cron, and with an encoding that lacks most letters."""
    done = subprocess.run(
        [*COMMAND, *command],
        cwd=place,
        env={"PATH": os.defpath, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_reader_that_takes_one_line_is_no_failure(place: Path) -> None:
    shell = f"set -o pipefail; {shlex.join(COMMAND)} train tiny.toml --registry piped 2>&1 | head -n 1"
    done = subprocess.run(["bash", "-c", shell], cwd=place, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tiny: 2 layers, ")
    assert len(done.stdout.splitlines()) == 1


QUIET = {
    "train": ["tiny.toml"],
    "evaluate": ["tiny@1"],
    "export": ["tiny@1", "-o", "tiny.onnx"],
    "validate": ["tiny.onnx", "tiny@1"],
    "plot": ["tiny@1", "--kind", "curves"],
    "compare": ["tiny.toml", "--seeds", "2", "--jobs", "1"],
}


def test_quiet_commands_say_nothing_but_their_answer(place: Path) -> None:
    for command, arguments in QUIET.items():
        done = subprocess.run(
            [*COMMAND, command, *arguments, "-q", "--registry", "quiet"], cwd=place, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr, bool(done.stdout)) == (0, "", True), (command, done.stderr)
    done = subprocess.run(
        [*COMMAND, "evaluate", "tiny@9", "--quiet", "--registry", "quiet"], cwd=place, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr[:7]) == (2, "error: ")
    written = recorded([*COMMAND, "train", "tiny.toml", "-q", "--registry", "quiet"], place, 80)
    assert "epoch" not in written
    assert "layers" not in written
    assert "registered  tiny@" in written


def test_notes_are_there_without_quiet(place: Path) -> None:
    command = [*COMMAND, "train", "tiny.toml", "--registry", "noted"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    first, second, *epochs = done.stderr.splitlines()
    assert first == "tiny: 2 layers, 650 parameters; Digits(): 1,437 samples to train on, 360 to test on"
    assert re.fullmatch(r"\d+ workers?; batches of 256 in tiles of 64, so that a batch has 4 to share out", second)
    assert [line.split("  ")[0] for line in epochs] == ["epoch 1/1"]
