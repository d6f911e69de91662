from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cnnkit.components import Runtime, installed_catalog
from cnnkit.errors import OnnxError
from cnnkit.layers import Dense
from cnnkit.network import Sequential
from cnnkit.onnx.executable_model import compared_samples
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.runtimes import RUNTIMES, OnnxRuntime, ReferenceEvaluator, ensure_installed, execute, is_installed
from cnnkit.types import Array

MODEL = Sequential([Dense(3)], (4,))
X = np.random.default_rng(0).random((5, 4), np.float32)

needs_onnxruntime = pytest.mark.skipif(not is_installed(OnnxRuntime), reason="onnxruntime is not installed")
EVERY_RUNTIME = [ReferenceEvaluator(), pytest.param(OnnxRuntime(), marks=needs_onnxruntime)]


@pytest.mark.parametrize("runtime", EVERY_RUNTIME)
def test_all_outputs_come_by_name(runtime: Runtime) -> None:
    outputs = runtime.run(to_onnx(MODEL).SerializeToString(), {"input": X})
    assert list(outputs) == ["logits", "probabilities"]
    np.testing.assert_allclose(outputs["logits"], MODEL.logits(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs["probabilities"], MODEL.predict_proba(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("runtime", EVERY_RUNTIME)
@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (b"garbage", {"input": X}),
        (to_onnx(MODEL).SerializeToString(), {"wrong": X}),
        (to_onnx(MODEL).SerializeToString(), {"input": X[:, :3]}),
    ],
    ids=["garbage", "name", "shape"],
)
def test_what_cannot_be_executed_is_an_onnx_error(
    runtime: Runtime, model: bytes, inputs: Mapping[str, Array], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OnnxError, match=rf"{type(runtime).__name__}\(\) cannot execute the model: \w+"):
        runtime.run(model, inputs)
    assert capfd.readouterr().err == ""


@needs_onnxruntime
def test_onnx_runtime_leaves_stderr_alone() -> None:
    code = """if True:
        import numpy as np
        from cnnkit.layers import Dense
        from cnnkit.network import Sequential
        from cnnkit.onnx.export import to_onnx
        from cnnkit.onnx.runtimes import OnnxRuntime
        model = to_onnx(Sequential([Dense(3)], (4,))).SerializeToString()
        print(OnnxRuntime().run(model, {"input": np.zeros((1, 4), np.float32)})["logits"].shape)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 3)\n", "")


@needs_onnxruntime
@pytest.mark.parametrize("said", [None, "0"])
def test_onnx_runtime_reports_nothing_unless_the_user_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    """Its telemetry, where a build has it, begins with files in the cache folder of the user."""
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if said:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", said)
    code = """
import os
from cnnkit.network import Sequential
from cnnkit.onnx.validate import validate_proto
from cnnkit.onnx.export import to_onnx
model = Sequential(["Dense(3)"], (4,))
assert validate_proto(to_onnx(model), "model.onnx", model, None, ["OnnxRuntime()"]).ok
print(os.environ.get("ORT_DISABLE_TELEMETRY"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{said or 1}\n"
    if said is None:
        assert not (tmp_path / "cache").exists()


def test_naming_the_runtimes_loads_no_package() -> None:
    code = "import sys, cnnkit.onnx.runtimes; print(sorted({'onnx', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_runtimes_are_components() -> None:
    assert [installed_catalog().build("runtime", cls.__name__) for cls in RUNTIMES] == [cls() for cls in RUNTIMES]


class Elsewhere(Runtime):
    """A runtime of a plugin."""

    requires = "no-such-distribution"


def test_what_is_missing_is_said_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OnnxError, match=r"run: pip install no-such-distribution$"):
        ensure_installed(Elsewhere())

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OnnxError, match=r'OnnxRuntime\(\) needs onnxruntime.*: pip install "cnnkit\[runtimes\]"$'):
        OnnxRuntime().run(b"", {})
    assert not is_installed(OnnxRuntime)
    assert is_installed(ReferenceEvaluator)


def test_a_variant_of_the_distribution_counts_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Elsewhere, "requires", "importlib")
    assert is_installed(Elsewhere)


@pytest.mark.parametrize(
    ("layers", "samples"),
    [
        (["Conv2D(8, 3)", "ReLU()", "Flatten()", "Dense(10)"], 1000),
        (["Conv2D(100, 1)", "Conv2D(100, 1, groups=100)"], 500),
        (["Conv2D(8000, 1)"], 8),
        (["Conv2D(4000, 1)", "ReLU()", "ReLU()", "ReLU()", "MaxPool2D(8)"], 130),
        (["Conv2D(200, 1)", "AvgPool2D(2)", "Flatten()", "Dense(10)"], 31),
        (["Conv2D(200, 1)", "MaxPool2D(2)", "Flatten()", "Dense(10)"], 1000),
        (["Conv2D(30000, 1)", "Conv2D(30000, 1, groups=30000)"], 2),
        (["Flatten()", *["ReLU()"] * 1999], 195),
        (["Conv2D(64, 1)", *["ReLU()"] * 1999], 6),
    ],
)
def test_what_is_compared_of_large_networks_is_in_proportion(layers: list[str], samples: int) -> None:
    assert compared_samples(Sequential(layers, (1, 8, 8))) == samples


def test_what_a_runtime_gives_keeps_none_of_its_memory() -> None:
    class Viewing(Runtime):
        def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
            return {"logits": np.zeros((1000, 1000))[0]}

    assert execute(Viewing(), b"", {})["logits"].base is None
