"""What loaded data holds, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkit.types import Array, Data, Inputs, blocks


def describe(data: Data) -> dict[str, Any]:
    """What the data holds, as a JSON document.

    dataset, digest, input (the shape of one), dtype; samples, input_range and, where targets are values to regress,
    target_range by part (train, test, perhaps validation); classes: for each its label, and by part the number of
    samples and their share of the part.
    """
    parts = {name: part for name in ("train", "test", "validation") if (part := getattr(data, name)) is not None}
    document: dict[str, Any] = {
        "dataset": data.name,
        "digest": data.digest,
        "input": list(data.input_shape),
        "dtype": str(data.train.x.dtype),
        "samples": {name: len(part) for name, part in parts.items()},
        "input_range": {name: _range(part.x) for name, part in parts.items()},
    }
    if data.train.y.dtype.kind != "i":
        return document | {"target_range": {name: _range(part.y) for name, part in parts.items()}, "classes": []}
    counts = {name: dict(zip(*_unique(part.y), strict=True)) for name, part in parts.items()}
    classes = sorted({*range(len(data.labels)), *(index for found in counts.values() for index in found)})
    return document | {
        "classes": [
            {"label": data.labels[index] if index < len(data.labels) else str(index)}
            | {
                name: {"samples": found.get(index, 0), "share": found.get(index, 0) / len(parts[name])}
                for name, found in counts.items()
            }
            for index in classes
        ]
    }


def _unique(y: Array) -> tuple[list[int], list[int]]:
    values, counts = np.unique(y, return_counts=True)
    return values.tolist(), counts.tolist()


def _range(values: Inputs) -> list[float]:
    """The lowest and the highest, of inputs that may not be in memory."""
    bounds = [(values[block].min().item(), values[block].max().item()) for block in blocks(values)]
    return [min(low for low, _ in bounds), max(high for _, high in bounds)]
