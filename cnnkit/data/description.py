"""What loaded data holds, in numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cnnkit.class_indices import are_indices, indices_of
from cnnkit.input_units import range_of
from cnnkit.types import Array, Data


def describe(data: Data) -> dict[str, Any]:
    """What the data holds, as a JSON document.

    dataset, digest, input (the shape of one), dtype; samples, input_range and, where targets are values to regress,
    target_range by part (train, test, perhaps validation); preprocessing (scale, mean and std); classes: for each its
    label, and by part the number of samples, or of pixels where each has a class, and their share of the part.
    """
    parts = {name: part for name in ("train", "test", "validation") if (part := getattr(data, name)) is not None}
    document: dict[str, Any] = {
        "dataset": data.name,
        "digest": data.digest,
        "input": list(data.input_shape),
        "dtype": str(data.train.x.dtype),
        "samples": {name: len(part) for name, part in parts.items()},
        "input_range": {name: list(range_of(part.x)) for name, part in parts.items()},
        "preprocessing": dataclasses.asdict(data.preprocessing),
    }
    indices = {name: indices_of(part.y) for name, part in parts.items()}
    if not all(map(are_indices, indices.values())):
        return document | {
            "target_range": {name: list(range_of(part.y)) for name, part in parts.items()},
            "classes": [],
        }
    counts = {name: dict(zip(*_unique(y), strict=True)) for name, y in indices.items()}
    classes = sorted({*range(len(data.labels)), *(index for found in counts.values() for index in found)})
    return document | {
        "classes": [
            {"label": data.labels[index] if index < len(data.labels) else str(index)}
            | {
                name: {"samples": found.get(index, 0), "share": found.get(index, 0) / indices[name].size}
                for name, found in counts.items()
            }
            for index in classes
        ]
    }


def _unique(y: Array) -> tuple[list[int], list[int]]:
    values, counts = np.unique(y, return_counts=True)
    return values.tolist(), counts.tolist()
