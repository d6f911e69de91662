"""Runs as a real MLflow server has them: one is started for these tests, on a free port, and ended by them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
from cnnkit_mlflow import MLflow, callback
from cnnkit_mlflow.__main__ import main

from cnnkit import Registry, Run, Sequential, Trainer, load_dataset, train
from cnnkit.errors import ConfigError, TrainingError
from cnnkit.testing import check_callback

tracking = pytest.importorskip("mlflow.tracking", reason="install cnnkit-mlflow[test]")
pytest.importorskip("mlflow.server", reason="install cnnkit-mlflow[test]")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server that keeps all in a folder of its own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", f"{folder}/artifacts"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while not _answers(f"{address}/health"):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"mlflow server did not start:\n{(folder / 'log').read_text()[-3000:]}")
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # it has workers
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def client(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("CNNKIT_REGISTRY", str(tmp_path / "registry"))
    return tracking.MlflowClient(server)


def fit(*callbacks: Any, **options: Any) -> Run:
    data = load_dataset("Digits()")
    model = Sequential(["Flatten()", "Dense(10)"], data.input_shape, preprocessing=data.preprocessing)
    given: dict[str, Any] = {"optimizer": "Adam(0.01)", "epochs": 3, "workers": 1, "progress": False} | options
    return Trainer(callbacks=list(callbacks), **given).fit(model, data, validation=0.1)


def only_run(client: Any, experiment: str) -> Any:
    found = client.get_experiment_by_name(experiment)
    (run,) = client.search_runs([found.experiment_id])
    return run


class Silent:
    """A run without a server: the check of the contract begins hundreds of them."""

    def __init__(self, *_: Any) -> None:
        self.client, self.id = mock.Mock(), ""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_it_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback, "TrackedRun", Silent)
    check_callback('MLflow("contract", onnx=False)')


def test_the_server_has_the_whole_training(client: Any, tmp_path: Path) -> None:
    run = train("digits", epochs=2, callbacks=['MLflow("whole")'], progress=False)
    logged = only_run(client, "whole")
    assert logged.info.status == "FINISHED"
    assert logged.data.params["train.batch_size"] == "64"
    assert logged.data.params["data.dataset"] == "Digits()"
    assert logged.data.metrics["test_accuracy"] == pytest.approx(run.metrics["accuracy"])
    losses = client.get_metric_history(logged.info.run_id, "validation_loss")
    assert [(one.step, one.value) for one in losses] == [
        (epoch, pytest.approx(value)) for epoch, value in enumerate(run.history["validation_loss"], 1)
    ]
    recipe = json.loads(Path(client.download_artifacts(logged.info.run_id, "recipe.json", tmp_path)).read_text())
    assert recipe == json.loads(json.dumps(run.recipe))
    onnx.checker.check_model(onnx.load(client.download_artifacts(logged.info.run_id, "model.onnx", tmp_path)))


def test_a_training_that_failed_is_a_run_that_failed(client: Any) -> None:
    with pytest.raises(TrainingError):
        fit('MLflow("failed")', optimizer="SGD(1e38)")
    assert only_run(client, "failed").info.status == "FAILED"


def test_layer_statistics_are_metrics_too(client: Any) -> None:
    fit('MLflow("statistics", onnx=False)', "LayerStatistics()", epochs=1)
    assert "dense_1.weight_norm_" in only_run(client, "statistics").data.metrics


def test_a_failure_of_the_server_stops_no_training(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    calls: list[int] = []
    log_batch = tracking.MlflowClient.log_batch

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise MlflowException("the server is gone")
        return log_batch(self, *args, **kwargs)

    monkeypatch.setattr(tracking.MlflowClient, "log_batch", failing)
    with pytest.warns(UserWarning, match="MLflow failed, and is tried again after the training: the server is gone"):
        run = fit('MLflow("unreliable")')
    logged = only_run(client, "unreliable")
    losses = client.get_metric_history(logged.info.run_id, "loss")
    np.testing.assert_allclose([one.value for one in losses], run.history["loss"])


def test_a_registered_version_has_its_card(client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train("digits", epochs=1, progress=False)
    version = Registry().save(run.model, "digits", **run.record())
    assert main([version.ref, "--experiment", "versions"]) == 0
    identity = capsys.readouterr().out.strip()
    logged = only_run(client, "versions")
    assert logged.info.run_id == identity
    assert logged.data.tags["cnnkit.version_ref"] == version.ref == "digits@1"
    assert logged.data.metrics["loss"] == pytest.approx(run.history["loss"][0])
    assert {"card.md", "model.onnx", "bundle.zip", "recipe.json"} <= {
        one.path for one in client.list_artifacts(identity)
    }
    card = Path(client.download_artifacts(identity, "card.md", tmp_path)).read_text()
    assert "digits@1" in card


def test_what_is_wrong_is_explained(
    client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match='experiment must be the name of an experiment, such as "cnnkit", got'):
        MLflow("")
    assert main(["missing@1"]) == 2
    assert "error: " in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ConfigError, match=r"^MLflow cannot be used: .*MLFLOW_TRACKING_URI says where it is"):
        fit("MLflow()")
