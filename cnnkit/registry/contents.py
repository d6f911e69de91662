"""The content of a version file that has proved whole: its manifest and its arrays, checked against each other."""

from __future__ import annotations

from cnnkit.errors import RegistryError
from cnnkit.registry import manifest
from cnnkit.registry.manifest import Manifest
from cnnkit.registry.safety import read_arrays
from cnnkit.types import Array


def unpack(data: bytes, name: str) -> tuple[Manifest, dict[str, Array]]:
    """Manifest and arrays, in canonical order, of a version that stands in the folder of the model `name`.

    Raises RegistryError for what the format does not allow, and for a version of another model.
    """
    described, arrays = unpack_any(data)
    if described.name != name:
        raise RegistryError(f"it is a version of the model {described.name!r}, in the folder of {name!r}")
    return described, arrays


def unpack_any(data: bytes) -> tuple[Manifest, dict[str, Array]]:
    """The same of a version that stands in no folder: any model's. Raises RegistryError as `unpack` does."""
    text, arrays = read_arrays(data)
    described = manifest.decode(text)
    if set(described.state) != arrays.keys():
        raise RegistryError("its manifest and its arrays do not name the same things")
    return described, {array: arrays[array] for array in described.state}
