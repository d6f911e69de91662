"""What shows a fault to anyone: the ONNX nodes of one layer, an input, and what should come out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

from cnnkit.errors import OnnxError
from cnnkit.file_writing import write_whole
from cnnkit.types import Array


@dataclass(frozen=True, eq=False)
class Reproducer:
    """One layer of a file, executed by one runtime on the model's own values for one sample."""

    where: str
    """The layer with its expression, the preprocessing, or an output."""
    value: str
    """Name of the output of its nodes."""
    model: bytes = field(repr=False)
    """The nodes as an ONNX file."""
    inputs: Mapping[str, Array] = field(repr=False)
    exact: Array = field(repr=False)
    """What the layer gives in float64 for these inputs."""
    rounded: Array = field(repr=False)
    """The same in float32."""
    given: Array = field(repr=False)
    """What the runtime gives."""
    sample: int
    shows: bool
    """Whether that is wrong, too: a fault may need the layers beside this one, as when a runtime joins them."""

    def write(self, folder: Path, name: str) -> Path:
        """Write NAME.onnx and NAME.npz, and return the path of the first.

        The arrays of the second are the inputs, as `input.` and their name, `expected_float64`, `expected_float32`, and
        `given`. Raises OnnxError if the files cannot be written.
        """
        path = folder / f"{re.sub('[^A-Za-z0-9._-]+', '_', name)}.onnx"
        arrays = {f"input.{key}": array for key, array in self.inputs.items()}
        arrays |= {"expected_float64": self.exact, "expected_float32": self.rounded, "given": self.given}
        data = BytesIO()
        np.savez_compressed(data, **arrays)  # type: ignore[arg-type]  # its stubs take the names for an option
        make_folder(folder)
        write_whole(path, self.model, OnnxError)
        write_whole(path.with_suffix(".npz"), data.getvalue(), OnnxError)
        return path

    def __str__(self) -> str:
        if self.shows:
            return f"the nodes of {self.where} alone show it"
        return f"the nodes of {self.where} alone do not show it, so it takes more of the file"


def make_folder(folder: Path) -> None:
    """Make a folder for reproducers unless it is there. Raises OnnxError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OnnxError(f"cannot make the folder {folder} for reproducers: {error.strerror}") from error
