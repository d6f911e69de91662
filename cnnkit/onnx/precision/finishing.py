"""The file that is written: with its origin, a golden pair, and the answers of the one that was measured."""

from __future__ import annotations

from typing import cast

import numpy as np
from onnx import ModelProto, checker, shape_inference

from cnnkit.errors import CheckError, OnnxError
from cnnkit.onnx.description import GOLDEN
from cnnkit.onnx.difference import distance
from cnnkit.onnx.golden_pair import add_golden_pair
from cnnkit.onnx.label_flips import flipped
from cnnkit.onnx.outputs import LABEL, output_names
from cnnkit.onnx.precision.basis import Basis
from cnnkit.onnx.precision.int8_pair import int8_pair
from cnnkit.onnx.precision.running import Running

MAX_PAIR_BYTES, PAIR_SHARE = 4096, 1 / 20
"""A golden pair may have so many bytes, or that share of the file, which is to be small."""
SAME = 0.01
"""How far answers of two files with the same numbers may be apart, relative to the largest: they may add in another
order for batches of another size, and then round a value on a tie to the other side."""


def finish(file: ModelProto, measured: ModelProto, basis: Basis, tolerance: float) -> None:
    """Give a file the origin of the one that it was made of, and a golden pair of its own, and check it in full.

    The pair has the model's answers; without a tolerance the file's own ones, since it cannot give the model's.
    measured: the file with its usual outputs and any batch, or the same.
    Raises OnnxError if it is not valid, CheckError if it has other answers than the one that was measured.
    """
    wanted, x = basis.wanted, np.asarray(basis.data.test.x[:1]).astype(basis.model.input_dtype)
    file.producer_name, file.producer_version = wanted.producer_name, wanted.producer_version
    del file.metadata_props[:]
    file.metadata_props.extend(wanted.metadata_props)
    if tolerance:
        add_golden_pair(file, basis.model, x, "the first test sample", tolerance=tolerance)
    elif (pair := int8_pair(file, measured, basis, x, "the first test sample")) is not None:
        file.metadata_props.add(key=GOLDEN, value=pair.to_json())
    last = file.metadata_props[-1]
    if last.key == GOLDEN and last.ByteSize() > max(MAX_PAIR_BYTES, PAIR_SHARE * file.ByteSize()):
        del file.metadata_props[-1]
    data = cast(bytes, file.SerializeToString())
    try:
        checker.check_model(data, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise OnnxError(f"the file with less precision is not valid ONNX: {str(error).strip()}") from error
    if file is not measured:
        _check_same(file, measured, basis)


def _check_same(file: ModelProto, measured: ModelProto, basis: Basis) -> None:
    names = output_names(basis.model)
    with Running(measured, basis.model) as running:
        ours = running.outputs(basis.compared)
    with Running(file, basis.model) as running:
        theirs = running.outputs(basis.compared)
    first = ours[names[0]].astype(np.float64)
    for name, given in theirs.items():
        if name == LABEL:
            most = np.full_like(first, SAME * np.abs(first).max())
            same = not flipped(basis.model, names[:1], [first], first, given, most, 0.0).any()
        else:
            same = distance(given, ours[name]).max() <= SAME * np.abs(ours[name]).max()
        if not same:
            raise CheckError(
                f"{basis.path} was not written: its {name} differ from those of the file with its usual outputs and "
                "any batch, by which its loss was measured; export it without a batch and outputs"
            )
