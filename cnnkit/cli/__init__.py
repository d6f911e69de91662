"""The command line: `main` runs it and turns every error into one message and an exit code."""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 a check failed, 2 bad usage or input, 130 or 143 interrupted.

    arguments: those of the process if None.
    """
    try:
        sys.exit(_run(arguments))
    except KeyboardInterrupt:
        sys.exit(130)


def _run(arguments: Sequence[str] | None) -> int:
    from cnnkit.cli.app import app
    from cnnkit.cli.options import Settings
    from cnnkit.cli.output import fail
    from cnnkit.errors import CnnkitError

    if isinstance(sys.stdout, io.TextIOWrapper):  # a path or label that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    settings = Settings()
    try:
        app(arguments, prog_name="cnnkit", obj=settings)
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        if isinstance(error, CnnkitError):
            fail(str(error))
            return error.exit_code
        hint = "" if settings.debug else "; run again with --debug for the traceback"
        fail(f"{type(error).__name__}: {error}{hint}", label="internal error")
        return 2
    return 0
