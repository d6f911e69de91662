"""The process that checks and executes a stranger's ONNX file, under an audit hook.

usage: watched_child.py PIPE CONDUCT; each event that has no business there becomes a line in the named pipe,
for the process may not write to files. CONDUCT: "right", or that of a positive control.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

FOREIGN = (
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.system",
    "shutil",
    "socket",
    "subprocess",
    "urllib",
    "webbrowser",
)
"""Audit events of which none may come; `open` is allowed for Python's own modules."""
pipe, conduct = sys.argv[1:]
sys.path[:] = json.loads(sys.stdin.buffer.readline())
log = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
own = (sys.prefix, sys.base_prefix, *filter(None, sys.path), "/proc/self/", os.devnull, "/etc/os-release")
"""Folders of modules, and what limits and the import of ONNX Runtime read of the machine."""


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    foreign = (
        event == "open" and isinstance(arguments[0], str | bytes) and not os.fsdecode(arguments[0]).startswith(own)
    )
    if foreign or event.startswith(FOREIGN):
        os.write(log, f"{event} {arguments}"[:200].encode() + b"\n")


sys.addaudithook(watch)
match conduct:
    case "right":
        from cnnkit.onnx.isolated_child import main

        main()
    case "careless":
        with open("/etc/passwd") as file:
            file.read()
        subprocess.run(["true"], check=True)
    case "endless":
        time.sleep(600)
    case "crashing":
        os.kill(os.getpid(), signal.SIGFPE)
    case "leaving":
        sys.exit(7)
    case "babbling":
        sys.stdout.write("\x05\0\0\0\0\0\0\0hello")
        sys.stdout.flush()
        time.sleep(600)
