"""Files of which one operation fails, or is the last one before the process dies."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any, ClassVar

from cnnkit.registry import Files

OPERATIONS = [name for name in vars(Files) if not name.startswith("_")]


class PowerOff(BaseException):
    """The process ends here; not even its clean-up runs."""


class Failing(Files):
    """Files whose operation number `at` fails: once with an error, or, if `dead`, with all that follow.

    A write that fails has written half of its data.
    """

    called: ClassVar[set[str]] = set()
    """The operations that any of these objects was asked for."""

    def __init__(self, at: int, dead: bool) -> None:
        self.at, self.dead, self.count = at, dead, 0
        self.opened: list[int] = []

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in OPERATIONS:
            return method

        def operation(*args: Any, **kwargs: Any) -> Any:
            self.called.add(name)
            self.count += 1
            if self.count == self.at or (self.dead and self.count > self.at):
                if name == "write" and self.count == self.at:
                    method(args[0], memoryview(args[1])[: len(args[1]) // 2])
                raise PowerOff if self.dead else OSError(errno.EIO, os.strerror(errno.EIO))
            result = method(*args, **kwargs)
            if name in ("create", "open_end"):
                self.opened.append(result)
            return result

        return operation

    def end(self) -> None:
        """Close what the dead process had open, and so give up its locks."""
        for file in self.opened:
            with contextlib.suppress(OSError):
                os.close(file)
