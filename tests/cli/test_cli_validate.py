"""What `validate` takes and leaves: how many samples, a picture, reproducers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import numpy_helper

PNG = b"\x89PNG\r\n"


@pytest.fixture
def exported(trained: Any) -> Any:
    assert trained("export", "tiny@1", "--no-validate", "-o", "model.onnx").code == 0
    return trained


def test_all_runtimes_stand_beside_each_other_with_versions_and_latencies(exported: Any) -> None:
    chosen = ("--runtimes", "all", "--runtimes", "ReferenceEvaluator")
    document = exported("validate", "model.onnx", "tiny@1", *chosen, "--json").document
    names = [result["runtime"] for result in document["results"]]
    assert names[0] == names[-1] == "ReferenceEvaluator()"
    assert len(names) >= 2
    for result in document["results"]:
        assert result["verdict"] == "pass"
        assert result["version"]
        assert 0 < result["budget"] <= 1
        assert (result["latency"]["one"] > 0, result["latency"]["samples"]) == (True, 64)
    shown = exported("validate", "model.onnx", "tiny@1")
    headings = "runtime version absolute relative budget flips worst one (ms) batch (ms) verdict"
    assert " ".join(shown.out.splitlines()[0].split()) == headings


@pytest.mark.parametrize(("samples", "count"), [("all", 360), ("5", 5), ("100000", 360)])
def test_so_many_samples_are_compared(exported: Any, samples: str, count: int) -> None:
    chosen = ("--samples", samples, "--runtimes", "ReferenceEvaluator")
    document = exported("validate", "model.onnx", "tiny@1", *chosen, "--json").document
    assert document["inputs"] == f"{count} test samples of Digits()"
    assert document["results"][0]["samples"] == count


@pytest.mark.parametrize("samples", ["0", "-1", "many", "1.5", ""])
def test_a_number_of_samples_that_means_nothing_is_told(exported: Any, samples: str) -> None:
    result = exported("validate", "model.onnx", "tiny@1", "--samples", samples)
    assert (result.code, result.out) == (2, "")
    assert f'--samples takes a number, 1 or above, or "all"; got {samples!r}' in result.err


def test_of_random_inputs_there_is_no_number(exported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.cli import onnx_check
    from cnnkit.errors import DataError

    def missing(*_: Any) -> None:
        raise DataError("its files are missing")

    monkeypatch.setattr(onnx_check, "recorded_dataset", missing)
    result = exported("validate", "model.onnx", "tiny@1", "--samples", "all")
    assert (result.code, result.out) == (2, "")
    assert "--samples all: there are none, choose a dataset with --dataset; its files are missing" in result.err


def test_the_picture_is_drawn(exported: Any, tmp_path: Path) -> None:
    document = exported("validate", "model.onnx", "tiny@1", "--picture", "runtimes.png", "--json").document
    assert document["picture"] == "runtimes.png"
    assert (tmp_path / "runtimes.png").read_bytes().startswith(PNG)
    refused = exported("validate", "model.onnx", "tiny@1", "--picture", "runtimes.txt")
    assert (refused.code, refused.out) == (2, "")
    assert "expected a name that ends in .png, .svg, .pdf" in refused.err


def test_a_reproducer_is_written_where_answers_differ(exported: Any, tmp_path: Path) -> None:
    options = ("--reproducer", "faults", "--runtimes", "ReferenceEvaluator")
    right = exported("validate", "model.onnx", "tiny@1", *options, "--json")
    assert (right.code, right.document["reproducers"], list((tmp_path / "faults").iterdir())) == (0, [], [])
    proto = onnx.load(tmp_path / "model.onnx")
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense_1.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), weight.name))
    onnx.save(proto, tmp_path / "model.onnx")
    wrong = exported("validate", "model.onnx", "tiny@1", *options)
    assert wrong.code == 1
    stem = f"ReferenceEvaluator-{onnx.__version__}-dense_1"
    assert f"wrote faults/{stem}.onnx and {stem}.npz" in wrong.err
    assert "the nodes of layer dense_1 = Dense(10) alone show it" in wrong.out
    with np.load(tmp_path / "faults" / f"{stem}.npz") as arrays:
        feeds = {name.removeprefix("input."): arrays[name] for name in arrays if name.startswith("input.")}
        (given,) = onnx.reference.ReferenceEvaluator(str(tmp_path / "faults" / f"{stem}.onnx")).run(None, feeds)
        np.testing.assert_array_equal(given, arrays["given"])
        assert np.abs(given - arrays["expected_float64"]).max() > 1e-3
    (tmp_path / "file").write_text("")
    refused = exported("validate", "model.onnx", "tiny@1", "--reproducer", "file")
    assert (refused.code, refused.out) == (2, "")
    assert "cannot make the folder file for reproducers" in refused.err


@pytest.mark.parametrize(("key", "value"), [("labels", '["9", "8"]'), ("reference", "other@7"), ("digest", "0" * 64)])
def test_a_file_that_contradicts_its_version_fails_and_no_verdict_is_stored(
    exported: Any, tmp_path: Path, key: str, value: str
) -> None:
    proto = onnx.load(tmp_path / "model.onnx")
    (entry,) = (entry for entry in proto.metadata_props if entry.key == key)
    entry.value = value
    onnx.save(proto, tmp_path / "model.onnx")
    result = exported("validate", "model.onnx", "tiny@1")
    assert result.code == 1
    assert f"the file says {key} = {value}, expected " in result.out
    assert "the verdict is not stored" in result.err
    assert "validated" not in exported("models", "show", "tiny@1").out.replace("not validated", "")


def stored(cli: Any) -> Any:
    return cli("models", "show", "tiny@1", "--json").document["verdict"]


def test_a_verdict_says_what_it_rests_on(exported: Any) -> None:
    exported("validate", "model.onnx", "tiny@1", "--samples", "7")
    verdict = stored(exported)
    assert (verdict["ok"], verdict["samples"], verdict["disagree"]) == (True, 7, [])
    exported("export", "tiny@1", "--outputs", "label", "-o", "label.onnx")
    shown = exported("validate", "label.onnx", "tiny@1")
    assert shown.code == 0
    assert " ".join(shown.out.splitlines()[1].split()[2:5]) == "- - 0%"
    verdict = stored(exported)
    assert (verdict["ok"], verdict["samples"], verdict["max_relative"]) == (True, 360, None)
    assert "largest relative error unknown" in exported("models", "show", "tiny@1").out


def test_a_runtime_that_cannot_run_the_file_leaves_the_verdict_before(
    exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exported("validate", "model.onnx", "tiny@1").code == 0
    before = stored(exported)
    assert before["ok"]
    result = exported("validate", "model.onnx", "tiny@1", "--runtimes", 'OnnxRuntime("/bin/false")')
    assert result.code == 1
    assert "no verdict is stored: no runtime can run the file" in result.err
    assert stored(exported) == before


def test_a_runtime_that_disagrees_is_named_in_a_verdict_that_passes(
    exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cnnkit.cli import onnx_check
    from cnnkit.onnx.report import RuntimeResult, ValidationReport
    from cnnkit.registry import Registry

    right = RuntimeResult("ReferenceEvaluator()", 10, ok=True, version="1", max_relative=1e-7)
    wrong = RuntimeResult("OnnxRuntime()", 10, ok=False, version="1.24", max_relative=3.0, flips=tuple(range(9)))
    cannot = RuntimeResult("NCNN()", 10, ok=False, answered=False)
    store = Registry()
    onnx_check.remember(ValidationReport(Path("x"), 1e-5, (right, wrong, cannot)), store, store.find("tiny@1"))
    verdict = store.verdict("tiny@1")
    assert verdict is not None
    assert (verdict.ok, verdict.runtimes, verdict.disagree) == (
        True,
        ("ReferenceEvaluator() 1",),
        ("OnnxRuntime() 1.24",),
    )
    assert "; other answers by OnnxRuntime() 1.24" in exported("models", "show", "tiny@1").out


def test_samples_are_evenly_taken_from_all() -> None:
    """Datasets may be sorted by class: their first samples would be of one."""
    from cnnkit.cli.onnx_check import inputs_for
    from cnnkit.data import load_dataset
    from cnnkit.network import Sequential
    from cnnkit.registry.trust import trusted

    data = load_dataset("Digits()")
    model = Sequential(["Flatten()", "Dense(10)"], data.input_shape, input_dtype="uint8")
    everything = np.asarray(data.test.x)
    for samples, places in (
        ("1", [0]),
        ("2", [0, 359]),
        ("4", [0, 120, 239, 359]),
        ("360", range(360)),
        ("all", range(360)),
    ):
        x, about = inputs_for(model, "Digits()", None, None, trusted(None), samples)  # type: ignore[arg-type]  # no manifest: unread
        np.testing.assert_array_equal(np.asarray(x), everything[list(places)])
        assert about == f"{len(places)} test samples of Digits()"
