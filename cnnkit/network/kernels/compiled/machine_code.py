"""Where the machine code of compiled kernels is kept, whether it is there, and who makes it.

Numba makes it once for each processor and version, in a process of its own. A training loads the object files through
llvmlite alone, which takes a tenth of Numba's time and half of its memory. They are read only if they are exactly what
was written: what is cut off, or of another processor, is made again.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import importlib.util
import json
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.file_writing import write_whole
from cnnkit.network.kernels.compiled.addresses import address
from cnnkit.network.kernels.compiled.interface import ARGUMENTS, COUNT, EXACT, NUMBER
from cnnkit.user_folders import user_folder

PACKAGES = "numba", "llvmlite", "numpy"
CPUINFO = Path("/proc/cpuinfo")
OF_A_PROCESSOR = "vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU "
"""What tells one processor from another there; the last two on ARM."""
COMPLETE = "complete.json"
"""Of each function its symbol and the digest of its object file; written when they are all there."""
LOCK = "lock"
FAILURE = "failure.txt"
"""Why they could not be made, so that not every training tries again."""
KILLED, MOST_KILLED = "the compiler did not end", 3
"""What is noted while it is at work, and how often it may stay so before no training tries again."""
OTHERS_WRITE = 0o022
INSTALL = 'pip install "cnnkit[fast]"'
RESULT_BYTES = 64
"""Room for what a function of Numba's says of its result, which is none, and of an exception, which there is none."""


class MachineCodeError(ConfigError):
    """The compiled kernels cannot be used."""


class Functions:
    """The functions of the object files, by name; they hold Python's lock no more than a call of NumPy does."""

    def __init__(self, place: Path, symbols: dict[str, list[str]]) -> None:
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)  # it keeps the code
        for name in symbols:
            self._engine.add_object_file(llvm.ObjectFileRef.from_path(str(place / f"{name}.o")))
        self._engine.finalize_object()
        self._functions = {
            name: Function(self._engine, symbols[name][0], arguments)
            for of_module in ARGUMENTS.values()
            for name, arguments in of_module.items()
        }

    def __getitem__(self, name: str) -> Function:
        return self._functions[name]


class Function:
    """Machine code that takes numbers, and the first elements of contiguous arrays."""

    def __init__(self, engine: Any, symbol: str, arguments: Sequence[str]) -> None:
        """engine: LLVM's, which has the code as long as somebody refers to it."""
        self._engine = engine
        kinds: dict[str, Any] = {COUNT: ctypes.c_ssize_t, NUMBER: ctypes.c_float}
        types = [kinds.get(one, ctypes.c_void_p) for one in arguments]
        self._code = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *types)(
            engine.get_function_address(symbol)
        )
        self._dtypes = [None if one in kinds else np.dtype(one) for one in arguments]
        self._room = ctypes.create_string_buffer(RESULT_BYTES)
        self._result = ctypes.addressof(self._room)
        self._exception = self._result + RESULT_BYTES // 2

    def __call__(self, *arguments: Any) -> None:
        """Raises TypeError for an array that is not contiguous, or of another dtype: it would be read as if it was."""
        given: list[Any] = []
        for argument, dtype in zip(arguments, self._dtypes, strict=True):
            if dtype is None:
                given.append(argument)
                continue
            if argument.dtype != dtype or not (argument.flags.c_contiguous and argument.flags.aligned):
                raise TypeError(f"expected a contiguous array of {dtype}, got one of {argument.dtype}")
            given.append(address(argument))
        self.at(*given)

    def at(self, *given: Any) -> None:
        """Call it with addresses of which the caller knows that they are right."""
        self._code(self._result, self._exception, *given)


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
    return not unavailable() and bool(_symbols())


def functions() -> Functions:
    """The compiled functions. Raises MachineCodeError if they cannot be loaded."""
    return _loaded(folder())


@functools.cache
def _loaded(place: Path | None) -> Functions:
    if reason := unavailable():
        raise MachineCodeError(reason)
    if place is None or not (symbols := _symbols()):
        raise MachineCodeError("there is no machine code")
    try:
        return Functions(place, symbols)
    except Exception as error:  # llvmlite may fail in any way, and there are other kernels
        raise MachineCodeError(_line(error)) from error


def make() -> None:
    """Compile what is missing, or wait for another process that does. Raises MachineCodeError, saying why it failed."""
    if reason := unavailable():
        raise MachineCodeError(reason)
    if is_ready():
        return
    done = subprocess.run(
        [
            sys.executable,
            "-P",  # no module is taken from the current folder, unless this process does so
            "-c",
            "import json, sys; sys.path[:] = json.loads(sys.stdin.readline()); "
            "from cnnkit.network.kernels.compiled.machine_code import main; main()",
        ],
        input=_path().encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if not is_ready():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise MachineCodeError(said[-1] if said else f"the compiler ended with {done.returncode}")


def make_in_background() -> None:
    """Begin to compile in a process that goes on when this one ends, with what the processor has left."""
    command = (
        "import json, os, sys; os.fork() and os._exit(0); sys.path[:] = json.loads(sys.argv[1]); os.nice(19); "
        "from cnnkit.network.kernels.compiled.machine_code import main; main()"
    )
    with contextlib.suppress(OSError), open(os.devnull, "r+b") as nothing:  # where no process can be had, it is later
        began = os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-c", command, _path()],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, nothing.fileno(), number) for number in range(3)],
            # A group of its own does not hear Ctrl-C; in a session of its own, its niceness would mean nothing.
            setpgroup=0,
        )
        os.waitpid(began, 0)  # it ends at once, and has left another one that nobody needs to wait for


