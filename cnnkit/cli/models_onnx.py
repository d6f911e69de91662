"""An ONNX file as a version: what `cnnkit models import` does with one, and what `models show` says of it then."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.cli.output import say_json, say_pairs
from cnnkit.waiting_line import waiting

if TYPE_CHECKING:
    from cnnkit.registry import Registry

MOST_LABEL_BYTES = 2**20


def is_onnx(file: Path) -> bool:
    """Whether a file seems to be an ONNX file, from its name or its first bytes."""
    from cnnkit.file_kinds import ONNX, SAMPLE, kind_of

    if file.suffix.lower() == ".onnx":
        return True
    with contextlib.suppress(OSError):  # whoever reads it says why that cannot be done
        if file.is_file():
            with file.open("rb") as stream:
                return kind_of(stream.read(SAMPLE)) == ONNX
    return False


def register_onnx(
    file: Path, name: str | None, labels: Path | None, output: str | None, store: Registry, as_json: bool
) -> None:
    """Make a network of the file, prove it, and register it as the next version of `name`.

    name: None for the name that an export of cnnkit has in it, else that of the file.
    """
    from cnnkit.onnx.importing.imported import import_file

    if name is not None:
        store.check_save(name)
    names = None if labels is None else _labels(labels)
    with waiting("importing the file"):
        imported = import_file(file, labels=names, output=output)
    if name is None:
        name = _name(imported.name or file.stem)
        store.check_save(name)
    version = store.save(imported.model, name)
    about = {"ref": version.ref, "path": str(version.path), "digest": version.digest}
    if as_json:
        say_json(
            {
                **about,
                "file": str(file),
                "new": True,
                "imported": imported.origin,
                "difference": imported.proof.difference,
            }
        )
        return
    model = imported.model
    say_pairs(
        {
            "imported": version.ref,
            "file": version.path,
            "digest": version.digest,
            "network": f"{len(model.nodes)} layers, {model.parameter_count():,} parameters, gives {model.gives}",
            **({"inputs": imported.layout} if imported.layout else {}),
            "proof": imported.proof,
        }
    )


def origin_of(settings: dict[str, Any]) -> dict[str, object]:
    """The file that a version was made of, as rows; a file of a version may say anything there."""
    from cnnkit.registry.format.contents import IMPORTED

    origin = settings.get(IMPORTED)
    if not isinstance(origin, dict):
        return {}
    told = [f"{key} {origin[key]}" for key in ("producer", "opset", "digest") if isinstance(origin.get(key), str | int)]
    return {"imported from": ", ".join(["an ONNX file", *told])}


def _name(found: str) -> str:
    """The name of a model, as it was found. Raises ConfigError if no model may be called so."""
    from cnnkit.errors import ConfigError, RegistryError
    from cnnkit.registry.references import check_name

    try:
        return check_name(found)
    except RegistryError as error:
        raise ConfigError(f"{error} as the name of the file: give another one with --name") from None


def _labels(path: Path) -> list[str]:
    """The lines of a file without empty ones at its end. Raises DataError for a file that is none of text."""
    from cnnkit.errors import DataError
    from cnnkit.file_reading import read_plain

    try:
        lines = read_plain(path, MOST_LABEL_BYTES).decode().splitlines()
    except OSError as error:
        raise DataError(f"cannot read the labels in {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the labels in {path} are not UTF-8: byte {error.start} is none") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines or not all(line.strip() for line in lines):
        raise DataError(
            f"expected the name of a class in each line of {path}, got {len(lines)} lines, of which some are empty"
        )
    return [line.strip() for line in lines]
