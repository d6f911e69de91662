"""How the outputs of one runtime compare with the model's, a block of samples after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.network import Network
from cnnkit.onnx.difference import distance, magnitude, relative, subtract
from cnnkit.onnx.divergence import first_divergence
from cnnkit.onnx.executable_model import Program, as_declared, samples_of
from cnnkit.onnx.expected_answers import Answers, ExpectedAnswers, allowed
from cnnkit.onnx.outputs import output_names, probabilities_of
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
    found = Differences(expected.model, tolerance)
    try:
        version = version_of(runtime)
        for answers in expected:
            found.add(answers, _outputs(runtime, program, expected.single, answers))
    except WrongOutputsError as error:
        return RuntimeResult(name, samples, ok=False, version=version, error=str(error))
    except OnnxError as error:
        return RuntimeResult(name, samples, ok=False, version=version, answered=False, error=str(error))
    divergence, reproducer, problem = None, None, ""
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
        max_absolute=found.max_absolute,
        max_relative=found.max_relative,
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

    def __init__(self, model: Network, tolerance: float) -> None:
        self._model, self._tolerance = model, tolerance
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

    def add(self, answers: Answers, given: Sequence[Array]) -> None:
        """Compare one more block; given: the outputs, and the probabilities if there are any."""
        model, tolerance = self._model, self._tolerance
        outputs, *probabilities = given
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
        flips = _flips(model, given, answers.outputs, most * answers.scale, tolerance)
        self.flips += [answers.first + flip for flip in flips]


def _share(difference: Array, most: Array) -> Array:
    """The difference as a share of what is allowed; infinite where nothing is."""
    return np.where(most > 0, difference / np.where(most > 0, most, 1), np.inf)


def _largest(values: Array) -> Array:
    """Of each sample: (N, ...) -> (N,)."""
    return np.asarray(values.reshape(len(values), -1).max(axis=1))


def _flips(
    model: Network, given: Sequence[Array], expected: Array, error: Array, probability_error: float
) -> tuple[int, ...]:
    """Samples of which another class or label is said, unless ours is a tie: what is allowed could turn it.

    given: the outputs, and the probabilities if there are any; error: of each output that is allowed, (N, ...).
    """
    if model.task.gives == "values":
        return ()
    own = [expected, *(probabilities_of(model, expected) for _ in given[1:])]
    at = 0.0 if model.task.from_logits else 0.5
    ours = _said(model, expected, at)
    clear, differs = np.ones(ours.shape, bool), np.zeros(ours.shape, bool)
    errors = error, np.full(expected.shape, probability_error)
    for theirs, values, most, limit in zip(given, own, errors, (at, 0.5), strict=False):
        clear &= _is_clear(model, values, most, limit)
        differs |= _said(model, theirs, limit) != ours
    return tuple(np.flatnonzero((clear & differs).reshape(len(ours), -1).any(axis=1)).tolist())


def _said(model: Network, values: Array, limit: float) -> Array:
    """The class of each sample or pixel, or which labels are there: those from a limit on."""
    return values.argmax(axis=1) if model.task.gives == "classes" else values >= limit


def _is_clear(model: Network, values: Array, error: Array, limit: float) -> Array:
    """Whether these errors leave the highest class (axis 1) as it is, or each label on its side of the limit."""
    if model.task.gives == "labels":
        return np.asarray(distance(values, np.full_like(values, limit)) > error)
    best = values.argmax(axis=1, keepdims=True)
    error = np.where(np.isfinite(values), error, 0)  # what is not a number is found by its distance
    others = values + error
    np.put_along_axis(others, best, -np.inf, axis=1)
    lowest = np.take_along_axis(values - error, best, axis=1)
    return np.asarray(lowest[:, 0] > others.max(axis=1))


def _outputs(runtime: Runtime, program: Program, model: Network, answers: Answers) -> list[Array]:
    """What the file gives for a block: the very first sample alone, the others in batches that bound the memory."""
    x = as_declared(program.signature, answers.x)
    parts = [_run(runtime, program, model, batch) for batch in _batches(x, program, model, alone=answers.first == 0)]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _batches(x: Array, program: Program, model: Network, *, alone: bool) -> Iterator[Array]:
    batch = samples_of(program.chunk_bytes, model)
    if alone:
        yield x[:1]
    for start in range(int(alone), len(x), batch):
        yield x[start : start + batch]


def _run(runtime: Runtime, program: Program, model: Network, x: Array) -> list[Array]:
    names = output_names(model)
    outputs = program.run(runtime, x)
    expected = (len(x), *model.output_shape)
    for name in names:
        if name not in outputs:
            given = ", ".join(repr(other)[:MOST_SHOWN] for other in list(outputs)[:MOST_SHOWN])
            raise WrongOutputsError(f"{runtime!r}: the file has no output {name!r}, only {given}")
        if outputs[name].shape != expected:
            raise WrongOutputsError(
                f"{runtime!r}: {name} have shape {outputs[name].shape} for a batch of {len(x)}, expected {expected}"
            )
    return [outputs[name] for name in names]


def _latency(runtime: Runtime, program: Program, expected: ExpectedAnswers) -> Latency | None:
    """How long one sample and a batch take; None if the runtime does not go on to the end."""
    size = min(len(expected.x), LATENCY_BATCH, samples_of(program.chunk_bytes, expected.model))
    x = as_declared(program.signature, np.asarray(expected.x[:size]))
    try:
        return Latency(program.latency(runtime, x[:1]), program.latency(runtime, x), size)
    except OnnxError:
        return None
