"""One of two processes that show what the host gives, `python -m benchmarks.host_child CORE`: see `benchmarks.host`.

Each line that it reads has the start and the end of a window of time. It answers with the work that it did there in a
second: products of small matrices, and copies that stay in the core's own cache.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

SIDE = 256
COPIES = 4


def main(core: int) -> None:
    """Work in each window, until there are no more."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    a, b = np.random.default_rng(0).random((2, SIDE, SIDE), np.float32)
    product, copy = np.empty_like(a), np.empty_like(a)
    for line in sys.stdin:
        start, end = json.loads(line)
        done = 0
        while (now := time.monotonic()) < end:
            np.matmul(a, b, out=product)
            for _ in range(COPIES):
                np.copyto(copy, product)
            done += now >= start  # before, it only wakes the processor up
        print(done / (now - start), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
