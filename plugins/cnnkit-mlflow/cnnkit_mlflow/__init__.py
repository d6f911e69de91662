"""Trainings as runs of MLflow; `python -m cnnkit_mlflow digits@latest` logs a registered version, with its card."""

from __future__ import annotations

from cnnkit.plugin import Callback, hookimpl
from cnnkit_mlflow.callback import MLflow
from cnnkit_mlflow.version import log_version

__all__ = ["MLflow", "log_version"]


@hookimpl
def cnnkit_callbacks() -> list[type[Callback]]:
    """The callback that logs to MLflow."""
    return [MLflow]