def make_here() -> None:
    """Compile in this process, after another one that does; what fails is noted for the others."""
    place = folder()
    if place is None:
        raise MachineCodeError(unavailable())
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_ours(place):
        raise MachineCodeError(f"{place} belongs to somebody else, or others may write to it: remove it")
    with _locked(place):
        if is_ready():
            return
        write_whole(place / FAILURE, f"{_noted(place)}{KILLED}\n".encode(), MachineCodeError)
        try:
            made = _compiled()
        except Exception as error:
            write_whole(place / FAILURE, _line(error).encode(), MachineCodeError)
            raise MachineCodeError(_line(error)) from error
        for name, (_, code) in made.items():
            write_whole(place / f"{name}.o", code, MachineCodeError)
        complete = {name: [symbol, hashlib.sha256(code).hexdigest()] for name, (symbol, code) in made.items()}
        write_whole(place / COMPLETE, json.dumps(complete, indent=1).encode(), MachineCodeError)
        (place / FAILURE).unlink(missing_ok=True)


def main() -> None:
    """What the process does that compiles."""
    try:
        make_here()
    except (MachineCodeError, OSError) as error:
        sys.exit(str(error))


def is_being_made() -> bool:
    """Whether another process compiles now."""
    place = folder()
    try:
        with open(place / LOCK if place else LOCK, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def failure() -> str:
    """Why compiling failed, "" if it did not; also where it cannot begin. Once or twice, the compiler may be killed."""
    place = folder()
    if place is None or not place.is_dir():
        return ""
    if not _is_ours(place):
        return f"{place} belongs to somebody else, or others may write to it"
    noted = _noted(place)
    if noted.replace(f"{KILLED}\n", ""):
        return noted
    return KILLED if noted.count(KILLED) >= MOST_KILLED else ""


def _noted(place: Path) -> str:
    try:
        return (place / FAILURE).read_text("utf-8", "replace")
    except OSError:
        return ""


def is_loaded() -> bool:
    """Whether this process has them."""
    return bool(_loaded.cache_info().currsize)


def identity() -> str:
    """Which machine code there is, in a few letters; "" for none. The same bits come from the same one."""
    symbols = _symbols()
    return hashlib.sha256(json.dumps(symbols, sort_keys=True).encode()).hexdigest()[:16] if symbols else ""


def folder() -> Path | None:
    """Where the machine code for this processor, this Numba and these loops is; None for a user without a home."""
    place = user_folder("cache")
    return None if place is None else place / "machine-code" / _key()


def _compiled() -> dict[str, tuple[str, bytes]]:
    """Of each function its symbol and its object file."""
    from cnnkit.network.kernels.compiled import (
        convolution_loops,
        depthwise_loops,
        norm_loops,
        optimizer_loops,
        prediction_loops,
        product_loops,
        sample_norm_loops,
        winograd_loops,
    )
    from cnnkit.network.kernels.compiled.jit import compiled

    made: dict[str, tuple[str, bytes]] = {}
    for module in (
        convolution_loops,
        depthwise_loops,
        norm_loops,
        optimizer_loops,
        prediction_loops,
        product_loops,
        sample_norm_loops,
        winograd_loops,
    ):
        module_name = module.__name__.rpartition(".")[2]
        for name, arguments in ARGUMENTS[module_name].items():
            made[name] = compiled(getattr(module, name), arguments, exact=module_name in EXACT)
    return made


def _symbols() -> dict[str, list[str]]:
    """What COMPLETE says, if it is true of all files; else nothing."""
    place = folder()
    try:
        if place is None or not _is_ours(place):
            return {}
        complete: Any = json.loads((place / COMPLETE).read_bytes())
        names = [name for of_module in ARGUMENTS.values() for name in of_module]
        digests = {name: hashlib.sha256((place / f"{name}.o").read_bytes()).hexdigest() for name in names}
        return complete if {name: one[1] for name, one in complete.items()} == digests else {}
    except (OSError, ValueError, AttributeError, TypeError, LookupError):
        return {}


def _is_ours(place: Path) -> bool:
    """Whether it is a folder that nobody else can change: what is in it will be executed."""
    try:
        found = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & OTHERS_WRITE


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[None]:
    """While no other process compiles."""
    lock = os.open(place / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _path() -> str:
    """Where this process finds its modules, for another one."""
    return json.dumps([one for one in sys.path if isinstance(one, str)])


def _line(error: Exception) -> str:
    said = str(error).strip().partition("\n")[0]
    return said if isinstance(error, CnnkitError) else f"{type(error).__name__}: {said:.200}"


@functools.cache
def has_avx512() -> bool:
    """Whether the processor has vectors of 16 numbers of float32; where that is not known, no."""
    return any("avx512f" in line.split() for line in _processor() if line.startswith("flags"))


@functools.cache
def _key() -> str:
    facts = {
        "python": [platform.machine(), sys.platform],
        "packages": [_version(name) for name in PACKAGES],
        "processor": _processor(),
        "loops": [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(__file__).parent.glob("*.py"))],
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
