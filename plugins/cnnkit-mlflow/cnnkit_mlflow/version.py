"""A version of a registry as a run of MLflow."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from cnnkit import Registry, export_bundle
from cnnkit_mlflow.tracking import TrackedRun

SHOWN = ("card.md", "model.onnx", "network.png", "curves.png")
"""Members of a bundle that are logged by themselves; the card shows the pictures."""


def log_version(ref: str, registry: Registry | str | Path | None = None, experiment: str = "cnnkit") -> str:
    """Log a registered version, and return the id of its run.

    Its recipe, history and metrics, the model card, the ONNX file, which is compared with the model first, and the
    bundle that `Registry.add` imports. Raises CheckError if the ONNX file does not give the model's answers,
    RegistryError for a version that cannot be read, and ConfigError if MLflow cannot be reached.
    """
    registry = registry if isinstance(registry, Registry) else Registry(registry)
    record = registry.read(ref)
    manifest, name = record.manifest, record.version.ref
    with tempfile.TemporaryDirectory() as folder:
        bundle = export_bundle(name, Path(folder) / "bundle.zip", registry)
        run = TrackedRun(experiment, {"cnnkit.version_ref": name, "mlflow.runName": name})
        history = manifest.history or {}
        run.log_recipe(manifest.recipe or {})
        run.log_history(history)
        run.log_test_metrics(manifest.metrics or {}, len(history.get("loss", [])))
        with zipfile.ZipFile(bundle) as members:
            for member in set(SHOWN) & set(members.namelist()):
                run.client.log_artifact(run.id, members.extract(member, folder))
        run.client.log_artifact(run.id, str(bundle))
        run.client.set_terminated(run.id, "FINISHED")
    return run.id
