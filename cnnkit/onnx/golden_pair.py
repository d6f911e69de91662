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
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from cnnkit.errors import OnnxError
from cnnkit.network import Network
from cnnkit.onnx.description import GOLDEN
from cnnkit.onnx.difference import distance
from cnnkit.onnx.expected_answers import MOST_ROUNDING, allowed, in_dtype
from cnnkit.onnx.load import signature_of
from cnnkit.onnx.outputs import LABEL, PROBABILITIES, compared_outputs, given_by, possible_outputs
from cnnkit.types import Array

TOLERANCE = 1e-5
MAX_PAIR_BYTES = 2**20
"""Most bytes of all arrays of a pair; a file of larger samples or outputs has none."""
MAX_TEXT = 2**21
"""Most characters of a pair as JSON: what base64 makes of so many bytes that zlib could not make smaller, and more."""
MAX_OUTPUTS, MAX_AXES, LEVEL = 8, 8, 9
DTYPES = {"uint8": "|u1", "float32": "<f4", "int64": "<i8"}
"""Names of the types of arrays in a pair, and their bytes."""
NAME = re.compile(r"[\w.-]{1,60}", re.ASCII)


@dataclass(frozen=True)
class GoldenPair:
    """One sample and what the model makes of it; the first axis of all arrays is that of the batch, and 1 long."""

    input: Array
    outputs: dict[str, Array]
    """By the name of the file's output."""
    tolerance: float
    """Largest |answer - output| that passes, relative to the largest |output|."""
    about: str
    """Where the sample comes from."""

    def relative(self, name: str, given: Array) -> float:
        """max|given - output| / max|output|, infinite where one of them is NaN; of one shape."""
        expected = self.outputs[name]
        return float(distance(given, expected).max() / (np.abs(expected).max() or 1.0))

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
    most = tolerance
    for name, exact, rounded in zip(names, exactly, single, strict=True):
        if not np.isfinite(exact).all():
            return None
        largest, error = np.abs(exact).max(), np.abs(rounded - exact).max()
        most = max(most, float(allowed(np.asarray(error / max(largest, np.finfo(np.float64).tiny)), tolerance)))
        if name != LABEL:
            answers[name] = exact.astype(np.float32)
        elif (label := _clear_label(double, exact, 2 * most * float(largest))) is not None:
            answers[name] = label
    if not answers:
        return None
    return GoldenPair(written, answers, float(f"{most:.1e}"), about)


def _clear_label(model: Network, values: Array, margin: float) -> Array | None:
    """The label of these values, (1, ...); None if rounding may turn one of them."""
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
    about = content.get("about", "")
    return GoldenPair(arrays[0], dict(zip(given, arrays[1:], strict=True)), tolerance, str(about)[:200])


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
    return np.frombuffer(plain, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _written(array: Array) -> dict[str, Any]:
    data = array.astype(DTYPES[array.dtype.name]).tobytes()
    text = base64.b64encode(zlib.compress(data, LEVEL)).decode("ascii")
    return {"dtype": array.dtype.name, "shape": array.shape, "data": text}
