"""Networks that are graphs, by the command line: trained, killed and resumed, loaded elsewhere, exported, explained."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Graph, Registry, load_dataset, train
from cnnkit.network.execution.threads import one_blas_thread
from cnnkit.registry import Runs
from tests.network import networks

DRIVER = Path(__file__).with_name("stopping_driver.py")
ROOT = Path(__file__).parents[2]
GRAPHS = {
    "unet": networks.unet(),
    "resnet20": networks.resnet(3, 4),
    "inception": networks.inception(),
    "siamese": networks.siamese(),
}
SAMPLES, STEPS = 120, 4
REST = f"""\
[data]
dataset = "Arrays('digits.npz')"
[train]
optimizer = "Adam(0.003)"
epochs = 2
batch_size = {SAMPLES // STEPS}
metrics = ["Accuracy()"]
"""
OUTPUTS = """\
import hashlib, sys
import numpy as np
from cnnkit import load_model
from cnnkit.network.execution.threads import one_blas_thread
with one_blas_thread():
    print(hashlib.sha256(load_model(sys.argv[1]).outputs(np.load("digits.npz")["x_test"]).tobytes()).hexdigest())
"""
"""A single tile has all threads of BLAS, whose number decides where a product is cut, and so its last bits."""


def recipe(name: str) -> str:
    """The graph as tables of a recipe."""
    lines = [f'[model]\nname = "{name}"']
    for node in Graph(GRAPHS[name], (1, 28, 28)).graph:
        made = f'shares = "{node.shares}"' if node.shares else f"layer = '{node.layer!r}'"
        lines.append(f'[[model.node]]\nname = "{node.name}"\n{made}\ninputs = {list(node.inputs)}')
    return "\n".join([*lines, REST])


def digits(name: str) -> dict[str, Any]:
    """Digits of 28 x 28 pixels; for the U-Net with a class for each pixel, from dark to light, and noise over them."""
    data, rng = load_dataset("Digits()"), np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for part, samples in (("train", data.train), ("test", data.test)):
        small = np.asarray(samples.x)[:SAMPLES]
        x = np.pad(small.repeat(3, axis=2).repeat(3, axis=3), ((0, 0), (0, 0), (2, 2), (2, 2))) * 15
        y = samples.y[:SAMPLES]
        if name == "unet":
            y = (x[:, 0] // 64).astype(np.int64)
            x = np.clip(x + rng.normal(0, 20, x.shape), 0, 255).astype(np.uint8)
        arrays |= {f"x_{part}": x, f"y_{part}": y}
    return arrays


def run(folder: Path, number: int, step: int, *arguments: str) -> None:
    """`cnnkit train` in a separate process, which gets this signal after this step; 0 for none."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), str(number), str(step), "train", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "CNNKIT_REGISTRY": str(folder / "registry")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    expected = {0: 0, signal.SIGKILL: -signal.SIGKILL}.get(number, 128 + number)
    assert done.returncode == expected, done.stderr


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_a_model_like_any_other(cli: Any, tmp_path: Path, name: str) -> None:
    np.savez(tmp_path / "digits.npz", **digits(name))
    (tmp_path / f"{name}.toml").write_text(recipe(name))
    trained = train(f"{name}.toml", workers=1)

    run(tmp_path, signal.SIGKILL, STEPS + 2, f"{name}.toml", "--checkpoint-steps", "1", "--workers", "2")
    with Runs(tmp_path / "registry").find("latest") as place:
        record, _ = place.load()
    assert (record["position"]["epoch"], record["position"]["step"]) in [(1, 1), (1, 2)]
    run(tmp_path, signal.SIGINT, 1, "--resume", "latest", "--workers", "1")
    assert not (tmp_path / "registry" / name).exists()
    run(tmp_path, 0, 0, "--resume", "latest", "--workers", "2")
    kept = Registry(tmp_path / "registry").read(f"{name}@1").state
    assert {key: array.tobytes() for key, array in kept.items()} == {
        key: array.tobytes() for key, array in trained.model.state().items()
    }

    x = np.load(tmp_path / "digits.npz")["x_test"]
    loaded = subprocess.run(
        [sys.executable, "-c", OUTPUTS, f"{name}@1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with one_blas_thread():
        assert loaded == hashlib.sha256(trained.model.outputs(x).tobytes()).hexdigest()

    data = ("--dataset", "Arrays('digits.npz')")
    assert cli("export", f"{name}@1", "-o", "net.onnx", *data).code == 0
    judged = cli("validate", "net.onnx", f"{name}@1", *data, "--json")
    assert [(one["runtime"], one["ok"]) for one in judged.document["results"]] == [
        ("ReferenceEvaluator()", True),
        ("OnnxRuntime()", True),
    ]
    explained = cli("explain", f"{name}@1", "--sample", "3", *data, "-o", "net.html", "--json").document
    assert [layer["gradient_ok"] for layer in explained["layers"]] == [True] * len(trained.model.nodes)
    assert (tmp_path / "net.html").stat().st_size > 10_000
