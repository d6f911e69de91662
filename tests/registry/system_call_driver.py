"""A change of a registry that is killed or refused at its system calls, one after the other, by strace; prints what
was seen afterwards as one JSON object.

usage: system_call_driver.py ACTION kill|error FOLDER STEP

Every STEP-th of the system calls that have to do with files is met, in a separate process that has everything
imported and waits, so that only the change itself is counted.
"""

from __future__ import annotations

import collections
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from states import (  # type: ignore[import-not-found]  # beside this script
    ACTIONS,
    DEAD,
    Action,
    fresh,
    save_in_place,
    state,
    temporary_files,
)

from cnnkit.errors import RegistryError
from cnnkit.registry import Registry, environment, model_manifest

CALLS = (
    "close fchmod flock fstat fsync getdents64 link linkat lseek lstat mkdir mkdirat newfstatat open openat read "
    "rename renameat renameat2 stat statx unlink unlinkat write"
)
TRACED = "trace=" + ",".join(f"?{name}" for name in CALLS.split())
DONE, REFUSED, FAILED = 0, 3, 4


def start(action: Action, folder: Path) -> int:
    """A process that carries out the action once it gets SIGUSR1."""
    if (child := os.fork()) == 0:
        signal.sigwait([signal.SIGUSR1])
        try:
            action(Registry(folder))
        except RegistryError:
            os._exit(REFUSED)
        except BaseException:
            os._exit(FAILED)
        os._exit(DONE)
    return child


def carry_out(action: Action, folder: Path, *injected: str) -> tuple[int, list[str]]:
    """How the process of an action ended, as os.waitstatus_to_exitcode has it, and the names of its system calls."""
    child = start(action, folder)
    record = folder.with_suffix(".strace")
    command = ["strace", "-p", str(child), "-o", str(record), "-e", TRACED, *injected]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        attached = tracer.stderr.readline()
        assert "attached" in attached, attached
        os.kill(child, signal.SIGUSR1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, re.findall(r"^(\w+)\(", record.read_text(), re.MULTILINE)


def wrong(name: str, how: str, status: int, folder: Path, known: list[Any]) -> str:
    """What is wrong after an action that met a fault, "" if nothing is."""
    if status == DONE and how == "kill":
        return "it was not killed"
    if status not in (DONE, REFUSED, -signal.SIGKILL):
        return f"it ended with {status}"
    try:
        seen = state(folder)
    except RegistryError as error:
        return str(error)
    if seen not in known or (status == DONE and seen != known[-1]):
        return f"neither old nor new, or not what it said: {seen}"
    if problems := Registry(folder).verify():
        return str(problems[0])
    Registry(folder).gc()
    return f"gc leaves {left}" if (left := temporary_files(folder)) else ""


def main(name: str, how: str, folder: Path, step: int) -> dict[str, Any]:
    action = save_in_place if name == "save in place" else ACTIONS.get(name, Registry.gc)
    version = importlib.metadata.version("cnnkit")
    importlib.metadata.version = lambda distribution_name: version  # it reads files, which are not the registry's
    here = environment.environment()
    vars(model_manifest)["environment"] = lambda: here  # likewise
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    template = fresh(folder / "template")
    (template / "net" / DEAD).touch()
    changed = shutil.copytree(template, folder / "changed")
    status, calls = carry_out(action, changed)
    assert status == DONE
    known = [state(template), state(changed)]
    fault = {"kill": "signal=KILL", "error": "error=EIO"}[how]
    met: collections.Counter[str] = collections.Counter()
    found = []
    for number, call in enumerate(calls):
        met[call] += 1
        if number % step == 0:
            copy = shutil.copytree(template, folder / str(number))
            inject = f"inject={call}:{fault}:when={met[call]}"
            status, _ = carry_out(action, copy, "-e", inject)
            if text := wrong(name, how, status, copy, known):
                found.append(f"{number}, {inject}: {text}")
    return {"calls": len(calls), "met": len(calls[::step]), "names": sorted(met), "wrong": found}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
