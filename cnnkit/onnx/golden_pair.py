"""The golden pair of a file: one sample with the outputs that its model gives, so that the file can be checked alone.

It stands in the metadata under `golden`, as docs/guide-onnx.md says. A reader judges its declared sizes before it
decompresses anything.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto

from cnnkit.errors import OnnxError
from cnnkit.network import Network
from cnnkit.onnx.description import GOLDEN
from cnnkit.onnx.difference import distance
from cnnkit.onnx.expected_answers import MOST_ROUNDING, allowed, in_dtype
from cnnkit.onnx.inputs import random_inputs
from cnnkit.onnx.load import signature_of
from cnnkit.onnx.outputs import LABEL, PROBABILITIES, VALUES, compared_outputs, given_by, possible_outputs
from cnnkit.types import Array

TOLERANCE = 1e-5
MAX_PAIR_BYTES = 2**20
"""Most bytes of all arrays of a pair; a file of larger samples or outputs has none."""
MAX_TEXT = 2**21
"""Most characters of a pair as JSON: what base64 makes of so many bytes that zlib could not make smaller, and more."""
MAX_OUTPUTS, MAX_AXES, LEVEL = 8, 8, 9
DTYPES = {"uint8": "|u1", "float32": "<f4", "int64": "<i8"}
"""Names of the types of arrays in a pair, and their bytes."""
FURTHER, ALIKE = 8, 10
"""Samples that show how large each value usually is, and how many times smaller than another one it may be before they
have scales of their own."""
ROUNDED = 0.05
"""More than half a unit in the second of two digits, relative to the number."""
NAME = re.compile(r"[\w.-]{1,60}", re.ASCII)


@dataclass(frozen=True)
class GoldenPair:
    """One sample and what the model makes of it; the first axis of all arrays is that of the batch, and 1 long."""

    input: Array
    outputs: dict[str, Array]
    """By the name of the file's output."""
    tolerance: float
    """Largest |answer - output| that passes, relative to the largest |output|, or to what `scales` says."""
    about: str
    """Where the sample comes from."""
    scales: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """For an output, a scale of each number, or channel, on axis 1."""

    def relative(self, name: str, given: Array) -> float:
        """max(|given - output| / scale), infinite where a number is NaN; of one shape."""
        expected = self.outputs[name]
        scales = self.scales.get(name, (float(np.abs(expected).max()) or 1.0,))
        return float((_by_output(distance(given, expected)) / scales).max())

    def agrees(self, name: str, given: Array) -> bool:
        """Whether these numbers are as close to an output as they have to be."""
        return self.relative(name, given) <= self.tolerance

    def to_json(self) -> str:
        """The text of the metadata."""
        return json.dumps(
            {
                "input": _written(self.input),
                "outputs": {name: _written(array) for name, array in self.outputs.items()},
                "tolerance": self.tolerance,
                **({"scales": self.scales} if self.scales else {}),
                "about": self.about,
            },
            ensure_ascii=False,
        )


def add_golden_pair(proto: ModelProto, model: Network, x: Array, about: str, *, tolerance: float = TOLERANCE) -> None:
    """Put the first sample of x, (N, ...), with the model's answers into the metadata of its file, in place of any.

    about: where the sample comes from; tolerance: of a file that is well-conditioned, larger for one of less precision.
    A file gets none if its arrays take more than 1 MiB, or answers are not finite.
    """
    kept = [entry for entry in proto.metadata_props if entry.key != GOLDEN]
    signature = signature_of(proto)
    pair = golden_pair(model, x, about, tuple(signature.outputs), signature.dtype, tolerance=tolerance)
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    if pair is not None:
        proto.metadata_props.add(key=GOLDEN, value=pair.to_json())


