"""A process that imports ONNX files from strangers, one after another, under an audit hook.

usage: importing_child.py FOLDER CONDUCT; each line that it reads is the name of a file in the folder; its reply is a
line of JSON: the outcome, the seconds, the bytes of memory at the peak, and the events that have no business there.
CONDUCT: "right", or that of a positive control.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
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
"""Audit events of which none may come but the start of the process that proves an import."""
folder, conduct = sys.argv[1:]
warnings.simplefilter("error")
warnings.filterwarnings(
    "ignore", "(overflow|invalid value|divide by zero) encountered", RuntimeWarning
)  # of strange weights
sys.path[:] = json.loads(sys.stdin.readline())

from cnnkit.errors import CnnkitError, OnnxError  # noqa: E402  # after the path
from cnnkit.onnx import isolated  # noqa: E402  # likewise
from cnnkit.onnx.importing.imported import import_file  # noqa: E402  # likewise
from cnnkit.onnx.runtimes import OnnxRuntime, is_installed  # noqa: E402  # likewise

is_installed(OnnxRuntime)
events: list[str] = []
home = os.path.realpath(folder)
own = [
    *(os.path.realpath(name) for name in (sys.prefix, sys.base_prefix, *filter(None, sys.path))),
    *("/proc", "/sys/fs/cgroup", os.devnull, home),
]
"""Folders of modules and of the files, and what limits read of the machine."""
os.chdir(home)
proving = False


def peak_memory() -> int:
    """Bytes at the peak, of this program alone: ru_maxrss begins with those of the process that started it."""
    status = Path("/proc/self/status").read_text("ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def is_own(path: str) -> bool:
    """Whether a file is one that an import may open, by whatever name.

    The event does not say within which folder a name is opened, so it may be any that is open.
    """
    if ".." in Path(path).parts:
        return False
    places = [""] if os.path.isabs(path) else ["", *open_folders()]
    real = [Path(os.path.realpath(os.path.join(place, path))) for place in places]
    return all(any(one.is_relative_to(folder) for folder in own) for one in real)


def open_folders() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the list itself is closed
            target = os.readlink(f"/proc/self/fd/{number}")
            found += [target] if os.path.isdir(target) else []
    return found


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        path = os.fsdecode(arguments[0])
        if not is_own(path):
            events.append(f"open {path}"[:200])
    elif event.startswith(FOREIGN) and not proving:
        events.append(f"{event} {arguments}"[:200])


start = isolated.start_process


def start_process() -> Any:
    """Start the one process that an import may start."""
    global proving
    proving = True
    try:
        return start()
    finally:
        proving = False


isolated.start_process = start_process
sys.addaudithook(watch)


def outcome(path: Path) -> str:
    if conduct == "careless":
        for name in ("/etc/passwd", os.path.join(home, "../" * 20, "etc/passwd"), f"{home}-beside", "link"):
            with contextlib.suppress(FileNotFoundError), open(name) as file:
                file.read()
        etc = os.open("/etc", os.O_RDONLY)
        os.close(os.open("passwd", os.O_RDONLY, dir_fd=etc))
        os.close(etc)
        os.system("true")
    if conduct == "greedy":
        bytes(bytearray(b"x") * 2**29)
    if conduct == "crashing":
        os.kill(os.getpid(), signal.SIGFPE)
    try:
        found = import_file(path)
    except OnnxError as error:
        return f"refused: {error}"
    except CnnkitError as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:
        return f"CRASHED: {type(error).__name__}: {error}"
    return f"imported: {found.proof}"


for line in sys.stdin:
    events.clear()
    began = time.process_time()
    said = outcome(Path(folder, line.strip()))
    peak = peak_memory()
    reply = {"outcome": said, "seconds": time.process_time() - began, "memory": peak, "foreign": events}
    print(json.dumps(reply), flush=True)
