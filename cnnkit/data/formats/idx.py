"""Reading IDX files, raw or compressed by gzip: the format of MNIST and of the datasets that took its place."""

from __future__ import annotations

import contextlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from cnnkit.data.formats.checked_files import MAX_DATA_FILE_BYTES, check_hash, open_regular
from cnnkit.errors import DataError
from cnnkit.file_kinds import IDX, SAMPLE, foreign
from cnnkit.types import Array, Shape

CHUNK = 2**14
"""Compressed bytes taken at a time; deflate shrinks at most 1,032 times, so 17 MB may come out."""
GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08


def read_idx(
    path: Path, axes: int, *, content_hash: str = "", file_hash: str = "", most: int = MAX_DATA_FILE_BYTES
) -> Array:
    """The array of unsigned bytes in an IDX file, raw or gzipped, whatever its name ends in.

    Layout: 0x00, 0x00, the type 0x08, the number of axes; the length of each axis as big-endian uint32; the values,
    last axis fastest, one byte each.
    content_hash, file_hash: what the uncompressed content, or the file as it is, must hash to, such as
    "sha256:0fa7..."; "" for anything. most: bytes of the uncompressed content.
    Raises DataError, with file and byte offset, for a file that is missing, damaged, too long or short, or another one.
    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits, section on file formats; RFC 1952 (gzip).
    """
    with open_regular(path, "an IDX file") as file:
        try:
            stored = bytearray(file.read())
        except OSError as error:
            raise DataError(f"{path}: expected an IDX file, it cannot be read: {error.strerror}") from error
    if file_hash:
        check_hash(stored, file_hash, path, "a file ")
    return parse_idx(stored, path, axes, content_hash, most)


def parse_idx(
    stored: bytearray, path: Path, axes: int, content_hash: str = "", most: int = MAX_DATA_FILE_BYTES
) -> Array:
    """As `read_idx`, for the bytes of a file that is at `path`, or in the archive there."""
    gzipped = stored.startswith(GZIP_MAGIC)
    header = 4 + 4 * axes
    shape = _shape(_gunzip(path, stored, header) if gzipped else stored, path, axes, most)
    expected = header + math.prod(shape)
    content = _gunzip(path, stored, expected) if gzipped else stored
    if len(content) < expected:
        raise DataError(
            f"{path}: truncated at byte {len(content)}{' of the uncompressed content' if gzipped else ''}: "
            f"expected {expected} bytes for shape {shape}, the file has {len(content)}"
        )
    if len(content) > expected:
        raise DataError(
            f"{path}: trailing bytes from byte {expected}{' of the uncompressed content' if gzipped else ''} on: "
            f"expected {expected} bytes for shape {shape}, the file has more"
        )
    if content_hash:
        check_hash(content, content_hash, path)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _shape(content: bytearray, path: Path, axes: int, most: int) -> Shape:
    magic = bytes((0, 0, UNSIGNED_BYTE, axes))
    if content[:4] != magic:
        what = foreign(bytes(content[:SAMPLE]), IDX) if content else ""
        raise DataError(
            f"{path}: wrong magic number at byte 0: expected 0x{magic.hex()} (IDX, unsigned bytes, {axes} axes), "
            f"got {'0x' + content[:4].hex() if content else 'an empty file'}{what and f'; {what}'}"
        )
    header = 4 + 4 * axes
    if len(content) < header:
        raise DataError(
            f"{path}: truncated at byte {len(content)}: expected a header of {header} bytes, got {len(content)}"
        )
    shape = struct.unpack_from(f">{axes}I", content, 4)
    if header + math.prod(shape) > most:
        raise DataError(f"{path}: at byte 4: expected a shape of at most {most:,} bytes, got {shape}")
    return shape


def _gunzip(path: Path, stored: bytearray, enough: int) -> bytearray:
    """Uncompress all of a gzip stream, or stop once there are more than `enough` bytes."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    content = bytearray()
    end = 0
    while not stream.eof and end < len(stored) and len(content) <= enough:
        before, chunk = stream.copy(), stored[end : end + CHUNK]
        try:
            content += stream.decompress(chunk)
        except zlib.error as error:
            raise DataError(
                f"{path}: the gzip stream is damaged, found at byte {end + _offset(before, chunk)}: {error}"
            ) from None
        end += len(chunk) - len(stream.unused_data)
    if len(content) > enough:
        return content
    if not stream.eof:
        raise DataError(f"{path}: the gzip stream is truncated at byte {end}: expected more, the file ends there")
    if end < len(stored):
        raise DataError(f"{path}: trailing bytes from byte {end} on, after the end of the gzip stream")
    return content


def _offset(stream: zlib._Decompress, chunk: bytearray) -> int:
    """Where in a damaged chunk the stream notices it."""
    offset = 0
    with contextlib.suppress(zlib.error):  # the error that was already met, now byte by byte
        for offset in range(len(chunk)):
            stream.decompress(chunk[offset : offset + 1])
    return offset
