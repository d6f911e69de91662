"""How the outputs of one runtime compare with the model's, a block of samples after another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.network import Network
from cnnkit.onnx.difference import distance, magnitude, relative, subtract
from cnnkit.onnx.divergence import first_divergence
from cnnkit.onnx.executable_model import Program, as_declared, outputs_of, samples_of
from cnnkit.onnx.expected_answers import Answers, ExpectedAnswers, allowed
from cnnkit.onnx.label_flips import flipped
from cnnkit.onnx.outputs import LABEL, output_shape, probabilities_of
from cnnkit.onnx.report import Latency, RuntimeResult
from cnnkit.onnx.runtimes import version_of
from cnnkit.types import Array

MOST_SHOWN = 20
"""Outputs that an error names, and characters of each: a file may have any number of any length."""
LATENCY_BATCH = 64
"""Samples of the batch whose latency is measured, unless there are fewer, or memory has no room for so many."""


class WrongOutputsError(OnnxError):
    """The file was executed, and what it gives are not the outputs of the model."""


def compared(
    runtime: Runtime, program: Program, expected: ExpectedAnswers, tolerance: float, *, latency: bool
) -> RuntimeResult:
    """Run the file on one runtime, and judge its outputs as `validate_onnx` says."""
    name, samples, version = repr(runtime), len(expected.x), ""
    found = Differences(expected.model, expected.names, tolerance)
    try:
        version = version_of(runtime)
        for answers in expected:
            found.add(answers, _outputs(runtime, program, expected, answers))
    except WrongOutputsError as error:
        return RuntimeResult(name, samples, ok=False, version=version, error=str(error))
    except OnnxError as error:
        return RuntimeResult(name, samples, ok=False, version=version, answered=False, error=str(error))
    divergence, reproducer, problem = None, None, ""
    has_numbers = expected.names != (LABEL,)
    if not found.ok:
        number = found.flips[0] if found.flips and found.budget <= 1 else found.worst
        try:
            divergence, reproducer = first_divergence(runtime, program, expected, number, tolerance)
        except OnnxError as error:
            problem = f"the first diverging layer cannot be found: {error}"
    return RuntimeResult(
        name,
        samples,
        ok=found.ok,
        version=version,
        max_absolute=found.max_absolute if has_numbers else math.nan,
        max_relative=found.max_relative if has_numbers else math.nan,
        budget=found.budget,
        worst_sample=found.worst,
        flips=tuple(found.flips),
        latency=_latency(runtime, program, expected) if latency else None,
        divergence=divergence,
        reproducer=reproducer,
        error=problem,
    )


class Differences:
    """What is known of the differences between a runtime and the model after some blocks of samples."""

    def __init__(self, model: Network, names: Sequence[str], tolerance: float) -> None:
        self._model, self._names, self._tolerance = model, names, tolerance
        self.max_absolute = self.max_relative = 0.0
        self.budget = -1.0
        """The largest difference as a share of what is allowed there."""
        self.worst = 0
        """The sample that has it."""
        self.flips: list[int] = []
        """Samples that get another label."""

    @property
    def ok(self) -> bool:
        """Whether the runtime agrees so far."""
        return self.budget <= 1 and not self.flips

    def add(self, answers: Answers, given: dict[str, Array]) -> None:
        """Compare one more block; given: the outputs by their names."""
        model, tolerance, label = self._model, self._tolerance, given.pop(LABEL, None)
        outputs, *probabilities = given.values() or [answers.outputs]  # of a label alone, all else is as it should be
        absolute = distance(outputs, answers.outputs)
        by_outputs = relative(absolute, answers.scale)
        by_probabilities = np.zeros(len(outputs))
        for one in probabilities:
            by_probabilities = magnitude(subtract(one, probabilities_of(model, outputs)))
        most = allowed(answers.rounding, tolerance)
        share = np.maximum(_largest(_share(by_outputs, most)), by_probabilities / tolerance)
        worst = int(share.argmax())
        if share[worst] > self.budget:
            self.budget, self.worst = float(share[worst]), answers.first + worst
        self.max_absolute = max(self.max_absolute, float(absolute.max()))
        self.max_relative = max(self.max_relative, float(np.maximum(_largest(by_outputs), by_probabilities).max()))
        compared = [outputs, *probabilities]
        turned = flipped(model, self._names, compared, answers.outputs, label, answers.ties(tolerance), tolerance)
        flips = np.flatnonzero(turned.reshape(len(turned), -1).any(axis=1)).tolist()
        self.flips += [answers.first + flip for flip in flips]


def _share(difference: Array, most: Array) -> Array:
    """The difference as a share of what is allowed; infinite where nothing is."""
    return np.where(most > 0, difference / np.where(most > 0, most, 1), np.inf)


def _largest(values: Array) -> Array:
    """Of each sample: (N, ...) -> (N,)."""
    return np.asarray(values.reshape(len(values), -1).max(axis=1))


def _outputs(runtime: Runtime, program: Program, expected: ExpectedAnswers, answers: Answers) -> dict[str, Array]:
    """What the file gives for a block: the very first sample alone, the others in batches that bound the memory."""
    batches = _batches(answers.x, program, expected.single, alone=answers.first == 0)
    parts = [_run(runtime, program, expected, batch) for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in expected.names}


def _batches(x: Array, program: Program, model: Network, *, alone: bool) -> Iterator[Array]:
    if program.signature.batch:
        yield x
        return
    batch = samples_of(program.chunk_bytes, model)
    if alone:
        yield x[:1]
    for start in range(int(alone), len(x), batch):
        yield x[start : start + batch]


def _run(runtime: Runtime, program: Program, expected: ExpectedAnswers, x: Array) -> dict[str, Array]:
    outputs = outputs_of(program, runtime, x)
    for name in expected.names:
        shape = (len(x), *output_shape(expected.model, name))
        if name not in outputs:
            given = ", ".join(repr(other)[:MOST_SHOWN] for other in list(outputs)[:MOST_SHOWN])
            raise WrongOutputsError(f"{runtime!r}: the file has no output {name!r}, only {given}")
        if outputs[name].shape != shape:
            raise WrongOutputsError(
                f"{runtime!r}: {name} have shape {outputs[name].shape} for a batch of {len(x)}, expected {shape}"
            )
    return {name: outputs[name] for name in expected.names}


def _latency(runtime: Runtime, program: Program, expected: ExpectedAnswers) -> Latency | None:
    """How long one sample and a batch take; None if the runtime does not go on to the end."""
    fixed = program.signature.batch
    size = fixed or min(len(expected.x), LATENCY_BATCH, samples_of(program.chunk_bytes, expected.model))
    x = as_declared(program.signature, expected.sample(0)).repeat(size, axis=0)
    try:
        return Latency(program.latency(runtime, x[: fixed or 1]), program.latency(runtime, x), size)
    except OnnxError:
        return None
