"""The facts of a version that a listing shows, and a file that keeps those of a whole model.

To list a model of 10,000 versions, 10,000 files would have to be opened, hashed and parsed. So each save adds a line to
`facts.log`, and a listing reads that one file. It is a cache and nothing more: it is never synced, and may be deleted
at any time; a line is believed only if the digest log tells of the same content under the same number, and the file has
the size that it had; whatever is missing or wrong is read from the version itself, and added. Loading never looks at
it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cnnkit.errors import RegistryError
from cnnkit.registry.commit import FACTS
from cnnkit.registry.files import Files
from cnnkit.registry.format.manifest import Manifest
from cnnkit.types import Array

MAX_FACTS_BYTES = 2**26
"""Most bytes of the file of facts, which has some hundred for each version, and its recipe."""
_CHECK = 16
"""Hexadecimal digits of a line's own hash, which reveals lines that are damaged or were truncated by a crash."""


@dataclass(frozen=True)
class Facts:
    """What a listing knows of a version."""

    number: int
    digest: str
    nbytes: int
    """The size of its file."""
    created: str
    parameters: int
    """Numbers in all its arrays, buffers too."""
    seed: int
    epochs: int
    dataset: str | None
    metrics: dict[str, float] = field(default_factory=dict)
    recipe: dict[str, dict[str, Any]] = field(default_factory=dict)


def facts_of(manifest: Manifest, arrays: Iterable[Array], number: int, digest: str, nbytes: int) -> Facts:
    """The facts of a version by its content."""
    return Facts(
        number=number,
        digest=digest,
        nbytes=nbytes,
        created=manifest.created,
        parameters=sum(array.size for array in arrays),
        seed=manifest.seed,
        epochs=len(manifest.history.get("loss", ())),
        dataset=(manifest.dataset or {}).get("name"),
        metrics=manifest.metrics,
        recipe=manifest.recipe or {},
    )


def read(files: Files, folder: Path) -> dict[int, Facts]:
    """The facts that are kept of a model's versions, by number; none if the file is missing or cannot be read."""
    try:
        lines = files.read(folder / FACTS, MAX_FACTS_BYTES).splitlines()
    except (OSError, RegistryError):
        return {}
    found = (_parsed(line) for line in lines if line)
    return {facts.number: facts for facts in found if facts}


def add(files: Files, folder: Path, new: Iterable[Facts]) -> None:
    """Keep the facts of some versions; if the file cannot be written, the next listing is slower, and no more."""
    try:
        lines = b"".join(map(_line, new))
        with files.hold(folder):
            if (files.size(folder / FACTS) or 0) + len(lines) > MAX_FACTS_BYTES:
                files.remove(folder / FACTS)  # nobody would read it: this is the start of a new one
            file = files.open_end(folder / FACTS)
            try:
                files.write(file, lines)
            finally:
                files.close(file)
    except (OSError, RegistryError):
        return


def _line(facts: Facts) -> bytes:
    """One record; like those of the digest log, it begins with a line break."""
    text = json.dumps(asdict(facts), separators=(",", ":")).encode()
    return b"\n%s %s\n" % (_check(text), text)


def _check(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_CHECK].encode()


def _parsed(line: bytes) -> Facts | None:
    """The facts in a line; None if they are not what `add` wrote."""
    text = line[_CHECK + 1 :]
    if _check(text) != line[:_CHECK]:
        return None
    try:
        facts = Facts(**json.loads(text))
    except (ValueError, TypeError, RecursionError):  # whoever can write here can also write a line's hash
        return None
    return facts if _is_sound(facts) else None


def _is_sound(facts: Facts) -> bool:
    """Whether every field is of its type; as plain as it is because it is asked 10,000 times."""
    return (
        isinstance(facts.number, int)
        and isinstance(facts.digest, str)
        and isinstance(facts.nbytes, int)
        and isinstance(facts.created, str)
        and isinstance(facts.parameters, int)
        and isinstance(facts.seed, int)
        and isinstance(facts.epochs, int)
        and (facts.dataset is None or isinstance(facts.dataset, str))
        and isinstance(facts.metrics, dict)
        and isinstance(facts.recipe, dict)
        and all(isinstance(value, int | float) for value in facts.metrics.values())
        and all(isinstance(section, dict) for section in facts.recipe.values())
    )
