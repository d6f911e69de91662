"""cnnkit, training on samples in memory or in a file that is larger: the child's side of `benchmarks.disk`."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.child_job import Job
from benchmarks.turn_child import Turns
from cnnkit import Trainer, load_dataset
from cnnkit.data import Arrays
from cnnkit.types import Samples

FILE = "large.h5"
MEMORY, WARM, COLD, WHOLE = "memory", "file, cached", "file, not cached", "whole file"
"""The job's variants: where the samples are; the last trains on all of them."""
BLOCK = 16 << 20


def main(job: Job, turns: Turns) -> None:
    """One epoch in each turn: over all of the file, or over as many rows as the job says, each time others."""
    if job.variant == WHOLE:
        _whole(job, turns)
        return
    rng = np.random.default_rng(job.seed)
    train = Arrays(FILE).load(Path(job.data)).train
    rows = _drawn(rng, train, job)
    if job.variant == MEMORY:
        rows = Samples(np.asarray(rows.x), rows.y)
    with _opened(job) as descriptor:
        _set_cache(descriptor, job.variant)
        for _ in turns:
            _trainer(job).fit(job.model(), rows)
            turns.done()
            if job.variant != MEMORY:
                rows = _drawn(rng, train, job)
                _set_cache(descriptor, job.variant)


def _whole(job: Job, turns: Turns) -> None:
    for _ in turns:
        began = time.perf_counter()
        data = load_dataset(f'Arrays("{FILE}")', job.data)
        loaded = time.perf_counter()
        _trainer(job).fit(job.model(), data)
        trained = time.perf_counter()
        resident = [
            resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        ]
        # The largest of the other workers stands for each of them.
        peak = resident[0] + (job.workers - 1) * resident[1]
        turns.done(load=loaded - began, train=trained - loaded, samples=len(data.train), resident=peak)


def _drawn(rng: np.random.Generator, samples: Samples, job: Job) -> Samples:
    return samples.take(rng.choice(len(samples), job.samples, replace=False))


def _trainer(job: Job) -> Trainer:
    return Trainer(optimizer=job.optimizer, epochs=1, batch_size=job.batch, seed=job.seed, workers=job.workers)


@contextmanager
def _opened(job: Job) -> Iterator[int]:
    descriptor = os.open(Path(job.data) / FILE, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def _set_cache(descriptor: int, variant: str) -> None:
    """Bring the file into the system's cache, or drive it out."""
    if variant == COLD:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    elif variant == WARM:
        for offset in range(0, os.fstat(descriptor).st_size, BLOCK):
            os.pread(descriptor, BLOCK, offset)
