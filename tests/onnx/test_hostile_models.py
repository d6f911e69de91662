"""ONNX files that mean harm: right, refused, or ended at a limit; nothing else happens, and one line says what.

40 mutants by default, 3,000 in full.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile_models  # type: ignore[import-not-found]  # beside this file
import numpy as np
import pytest
from onnx import ModelProto

from cnnkit.errors import OnnxError
from cnnkit.onnx import isolated
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.load import OPERATORS
from cnnkit.onnx.runtimes import OnnxRuntime, is_installed
from cnnkit.onnx.validate import validate_onnx

MODEL = hostile_models.MODEL
CHILD = Path(__file__).with_name("watched_child.py")
LINE = 700
"""Characters of a message, most of which come from the file."""
MIB = 2**20
needs_onnxruntime = pytest.mark.skipif(not is_installed(OnnxRuntime), reason="onnxruntime is not installed")


OPERATOR = (
    "refused: .*model.onnx uses {}; of a file that is not the model's own export, only the operators that layers "
)
INVALID = "refused: .*model.onnx is not a valid ONNX file: .*"
MEMORY = (
    r"refused: .*model.onnx: node 'evil_{}' \({}\) gives [0-9,]* bytes, and a run .* may take .*; none of it was run"
)
TIME = r"refused: .*model.onnx takes too long: .* the largest part in node .evil_{}. \({}\), .*; none of it was run"
OUTCOMES = {
    "image_decoder": OPERATOR.format("ImageDecoder"),
    "integer_division": OPERATOR.format("Div"),
    "integer_remainder": OPERATOR.format("Mod"),
    "regular_expression": OPERATOR.format("RegexFullMatch"),
    "large_product": TIME.format("product", "MatMul"),
    "gather_elements": OPERATOR.format("GatherElements"),
    "locale": OPERATOR.format("StringNormalizer"),
    "range_of_numbers": OPERATOR.format("Range"),
    "constant_of_shape": OPERATOR.format("ConstantOfShape"),
    "unroll_by_einsum": OPERATOR.format("Einsum"),
    "name_that_steers_the_terminal": r"model.onnx uses '\\x1b\[2Jxxx",
    "outer_product": MEMORY.format("outer", "Gemm"),
    "outer_sum": MEMORY.format("outer", "Add"),
    "products_without_end": TIME.format("product[0-9]*", "Gemm"),
    "doubled_again_and_again": MEMORY.format("twice49", "Concat"),
    "padding_of_terabytes": MEMORY.format("padded", "Pad"),
    "windows_of_terabytes": TIME.format("product", "Conv"),
    "sums_over_many_axes": MEMORY.format("all", "Mul"),
    "pooling_without_end": TIME.format("largest", "MaxPool"),
    "means_without_end": TIME.format("mean", "AveragePool"),
    "transposed_without_end": TIME.format("laid", "ConvTranspose"),
    "transposed_with_no_groups": f"{INVALID}Attribute group must be > 0",
    "transposed_with_stride_of_zero": f"{INVALID}strides must only contain positive values",
    "blocks_of_nothing": f"{INVALID}Blocksize must be positive",
    "slices_in_steps_of_zero": r"refused: .*node 'evil_part' \(Slice\): the shape of what it gives is not known before",
    "indices_beyond_everything": "FAILED: .*is out of bounds",
    "no_groups": "FAILED: .*ZeroDivisionError.* | .*Conv group must be greater than 0",
    "axis_beyond_everything": r"refused: .*node 'dense_1' \(Gemm\): the shape of what it gives is not known before it",
    "pads_that_are_computed": r"refused: .*node 'evil_padded' \(Pad\): the shape of what it gives is not known before",
    "nodes_without_end": "refused: .*model.onnx takes too long: .*; none of it was run",
    "inputs_without_end": "refused: .*model.onnx (needs more than [0-9]* MiB of memory, the most that a file"
    "|cannot be checked: it ran out of the memory that a file of its size may take)",
    "padding_that_overflows": f"{INVALID}Integer overflow",
    "stride_of_zero": f"{INVALID}strides must only contain positive values",
    "pooling_with_stride_of_zero": f"{INVALID}strides must only contain positive values",
    "dilation_beyond_everything": f"{INVALID}Integer overflow",
    "kernel_beyond_everything": f"{INVALID}Dimension mismatch",
    "pads_of_another_rank": f"{INVALID}pads has incorrect size",
    "text_for_numbers": f"{INVALID}Inferred elem type differs",
    "shape_without_data": f"{INVALID}should contain one and only one value field",
    "shape_that_overflows": f"{INVALID}Tensor dimension product overflow",
    "circle": f"{INVALID}topologically sorted",
    "opset_of_the_future": f"{INVALID}out of supported range",
    "outputs_of_any_name": r"FAILED: ReferenceEvaluator\(\): the file has no output 'logits', only '0xxx",
    "attribute_of_nothing": f"{INVALID}appeared multiple times",
    "millions_of_nodes": "refused: .*model.onnx is not read: it has more than 200,000 fields",
    "graphs_in_graphs": r"refused: .*node '' \(If\) has a graph inside",
    "loop_without_end": r"refused: .*node 'evil_endless' \(Loop\) has a graph inside",
    "operators_of_its_own": "refused: .*model.onnx defines its own operators",
    "operators_of_others": "refused: .*node 'evil_attention' is com.microsoft.Attention",
    "data_elsewhere": "refused: .*tensor 'conv2d_1.weight' keeps its data in another file",
    "sparse_data": "refused: .*model.onnx has sparse initializers",
}


class Watch:
    """The processes of a test: what they did that they should not, and how much memory they had."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.pipe = folder / "pipe"
        os.mkfifo(self.pipe)
        self.log = os.open(self.pipe, os.O_RDWR | os.O_NONBLOCK)
        self.memory = 0
        close = isolated.IsolatedProgram.close

        def measured(program: isolated.IsolatedProgram) -> int | None:
            if program._process and program._process.poll() is None:
                status = Path(f"/proc/{program._process.pid}/status").read_text()
                self.memory = max(self.memory, 1024 * int(status.partition("VmHWM:")[2].split()[0]))
            return close(program)

        monkeypatch.setattr(isolated.IsolatedProgram, "close", measured)
        self.let("right")

    def let(self, conduct: str) -> None:
        """Choose what the processes do."""

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [sys.executable, str(CHILD), str(self.pipe), conduct],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )

        self.monkeypatch.setattr(isolated, "start_process", start)

    def foreign(self) -> list[str]:
        """What they did that they should not, since the last call."""
        try:
            return os.read(self.log, 100_000).decode().splitlines()
        except BlockingIOError:
            return []

    def validate(self, data: bytes) -> str:
        """The remarks on a file, or why it is refused."""
        path = self.folder / "model.onnx"
        path.write_bytes(data)
        try:
            report = validate_onnx(path, MODEL, np.zeros((3, 1, 8, 8), np.float32))
        except OnnxError as error:
            return f"refused: {error}"
        return f"{'passed' if report.ok else 'FAILED'}: {' | '.join(report.remarks())}"


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watch = Watch(tmp_path, monkeypatch)
    yield watch
    os.close(watch.log)


