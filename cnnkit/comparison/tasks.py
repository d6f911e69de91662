"""The runs of a comparison: each is one task, carried out by joblib in whatever process it chooses."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.errors import CnnkitError, TrainingError, notes_of
from cnnkit.network import available_cores
from cnnkit.registry.format.contents import pack
from cnnkit.terminal import HANGUP
from cnnkit.training.assembly import data_for, model_for, trainer_for
from cnnkit.training.interruption import StopRequest
from cnnkit.training.progress import Progress
from cnnkit.training.recipe import Recipe
from cnnkit.training.run import Run


@dataclass(frozen=True)
class Task:
    """One training: what goes to the process that does it, which may be on another machine."""

    key: str
    recipe: dict[str, Any]
    data_dir: str | Path | None = None
    tested: bool = False
    """Whether it is measured on the test samples, which a training that is ranked by others must not touch."""
    folder: str = dataclasses.field(default_factory=os.getcwd)
    """The working folder, in which the recipe's paths are: a process that joblib keeps may have an earlier one."""


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
    with contextlib.suppress(OSError):  # another machine need not have it
        os.chdir(task.folder)
    try:
        recipe = Recipe.from_dict(task.recipe, f"the run {task.key}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # as in `cnnkit train`
            run = train(recipe, task, workers, told)
        _, data = pack(run.model, recipe.model.name, run.model.state(), **run.record())
    except CnnkitError as error:
        return Outcome(task.key, error=_told(error), warnings=tuple(told.warnings))
    except MemoryError as error:
        return Outcome(task.key, error=f"out of memory: {error}".removesuffix(": "), warnings=tuple(told.warnings))
    except Exception as error:  # such as a mistake in a plugin
        return Outcome(task.key, error=f"{type(error).__name__}: {_told(error)}", warnings=tuple(told.warnings))
    return Outcome(task.key, bytes(data), warnings=tuple(told.warnings))


def train(recipe: Recipe, task: Task, workers: int | None, progress: Progress) -> Run:
    """What `cnnkit.train` does, without a look at the test samples where they are for later."""
    data = data_for(recipe, task.data_dir)
    if not task.tested:
        data = dataclasses.replace(data, test=data.test.take(slice(0)))
    trainer = trainer_for(recipe, workers, progress)
    return trainer.fit(model_for(recipe, data), data, stop=StopRequest(), recipe=recipe.to_dict())


def _told(error: Exception) -> str:
    return "; ".join([str(error), *notes_of(error)])


def outcomes(tasks: Sequence[Task], jobs: int | None) -> Generator[Outcome, None, None]:
    """The outcome of each task as soon as it is there, in any order.

    jobs: how many are carried out at once, joblib's configuration if None. Then each has one worker, because more
    processes than cores only get in each other's way; one at a time has them all. Nothing depends on it.
    Raises TrainingError if the backend cannot be used.
    """
    left = {task.key: task for task in tasks}
    try:
        while left:
            parallel = _parallel(jobs)
            size = parallel.n_jobs if parallel.n_jobs > 0 else available_cores()
            waiting = list(left.values())
            try:
                some = waiting if parallel.return_generator else waiting[:size]
                with contextlib.closing(_results(parallel, some)) as results:
                    for outcome in results:
                        del left[outcome.key]
                        yield outcome
            except BrokenExecutor:  # a process is lost, with what it trained: one of the first that were waiting
                for task in list(left.values())[:size]:
                    del left[task.key]
                    yield _alone(task, jobs)
    except CnnkitError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(f"the runs cannot be executed: {type(error).__name__}: {reason}") from error


def _parallel(jobs: int | None) -> Any:
    """One that gives results as they come; if the backend cannot do that (multiprocessing, Ray), all at the end."""
    from joblib import Parallel

    try:
        return Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
    except ValueError:
        return Parallel(n_jobs=jobs, batch_size=1)


def _results(parallel: Any, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
    from joblib import delayed

    calls = [delayed(carry_out)(task, None if parallel.n_jobs == 1 else 1) for task in tasks]
    if not parallel.return_generator:
        yield from parallel(calls)
        return
    with deaf_to_interrupts():
        results = parallel(calls)
    try:
        for _ in calls:
            outcome = next(results)
            yield outcome
        next(results, None)  # so that the processes are kept for the next comparison
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib warns of results that nobody has waited for
            results.close()


def _alone(task: Task, jobs: int | None) -> Outcome:
    """The outcome of a task with no other beside it, which shows whether its process is lost because of it."""
    try:
        (outcome,) = _results(_parallel(jobs), [task])
    except BrokenExecutor:
        return Outcome(task.key, error="its process was killed, perhaps because memory ran out")
    return outcome


@contextlib.contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes that are started here never hear Ctrl-C, nor that the terminal is closed: this one ends them itself.

    A terminal sends both to all. A new program inherits which signals are ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in filter(None, (signal.SIGINT, HANGUP))}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
