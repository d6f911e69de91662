"""The command line: `main` runs it and turns every error into one message and an exit code."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from cnnkit.cli.blas_tuning import apply_setting
from cnnkit.cli.streams import lost_answer, take_streams
from cnnkit.terminal import HANGUP, be_quiet, hurry, leave_terminal
from cnnkit.user_folders import forget_relative_home


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 a check failed, 2 bad usage or input, 130 or 143 interrupted, 129 hung up.

    What cannot be written to stderr, and an answer that nobody reads, are no failure; one that cannot be kept, as the
    disk is full, is bad usage.
    arguments: those of the process if None.
    """
    take_streams()
    be_quiet(False)
    forget_relative_home()
    terminated: list[int] = []

    def terminate(number: int, _frame: object) -> None:
        terminated.append(number)
        hurry()
        if number == HANGUP:
            signal.signal(number, signal.SIG_IGN)  # both the shell and the system may send it
            leave_terminal()
        raise KeyboardInterrupt  # so that what is half done is cleaned up

    previous: dict[int, Any] = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    if HANGUP and signal.getsignal(HANGUP) == signal.SIG_DFL:  # not under `nohup`
        previous[HANGUP] = signal.signal(HANGUP, terminate)
    try:
        apply_setting()
        code = _answered(_run(arguments))
    except KeyboardInterrupt:
        hurry()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process is about to end, and says why by its exit code
        code = 130
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    sys.exit(128 + terminated[0] if terminated else code)


def _answered(code: int) -> int:
    """The exit code, or 2 if the command succeeded but its answer was lost."""
    from cnnkit.cli.stdout import answers

    if code > 128:  # typer has made an exit code of Ctrl-C
        hurry()
    if error := lost_answer(answers()):
        from cnnkit.cli.output import fail

        fail(f"the answer cannot be written to stdout: {error.strerror}")
        return code or 2
    return code


def _run(arguments: Sequence[str] | None) -> int:
    from cnnkit.cli.app import app
    from cnnkit.cli.options import Settings
    from cnnkit.cli.output import fail, told_warnings
    from cnnkit.errors import CnnkitError, notes_of

    settings = Settings()
    try:
        with told_warnings():
            app(arguments, prog_name="cnnkit", obj=settings)
    except SystemExit as stop:  # which is how all commands end
        return stop.code if isinstance(stop.code, int) else 2
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        notes = "".join(f"\n  {note}" for note in notes_of(error))
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
