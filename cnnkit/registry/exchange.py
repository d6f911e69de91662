"""Versions that come from elsewhere: what they must prove before they become versions of this registry."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnkit.errors import RegistryError
from cnnkit.registry import references
from cnnkit.registry.format import sealing
from cnnkit.registry.format.contents import unpack_any

if TYPE_CHECKING:
    from cnnkit.registry.records import Version
    from cnnkit.registry.store import Registry


@dataclass(frozen=True)
class Arrival:
    """A version file that has proved whole, and the model of which it is to be a version."""

    name: str
    digest: str
    data: bytes | memoryview


def receive(data: bytes, name: str | None = None) -> Arrival:
    """Check the bytes of a version file as when it is loaded: seal, closed world, manifest.

    name: the model that it shall be a version of, its own if None. A manifest holds its model's name, so another name
    means another manifest and a new seal; equal bytes and names give equal bytes.
    Raises RegistryError for bytes that could not be loaded.
    """
    if name is not None:
        references.check_name(name)
    if data == sealing.tombstone():
        raise RegistryError("the file cannot be imported: it is the remnant of a deleted version")
    try:
        digest = sealing.check(data)
        manifest, state = unpack_any(data)
    except RegistryError as error:
        raise RegistryError(f"the file cannot be imported, it is damaged: {error}") from error
    if name is None or name == manifest.name:
        return Arrival(manifest.name, digest, data)
    renamed = sealing.pack(dataclasses.replace(manifest, name=name).encode(), state)
    return Arrival(name, sealing.header(bytes(renamed[: sealing.BLOCK]))[1], renamed)


def find(registry: Registry, arrival: Arrival) -> Version | None:
    """The version that is this very file already, None if there is none; a damaged one does not count."""
    if not registry.path.exists() or arrival.name not in registry.models():
        return None
    for version in registry.versions(arrival.name):
        if version.digest == arrival.digest:
            try:
                registry.read(version.ref)
            except RegistryError:  # what its user block says is not what the file holds
                continue
            return version
    return None
