"""A command under strace and an audit hook: what it, and whatever it starts, opens, changes, runs and connects to."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hostile_allowed import LOG, VARIABLE, Allowed  # type: ignore[import-not-found]  # in the folder `watched`

ROOT = Path(__file__).parents[2]
STARTS = {"execve", "execveat"}
COPIES = {"clone", "clone3", "fork", "vfork"}
NETWORK = {"bind", "connect", "sendto", "socket"}
OPENS = {"open", "openat", "openat2"}
CHANGES = {"chmod", "chown", "creat", "fchmodat", "fchownat", "link", "linkat", "mkdir", "mkdirat", "mknod", "mknodat"}
CHANGES |= {"rename", "renameat", "renameat2", "rmdir", "symlink", "symlinkat", "truncate", "unlink", "unlinkat"}
TRACED = "trace=" + ",".join(f"?{name}" for name in sorted(STARTS | COPIES | NETWORK | OPENS | CHANGES))
SYSTEM = (
    # The dynamic linker and the C library.
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/lib/",
    "/lib64/",
    "/usr/lib/",
    "/usr/lib64/",
    # Language and time.
    "/etc/locale.alias",
    "/etc/localtime",
    "/usr/share/locale/",
    "/usr/share/zoneinfo/",
    # OpenSSL, with which Python makes hashes.
    "/etc/ssl/openssl.cnf",
    # What a version says of the machine; how many cores there are, and how much memory.
    "/etc/os-release",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self/cgroup",
    "/proc/self/maps",
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/status",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",  # the malloc of a thread reads it
    "/sys/devices/",
    "/sys/fs/cgroup/",
    # Graphics cards, which ONNX Runtime looks for.
    "/sys/bus/pci/devices/",
    "/dev/null",
    "/dev/urandom",
)
"""What is read of the machine, whatever a file says."""
UNAME = (("/usr/bin/uname", "uname", "-p"), ("/bin/uname", "uname", "-p"))
"""Python's `platform` asks so for the processor, when h5py is imported."""
CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from cnnkit.onnx.isolated_child import main; main()"
)
ISOLATED = (sys.executable, sys.executable, "-P", "-c", CHILD)
"""The process in which `validate` runs an ONNX file that is not the version's own export."""
SECONDS = 600
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_PLACE = re.compile(r"(?:(?:AT_FDCWD|\d+)<((?:[^>\\]|\\.)*)>, )?" + _TEXT)
_RESULT = re.compile(r"\) += (-?\d+|\?)(?:<((?:[^>\\]|\\.)*)>)?")


@dataclass
class Seen:
    """What a command did."""

    code: int
    said: str
    """What it printed."""
    problems: list[str] = field(default_factory=list)
    calls: int = 0
    """System calls that were judged."""
    events: int = 0
    """Audit events that were judged, of the processes that ended in the usual way."""
    started: int = 0
    """Programs that were started beside it."""


def environment(folder: Path) -> dict[str, str]:
    """That of every watched command: nothing of the user's, and no bytecode is written."""
    return {
        "CNNKIT_REGISTRY": str(folder / "registry"),
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).with_name("watched")), str(ROOT)]),
        "TMPDIR": str(folder / "tmp"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }


@functools.cache
def libraries() -> tuple[str, ...]:
    """The folders of the interpreter and of all that it can import; of this project, cnnkit alone."""
    code = "import json, sys; print(json.dumps([*sys.path, sys.prefix, sys.base_prefix]))"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=environment(Path("/")), capture_output=True, text=True, check=True)
    folders = {place for one in json.loads(done.stdout) for place in (one, os.path.realpath(one))}
    shown = {str(ROOT), os.path.realpath(ROOT)}
    return (*shown, *(f"{one}/cnnkit/" for one in shown), *(f"{one}/" for one in sorted(folders - shown)))


