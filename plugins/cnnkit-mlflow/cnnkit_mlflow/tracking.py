"""One run of MLflow: what of a training goes where."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cnnkit import Run, __version__
from cnnkit.plugin import ConfigError

AT_ONCE = 1000
"""Metrics that MLflow takes in one request."""
LONGEST = 500
"""Characters of a parameter that every version of MLflow takes; the recipe has all of them."""
NOT_ALLOWED = re.compile(r"[^\w\-. /]")


class TrackedRun:
    """A run in an experiment, which is made if there is none; on the server that MLFLOW_TRACKING_URI names.

    Raises ConfigError if MLflow cannot be reached there.
    """

    def __init__(self, experiment: str, tags: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            self.client: Any = MlflowClient()
            found = self.client.get_experiment_by_name(experiment)
            place = found.experiment_id if found else self.client.create_experiment(experiment)
            made = self.client.create_run(place, tags={"cnnkit.version": __version__, **tags})
        except MlflowException as error:
            raise ConfigError(
                f"MLflow cannot be used: {error}; MLFLOW_TRACKING_URI says where it is, such as http://127.0.0.1:5000"
            ) from None
        self.id: str = made.info.run_id

    def log_recipe(self, recipe: Mapping[str, Any]) -> None:
        """Each key of each table as a parameter, such as train.lr, and the whole as recipe.json."""
        from mlflow.entities import Param

        keys = [(f"{table}.{key}", value) for table, entries in recipe.items() for key, value in entries.items()]
        params = [Param(name, str(value)[:LONGEST]) for name, value in keys]
        for first in range(0, len(params), 100):
            self.client.log_batch(self.id, params=params[first : first + 100])
        self.client.log_dict(self.id, dict(recipe), "recipe.json")

    def log_history(self, history: Mapping[str, Sequence[float]], first: int = 0) -> None:
        """The values of each quantity; first: so many epochs are logged already."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        rows = [
            Metric(NOT_ALLOWED.sub("_", name), float(value), now, epoch)
            for name, values in history.items()
            for epoch, value in enumerate(values[first:], first + 1)
        ]
        for at in range(0, len(rows), AT_ONCE):
            self.client.log_batch(self.id, metrics=rows[at : at + AT_ONCE])

    def log_test_metrics(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Loss and metrics on the test samples, as test_loss and so on."""
        self.log_history({f"test_{name}": [0.0] * epoch + [value] for name, value in metrics.items()}, epoch)

    def end(self, run: Run | None) -> None:
        """Say how it ended: as a training that failed if there is no run."""
        status = "FAILED" if run is None else "KILLED" if run.signal is not None else "FINISHED"
        self.client.set_terminated(self.id, status)