def test_every_change_has_its_outcome() -> None:
    assert OUTCOMES.keys() == hostile_models.CHANGES.keys()


@needs_onnxruntime
@pytest.mark.parametrize("name", OUTCOMES)
def test_every_hostile_file_is_refused_or_fails_in_one_line(
    watch: Watch, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = hostile_models.build(hostile_models.CHANGES[name])
    outcome = watch.validate(data)
    assert re.search(OUTCOMES[name], outcome)
    assert "\n" not in outcome
    assert "\x1b" not in outcome
    assert len(outcome) < 2 * LINE
    assert watch.memory <= 3 * len(data) + 200 * MIB
    assert watch.foreign() == []
    assert capfd.readouterr() == ("", "")


def test_the_file_without_a_change_is_the_export_and_one_with_another_name_passes_as_a_strangers(watch: Watch) -> None:
    assert watch.validate(hostile_models.build(lambda proto: None)) == "passed: "
    assert watch.memory == 0  # no process was needed
    assert (
        watch.validate(hostile_models.build(lambda proto: proto.graph.node[0].ClearField("doc_string"))) == "passed: "
    )
    assert watch.memory > 0
    assert watch.foreign() == []


def test_positive_control_the_hook_sees_a_careless_process(watch: Watch) -> None:
    watch.let("careless")
    watch.validate(hostile_models.build(hostile_models.no_groups))
    seen = watch.foreign()
    assert any(event.startswith("open ('/etc/passwd'") for event in seen)
    assert any(event.startswith("subprocess.Popen") for event in seen)


@pytest.mark.parametrize(
    ("conduct", "end"),
    [
        ("endless", "it did not end within 1 seconds"),
        ("crashing", "the process that did so was killed by SIGFPE"),
        ("leaving", "the process that did so ended with exit code 7"),
        ("babbling", "the process that did so sent an unreadable reply: Expecting value: .*"),
    ],
)
def test_positive_control_processes_that_give_no_answer_are_told_apart(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, conduct: str, end: str
) -> None:
    if conduct == "endless":  # the others need the time that it takes to begin
        monkeypatch.setattr(isolated, "SECONDS", 1.0)
    watch.let(conduct)
    outcome = watch.validate(hostile_models.build(hostile_models.no_groups))
    assert re.fullmatch(rf"refused: .*model\.onnx cannot be checked: {end}", outcome)


@needs_onnxruntime
def test_a_runtime_that_its_process_does_not_survive_fails_and_the_next_one_goes_on(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime does not end; the reference evaluator is asked after it. The estimate is off."""
    monkeypatch.setattr(isolated, "SECONDS", 5.0)
    monkeypatch.setattr(isolated, "FREE", 10**30)
    path = watch.folder / "model.onnx"
    path.write_bytes(hostile_models.build(hostile_models.pooling_without_end))
    report = validate_onnx(path, MODEL, runtimes=["OnnxRuntime()", "ReferenceEvaluator()"])
    endless, reference = report.results
    assert endless.error == "OnnxRuntime() cannot execute the model: it did not end within 5 seconds"
    assert reference.error == "ReferenceEvaluator() cannot execute the model: it did not end within 5 seconds"


Damage = Callable[[bytes, np.random.Generator], bytes]


def damaged_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Flipped bits, other bytes, missing bytes."""
    mutant = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        position = int(rng.integers(len(mutant)))
        match rng.integers(4):
            case 0:
                mutant[position] ^= 1 << int(rng.integers(8))
            case 1:
                mutant[position : position + 4] = rng.bytes(4)
            case 2:
                mutant[position : position + 8] = b"\xff" * 8
            case _:
                del mutant[position : position + int(rng.integers(1, 16))]
    return bytes(mutant)


NUMBERS = (0, 1, -1, 2, 3, 7, 100, 2**31 - 1, 2**31, 2**32, 2**62, -(2**63), 2**63 - 1)


def damaged_meaning(data: bytes, rng: np.random.Generator) -> bytes:
    """A file that can be parsed, with other attributes, operators, shapes, inputs or outputs."""
    proto = ModelProto.FromString(data)
    graph = proto.graph

    def one(of: Any) -> Any:
        return of[int(rng.integers(len(of)))]

    for _ in range(rng.integers(1, 4)):
        node, number = one(graph.node), int(one(NUMBERS))
        attributes = [a for each in graph.node for a in each.attribute]
        match rng.integers(9):
            case 0 | 1:
                attribute = one(attributes)
                if attribute.ints:
                    attribute.ints[int(rng.integers(len(attribute.ints)))] = number
                else:
                    attribute.i = number
            case 2:
                one(attributes).ints.append(number)
            case 3:
                node.op_type = one(sorted(OPERATORS))
            case 4:
                one(graph.initializer).dims[0] = number
            case 5:
                node.input[int(rng.integers(len(node.input)))] = one([i.name for i in graph.initializer] + ["input"])
            case 6:
                one(graph.output).type.tensor_type.elem_type = int(rng.integers(25))
            case 7:
                one(graph.input).type.tensor_type.shape.dim[int(rng.integers(4))].dim_value = number
            case _:
                one(graph.initializer).data_type = int(rng.integers(25))
    return bytes(proto.SerializeToString())


SEEDS = [*((seed, 10) for seed in range(4)), *(pytest.param(seed, 100, marks=pytest.mark.full) for seed in range(30))]


@pytest.mark.parametrize(("seed", "count"), SEEDS)
def test_mutants_do_no_harm(watch: Watch, seed: int, count: int, capfd: pytest.CaptureFixture[str]) -> None:
    rng, data = np.random.default_rng(seed), to_onnx(MODEL).SerializeToString()
    outcomes: Counter[str] = Counter()
    for i in range(count):
        damage: Damage = damaged_meaning if i % 2 else damaged_bytes
        outcome = watch.validate(damage(data, rng))
        assert "\n" not in outcome, f"mutant {i}: {outcome}"
        assert not re.search("was killed by|did not end|exit code", outcome), f"mutant {i}: {outcome}"
        assert watch.foreign() == [], f"mutant {i}"
        outcomes[outcome.partition(":")[0]] += 1
    assert 0 < watch.memory <= 200 * MIB
    assert capfd.readouterr() == ("", "")
    assert count / 2 < outcomes["refused"] < count
