"""What the registry hands out: a version, its whole content, and what a listing shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cnnkit.components import Component
from cnnkit.network import Network
from cnnkit.notebook_html import html_table
from cnnkit.registry import model_manifest
from cnnkit.registry.facts import Facts
from cnnkit.registry.format.manifest import Manifest
from cnnkit.types import Array


@dataclass(frozen=True, repr=False)
class Version:
    """One registered model; its file never changes."""

    name: str
    number: int
    path: Path
    digest: str
    """sha256 of the payload, in hexadecimal; "" in a listing if the file's user block is damaged."""

    @property
    def ref(self) -> str:
        """Its reference, such as `digits@3`."""
        return f"{self.name}@{self.number}"

    def __repr__(self) -> str:
        return f"<Version {self.ref}>"

    def _repr_html_(self) -> str:
        return html_table(("version", "digest", "file"), [(self.ref, self.digest[:12], str(self.path))], left=3)


@dataclass(frozen=True)
class Record:
    """The whole content of a version; needs no plugin."""

    version: Version
    manifest: Manifest
    state: dict[str, Array]
    """Parameters and buffers by name, in canonical order; read-only, as they lie in the memory of the file."""

    def model(self, components: Sequence[type[Component]] = ()) -> Network:
        """The model, ready to predict or to train on; its parameters are copies.

        components: classes for layers that no installed plugin provides, such as those defined in a notebook.
        """
        return model_manifest.rebuild(self.manifest, self.state, self.version.ref, components)


@dataclass(frozen=True)
class Entry:
    """A version in a listing."""

    version: Version
    facts: Facts | None
    """None if they cannot be read."""
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why the facts cannot be read; "" if they can."""

    @property
    def ref(self) -> str:
        """The version's reference; the name alone if not even the model's folder can be read."""
        return self.version.ref if self.version.number else self.version.name
