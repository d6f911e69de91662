"""The proof of an import sees a network that is not the file's, wherever its answers lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_models import model, node, write  # type: ignore[import-not-found]  # beside this file

from cnnkit.errors import CheckError, OnnxError
from cnnkit.network import Sequential
from cnnkit.onnx.importing import imported
from cnnkit.onnx.importing.draft import Draft
from cnnkit.onnx.importing.imported import import_file
from cnnkit.onnx.importing.proof import random_inputs
from cnnkit.onnx.importing.translation import translate
from cnnkit.onnx.isolated import IsolatedProgram
from cnnkit.onnx.runtimes import OnnxRuntime
from cnnkit.types import Array

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(6, 4)).astype(np.float32)


def dense(path: Path, *before: Any, bias: Array | float = 0.0, x: str = "x", **weights: Array) -> Path:
    """A file of a dense layer behind other operators."""
    end = node("Gemm", [x, "w", "b"], ["y"])
    given = {"w": WEIGHT, "b": np.broadcast_to(np.float32(bias), 4).copy(), **weights}
    return Path(write(path, model([*before, end], {"x": ["n", 6]}, ["y"], given)))


def wrong(change: Callable[[Array], Array]) -> Callable[..., Any]:
    """A translation that has other weights in its last layer than the file."""

    def made(*args: Any) -> tuple[Draft, Any]:
        draft, values = translate(*args)
        last = draft.drawn[-1]
        draft.drawn[-1] = replace(last, arrays={**last.arrays, "weight": change(last.arrays["weight"])})
        return draft, values

    return made


def test_a_right_network_is_told_as_such(tmp_path: Path) -> None:
    found = import_file(dense(tmp_path / "a.onnx", bias=1e5)).proof
    assert (found.samples, found.depends, found.difference < 1e-6) == (8, True, True)


@pytest.mark.parametrize("bias", [0.0, 1e5])
def test_a_wrong_weight_does_not_hide_behind_a_large_bias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bias: float
) -> None:
    monkeypatch.setattr(imported, "translate", wrong(lambda weight: 1.01 * weight))
    with pytest.raises(CheckError, match=r"differ by .*, where .* is allowed; please report this fault"):
        import_file(dense(tmp_path / "a.onnx", bias=bias))


def test_a_network_that_noise_leaves_dead_is_seen_with_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = node("Sub", ["x", "c"], ["s"]), node("Relu", ["s"], ["r"])
    path = dense(tmp_path / "a.onnx", *nodes, x="r", c=np.full(6, 180, np.float32))
    assert import_file(path).proof.depends
    monkeypatch.setattr(imported, "translate", wrong(lambda weight: 1.01 * weight))
    with pytest.raises(CheckError, match="differ by"):
        import_file(path)


def test_answers_that_never_depend_on_the_inputs_are_told(tmp_path: Path) -> None:
    nodes = node("Sub", ["x", "c"], ["s"]), node("Relu", ["s"], ["r"])
    found = import_file(dense(tmp_path / "a.onnx", *nodes, x="r", c=np.full(6, 1e6, np.float32))).proof
    assert not found.depends
    assert str(found).endswith("which did not depend on the inputs: try it on samples of yours")


def test_numbers_that_are_none_prove_nothing(tmp_path: Path) -> None:
    with pytest.raises(OnnxError, match="its answers are not finite for any inputs that were tried"):
        import_file(dense(tmp_path / "a.onnx", bias=np.nan))


def test_an_infinity_is_not_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dense(tmp_path / "a.onnx", bias=np.array([np.inf, np.nan, -np.inf, 0], np.float32))
    assert import_file(path).model.parameter_count() == 28
    right = translate

    def turned(*args: Any) -> Any:
        draft, values = right(*args)
        last = draft.drawn[-1]
        draft.drawn[-1] = replace(last, arrays={**last.arrays, "bias": last.arrays["bias"][[1, 0, 2, 3]]})
        return draft, values

    monkeypatch.setattr(imported, "translate", turned)
    with pytest.raises(CheckError, match="do not overflow in the same places"):
        import_file(path)


def test_as_many_numbers_in_another_shape_are_other_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = IsolatedProgram.run

    def run(self: Any, runtime: Any, x: Array, *args: Any) -> dict[str, Array]:
        return {name: y.reshape(y.shape[::-1]) for name, y in right(self, runtime, x, *args).items()}

    monkeypatch.setattr(IsolatedProgram, "run", run)
    with pytest.raises(CheckError, match=r"for 8 samples its outputs have shape \(4, 8\), and those .* \(8, 4\)"):
        import_file(dense(tmp_path / "a.onnx"))


def test_a_second_runtime_is_asked_before_an_import_is_called_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    right, asked = IsolatedProgram.run, []

    def run(self: Any, runtime: Any, x: Array, *args: Any) -> dict[str, Array]:
        asked.append(type(runtime).__name__)
        outputs = right(self, runtime, x, *args)
        return {name: 2 * y for name, y in outputs.items()} if isinstance(runtime, OnnxRuntime) else outputs

    monkeypatch.setattr(IsolatedProgram, "run", run)
    found = import_file(dense(tmp_path / "a.onnx")).proof
    assert (found.runtime, asked) == ("ReferenceEvaluator()", ["OnnxRuntime", "ReferenceEvaluator"])


@pytest.mark.parametrize("count", [8, 9, 1024])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_inputs_are_of_several_kinds(dtype: Any, count: int) -> None:
    x = random_inputs(Sequential(["Flatten()", "Dense(2)"], (2, 7, 9), input_dtype=dtype), count)
    assert (x.shape, x.dtype.name) == ((count, 2, 7, 9), dtype)
    assert len(np.unique(x[: count // 4])) > 100
    assert x[-1].max() > 200
    assert (x[-1, :, :4, :4] == x[-1, :, :1, :1]).all()
    if dtype == "float32":
        assert x.min() < -30
        assert abs(x[: count // 4]).max() < 6
