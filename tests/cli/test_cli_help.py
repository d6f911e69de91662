"""`--help` of every command, and what the command line loads to print it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import typer.main

from cnnkit.cli.app import app

SHARED = {"--json", "--debug", "--registry", "--data-dir", "--workers", "--set", "--seed", "--epochs", "--trust"}


def _commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", {})
    return [(path, command), *(found for name in children for found in _commands(children[name], (*path, name)))]


COMMANDS = _commands(typer.main.get_command(app))


def test_the_tree_has_the_commands_that_are_documented() -> None:
    paths = {" ".join(path) for path, _ in COMMANDS}
    assert {"train", "compare", "evaluate", "predict", "export", "validate", "summary", "gradcheck", "doctor"} <= paths
    assert {"models list", "models show", "models alias set", "models verify", "models delete"} <= paths
    assert {"plugins list", "datasets list", "datasets fetch", "datasets show"} <= paths


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) or "cnnkit" for path, _ in COMMANDS])
def test_help_says_what_everything_is_for(cli: Any, path: tuple[str, ...], command: Any) -> None:
    result = cli(*path, "--help")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"Usage: {' '.join(('cnnkit', *path))}")
    assert command.help
    first = command.help.partition("\n")[0]
    assert path == () or len(first) <= 45, "the list of commands would cut it"
    assert all(parameter.help for parameter in command.params)
    if not hasattr(command, "commands"):
        assert "--debug" in result.out


def test_a_shared_option_has_the_same_help_everywhere() -> None:
    texts: dict[str, set[str]] = {}
    for _, command in COMMANDS:
        for parameter in command.params:
            for name in SHARED & set(parameter.opts):
                texts.setdefault(name, set()).add(parameter.help)
    assert texts.keys() == SHARED
    assert all(len(found) == 1 for found in texts.values())


def test_without_a_command_there_is_help(cli: Any) -> None:
    assert cli() == cli("--help")
    assert cli("models") == cli("models", "--help")
    assert cli("models", "alias") == cli("models", "alias", "--help")


def test_version(cli: Any) -> None:
    import importlib.metadata

    assert cli("--version").out == f"cnnkit {importlib.metadata.version('cnnkit')}\n"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from cnnkit.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'h5py', 'onnx', 'onnxruntime', 'pydantic', 'requests', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
