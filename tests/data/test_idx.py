from __future__ import annotations

import gzip
import hashlib
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cnnkit.data.formats import idx as module
from cnnkit.data.formats.idx import read_idx
from cnnkit.errors import DataError
from cnnkit.types import Array

IMAGES = np.random.default_rng(3).integers(0, 256, (7, 28, 28)).astype(np.uint8)


def refusal(path: Path, content: bytes, content_hash: str = "") -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(path, 3, content_hash=content_hash)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.fixture
def raw(idx: Callable[[Array], bytes]) -> bytes:
    return idx(IMAGES)


@pytest.fixture
def gz(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lambda raw: gzip.compress(raw, 0)])
def test_reads_raw_and_gzipped_files(raw: bytes, path: Path, pack: Callable[[bytes], bytes]) -> None:
    path.write_bytes(pack(raw))
    got = read_idx(path, 3, content_hash=f"sha256:{hashlib.sha256(raw).hexdigest()}")
    assert_array_equal(got, IMAGES)
    assert got.dtype == np.uint8
    assert got.flags.writeable


def test_no_more_is_uncompressed_than_there_may_be(path: Path, raw: bytes, gz: bytes) -> None:
    path.write_bytes(gz)
    assert len(read_idx(path, 3, most=len(raw))) == 7
    with pytest.raises(DataError, match=rf"at byte 4: expected a shape of at most {len(raw) - 1:,} bytes, got \(7, 28"):
        read_idx(path, 3, most=len(raw) - 1)


def test_a_file_of_many_chunks(idx: Callable[[Array], bytes], path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 28, 28))  # random, so that gzip cannot make it one chunk
    path.write_bytes(gzip.compress(idx(images)))
    assert path.stat().st_size > 4 * module.CHUNK
    assert_array_equal(read_idx(path, 3), images)


@pytest.mark.parametrize("magic", [b"\0\0\x08\x01", b"\0\0\x0d\x03", b"\x08\x03\0\0", b"\0\x01\x08\x03", b"PK\x03\x05"])
def test_a_wrong_magic_number(raw: bytes, path: Path, magic: bytes) -> None:
    message = "wrong magic number at byte 0: expected 0x00000803 (IDX, unsigned bytes, 3 axes), got 0x" + magic.hex()
    assert refusal(path, magic + raw[4:]) == message
    assert refusal(path, gzip.compress(magic + raw[4:])) == message


def test_an_empty_file(path: Path) -> None:
    assert refusal(path, b"").endswith("got an empty file")


def test_every_truncation_of_a_raw_file(raw: bytes, path: Path) -> None:
    for end in (*range(20), 100, len(raw) - 1):
        message = refusal(path, raw[:end])
        if end < 4:
            assert "wrong magic number at byte 0" in message
        elif end < 16:
            assert message == f"truncated at byte {end}: expected a header of 16 bytes, got {end}"
        else:
            assert message == (
                f"truncated at byte {end}: expected {len(raw)} bytes for shape (7, 28, 28), the file has {end}"
            )


def test_every_truncation_of_a_gzipped_file(gz: bytes, path: Path) -> None:
    for end in (*range(2, 40), *range(40, len(gz), 61), *range(len(gz) - 9, len(gz))):
        assert refusal(path, gz[:end]) == (
            f"the gzip stream is truncated at byte {end}: expected more, the file ends there"
        )


def test_truncated_content_in_a_whole_gzip_stream(raw: bytes, path: Path) -> None:
    assert refusal(path, gzip.compress(raw[:-5])) == (
        f"truncated at byte {len(raw) - 5} of the uncompressed content: "
        f"expected {len(raw)} bytes for shape (7, 28, 28), the file has {len(raw) - 5}"
    )


