"""Where and with what a training took place, as texts: versions, processor, BLAS, git checkout."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import h5py
import numpy as np

from cnnkit.components.plugin_metadata import BUILT_IN
from cnnkit.network import available_cores
from cnnkit.network.kernels.compiled.machine_code import identity, is_loaded
from cnnkit.registry.revision import revision

CPUINFO = Path("/proc/cpuinfo")


MACHINE_CODE = "machine_code"
"""Of the compiled kernels that this process has loaded, for a training; it decides bits, too."""
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
    present = [*DECIDING, *([MACHINE_CODE] if MACHINE_CODE in found else [])]
    return {name: found.get(name, "") for name in present}


def differences(recorded: object) -> list[str]:
    """What of all that has changed since it was recorded, as text."""
    there = recorded if isinstance(recorded, dict) else {}
    here = deciding() | {MACHINE_CODE: identity() or "none"}
    if not there.get(MACHINE_CODE):  # trained without, or nothing is known of it
        del here[MACHINE_CODE]
    changed = [name for name in here if there.get(name) != here[name]]
    return [f"{name} was {there.get(name) or 'unknown'}, it is {here[name]}" for name in changed]


def machine() -> dict[str, str]:
    """Platform, processor, cores, BLAS library and its kernels."""
    from threadpoolctl import threadpool_info

    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    found = {
        "platform": system(),
        "processor": processor(),
        "cores": str(available_cores()),
        "blas": ", ".join(f"{library['internal_api']} {library['version']}" for library in libraries),
        "blas_kernels": ", ".join(library.get("architecture", "unknown") for library in libraries),
        MACHINE_CODE: identity() if is_loaded() else "",
    }
    return {name: text for name, text in found.items() if text}


def system() -> str:
    """The operating system with its release, the architecture and the C library, as `platform.platform` has them.

    That one asks a program `uname`, and would take it from the working folder if that is where PATH leads.
    """
    name = os.uname()
    library = "".join(platform.libc_ver())
    return "-".join(filter(None, (name.sysname, name.release, name.machine, library and f"with-{library}")))


def processor() -> str:
    """The processor's name."""
    try:
        lines = CPUINFO.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else os.uname().machine
