"""The callback that logs a training while it runs."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from cnnkit import Run, export_onnx
from cnnkit.plugin import Callback, CnnkitWarning, ConfigError, OnnxError, true_or_false
from cnnkit_mlflow.tracking import TrackedRun


class MLflow(Callback):
    """Logs a training as a run of MLflow, on the server, or in the store, that MLFLOW_TRACKING_URI names.

    After each epoch: loss, metrics, learning rate and seconds. In the end: the keys of the recipe as parameters, the
    recipe, the metrics on test samples, and the network as an ONNX file, if it can be exported. A run has the status
    FINISHED, KILLED if the user stopped it, or FAILED.

    experiment: where the run is; onnx: whether the ONNX file is logged. A training that is resumed is a new run, with
    all epochs. If MLflow fails while a training runs, that is said, the training continues, and what is missing is
    logged in the end. Raises ConfigError before the first epoch if MLflow cannot be reached.
    """

    def __init__(self, experiment: str = "cnnkit", onnx: bool = True) -> None:
        if not isinstance(experiment, str) or not experiment:
            raise ConfigError(f'experiment must be the name of an experiment, such as "cnnkit", got {experiment!r:.80}')
        self.experiment = experiment
        self.onnx = true_or_false("onnx", onnx)

    def start(self, quantities: Mapping[str, bool]) -> None:
        self._run = TrackedRun(self.experiment, {})
        self._logged, self._failed = 0, False
        self._history: dict[str, list[float]] = {}

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        from mlflow.exceptions import MlflowException

        self._history = dict(history)
        if not self._failed:  # each attempt may take minutes
            try:
                self._log_epochs()
            except MlflowException as error:
                self._failed = True
                warnings.warn(f"MLflow failed, and is tried again after the training: {error}", CnnkitWarning, 2)
        return ""

    def after_training(self, run: Run | None) -> None:
        if not hasattr(self, "_run"):  # it failed before its start
            return
        self._log_epochs()
        if run is not None:
            self._run.log_recipe(run.recipe or {})
            self._run.log_test_metrics(run.metrics, len(run.history["loss"]))
            if self.onnx:
                self._log_network(run)
        self._run.end(run)

    def _log_epochs(self) -> None:
        self._run.log_history(self._history, self._logged)
        self._logged = len(next(iter(self._history.values()), []))

    def _log_network(self, run: Run) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = export_onnx(run.model, Path(folder) / "model.onnx")
            except OnnxError as error:
                self._run.client.set_tag(self._run.id, "cnnkit.onnx", f"not exported: {error}"[:500])
                return
            self._run.client.log_artifact(self._run.id, str(path))
