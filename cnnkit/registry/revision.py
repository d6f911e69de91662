"""The revision of the git checkout that is the working folder; nothing that the checkout names or holds is run.

A checkout is data that may come from anybody, and its `.git/config` names programs: filters of files, a monitor of the
file system, hooks, others that fetch what is missing. git is asked with all of them off.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import time
from typing import TYPE_CHECKING, Any

from cnnkit.process_activity import Watch

if TYPE_CHECKING:
    import subprocess

SECONDS = 5
"""How long each question to git may take: a large checkout on a slow disk is no reason to wait with a trained model."""
IDLE = 0.3
"""Seconds in which git does nothing at all before it is given up: some file that it reads is a pipe."""
MEMORY = 2**29
"""Bytes that git may take: one of the files that it reads may have no end."""
SMALL = {resource.RLIMIT_AS: MEMORY // 2, resource.RLIMIT_CPU: 1}
"""What a question may take whose answer stands in one small file."""
_LOOK = 0.05
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_OFF = {"core.fsmonitor": "false", "core.hooksPath": os.devnull}


def revision() -> str:
    """The commit that is checked out in the working folder, with `-dirty` after it if tracked files have changed.

    A file that was touched since it was checked out counts as changed if its bytes are not those of the commit: the
    filters that may make them the same are not run. What has changed inside a submodule does not count.
    "" outside a checkout, without git, or if git fails, takes longer than `SECONDS`, or waits for a pipe.
    """
    import subprocess

    # Each program is started with arguments that stand here, whole; the checkout has no word in them.
    try:
        failed, head = _answer(
            subprocess.Popen(["/usr/bin/env", "git", "rev-parse", "--verify", "HEAD"], **_options(_OFF)), SMALL
        )
        commit = head.strip()
        if failed or not _COMMIT.fullmatch(commit):
            return ""
        failed, filters = _answer(
            subprocess.Popen(
                ["/usr/bin/env", "git", "config", "--null", "--name-only", "--get-regexp", r"^filter\."],
                **_options(_OFF),
            ),
            SMALL,
        )
        if failed not in (0, 1):  # 1: there is no filter
            return ""
        # `diff` would write into the checkout what it has found out; `status` leaves that.
        failed, changed = _answer(
            subprocess.Popen(
                ["/usr/bin/env", "git", "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty"],
                **_options(_OFF | _filters_off(filters.split("\0"))),
            ),
            {resource.RLIMIT_DATA: MEMORY},
        )
    except (OSError, ValueError, TimeoutError):  # ValueError: the user's own count is not a number
        return ""
    if failed:
        return ""
    return f"{commit}-dirty" if changed else commit


def _answer(process: subprocess.Popen[bytes], limits: dict[int, int]) -> tuple[int, str]:
    """The exit code of git, and what it says. Raises TimeoutError if it does not come to an end.

    limits: of its resources, where another process can be limited.
    """
    import subprocess

    with process:
        try:
            with contextlib.suppress(AttributeError, OSError, ValueError):  # not Linux; it has ended; or may take less
                for kind, most in limits.items():
                    resource.prlimit(process.pid, kind, (most, most))
            watch, deadline = Watch(process.pid), time.monotonic() + SECONDS
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    said, _ = process.communicate(timeout=_LOOK)
                    return process.returncode, os.fsdecode(said)
                if watch.idle() > IDLE or time.monotonic() > deadline:
                    raise TimeoutError
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)


def _filters_off(keys: list[str]) -> dict[str, str]:
    """What switches off the filters with these keys, such as `filter.lfs.clean`; a name may hold any character."""
    filters = {key.rpartition(".")[0] for key in keys if key.count(".") > 1}
    changes = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return {f"{name}.{key}": value for name in sorted(filters) for key, value in changes.items()}


def _options(settings: dict[str, str]) -> dict[str, Any]:
    """How git is run, with settings that stand above those of the checkout."""
    import subprocess

    # A relative folder in PATH is one of the working folder's.
    path = os.pathsep.join(folder for folder in os.get_exec_path() if os.path.isabs(folder)) or os.defpath
    environment = os.environ | {
        "PATH": path,
        "GIT_OPTIONAL_LOCKS": "0",  # nothing is written
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "",  # for a git older than that: there is no way to fetch anything
    }
    first = int(environment.get("GIT_CONFIG_COUNT") or 0)  # the user's own come before
    for number, (key, value) in enumerate(settings.items(), start=first):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    environment["GIT_CONFIG_COUNT"] = str(first + len(settings))
    return {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
        "env": environment,
        "start_new_session": True,
    }
