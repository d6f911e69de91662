"""Where the machine code of compiled kernels is kept, whether it is there, and who makes it.

It is made once for each processor and version, in a process of its own, and then read by every training. It is read
only if it is exactly what was written: a cache that is cut off, or of another processor, is made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from cnnkit.errors import ConfigError
from cnnkit.file_writing import write_whole
from cnnkit.user_folders import user_folder

PACKAGES = "numba", "llvmlite", "numpy"
CPUINFO = Path("/proc/cpuinfo")
OF_A_PROCESSOR = "vendor_id", "model name", "flags", "Features", "CPU part"
"""What tells one processor from another there; the last two on ARM."""
COMPLETE = "complete.json"
"""The digests of all files of machine code, written when they are all there."""
FAILURE = "failure.txt"
"""Why they could not be made, so that not every training tries again."""
OTHERS_WRITE = 0o022
INSTALL = 'pip install "cnnkit[fast]"'


class MachineCodeError(ConfigError):
    """The compiled kernels cannot be used."""


def unavailable() -> str:
    """Why there can be no compiled kernels here, "" if there can. Nothing of Numba is imported to know."""
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        return f"Numba is not installed: {INSTALL}"
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return "NUMBA_DISABLE_JIT keeps Numba from compiling"
    if folder() is None:
        return "there is no home folder to keep machine code in: set XDG_CACHE_HOME"
    return ""


def is_ready() -> bool:
    """Whether all machine code is there, unchanged, and written by nobody else."""
    if unavailable() or (place := folder()) is None:
        return False
    try:
        expected = json.loads((place / COMPLETE).read_bytes())
        owned = os.stat(place)
    except (OSError, ValueError):
        return False
    if owned.st_uid != os.getuid() or owned.st_mode & OTHERS_WRITE:
        return False
    return bool(expected) and expected == _digests(place)


def loops() -> ModuleType:
    """The compiled loops. Raises MachineCodeError if they cannot be loaded; what is on disk is then made again."""
    return _loaded()


@functools.cache
def _loaded() -> ModuleType:
    if reason := unavailable():
        raise MachineCodeError(reason)
    place = folder()
    try:
        with _numba_writes_to(place):
            from cnnkit.network.kernels.compiled import convolution_loops
    except Exception as error:  # Numba may fail in any way, and there are other kernels
        if place is not None:
            with contextlib.suppress(OSError):
                (place / COMPLETE).unlink()
        raise MachineCodeError(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.200}") from error
    return convolution_loops


def make(*, wait: bool = False) -> None:
    """Compile what is missing, unless another process does; wait: for that one to end.

    Raises MachineCodeError if that is not possible.
    """
    place = folder()
    if (reason := unavailable()) or place is None:
        raise MachineCodeError(reason)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(place / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                return
            if is_ready():
                return
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(place / "code")  # Numba would load what is damaged
            try:
                _loaded()
            except MachineCodeError as error:
                write_whole(place / FAILURE, str(error).encode(), MachineCodeError)
                raise
            write_whole(place / COMPLETE, json.dumps(_digests(place), indent=1).encode(), MachineCodeError)
            (place / FAILURE).unlink(missing_ok=True)
    except OSError as error:
        raise MachineCodeError(f"{place}: {error.strerror or error}") from error


def failure() -> str:
    """Why the latest attempt to compile failed, "" if it did not."""
    try:
        return (folder() or Path()).joinpath(FAILURE).read_text("utf-8", "replace")
    except OSError:
        return ""


def make_in_background() -> None:
    """Begin to compile in a process that goes on when this one ends, with what the processor has left."""
    code = (
        "import json, os, sys; sys.path[:] = json.loads(sys.argv[1]); os.nice(19); "
        "from cnnkit.network.kernels.compiled.machine_code import make; make()"
    )
    with open(os.devnull, "r+b") as nothing:
        silent = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), number) for number in range(3)]
        with contextlib.suppress(OSError):  # no process more is allowed: the next training tries again
            # A group of its own does not hear Ctrl-C; in a session of its own, its niceness would mean nothing.
            os.posix_spawn(
                sys.executable,
                [sys.executable, "-P", "-c", code, json.dumps(sys.path)],
                os.environ,
                file_actions=silent,
                setpgroup=0,
            )


def folder() -> Path | None:
    """Where the machine code for this processor, this Numba and these loops is; None for a user without a home."""
    place = user_folder("cache")
    return None if place is None else place / "machine-code" / _key()


def numba_version() -> str:
    """Of the installed one."""
    from importlib.metadata import version

    return version("numba")


@functools.cache
def _key() -> str:
    facts = {
        "python": [platform.python_implementation(), platform.python_version(), platform.machine(), sys.platform],
        "packages": [_version(name) for name in PACKAGES],
        "processor": _processor(),
        "loops": [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in _sources()],
        "settings": sorted((name, value) for name, value in os.environ.items() if name.startswith("NUMBA_")),
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # a slow import, which a prediction can do without

    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> list[str]:
    """What is known of it."""
    try:
        first = CPUINFO.read_text("utf-8", "replace").partition("\n\n")[0]
    except OSError:  # not Linux
        return [platform.processor()]
    return [line for line in first.splitlines() if line.startswith(OF_A_PROCESSOR)]


def _sources() -> list[Path]:
    return [*sorted(Path(__file__).parent.glob("*loops.py")), Path(__file__).with_name("jit.py")]


def _digests(place: Path) -> Mapping[str, str]:
    """The sha256 of each file of machine code."""
    files = sorted(path for path in (place / "code").rglob("*.nb[ci]"))
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@contextlib.contextmanager
def _numba_writes_to(place: Path | None) -> Iterator[None]:
    """Numba keeps what it compiles there; what the program compiles otherwise goes where it went."""
    import numba

    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(place / "code") if place else before
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before
