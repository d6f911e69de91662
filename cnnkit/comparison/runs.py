"""The runs of a comparison: each is one task, carried out by joblib in whatever process it chooses."""

from __future__ import annotations

import contextlib
import signal
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.api import train
from cnnkit.errors import CnnkitError, TrainingError
from cnnkit.network import available_cores
from cnnkit.registry.contents import pack
from cnnkit.training.progress import Progress
from cnnkit.training.recipe import Recipe


@dataclass(frozen=True)
class Task:
    """One training: what goes to the process that does it, which may be on another machine."""

    key: str
    recipe: dict[str, Any]
    data_dir: str | Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What comes back."""

    key: str
    data: bytes = b""
    """The version file of the model; empty if the run has failed."""
    error: str = ""
    warnings: tuple[str, ...] = ()


class _Quiet(Progress):
    """Shows nothing, and remembers what it was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def carry_out(task: Task, workers: int | None) -> Outcome:
    """Train what a task says. A failure is an outcome too: it must not end the other runs."""
    told = _Quiet()
    try:
        recipe = Recipe.from_dict(task.recipe, f"the run {task.key}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # as in `cnnkit train`
            run = train(recipe, data_dir=task.data_dir, workers=workers, progress=told)
        _, data = pack(run.model, recipe.model.name, run.model.state(), **run.record())
    except CnnkitError as error:
        return Outcome(task.key, error=str(error), warnings=tuple(told.warnings))
    except MemoryError as error:
        return Outcome(task.key, error=f"out of memory: {error}".removesuffix(": "), warnings=tuple(told.warnings))
    except Exception as error:  # such as a mistake in a plugin
        return Outcome(task.key, error=f"{type(error).__name__}: {error}", warnings=tuple(told.warnings))
    return Outcome(task.key, bytes(data), warnings=tuple(told.warnings))


def outcomes(tasks: Sequence[Task], jobs: int | None) -> Generator[Outcome, None, None]:
    """The outcome of each task as soon as it is there, in any order.

    jobs: how many are carried out at once, joblib's configuration if None. Then each has one worker, because more
    processes than cores only get in each other's way; one at a time has them all. Nothing depends on it.
    Raises TrainingError if a process is lost, or if the backend cannot be used.
    """
    from joblib import Parallel, delayed

    try:
        try:
            parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
            rounds = [tasks]
        except ValueError:  # Ray and multiprocessing give results only when all are there: let that be often
            parallel = Parallel(n_jobs=jobs, batch_size=1)
            size = parallel.n_jobs if parallel.n_jobs > 0 else available_cores()
            rounds = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        workers = None if parallel.n_jobs == 1 else 1
        for some in rounds:
            results = _begun(parallel, [delayed(carry_out)(task, workers) for task in some])
            try:
                for _ in some:
                    outcome = next(results)
                    yield outcome
            finally:
                _end(results)
    except CnnkitError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(
            f"the runs cannot be carried out: {type(error).__name__}: {reason}\n  what is done is kept; "
            "if a process was ended because memory ran out, fewer jobs at once take less"
        ) from error


def _begun(parallel: Any, calls: list[Any]) -> Iterator[Outcome]:
    if not parallel.return_generator:
        return iter(parallel(calls))
    with _interrupts_blocked():
        results: Iterator[Outcome] = parallel(calls)
    return results


def _end(results: Any) -> None:
    """End the processes, if not all results were waited for."""
    if close := getattr(results, "close", None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib warns of those that nobody has waited for
            close()


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that are started here never see Ctrl-C, which a terminal sends to all: this one ends them itself."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
