"""The content of a version file, its manifest and its arrays: put together, and checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnkit.errors import RegistryError
from cnnkit.network import Graph, Network
from cnnkit.registry import model_manifest
from cnnkit.registry.format import manifest, sealing
from cnnkit.registry.format.manifest import Manifest
from cnnkit.registry.format.safety import read_arrays
from cnnkit.types import Array

IMPORTED = "imported"
"""What the settings of a version hold of the file of another program that it was made of."""


def pack(
    model: Network,
    name: str,
    state: Mapping[str, Array],
    *,
    recipe: Mapping[str, Any] | None = None,
    history: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    dataset: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> tuple[bytes, memoryview]:
    """The manifest of a model that is being registered, and its version file; the arguments are `Registry.save`'s.

    state: the model's, as it is now. Raises RegistryError for what the format cannot hold.
    """
    described = model_manifest.describe(
        model,
        name,
        tuple(state),
        recipe=None if recipe is None else dict(recipe),
        history=dict(history or {}),
        metrics=dict(metrics or {}),
        dataset=None if dataset is None else dict(dataset),
        settings=_origin(model) | dict(settings or {}),
    )
    encoded = described.encode()
    return encoded, sealing.pack(encoded, state, described.format_version)


def _origin(model: Network) -> dict[str, Any]:
    """The setting that says which file of another program a network was made of."""
    return {IMPORTED: dict(model.origin)} if isinstance(model, Graph) and model.origin is not None else {}


def unpack(data: bytes, name: str) -> tuple[Manifest, dict[str, Array]]:
    """Manifest and arrays, in canonical order, of a version that stands in the folder of the model `name`.

    Raises RegistryError for what the format does not allow, and for a version of another model.
    """
    described, arrays = unpack_any(data)
    if described.name != name:
        raise RegistryError(f"it is a version of the model {described.name!r}, in the folder of {name!r}")
    return described, arrays


def unpack_any(data: bytes) -> tuple[Manifest, dict[str, Array]]:
    """Manifest and arrays of a version of any model. Raises RegistryError as `unpack` does."""
    text, arrays = read_arrays(data)
    described = manifest.decode(text)
    if sealing.version_of(data) != described.format_version:
        raise RegistryError(
            f"its user block says format {sealing.version_of(data)}, its manifest format {described.format_version}"
        )
    if set(described.state) != arrays.keys():
        raise RegistryError("its manifest and its arrays name different things")
    if wrong := [name for name, array in arrays.items() if array.dtype.kind == "f" and array.dtype != described.dtype]:
        raise RegistryError(
            f"its manifest says that it computes in {described.dtype}, its array {wrong[0]} is {arrays[wrong[0]].dtype}"
        )
    return described, {array: arrays[array] for array in described.state}