def golden_pair(
    model: Network, x: Array, about: str, outputs: Sequence[str], dtype: str, *, tolerance: float = TOLERANCE
) -> GoldenPair | None:
    """The pair that `add_golden_pair` gives to a file with these outputs, whose input is of this dtype."""
    x = x[:1]
    written = x.astype(np.float32) if dtype == "float32" else x
    names = given_by(possible_outputs(model), outputs)
    each = math.prod(model.output_shape) * sum(8 if name == LABEL else 4 for name in names)
    if not names or written.nbytes + each > MAX_PAIR_BYTES:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at
        single = [compared_outputs(in_dtype(model, "float32"), x, [name]) for name in names]
        if not all(np.isfinite(rounded).all() for rounded in single):
            return None
        double = in_dtype(model, "float64")
        exactly = [compared_outputs(double, x, [name]) for name in names]
    answers: dict[str, Array] = {}
    scales: dict[str, tuple[float, ...]] = {}
    most = tolerance
    for name, exact, rounded in zip(names, exactly, single, strict=True):
        if not np.isfinite(exact).all():
            return None
        largest, error = np.abs(exact).max(), np.abs(rounded - exact).max()
        rounding = np.asarray(error / max(largest, np.finfo(np.float64).tiny))
        if name == VALUES and (apart := _apart(model, double, exact, rounded)) is not None:
            scales[name], rounding = apart
        most = max(most, float(allowed(rounding, tolerance).max()))
        if name != LABEL:
            answers[name] = exact.astype(np.float32)
        elif (label := clear_label(double, exact, 2 * most * float(largest))) is not None:
            answers[name] = label
    if not answers:
        return None
    return GoldenPair(written, answers, _rounded_up(most), about, scales)


def _apart(model: Network, double: Network, exact: Array, rounded: Array) -> tuple[tuple[float, ...], Array] | None:
    """A scale for each of several values to regress, and the rounding in terms of it; None if one does for all.

    double: the model in float64; exact, rounded: (1, K, ...), the answers for the sample in float64 and float32. A
    value may be near 0 for one sample: further, random ones show what it usually is.
    """
    largest, errors = [_by_output(np.abs(exact)).max(axis=0)], [_by_output(np.abs(rounded - exact)).max(axis=0)]
    if len(largest[0]) == 1:
        return None
    single = in_dtype(model, "float32")
    for x in random_inputs(model, FURTHER)[:, None]:
        with np.errstate(over="ignore", invalid="ignore"):
            theirs, ours = double.outputs(x), single.outputs(x)
        if np.isfinite(theirs).all() and np.isfinite(ours).all():
            largest.append(_by_output(np.abs(theirs)).mean(axis=0))
            errors.append(_by_output(np.abs(ours - theirs)).mean(axis=0))
    whole = largest[0].max()
    scale = np.maximum(largest[0], np.mean(largest, axis=0))
    if scale.min() * ALIKE >= whole:
        return None
    scale = np.where(scale > 0, scale, whole)
    rounding = np.maximum(errors[0], np.mean(errors, axis=0)) / scale
    return tuple(float(f"{one:.3g}") for one in scale), np.asarray(rounding)


def _by_output(values: Array) -> Array:
    """(1, K, ...) -> (pixels, K)."""
    return np.asarray(values.reshape(values.shape[1], -1).T if values.ndim > 1 else values.reshape(1, 1))


def _rounded_up(number: float) -> float:
    """In two digits, and no less: what was allowed must still be."""
    short = float(f"{number:.1e}")
    return short if short >= number else float(f"{number * (1 + ROUNDED):.1e}")


def clear_label(model: Network, values: Array, margin: float) -> Array | None:
    """The label of these values, (1, ...); None if a difference of half the margin may turn one of them."""
    if model.task.gives == "labels":
        limit = 0.0 if model.task.from_logits and possible_outputs(model)[0] != PROBABILITIES else 0.5
        return None if np.abs(values - limit).min() <= margin else (values >= limit).astype(np.int64)
    if values.shape[1] > 1 and np.ptp(np.partition(values, -2, axis=1)[:, -2:], axis=1).min() <= margin:
        return None
    return np.asarray(values.argmax(axis=1))


