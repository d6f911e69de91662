"""What differs between two versions, from what is stored alone: no plugin and no data is needed."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.components.distribution_names import normalized
from cnnkit.registry.manifest_rows import flattened, recipe_rows
from cnnkit.types import Array, Shape

if TYPE_CHECKING:
    from cnnkit.registry.format.manifest import Manifest
    from cnnkit.registry.records import Record

MAX_ALIGNED = 2000
"""Layers to align: a file may have millions, and the time grows with the square of their number."""


@dataclass(frozen=True)
class LayerLine:
    """One line of the comparison of layers; `kind` is same, added, removed or changed."""

    kind: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Change:
    """A value that differs; None where there is none."""

    key: str
    """Dotted, such as `recipe.train.epochs` or `versions.numpy`."""
    a: Any
    b: Any


@dataclass(frozen=True)
class MetricPair:
    """A metric of both versions; None where there is none."""

    name: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """b - a, None unless both are there."""
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True)
class ArrayPair:
    """An array of both versions; None for a shape where there is none, and for numbers unless the shapes are equal."""

    name: str
    a_shape: Shape | None
    b_shape: Shape | None
    relative_change: float | None = None
    """||b - a|| / ||a||; 0 if both are zero, infinite if a alone is."""
    cosine: float | None = None
    """a . b / (||a|| ||b||), -1 to 1; NaN, as it has no direction, if one of them is zero."""


@dataclass(frozen=True)
class Difference:
    """What `diff` found; a and b are references."""

    a: str
    b: str
    layers: tuple[LayerLine, ...]
    """All of them, also those that are the same."""
    changes: tuple[Change, ...]
    """Recipe, input, labels, preprocessing, seed, dataset, settings and versions, where they differ."""
    metrics: tuple[MetricPair, ...]
    arrays: tuple[ArrayPair, ...]
    """In canonical order; those that only b has come last."""

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON values."""
        document = dataclasses.asdict(self)
        document["metrics"] = [
            dataclasses.asdict(metric) | {"difference": metric.difference} for metric in self.metrics
        ]
        return document


def diff(a: Record, b: Record) -> Difference:
    """Compare two versions, of one model or of two."""
    return Difference(
        a.version.ref,
        b.version.ref,
        tuple(_layers(a.manifest.outline, b.manifest.outline)),
        tuple(_changes(_values(a.manifest, b.manifest), _values(b.manifest, a.manifest))),
        metric_pairs(a.manifest.metrics, b.manifest.metrics),
        tuple(_arrays(a.state, b.state)),
    )


def metric_pairs(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[MetricPair, ...]:
    """Metrics side by side, in the order of a, then those of b alone."""
    return tuple(MetricPair(name, _float(a.get(name)), _float(b.get(name))) for name in dict.fromkeys([*a, *b]))


def compare_arrays(a: Array, b: Array) -> tuple[float, float]:
    """||b - a|| / ||a|| and the cosine of the angle between a and b, in float64, as `ArrayPair` defines them.

    a, b: arrays of one shape and any type. Norms neither overflow nor underflow; NaN and infinities give NaN.
    """
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    scale = float(np.maximum(_largest(a), _largest(b)))  # unlike `max`, NaN if one of them is
    if scale == 0:
        return 0.0, math.nan
    if not math.isfinite(scale):
        return math.nan, math.nan
    a, b = a / scale, b / scale
    a_norm, b_norm, change = _norm(a), _norm(b), _norm(b - a)
    if a_norm == 0 or b_norm == 0:
        return math.inf if a_norm == 0 else change / a_norm, math.nan
    return change / a_norm, min(1.0, max(-1.0, float(np.dot(a / a_norm, b / b_norm))))


def _norm(x: Array) -> float:
    largest = _largest(x)
    return largest * float(np.linalg.norm(x / largest)) if largest else 0.0


def _largest(x: Array) -> float:
    return float(np.abs(x).max(initial=0.0))


def _layers(a: Sequence[str], b: Sequence[str]) -> Iterator[LayerLine]:
    blocks = [(0, len(a), 0, len(b))]  # line by line
    if max(len(a), len(b)) <= MAX_ALIGNED:
        blocks = [block[1:] for block in difflib.SequenceMatcher(a=a, b=b).get_opcodes()]
    for a_start, a_end, b_start, b_end in blocks:
        common = min(a_end - a_start, b_end - b_start)
        for old, new in zip(a[a_start:a_end], b[b_start:b_end], strict=False):
            yield LayerLine("same" if old == new else "changed", old, new)
        for old in a[a_start + common : a_end]:
            yield LayerLine("removed", old, None)
        for new in b[b_start + common : b_end]:
            yield LayerLine("added", None, new)


def _values(manifest: Manifest, other: Manifest) -> dict[str, Any]:
    """What is compared key by key; the origin of a component where the other version has that component, too."""
    origins = {
        name: normalized(origin.distribution)
        for name, origin in manifest.components.items()
        if name in other.components
    }
    names = ("input_shape", "input_dtype", "input_range", "framing", "labels", "seed", "dtype")
    fields = {key: getattr(manifest, key) for key in names}
    return (
        fields
        | {f"recipe.{key}": value for key, value in recipe_rows(manifest).items()}
        | flattened(
            {
                "task": dataclasses.asdict(manifest.task) if manifest.task else {},
                "preprocessing": dataclasses.asdict(manifest.preprocessing),
                "dataset": manifest.dataset or {},
                "settings": manifest.settings,
                "components": origins,
                "versions": {normalized(name): version for name, version in manifest.versions.items()},
            }
        )
    )


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys([*a, *b]):
        old, new = a.get(key), b.get(key)
        if repr(old) != repr(new):  # unlike ==, tells 1 from True, and finds NaN equal to itself
            yield Change(key, old, new)


def _arrays(a: Mapping[str, Array], b: Mapping[str, Array]) -> Iterator[ArrayPair]:
    for name in dict.fromkeys([*a, *b]):
        if name not in a or name not in b:
            yield ArrayPair(name, a[name].shape if name in a else None, b[name].shape if name in b else None)
        elif a[name].shape != b[name].shape:
            yield ArrayPair(name, a[name].shape, b[name].shape)
        else:
            yield ArrayPair(name, a[name].shape, b[name].shape, *compare_arrays(a[name], b[name]))


def _float(value: Any) -> float | None:
    """A metric as a float; a whole number in a file may exceed what a float holds."""
    try:
        return None if value is None else float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
