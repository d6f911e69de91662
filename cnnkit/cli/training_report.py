"""What `cnnkit train` prints of a training."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnkit.cli.output import note, say, say_command, say_pairs, say_table, warn
from cnnkit.cli.recorded_components import needed_options
from cnnkit.printable_text import on_one_line
from cnnkit.wording import counted

if TYPE_CHECKING:
    from cnnkit.registered_training import RegisteredTraining
    from cnnkit.registry import Version
    from cnnkit.training import Run


@dataclass(frozen=True)
class Surroundings:
    """What of a command belongs to the machine, not to the recipe."""

    registry: str | None
    data_dir: str | None
    workers: int | None

    def options(self, before: str = "") -> str:
        """The end of a command that finds the same data and registry. before: other options, to stand between them."""
        data = f" --data-dir {shlex.quote(self.data_dir)}" if self.data_dir else ""
        return before + data + (f" --registry {shlex.quote(self.registry)}" if self.registry else "")


def show(training: RegisteredTraining, run: Run, version: Version | None, here: Surroundings) -> None:
    """Print how a training went, and what can be done next."""
    if version is not None:
        _show_version(training, run, version, here)
        return
    note(f"interrupted after {counted(_epochs(run), 'epoch')}: nothing was registered")
    if training.failure:
        warn("the last steps are lost, because no checkpoint could be written")
    show_resume(training, here)


def show_resume(training: RegisteredTraining, here: Surroundings, before: str = "to continue") -> None:
    """Print the command that continues a training, if there is a checkpoint of it."""
    if training.place.has_begun():
        note(f"{before}:", f"cnnkit train --resume {training.place.name}{here.options()}")


def document(training: RegisteredTraining, run: Run, version: Version | None) -> dict[str, Any]:
    """The outcome of a training as JSON values."""
    return {
        "ref": version and version.ref,
        "path": version and str(version.path),
        "digest": version and version.digest,
        "metrics": run.metrics,
        "history": run.history,
        "epochs": _epochs(run),
        "kept_epoch": run.kept_epoch,
        "partial_steps": run.partial_steps,
        "reason": run.reason,
        "warning": run.warning,
        "recipe": run.recipe,
        "dataset": run.dataset,
        "settings": run.settings,
        "run": training.place.name if version is None and training.place.has_begun() else None,
    }


def _show_version(training: RegisteredTraining, run: Run, version: Version, here: Surroundings) -> None:
    if run.reason != "all epochs done":
        say(f"ended after {counted(_epochs(run), 'epoch')}: {on_one_line(run.reason)}")
    if run.metrics:
        say_table(("test", "value"), run.metrics.items())
    say()
    kept = {"kept epoch": f"{run.kept_epoch} of {_epochs(run)}"} if "kept_epoch" in run.settings else {}
    say_pairs({"registered": version.ref, "file": version.path} | kept)
    say("\nnext:")
    needed = needed_options(training.registry.read(version.ref).manifest, here.data_dir)
    for command in ("evaluate", "export", "plot"):
        say_command(f"  cnnkit {command} {version.ref}{here.options(needed)}")


def _epochs(run: Run) -> int:
    return len(run.history.get("loss", ()))
