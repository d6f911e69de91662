"""One large model, alone in a process: `python -m benchmarks.peers.large_model FOLDER save|read|load MEGABYTES`.

`read` gives verified arrays, `load` also makes the network. Prints seconds, and the bytes by which the process grew at
its peak, as one JSON object.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cnnkit.network import Sequential
from cnnkit.registry import Registry

STATUS = Path("/proc/self/status")


def size(field: str) -> int:
    """Bytes of memory: VmRSS, what the process has now; VmHWM, the most since it was reset."""
    return 1024 * int(STATUS.read_text("utf-8").partition(f"{field}:")[2].split()[0])


def measured(action: Callable[[], object]) -> dict[str, float]:
    """Seconds of an action, and how much the process grew at its peak."""
    Path("/proc/self/clear_refs").write_text("5", "utf-8")  # resets VmHWM
    before = size("VmRSS")
    began = time.perf_counter()
    action()
    return {"seconds": time.perf_counter() - began, "bytes": size("VmHWM") - before}


def main(folder: str, action: str, megabytes: str) -> None:
    """Save a model of one dense layer as another version, or read the last one."""
    registry = Registry(folder)
    if action == "save":
        width = math.isqrt(int(megabytes) * 1_000_000 // 4)  # float32
        model = Sequential([f"Dense({width})"], (width,))
        result = measured(lambda: registry.save(model, "large"))
    else:
        result = measured(lambda: registry.load("large") if action == "load" else registry.read("large"))
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
