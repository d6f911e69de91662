"""Notes beside a version, which itself never changes: small files, each replaced in one step.

A description, the verdict of the last validation, and any number of tags with a file for each, so that two writers
never overwrite each other's.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cnnkit.errors import RegistryError
from cnnkit.registry.commit import number_of
from cnnkit.registry.files import Files
from cnnkit.registry.format import git, text
from cnnkit.registry.format.manifest import is_time
from cnnkit.registry.references import is_name
from cnnkit.wording import counted

MAX_NOTE_BYTES = 64 * 2**10
"""Most bytes of a note's file."""
_FILE = re.compile(r"(v[0-9]{6,9})\.(?:(description)|(verdict)|(.+)\.tag)")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Note:
    """Which note a file is: the version's number, and the key of a tag, or "" for the others."""

    number: int
    kind: str
    """"description", "verdict" or "tag"."""
    key: str = ""


LATER = {"samples", "disagree"}
"""What verdicts of before do not have."""


@dataclass(frozen=True)
class Verdict:
    """What the last validation of a version's ONNX file said."""

    digest: str
    """Of the version whose answers the file was compared with."""
    ok: bool
    runtimes: tuple[str, ...]
    """The expressions of those that it rests on, each with its version behind a blank if that was known."""
    max_relative: float | None
    """The largest relative error of these runtimes; None if no numbers were compared, or if one has no answer."""
    flips: int
    """Samples that got another label, of these runtimes together."""
    time: str
    """UTC, ISO 8601, such as 2026-03-01T12:00:00+00:00."""
    samples: int | None = None
    """How many were compared; None if that is not known, as of verdicts of before."""
    disagree: tuple[str, ...] = ()
    """The runtimes that gave other answers, in the same form; a pass does not rest on them."""

    def objection(self, digest: str) -> str:
        """Why a version of this digest does not count as validated; "" if it does."""
        if self.digest != digest:
            return "its verdict is of other content"
        return "" if self.ok else f"its last validation failed ({self.time})"

    def __str__(self) -> str:
        error = "unknown" if self.max_relative is None else f"{self.max_relative:.1e}"
        compared = "" if self.samples is None else f" and {counted(self.samples, 'sample')}"
        wrong = f"; other answers by {', '.join(self.disagree)}" if self.disagree else ""
        return (
            f"{'passed' if self.ok else 'FAILED'} on {self.time} with {', '.join(self.runtimes) or 'no runtime'}"
            f"{compared}; largest relative error {error}, label flips {self.flips}{wrong}"
        )


def note_of(file_name: str) -> Note | None:
    """Which note a file is by its name; None if the name is another file's."""
    match = _FILE.fullmatch(file_name)
    number = number_of(f"{match[1]}.h5") if match else None
    if not match or not number:
        return None
    if match[4] is None:
        return Note(number, match[2] or match[3])
    return Note(number, "tag", match[4]) if is_name(match[4]) else None


def note_file(version: Path, note: str) -> Path:
    """The file of a note beside the version's own: `description`, `verdict`, or a tag's key with `.tag`."""
    return version.with_suffix(f".{note}")


def check_key(key: str) -> str:
    """The key of a tag, if it may be called so; else RegistryError."""
    if not isinstance(key, str) or not is_name(key):
        raise RegistryError(
            f"a tag's key is named like a model, with 1 to 64 lower-case letters, digits, '.', '_' and '-'; got {key!r}"
        )
    return key


def encode_text(value: str, what: str) -> bytes:
    """The content of a description or a tag. Raises RegistryError for what cannot be one."""
    try:
        data = value.encode() + b"\n"
    except (AttributeError, UnicodeEncodeError):
        raise RegistryError(f"{what} must be text that UTF-8 can hold, got {value!r}") from None
    if "\r" in value:
        raise RegistryError(f"{what} has line breaks as LF, '\\n', and no CR, '\\r'; got {value!r:.100}")
    if not value.strip() or len(data) > MAX_NOTE_BYTES:
        raise RegistryError(
            f"{what} must have 1 to {MAX_NOTE_BYTES - 1:,} bytes and not be blank; it has {len(data) - 1:,}"
        )
    return data


def read_text(files: Files, path: Path) -> str:
    """A description, or the value of a tag. Raises RegistryError if the file holds anything else."""
    data = files.read(path, MAX_NOTE_BYTES)
    try:
        git.check_text(data)
    except RegistryError as error:
        raise RegistryError(f"the note {path} cannot be used: {error}") from error
    try:
        value = data.decode()
    except UnicodeDecodeError:
        value = ""
    if not value.strip() or not value.endswith("\n"):
        raise RegistryError(f"the note {path} must hold text in UTF-8 and a line break: write or remove it again")
    return value[:-1]


def encode_verdict(verdict: Verdict) -> bytes:
    """The content of a verdict's file. Raises RegistryError for values of another kind."""
    data = text.encode(asdict(verdict), "the verdict")
    _verdict(data)
    return data


def read_verdict(files: Files, path: Path) -> Verdict:
    """A verdict. Raises RegistryError if the file holds anything else."""
    try:
        return _verdict(files.read(path, MAX_NOTE_BYTES))
    except RegistryError as error:
        raise RegistryError(f"the verdict {path} is damaged, validate the version again: {error}") from error


def _verdict(data: bytes) -> Verdict:
    content = text.decode(data)
    keys = Verdict.__dataclass_fields__.keys()
    if not isinstance(content, dict) or not keys - LATER <= content.keys() <= keys:
        raise RegistryError(f"a verdict must be an object with {', '.join(keys)}")
    content = {"samples": None, "disagree": [], **content}
    number, samples = content["max_relative"], content["samples"]
    sound = {
        "digest": isinstance(content["digest"], str) and _DIGEST.fullmatch(content["digest"]) is not None,
        "ok": isinstance(content["ok"], bool),
        "runtimes": _are_texts(content["runtimes"]),
        "max_relative": number is None or (type(number) in (int, float) and math.isfinite(number) and number >= 0),
        "flips": type(content["flips"]) is int and content["flips"] >= 0,
        "time": is_time(content["time"]),
        "samples": samples is None or (type(samples) is int and samples > 0),
        "disagree": _are_texts(content["disagree"]),
    }
    for key, is_sound in sound.items():
        if not is_sound:
            raise RegistryError(f"a verdict cannot have {key} = {content[key]!r:.100}")
    return Verdict(**content | {key: tuple(content[key]) for key in ("runtimes", "disagree")})


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
