"""Which kernels OpenBLAS uses: measured once by `cnnkit doctor --tune`, applied whenever the command line starts.

OpenBLAS chooses by the processor's name, and reads OPENBLAS_CORETYPE when NumPy loads it, so that the setting must be
in the environment before. This module must not load NumPy itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cnnkit.errors import ConfigError
from cnnkit.file_reading import read_plain
from cnnkit.user_folders import user_folder

VARIABLE = "OPENBLAS_CORETYPE"
_AVX2 = {"avx2", "fma"}
NEEDED = {
    "HASWELL": _AVX2,
    "ZEN": _AVX2,
    "SKYLAKEX": _AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
"""The settings that are tried, and the processor flags without which one would end the process."""
MAX_SETTING_BYTES = 2**20
"""Most bytes of the setting file, which has a few hundred."""
MARGIN = 1.03
"""How much faster than the default a setting must be: less may be noise."""
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Measured:
    """What a process with one setting measured."""

    gflops: float
    architecture: str | None
    """Whose kernels OpenBLAS used, or None if NumPy uses another BLAS."""


def setting_path() -> Path | None:
    """The file that holds the setting; None for a user without a home."""
    folder = user_folder("config")
    return folder and folder / "blas.json"


def apply_setting() -> None:
    """Put the stored setting into the environment, unless the user has set the variable or NumPy is loaded already."""
    if VARIABLE in os.environ or "numpy" in sys.modules:
        return
    with contextlib.suppress(ConfigError):  # the command works without it; `cnnkit doctor` says what is wrong
        if coretype := stored_setting():
            os.environ[VARIABLE] = coretype


def stored_setting() -> str | None:
    """The stored setting, or None if there is none for this processor. Raises ConfigError if the file is damaged."""
    if (path := setting_path()) is None:
        return None
    try:
        document = json.loads(read_plain(path, MAX_SETTING_BYTES))
        coretype, cpu = document["coretype"], document["cpu"]
        needed = NEEDED[coretype]
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # in a home that is another user's, or no folder
        return None
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be used: expected a JSON object with cpu and a coretype, one of {', '.join(NEEDED)} "
            f"({error!r}); run `cnnkit doctor --tune`, or remove the file"
        ) from None
    model, flags = processor_features()
    return str(coretype) if cpu == model and needed <= flags else None


def processor_features() -> tuple[str, frozenset[str]]:
    """Name and flags of the first processor; empty where Linux does not tell them."""
    model, flags = "", ""
    with contextlib.suppress(OSError), CPUINFO.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            match key.strip():
                case "model name":
                    model = value.strip()
                case "flags":
                    flags = value
                    break
    return model, frozenset(flags.split())


def report() -> None:
    """Print what this process measures, for `measure`."""
    from threadpoolctl import threadpool_info

    from cnnkit.network.execution.machine_rates import product_rate

    gflops = product_rate()
    blas = [info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas"]
    sys.stdout.write(json.dumps({"gflops": gflops, "architecture": blas[0] if blas else None}))


def measure(coretype: str | None) -> Measured | None:
    """What a new process with this setting measures, or without one for None; None if that process fails."""
    import subprocess

    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if coretype:
        environment[VARIABLE] = coretype
    with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
        done = subprocess.run(
            [sys.executable, "-P", "-c", "from cnnkit.cli.blas_tuning import report; report()"],
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        return Measured(**json.loads(done.stdout))
    return None


def tune() -> dict[str, float]:
    """Measure all settings that this processor can run, store the best or remove what was stored; all GFLOP/s.

    The default is the first, as "default". Raises ConfigError if NumPy does not use OpenBLAS, or cannot be measured,
    and if the setting cannot be stored.
    """
    path = _storable()
    default = measure(None)
    if default is None or default.architecture is None:
        raise ConfigError("--tune chooses kernels of OpenBLAS, and NumPy's BLAS is not OpenBLAS or cannot be measured")
    model, flags = processor_features()
    gflops = {"default": default.gflops}
    for coretype, needed in NEEDED.items():
        measured = measure(coretype) if needed <= flags else None
        if measured and measured.architecture != default.architecture:  # else it is the default by another name
            gflops[coretype] = measured.gflops
    for coretype in gflops:  # a second time, later: other programs slow a whole round down
        if again := measure(None if coretype == "default" else coretype):
            gflops[coretype] = max(gflops[coretype], again.gflops)
    best = max(gflops, key=lambda coretype: gflops[coretype])
    if gflops[best] > MARGIN * gflops["default"]:
        from cnnkit.file_writing import write_whole

        write_whole(path, json.dumps({"coretype": best, "cpu": model}).encode(), ConfigError)
    else:
        path.unlink(missing_ok=True)
    return gflops


def _storable() -> Path:
    """The file of the setting, in a folder that is there. Raises ConfigError if it cannot be written."""
    path = setting_path()
    advice = "set XDG_CONFIG_HOME to a folder that can be written to"
    if path is None:
        raise ConfigError(f"--tune stores its setting in the home folder, which does not exist: {advice}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--tune cannot store its setting in {path}: {error.strerror}; {advice}") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--tune cannot store its setting in {path}: its folder is read-only; {advice}")
    return path