def read_golden_pair(text: str) -> GoldenPair:
    """The pair of a file that may come from anybody. Raises OnnxError that says what is wrong with it."""
    try:
        return _read(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error, binascii.Error) as error:
        told = f"there is no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise OnnxError(f"its golden pair is malformed: {told[:200]}") from None


def _read(text: str) -> GoldenPair:
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has {len(text):,} characters, more than {MAX_TEXT:,}")
    content = json.loads(text)
    if not isinstance(content, dict) or not isinstance(content["outputs"], dict):
        raise ValueError("expected an object with objects `input` and `outputs`")
    tolerance, given = content["tolerance"], content["outputs"]
    if isinstance(tolerance, bool) or not isinstance(tolerance, float) or not 0 < tolerance <= MOST_ROUNDING:
        raise ValueError(f"expected a tolerance above 0, up to {MOST_ROUNDING:g}, got {str(tolerance)[:40]}")
    if not 1 <= len(given) <= MAX_OUTPUTS or not all(NAME.fullmatch(name) for name in given):
        raise ValueError(f"expected 1 to {MAX_OUTPUTS} outputs, with names of letters and digits, got {len(given)}")
    left = MAX_PAIR_BYTES
    arrays = []
    for described in (content["input"], *given.values()):
        arrays.append(_array(described, left))
        left -= arrays[-1].nbytes
    outputs = dict(zip(given, arrays[1:], strict=True))
    scales = {name: _scale(outputs[name], scale) for name, scale in content.get("scales", {}).items()}
    about = content.get("about", "")
    return GoldenPair(arrays[0], outputs, tolerance, str(about)[:200], scales)


def _scale(output: Array, given: Any) -> tuple[float, ...]:
    """The scales of an output's numbers, or channels."""
    wanted = math.prod(output.shape[1:2])
    if not isinstance(given, list) or len(given) != wanted or not all(type(scale) is float for scale in given):
        raise ValueError(f"expected {wanted} numbers for scales, got {str(given)[:40]}")
    if not all(0 < scale < math.inf for scale in given):
        raise ValueError(f"expected scales above 0, got {str(given)[:40]}")
    return tuple(given)


def _array(described: Mapping[str, Any], most: int) -> Array:
    """An array of at most so many bytes."""
    name, shape, data = described["dtype"], described["shape"], described["data"]
    if not isinstance(name, str) or name not in DTYPES:
        raise ValueError(f"expected a dtype of {', '.join(DTYPES)}, got {str(name)[:40]!r}")
    sizes = isinstance(shape, list) and len(shape) in range(1, MAX_AXES + 1) and all(type(n) is int for n in shape)
    if not sizes or shape[0] != 1 or min(shape) < 1 or max(shape) > MAX_PAIR_BYTES:
        raise ValueError(f"expected the shape of one sample, [1, ...], got {str(shape)[:60]}")
    dtype = np.dtype(DTYPES[name])
    size = math.prod(shape) * dtype.itemsize
    if size > most:
        raise ValueError(f"its arrays have more than {MAX_PAIR_BYTES:,} bytes")
    stream = zlib.decompressobj()
    plain = stream.decompress(base64.b64decode(data, validate=True), size + 1)  # never more than was declared
    if len(plain) != size or not stream.eof:
        raise ValueError(f"expected {size:,} bytes for {name} of shape {shape}, its data has other ones")
    array = np.frombuffer(plain, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    if not np.isfinite(array).all():
        raise ValueError("expected finite numbers, its arrays have others")
    return array


def _written(array: Array) -> dict[str, Any]:
    data = array.astype(DTYPES[array.dtype.name]).tobytes()
    text = base64.b64encode(zlib.compress(data, LEVEL)).decode("ascii")
    return {"dtype": array.dtype.name, "shape": array.shape, "data": text}
