"""The nested values of a manifest as rows: dotted keys, with what stands at their ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cnnkit.registry.format.manifest import Manifest


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"epochs": 3}}` as `{"train.epochs": 3}`; lists stay whole."""
    rows: dict[str, Any] = {}
    for key, value in values.items():
        rows |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return rows


def recipe_rows(manifest: Manifest) -> dict[str, Any]:
    """The recipe by dotted keys, without the layers, which the manifest has separately."""
    rows = flattened(manifest.recipe or {})
    for key in ("model.layers", "model.node"):
        rows.pop(key, None)
    return rows


def shown(value: Any) -> str:
    """A value to read: text as it is, "-" for none, everything else as JSON."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
