"""ONNX files that mean harm to who imports them: refused in one message, or imported and proved; nothing else happens.

They are read and translated in a process of their own, which an audit hook watches. 300 mutants by default, 3,000 more
in full.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import foreign_models  # type: ignore[import-not-found]  # beside this file
import hostile_imports  # type: ignore[import-not-found]  # likewise
import mutants  # type: ignore[import-not-found]  # likewise
import numpy as np
import pytest

from cnnkit.onnx.importing.attributes import REPORT
from cnnkit.onnx.runtimes import OnnxRuntime, is_installed

CHILD = Path(__file__).with_name("importing_child.py")
SECONDS = 10.0
"""Most that one file may take of a processor."""
LATE = 120.0
"""Seconds after which a process is killed, however busy the machine is."""
MEMORY = 400 * 2**20
"""Most that the process may take for all files; it has 60 MiB before it reads the first one."""
LINE = 20_000
"""Most characters of a message: 20 kinds of operators, with what is missing."""
needs_onnxruntime = pytest.mark.skipif(not is_installed(OnnxRuntime), reason="onnxruntime is not installed")

FOLDED = "cannot be imported: node '{}' .* bytes to be computed in advance, where .* are left; expected no more of a"
LAYER = r"cannot be imported: 1 operator of the file cannot be written with layers:\n  {}, 1 x \({}\): "
AXIS = r"cannot be imported: node '{}' \({}\) gives an axis of [-0-9,]*; expected 0 to 2,147,483,648"
OUTCOMES = {
    "padding_of_terabytes": AXIS.format("evil", "Pad"),
    "padding_that_overflows": AXIS.format("evil", "Pad"),
    "resized_to_terabytes": AXIS.format("node_f", "Reshape"),
    "resized_to_infinity": "scales by inf; expected more than 0",
    "resized_to_sizes": r"node 'evil' \(Resize\) gives an axis of ",
    "expanded_to_terabytes": AXIS.format("evil", "Expand"),
    "constant_of_terabytes": FOLDED.format("node_large"),
    "tiled_to_terabytes": FOLDED.format("node_large"),
    "range_of_terabytes": FOLDED.format("node_large"),
    "padded_constant_of_terabytes": FOLDED.format("node_large"),
    "sum_of_terabytes": FOLDED.format("node_large"),
    "division_by_zero": r"node 'node_quotient' \(Div\) cannot be computed: division of whole numbers by zero",
    "constant_division_by_zero": f"{LAYER.format('Div', 'evil')}it divides by a constant 0",
    "stride_of_zero": r"node 'node_c' \(Conv\) has strides \[0, 0\]",
    "negative_stride": r"node 'node_m' \(MaxPool\) has strides \[-1, -9223372036854775808\]",
    "no_groups": "groups must be a whole number, 1 or above, got 0",
    "groups_beyond_everything": "filters must be a multiple of groups, got 2 filters in 4611686018427387904 groups",
    "groups_in_a_list": r"node 'node_t' \(ConvTranspose\): expected a whole number as attribute 'group', got ",
    "pads_beyond_everything": AXIS.format("node_c", "Conv"),
    "pads_of_gigabytes": AXIS.format("node_f", "Reshape"),
    "dilations_beyond_everything": r"node 'node_c' \(Conv\) has strides \[1, 1\], dilations \[46116860184273879",
    "kernel_of_zero": r"node 'node_m' \(MaxPool\) has a kernel of \[0, 0\]; expected at least 1",
    "kernel_beyond_everything": AXIS.format("node_f", "Reshape"),
    "kernel_without_numbers": "filters must be a whole number, 1 or above, got 0",
    "weights_without_data": r"tensor 'matrix' has 216 bytes for shape \(1099511627776, 3\); expected 3298534883328",
    "input_of_terabytes": AXIS.format("node_c", "Conv"),
    "input_without_sizes": "its input x has the shape unknown, and a network takes samples of one fixed shape",
    "input_of_a_million_axes": r"Conv, 1 x \(node_c\): it has weights of shape \(2, 1, 3, 3\) for samples of shape",
    "output_that_is_the_input": "nothing computes the output 'x'",
    "output_that_is_a_weight": "nothing computes the output 'kernel'",
    "doubled_again_and_again": AXIS.format("node_twice[0-9]*", "Concat"),
    "squared_again_and_again": "imported: ",
    "nodes_without_end": "30,001 operators are to be translated; expected at most 10,000",
    "operators_without_end": "5,000 operators of the file cannot be written with layers:\n",
    "inputs_without_end": "imported: ",
    "weights_folded_without_end": FOLDED.format("node_s[0-9]*"),
    "weights_made_of_one": FOLDED.format("node_w[0-9]*"),
    "channels_beyond_everything_behind_an_obstacle": LAYER.format("Sin", "evil"),
    "millions_of_nodes": "is damaged or not an ONNX file: it has more than 1,000,000 fields",
    "outputs_without_end": "the file has 60000 outputs, o0, o1, ",
    "circle_without_end": r"these nodes need one another's outputs: 'node_v0', 'node_v59999', .*, \.\.\.; expected no",
    "dropouts_without_end": "30,001 operators are to be translated; expected at most 10,000",
    "attributes_to_the_limit_of_fields": "memory(, the most)? that a file of its size may take",
    "nodes_to_the_limit_of_fields": "has 190,001 operators; expected at most 100,000",
    "nodes_to_their_own_limit": "100,000 operators are to be translated; expected at most 10,000",
    "weights_to_the_limit_of_fields": "imported: ",
    "axes_beyond_everything": "axis 4611686018427387904 of a value with 4 axes; expected -4 to 3",
    "axes_twice": r"\[0, 1, 1, 1\] is no order of 4 axes",
    "slice_in_steps_of_zero": r"node 'evil' \(Slice\) goes in steps of 0",
    "slice_without_ends": r"node 'evil' \(Slice\) has 2 inputs; expected 3 to 5",
    "split_into_thousands": "nothing in it computes anything",
    "split_of_negative_sizes": r"cannot split an axis of 8 into \[-5, 13\] for 2 outputs",
    "places_beyond_everything": f"{LAYER.format('Gather', 'evil')}it takes places that are not evenly spaced",
    "places_without_end": f"{LAYER.format('Gather', 'evil')}it takes places that are not evenly spaced",
    "reshaped_to_nothing": r"node 'evil' \(Reshape\) has a negative size in its shape",
    "reshaped_to_a_hundred_axes": r"Conv, 1 x \(node_c\): it has weights of shape \(2, 1, 3, 3\) for samples of shape",
    "blocks_of_nothing": r"node 'evil' \(DepthToSpace\) has blocks of 0 in 4 axes",
    "blocks_beyond_everything": "SpaceToDepth",
    "normalised_by_nothing": "epsilon must be a number above 0, got nan",
    "local_normalisation_beyond_everything": "LRN",
    "transposed_beyond_everything": r"node 'evil' \(ConvTranspose\) has strides \[1099511627776, 1099511627776\]",
    "output_shape_beyond_everything": AXIS.format("evil", "ConvTranspose"),
    "exponent_of_nothing": f"{LAYER.format('Pow', 'evil')}layers have the exponents 1, 2 and 3 alone",
    "bounds_that_are_no_numbers": "min must be a finite number, got nan",
    "bounds_without_numbers": f"{LAYER.format('Clip', 'evil')}its input 2 has 0 numbers; a layer has one",
    "samples_without_end": "it takes 2,147,483,648 samples at once, which a proof would have to run",
    "sequence_attribute": "attribute 'tp' of node 'node_c' is of type 13; expected numbers, texts or a tensor",
    "name_that_steers_the_terminal": r"\\x1b\[2Jxxx",
    "labels_that_steer_the_terminal": "imported: ",
    "image_decoder": "it takes 0 inputs",
    "data_elsewhere": "tensor 'kernel' keeps its data in another file, '/etc/passwd'; expected the name of a file",
    "data_of_negative_length": "tensor 'kernel' keeps its data in another file with length '-72'; expected a number of",
    "data_in_the_model_itself": "imported: ",
    "data_named_again_and_again": "the tensors in 'model.onnx' have 2,097,152 bytes together, and the file has",
}


class Importer:
    """A process that imports files, and is started again when it has ended."""

    def __init__(self, folder: Path, conduct: str = "right") -> None:
        self._folder, self._conduct = folder, conduct
        self._process: subprocess.Popen[str] | None = None

    def take(self, data: bytes) -> dict[str, Any]:
        """What becomes of a file; the process is killed when it gives no answer."""
        (self._folder / "model.onnx").write_bytes(data)
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, str(CHILD), str(self._folder), self._conduct],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._write(json.dumps([str(Path.cwd()), *filter(None, sys.path)]))
        self._write("model.onnx")
        timer = threading.Timer(LATE, self._process.kill)
        timer.start()
        reply = self._process.stdout.readline() if self._process.stdout else ""
        timer.cancel()
        if not reply:
            code = self.close()
            return {"outcome": f"DIED: {code}", "seconds": 0.0, "memory": 0, "foreign": []}
        return dict(json.loads(reply))

    def close(self) -> int | None:
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdin and process.stdout:
            process.stdin.close()
            process.stdout.close()
        return process.wait()

    def _write(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()


@pytest.fixture(scope="module")
def importer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Importer]:
    found = Importer(tmp_path_factory.mktemp("hostile"))
    yield found
    found.close()


def check(reply: dict[str, Any], *answers: str) -> str:
    """The outcome of a file, which has harmed nobody; answers: how it may begin, too."""
    outcome = str(reply["outcome"])
    assert outcome.startswith(("refused: ", "imported: ", *answers)), outcome
    assert not re.search("was killed by|did not end|exit code|unreadable reply", outcome), outcome
    assert not (outcome.startswith("refused: ") and REPORT in outcome), outcome
    assert "\x1b" not in outcome
    assert len(outcome) < LINE
    assert reply["foreign"] == [], outcome
    assert reply["memory"] <= MEMORY, outcome
    assert reply["seconds"] <= SECONDS, outcome
    return outcome


def test_every_change_has_its_outcome() -> None:
    assert OUTCOMES.keys() == hostile_imports.CHANGES.keys()


@needs_onnxruntime
@pytest.mark.parametrize("name", OUTCOMES)
def test_every_hostile_file_is_refused_by_name_or_does_no_harm(importer: Importer, name: str) -> None:
    outcome = check(importer.take(hostile_imports.build(hostile_imports.CHANGES[name])))
    assert re.search(OUTCOMES[name], outcome, re.DOTALL), outcome
    assert outcome.startswith("imported: " if OUTCOMES[name] == "imported: " else "refused: "), outcome


@needs_onnxruntime
def test_files_without_a_change_are_imported(importer: Importer) -> None:
    for made in (foreign_models.plain_export(), foreign_models.own_export()):
        assert check(importer.take(made.SerializeToString())).startswith("imported: ")


def test_positive_controls_harm_is_seen(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    careless = Importer(tmp_path, "careless")
    reply = careless.take(hostile_imports.build(hostile_imports.no_groups))
    careless.close()
    opened, ended = reply["foreign"][:-1], reply["foreign"][-1]
    assert opened[0] == "open /etc/passwd"
    assert re.fullmatch(r"open .*/\.\./etc/passwd", opened[1])
    assert opened[2].endswith("-beside")
    assert opened[3:] == ["open link", "open /etc", "open passwd"]
    assert ended.startswith("os.system")
    greedy = Importer(tmp_path, "greedy")
    assert greedy.take(hostile_imports.build(hostile_imports.no_groups))["memory"] > MEMORY
    greedy.close()
    crashing = Importer(tmp_path, "crashing")
    assert crashing.take(hostile_imports.build(hostile_imports.no_groups))["outcome"] == "DIED: -8"


SEEDS = [
    *((seed, 75) for seed in range(4)),
    *(pytest.param(seed, 300, marks=pytest.mark.full) for seed in range(4, 14)),
]


@needs_onnxruntime
@pytest.mark.parametrize(("seed", "count"), SEEDS)
def test_mutants_do_no_harm(importer: Importer, seed: int, count: int) -> None:
    made = foreign_models.own_export() if seed % 2 else foreign_models.plain_export()
    rng, data = np.random.default_rng(seed), made.SerializeToString()
    lies = ("CheckError: ",) if seed % 2 else ()  # the description of a layer of cnnkit that its nodes do not have
    outcomes: Counter[str] = Counter()
    for at in range(count):
        damage = mutants.damaged_meaning if at % 2 else mutants.damaged_bytes
        mutant = damage(data, rng)
        try:
            outcomes[check(importer.take(mutant), *lies).partition(":")[0]] += 1
        except AssertionError as error:
            error.add_note(f"mutant {at} of seed {seed}")
            raise
    assert count / 2 < outcomes["refused"] < count
    assert outcomes["CheckError"] < count / 10
