"""Asking before something is lost."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cnnkit.cli.output import note, warn

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def confirm(action: str, yes: bool) -> None:
    """Say what will be done, such as "delete digits@3", and continue only if the user agrees or gave `--yes`.

    Raises ConfigError if there is nobody to ask, CheckError if the answer is no.
    """
    from cnnkit.errors import CheckError, ConfigError

    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():  # None: it was closed
        raise ConfigError(f"this would {action}, but there is no terminal to ask for confirmation: add --yes to do it")
    warn(f"this will {action}")
    note("continue? [y/N]")
    try:
        answer = sys.stdin.readline()
    except OSError:  # the terminal is gone, or open for writing alone
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CheckError("nothing was done")
