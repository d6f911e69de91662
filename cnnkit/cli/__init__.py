"""The command line: `main` runs it and turns every error into one message and an exit code."""

from __future__ import annotations

import io
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

from cnnkit.cli.tuning import apply_setting


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 a check failed, 2 bad usage or input, 130 or 143 interrupted.

    arguments: those of the process if None.
    """
    apply_setting()
    terminated: list[int] = []

    def terminate(number: int, _frame: object) -> None:
        terminated.append(number)
        raise KeyboardInterrupt  # so that what is half done is cleaned up

    previous = signal.signal(signal.SIGTERM, terminate)
    code: str | int | None
    try:
        code = _run(arguments)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process is about to end, and says why by its exit code
        code = 130
    except SystemExit as stop:
        code = stop.code
    finally:
        signal.signal(signal.SIGTERM, previous)
    sys.exit(128 + terminated[0] if terminated else code)


def _run(arguments: Sequence[str] | None) -> int:
    from cnnkit.cli.app import app
    from cnnkit.cli.options import Settings
    from cnnkit.cli.output import fail, warn
    from cnnkit.errors import CnnkitError

    if isinstance(sys.stdout, io.TextIOWrapper):  # a path or label that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    settings = Settings()
    try:
        with warnings.catch_warnings():  # so that they are shown as before afterwards
            warnings.showwarning = lambda message, *_, **__: warn(str(message))
            app(arguments, prog_name="cnnkit", obj=settings)
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()) if "\n" not in note)
        if isinstance(error, CnnkitError | OSError):  # such as a disk that is full
            fail(f"{error}{notes}")
            return error.exit_code if isinstance(error, CnnkitError) else 2
        if isinstance(error, MemoryError):
            fail(f"out of memory: {str(error) or type(error).__name__}{notes}")
            return 2
        hint = "" if settings.debug else "; run again with --debug for the traceback"
        fail(f"{type(error).__name__}: {error}{notes}{hint}", label="internal error")
        return 2
    return 0
