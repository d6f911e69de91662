"""What a component prints never lands in an answer, and what it takes from the process is given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import RECIPE

SOURCE = Path(__file__).with_name("noisy_plugin.py").read_text()
LOUD = "import typer.core, cnnkit.cli.stdout as a; a.Command.invoke = typer.core.TyperCommand.invoke; "
MAIN = "from cnnkit.cli import main; main()"
WAYS = "print", "stdout", "descriptor", "program"


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    """A folder with a recipe, and the plugin in a folder of its own."""
    site = tmp_path / "site"
    info = site / "cnnkit_noisy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cnnkit-noisy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[cnnkit]\nplugin = cnnkit_noisy\n")
    (site / "cnnkit_noisy.py").write_text(SOURCE)
    recipe = RECIPE.replace('"Flatten()"', '"Noisy()", "Flatten()"') + 'callbacks = ["Talks()"]\n'
    (tmp_path / "noisy.toml").write_text(recipe)
    return tmp_path


def run(folder: Path, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(folder / "site"), "CNNKIT_REGISTRY": str(folder / "registry")}
    command = [sys.executable, "-c", before + MAIN, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_the_document_is_all_that_reaches_stdout(noisy: Path) -> None:
    trained = run(noisy, "train", "noisy.toml", "--json", "--workers", "2")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["ref"] == "tiny@1"
    for where in ("import", "hook", "init", "forward", "backward", "epoch", "end"):
        for way in WAYS:
            assert f"{way} {where}\n" in trained.stderr
    assert (noisy / "registry" / "tiny" / "v000001.h5").exists()  # not in the folder that the plugin went to
    evaluated = run(noisy, "evaluate", "tiny", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["ref"] == "tiny@1"
    table = run(noisy, "evaluate", "tiny")
    assert table.stdout.startswith("metric "), table.stdout
    assert not any(f"{way} " in table.stdout for way in WAYS)
    listed = run(noisy, "plugins", "list", "--json")
    assert json.loads(listed.stdout)[-1] == {
        "distribution": "cnnkit-noisy",
        "version": "1.0",
        "module": "cnnkit_noisy",
        "api": [],
        "former_names": [],
        "missing": [],
        "state": "ready",
        "reason": "",
        "components": {"layer": ["Noisy"], "callback": ["Talks"]},
        "problems": [],
        "traceback": "",
    }


def test_positive_control_without_a_stdout_of_its_own_the_document_is_lost(noisy: Path) -> None:
    trained = run(noisy, "train", "noisy.toml", "--json", "--workers", "1", before=LOUD)
    assert trained.returncode == 0, trained.stderr
    assert {line.split()[0] for line in trained.stdout.splitlines()} >= set(WAYS)


def test_a_second_command_of_a_process_answers_where_the_first_did(noisy: Path) -> None:
    first = (
        "from cnnkit.cli import main\ntry: main(['plugins', 'list', '--json'])\nexcept SystemExit: print('between')\n"
    )
    done = run(noisy, "plugins", "list", "--json", before=first)
    assert done.returncode == 0, done.stderr
    one, other = done.stdout.split("\n]\n[\n")
    assert json.loads(one + "]") == json.loads("[" + other)
    assert "between\n" in done.stderr


def test_help_and_the_version_are_answers(tmp_path: Path) -> None:
    for arguments in (("--version",), ("--help",), ("train", "--help"), ("models",), ("models", "alias", "--help")):
        done = run(tmp_path, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_end_no_command(noisy: Path, closed: str) -> None:
    command = f"PYTHONPATH=site '{sys.executable}' -m cnnkit.cli plugins list --json {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=noisy, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (done.stdout != "") == (closed == "2>&-")
    if done.stdout:
        assert json.loads(done.stdout)[-1]["problems"] == []
