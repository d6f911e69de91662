"""The revision of the git checkout that is the working folder; nothing that the checkout names or holds is run.

A checkout is data that may come from anybody, and its `.git/config` names programs: filters of files, a monitor of the
file system, hooks, others that fetch what is missing. git is asked with all of them off.
"""

from __future__ import annotations

import os
import re
from typing import Any

SECONDS = 5
"""How long each question to git may take: a large checkout on a slow disk is no reason to wait with a trained model."""
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_OFF = {"core.fsmonitor": "false", "core.hooksPath": os.devnull}


def revision() -> str:
    """The commit that is checked out in the working folder, with `-dirty` after it if tracked files have changed.

    A file that was touched since it was checked out counts as changed if its bytes are not those of the commit: the
    filters that may make them the same are not run. What has changed inside a submodule does not count.
    "" outside a checkout, without git, or if git fails or takes longer than `SECONDS`.
    """
    import subprocess

    # Each program is started with arguments that stand here, whole; the checkout has no word in them.
    try:
        head = subprocess.run(["/usr/bin/env", "git", "rev-parse", "--verify", "HEAD"], **_options(_OFF))
        filters = subprocess.run(
            ["/usr/bin/env", "git", "config", "--null", "--name-only", "--get-regexp", r"^filter\."], **_options(_OFF)
        )
        # `diff` would write into the checkout what it has found out; `status` leaves that.
        status = subprocess.run(
            ["/usr/bin/env", "git", "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty"],
            **_options(_OFF | _filters_off(os.fsdecode(filters.stdout).split("\0"))),
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):  # ValueError: the user's own count is not a number
        return ""
    commit = os.fsdecode(head.stdout).strip()
    # Without any filter, `config` ends with 1.
    if head.returncode or filters.returncode not in (0, 1) or status.returncode or not _COMMIT.fullmatch(commit):
        return ""
    return f"{commit}-dirty" if status.stdout else commit


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
    return {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": SECONDS, "env": environment}
