"""Zip files that no bundle may be, each built by a function; `NAIVE` are those that a plain reader takes in."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable

from cnnkit.registry.bundle import CARD, CURVES, NETWORK, ONNX_FILE, VERSION_FILE

Build = Callable[[bytes], bytes]
BUILDS: dict[str, tuple[Build, str]] = {}
"""By name: a function from a good version file to a hostile zip, and what must be said of that."""
NAIVE: set[str] = set()


def hostile(reason: str, naive: bool = False) -> Callable[[Build], Build]:
    def keep(build: Build) -> Build:
        BUILDS[build.__name__] = build, reason
        if naive:
            NAIVE.add(build.__name__)
        return build

    return keep


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def naive(data: bytes) -> bytes:
    """What a reader without any check takes for the version file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(VERSION_FILE)


def good(version: bytes) -> bytes:
    return zipped((VERSION_FILE, version), *((name, b"ignored") for name in (ONNX_FILE, CARD, NETWORK, CURVES)))


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def renamed(data: bytes, old: str, new: str) -> bytes:
    """Another name of the same length in the directory and before the member."""
    assert len(old) == len(new)
    assert data.count(old.encode()) == 2
    return data.replace(old.encode(), new.encode())


def patched(data: bytes, offset: int, form: str, *values: int) -> bytes:
    """Other values in the first entry of the directory; offsets are those of the format's specification."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.index(b"PK\x01\x02") + offset, *values)
    return bytes(changed)


def end_patched(data: bytes, offset: int, form: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, data.rindex(b"PK\x05\x06") + offset, *values)
    return bytes(changed)


for path in ("../model.h5", "/etc/passwd", "a/model.h5", "..\\model.h5", "C:\\model.h5", "model.H5", "evil\n.py"):

    def odd_name(version: bytes, path: str = path) -> bytes:
        return zipped((VERSION_FILE, version), (path, b"x"))

    BUILDS[f"member_{path!r}"] = odd_name, "it has a member"
    NAIVE.add(f"member_{path!r}")


@hostile("it has a member", naive=True)
def name_cut_by_a_zero(version: bytes) -> bytes:
    return renamed(zipped((VERSION_FILE + "_evil", version)), VERSION_FILE + "_evil", VERSION_FILE + "\0evil")


@hostile("it has a member", naive=True)
def folder(version: bytes) -> bytes:
    return zipped((VERSION_FILE, version), ("folder/", b""))


@hostile("must be a regular file; it is a link", naive=True)
def symbolic_link(version: bytes) -> bytes:
    return zipped((entry(VERSION_FILE, stat.S_IFLNK | 0o777), b"/etc/passwd"))


@hostile("must be a regular file; it is a link", naive=True)
def symbolic_link_beside(version: bytes) -> bytes:
    return zipped((VERSION_FILE, version), (entry(CARD, stat.S_IFLNK | 0o777), b"/etc/passwd"))


@hostile("must be a regular file", naive=True)
def device(version: bytes) -> bytes:
    return zipped((entry(VERSION_FILE, stat.S_IFCHR | 0o666), version))


@hostile("more than once", naive=True)
def duplicate(version: bytes) -> bytes:
    return renamed(zipped((VERSION_FILE, version), ("MODEL.h5", version)), "MODEL.h5", VERSION_FILE)


@hostile("is compressed", naive=True)
def compressed(version: bytes) -> bytes:
    return zipped((VERSION_FILE, version), compression=zipfile.ZIP_DEFLATED)


@hostile("is compressed", naive=True)
def bomb(version: bytes) -> bytes:
    return zipped((VERSION_FILE, bytes(10_000_000)), compression=zipfile.ZIP_BZIP2)


@hostile("is compressed", naive=True)
def bomb_beside(version: bytes) -> bytes:
    beside = entry(CARD)
    beside.compress_type = zipfile.ZIP_DEFLATED
    return zipped((VERSION_FILE, version), (beside, bytes(10_000_000)))


@hostile("is compressed", naive=True)
def two_sizes(version: bytes) -> bytes:
    return patched(zipped((VERSION_FILE, version)), 24, "<L", len(version) + 1)


@hostile("declares 4,294,967,280 bytes, more than the bundle has")
def size_beyond_the_file(version: bytes) -> bytes:
    return patched(zipped((VERSION_FILE, version)), 20, "<LL", 2**32 - 16, 2**32 - 16)


@hostile("is encrypted")
def encrypted(version: bytes) -> bytes:
    return patched(zipped((VERSION_FILE, version)), 8, "<H", 1)


@hostile("it has no 'model.h5', only 'card.md'")
def without_version(version: bytes) -> bytes:
    return zipped((CARD, b"x"))


@hostile("truncated, or has a comment")
def empty(version: bytes) -> bytes:
    return b"PK\x03\x04"


@hostile("with 1 to 5 members, it declares 6", naive=True)
def many_members(version: bytes) -> bytes:
    return zipped((VERSION_FILE, version), *((f"{number}", b"") for number in range(5)))


@hostile("with 1 to 5 members", naive=True)
def large_directory(version: bytes) -> bytes:
    info = entry(VERSION_FILE)
    info.comment = b"x" * 65_535
    return zipped((info, version))


@hostile("with 1 to 5 members", naive=True)
def another_disk(version: bytes) -> bytes:
    return end_patched(zipped((VERSION_FILE, version)), 6, "<H", 1)


@hostile("its directory is not where it should be", naive=True)
def bytes_before(version: bytes) -> bytes:
    return b"PK\x03\x04 something else" + zipped((VERSION_FILE, version))


@hostile("truncated, or has a comment", naive=True)
def comment(version: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(VERSION_FILE, version)
        archive.comment = b"anything"
    return file.getvalue()


@hostile("truncated, or has a comment")
def bytes_behind(version: bytes) -> bytes:
    return zipped((VERSION_FILE, version)) + bytes(100_000)


@hostile("needs the Zip64 extension", naive=True)
def zip64(version: bytes) -> bytes:
    """The directory of the extension counts, and could declare any number of members."""
    data = zipped((VERSION_FILE, version))
    at = data.rindex(b"PK\x05\x06")
    size, offset = struct.unpack_from("<LL", data, at + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    return data[:at] + record + locator + data[at:]


@hostile("needs the Zip64 extension", naive=True)
def zip64_in_a_comment(version: bytes) -> bytes:
    """The same inside the directory, whose place and size are then right."""
    info = entry(VERSION_FILE)
    info.comment = bytes(56 + 20)
    data = zipped((info, version))
    at = data.rindex(b"PK\x05\x06")
    size, offset = struct.unpack_from("<LL", data, at + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size - len(info.comment), offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at - len(info.comment), 1)
    return data[: at - len(info.comment)] + record + locator + data[at:]


@hostile("it is damaged")
def another_name_before_the_member(version: bytes) -> bytes:
    return zipped((VERSION_FILE, version)).replace(VERSION_FILE.encode(), b"MODEL.h5", 1)


@hostile("it is damaged")
def wrong_checksum(version: bytes) -> bytes:
    return patched(zipped((VERSION_FILE, version)), 16, "<L", 1)


@hostile("it is damaged")
def member_outside(version: bytes) -> bytes:
    return patched(zipped((VERSION_FILE, version)), 42, "<L", len(version) + 5000)


@hostile("it is damaged")
def directory_of_noise(version: bytes) -> bytes:
    data = zipped((VERSION_FILE, version))
    start, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    return data[:start] + b"\xff" * (end - start) + data[end:]