def watched(
    arguments: Sequence[str],
    folder: Path,
    *,
    read: Sequence[Path] = (),
    write: Sequence[Path] = (),
    children: Sequence[tuple[str, ...]] = (),
) -> Seen:
    """Run Python with arguments in the empty folder `work`, with a registry, cache and configuration beside it.

    read, write: files and folders that it may open beside the registry, the cache and the setting of BLAS;
    children: programs that it may start beside `uname`.
    """
    work = folder / "work"
    work.mkdir(exist_ok=True)
    own = (sys.executable, sys.executable, *arguments)
    places = [folder / "registry", folder / "cache", folder / "config/cnnkit/blas.json", *read]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        log = Path(name, "log")
        os.mkfifo(log)
        pipe = os.open(log, os.O_RDWR | os.O_NONBLOCK)
        allowed = Allowed(
            (*SYSTEM, *libraries(), *map(_entry, places)),
            (*map(_entry, write), str(log), "/dev/null"),
            (own, *UNAME, *children),
        )
        given = environment(folder) | {VARIABLE: allowed.dumped(), LOG: str(log)}
        command = [
            "strace",
            "-ff",
            "--seccomp-bpf",
            "-qq",
            "-y",
            "-s",
            "1000000",
            "-e",
            "signal=none",
            "-e",
            TRACED,
            "-o",
            f"{name}/calls",
        ]
        done = subprocess.run(
            [*command, *own[1:]], cwd=work, env=given, capture_output=True, text=True, errors="replace", timeout=SECONDS
        )
        seen = Seen(done.returncode, done.stdout + done.stderr)
        _hear(pipe, seen)
        records = {int(path.suffix[1:]): path.read_text() for path in Path(name).glob("calls.*")}
    _judge(records, allowed, seen)
    return seen


def _entry(path: Path) -> str:
    return f"{path}/" if path.is_dir() else str(path)


def _hear(pipe: int, seen: Seen) -> None:
    """What the audit hooks have told."""
    told = b""
    try:
        while part := os.read(pipe, 1 << 16):
            told += part
    except BlockingIOError:
        pass
    finally:
        os.close(pipe)
    for line in told.decode(errors="replace").splitlines():
        if line.isdecimal():
            seen.events += int(line)
        else:
            seen.problems.append(f"audit hook: {line}")


def _judge(records: dict[int, str], allowed: Allowed, seen: Seen) -> None:
    """Each system call of each process, and what became of each copy of a process."""
    runs = {pid: any(re.match(r"execve.* = 0$", line) for line in text.splitlines()) for pid, text in records.items()}
    for pid, text in records.items():
        for line in text.splitlines():
            seen.calls += 1
            call, _, rest = line.partition("(")
            if call in COPIES:
                result = _RESULT.search(rest)
                copy = int(result[1]) if result and result[1].isdecimal() else pid
                fine = "CLONE_THREAD" in rest or runs.get(copy, False)  # else it is judged by what it runs
            else:
                fine = _may(call, rest, allowed)
                seen.started += call in STARTS and line.endswith(" = 0")
            if not fine:
                seen.problems.append(f"strace: {line[:500]}")
    seen.started -= 1  # the command itself


def _may(call: str, rest: str, allowed: Allowed) -> bool:
    if call in STARTS:
        program, *arguments = [_text(one) for one in re.findall(_TEXT, rest)]
        return bool(allowed.runs(program, arguments))
    if call not in OPENS | CHANGES:  # the network, and what this judge cannot read
        return False
    writes = call in CHANGES or re.search(r"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)", re.sub(_TEXT, "", rest)) is not None
    return all(allowed.opens(path, writes) for path in _paths(call, rest))


def _paths(call: str, rest: str) -> Iterator[str]:
    """The files that a call names, as absolute paths, and the one that it has opened."""
    found = False
    for base, name in _PLACE.findall(rest):
        found = True
        yield os.path.join(_text(base) or "/relative", _text(name))
    result = _RESULT.search(rest)
    if result and result[2]:
        yield _text(result[2])
    if not found:
        yield "/unreadable"


def _text(quoted: str) -> str:
    """Text as strace writes it, with the escapes of C."""
    return os.fsdecode(ast.literal_eval(f'b"{quoted}"'))