def test_trailing_bytes(raw: bytes, gz: bytes, path: Path) -> None:
    expected = f"on: expected {len(raw)} bytes for shape (7, 28, 28), the file has more"
    assert refusal(path, raw + b"x") == f"trailing bytes from byte {len(raw)} {expected}"
    assert refusal(path, gzip.compress(raw + b"x")) == (
        f"trailing bytes from byte {len(raw)} of the uncompressed content {expected}"
    )
    assert refusal(path, gz + b"x") == f"trailing bytes from byte {len(gz)} on, after the end of the gzip stream"


def test_a_damaged_gzip_stream_is_found_at_its_byte(gz: bytes, path: Path) -> None:
    checksum = bytearray(gz)
    checksum[-8] ^= 1
    assert refusal(path, bytes(checksum)) == (
        f"the gzip stream is damaged, found at byte {len(gz) - 5}: Error -3 while decompressing data: "
        "incorrect data check"
    )
    method = bytearray(gz)
    method[2] = 7
    assert "damaged, found at byte" in refusal(path, bytes(method))


def test_damage_far_into_a_file_is_found_after_the_damaged_byte(idx: Callable[[Array], bytes], path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (100, 28, 28))
    damaged = bytearray(gzip.compress(idx(images), 1, mtime=0))
    damaged[50_000:50_200] = bytes(200)
    found = re.search(r"found at byte (\d+)", refusal(path, bytes(damaged)))
    assert found
    assert 50_000 <= int(found[1]) <= len(damaged)


@given(position=st.integers(0), bit=st.integers(0, 7), packed=st.booleans())
@settings(max_examples=150)
def test_every_flipped_bit_is_refused_or_harmless(
    raw: bytes, gz: bytes, path: Path, position: int, bit: int, packed: bool
) -> None:
    damaged = bytearray(gz if packed else raw)
    damaged[position % len(damaged)] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        got = read_idx(path, 3, content_hash=f"sha256:{hashlib.sha256(raw).hexdigest()}")
    except DataError:
        return
    assert packed  # gzip's header has bytes without meaning, such as the time
    assert_array_equal(got, IMAGES)


def test_without_a_hash_a_flipped_pixel_goes_unseen(raw: bytes, path: Path) -> None:
    """The control of the test above: it is the hash that notices."""
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    assert read_idx(path, 3)[-1, -1, -1] == IMAGES[-1, -1, -1] ^ 1


def test_other_content_than_the_hash_says(raw: bytes, path: Path) -> None:
    md5 = hashlib.md5(raw).hexdigest()
    assert refusal(path, raw, f"md5:{'0' * 32}") == (
        f"this is a different file, or a damaged one: expected content with md5 {'0' * 32}, got {md5}"
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_absurd_shape_is_refused_before_memory_is_taken(path: Path, pack: Callable[[bytes], bytes]) -> None:
    header = struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3)
    assert refusal(path, pack(header)) == (
        "at byte 4: expected a shape of at most 1,073,741,824 bytes, got (4294967295, 4294967295, 4294967295)"
    )


def test_a_gzip_bomb_is_not_uncompressed_to_its_end(path: Path) -> None:
    bomb = gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 1, 28, 28) + bytes(2**26), 9)
    path.write_bytes(bomb)
    assert len(module._gunzip(path, bytearray(bomb), 800)) < 2**25
    assert "trailing bytes from byte 800 of the uncompressed content" in refusal(path, bomb)


def test_a_file_that_is_too_large(raw: bytes, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkit.data.formats.checked_files.MAX_DATA_FILE_BYTES", 1000)
    assert refusal(path, raw) == "expected an IDX file of at most 1,000 bytes, got 5,504"


def test_what_is_not_a_readable_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "absent", "expected an IDX file, it cannot be read: No such file or directory"),
        (tmp_path, "expected an IDX file, this is not a regular file"),
        (tmp_path / "pipe", "expected an IDX file, this is not a regular file"),
    ):
        with pytest.raises(DataError) as caught:
            read_idx(path, 3)
        assert str(caught.value) == f"{path}: {message}"
