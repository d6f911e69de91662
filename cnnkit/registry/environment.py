"""Where and with what a training took place, as texts: versions, processor, BLAS, git checkout."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

import h5py
import numpy as np

from cnnkit.components.plugins import BUILT_IN
from cnnkit.network import available_cores

GIT_SECONDS = 5
"""How long git may take: a large checkout on a slow disk is no reason to wait with a trained model."""
CPUINFO = Path("/proc/cpuinfo")
_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?(-dirty)?")


DECIDING = "python", "numpy", BUILT_IN, "processor", "blas", "blas_kernels"
"""What may decide the last bits of a training's result."""


OWN = "python", "numpy", "h5py", BUILT_IN
"""What stands among the versions of every manifest; the others are distributions of plugins."""


def versions() -> dict[str, str]:
    """The versions of Python and of what cnnkit itself computes and stores with."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        BUILT_IN: importlib.metadata.version(BUILT_IN),
    }


def environment() -> dict[str, str]:
    """Platform, processor, cores, BLAS library and its kernels; in a git checkout, also its revision."""
    found = machine()
    return found | {"revision": text} if (text := revision()) else found


def deciding() -> dict[str, str]:
    """What may decide the last bits of a training's result, in this process."""
    found = versions() | machine()
    return {name: found.get(name, "") for name in DECIDING}


def differences(recorded: object) -> list[str]:
    """What of all that is not as it was recorded, each in words."""
    there = recorded if isinstance(recorded, dict) else {}
    here = deciding()
    changed = [name for name in here if there.get(name) != here[name]]
    return [f"{name} was {there.get(name) or 'unknown'}, it is {here[name]}" for name in changed]


def machine() -> dict[str, str]:
    """Platform, processor, cores, BLAS library and its kernels."""
    from threadpoolctl import threadpool_info

    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    found = {
        "platform": platform.platform(),
        "processor": processor(),
        "cores": str(available_cores()),
        "blas": ", ".join(f"{library['internal_api']} {library['version']}" for library in libraries),
        "blas_kernels": ", ".join(library.get("architecture", "unknown") for library in libraries),
    }
    return {name: text for name, text in found.items() if text}


def processor() -> str:
    """The processor's name."""
    try:
        lines = CPUINFO.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def revision() -> str:
    """The commit that is checked out in the working folder, with `-dirty` after it if tracked files have changed.

    "" outside a checkout, without git, or if git fails or takes longer than `GIT_SECONDS`.
    """
    import subprocess

    # Tags are left out, so that it is the commit which is described. fsmonitor is a program that a checkout may name.
    try:
        done = subprocess.run(
            [
                "/usr/bin/env",
                "git",
                "-c",
                "core.fsmonitor=false",
                "describe",
                "--always",
                "--dirty",
                "--abbrev=64",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):  # ValueError: what git says is no text
        return ""
    text = done.stdout.strip()
    return text if done.returncode == 0 and _REVISION.fullmatch(text) else ""
