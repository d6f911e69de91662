"""Runs commands on a recipe whose network has more weights than it could be trained with; prints the outcome as JSON.

usage: recipe_cost_driver.py guarded|careless; careless: a positive control that draws them before it looks at the cost
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

from cnnkit.cli import main
from cnnkit.training import assembly

RECIPE = """
[model]
name = "net"
layers = ["Upsample2D({size})", "Flatten()", "Dense(10)"]
[data]
dataset = "Digits()"
[train]
optimizer = "Adam()"
epochs = 1
batch_size = 64
[compare]
seeds = 2
"""
COMMANDS = {
    "train": ("net.toml",),
    "train --dry-run": ("net.toml",),
    "compare": ("net.toml",),
    "summary": ("net.toml",),
    "gradcheck": ("Dense(5760000)", "--input", "10"),
}


def peak() -> int:
    """The most bytes of memory that this process has had."""
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def run(command: str, *arguments: str) -> tuple[int, str]:
    """The exit code, and what was said."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main([*command.split(), *arguments])
    except SystemExit as stop:
        return int(stop.code or 0), out.getvalue()


if __name__ == "__main__":
    recipe = Path("net.toml")
    recipe.write_text(RECIPE.format(size=1))
    for command in ("train --dry-run", "compare"):
        run(command, "net.toml")  # what they import is counted before
    run("gradcheck", "Dense(2)", "--input", "10")
    before = peak()
    recipe.write_text(RECIPE.format(size=300))
    if sys.argv[1] == "careless":
        assembly.check_cost = lambda *_: None
    said = {command: run(command, *arguments) for command, arguments in COMMANDS.items()}
    print(json.dumps({"said": said, "memory": peak() - before}))
