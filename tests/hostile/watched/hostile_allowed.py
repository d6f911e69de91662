"""What a watched process may do; both the audit hook inside of it and the judge of its system calls ask here."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

VARIABLE = "WATCHED_ALLOWED"
LOG = "WATCHED_LOG"
"""Environment variables: what is allowed, and the named pipe of what the hook sees."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Allowed:
    """Files, folders (which end with a slash, and stand for all in them), and whole commands."""

    read: tuple[str, ...]
    write: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    """The program's path, then its arguments from the zeroth on."""

    def opens(self, path: str, writes: bool) -> bool:
        """Whether a file may be opened by this absolute path, which need not be the one that it has in the end."""
        place = re.sub(r"^/proc/\d+(?=/)", "/proc/self", os.path.normpath(path)) + "/"
        places = self.write if writes else self.read + self.write
        return any(place.startswith(one) if one.endswith("/") else place == one + "/" for one in places)

    def runs(self, program: str, arguments: Sequence[str]) -> bool:
        """Whether a program may be started so; a name without a folder is that of any command."""
        name = "/" not in program
        return any(
            (os.path.basename(path) if name else path) == program and rest == tuple(arguments)
            for path, *others in self.commands
            for rest in [tuple(others)]
        )

    def dumped(self) -> str:
        return json.dumps(asdict(self))


def from_environment() -> Allowed:
    """What stands in the environment."""
    given = json.loads(os.environ[VARIABLE])
    return Allowed(tuple(given["read"]), tuple(given["write"]), tuple(map(tuple, given["commands"])))
