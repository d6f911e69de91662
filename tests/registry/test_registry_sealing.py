"""The bytes of a version file: 1,000 flips and 200 truncations in full, a tenth of them by default."""

from __future__ import annotations

import hashlib
import io
import struct
import time
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from cnnkit.errors import RegistryError
from cnnkit.registry.format import sealing
from cnnkit.registry.format.safety import _view, read_arrays
from cnnkit.types import Array

STATE = {
    "dense_1.weight": np.arange(600, dtype=np.float32).reshape(20, 30),
    "dense_1.bias": np.array(0.5),
    "x_1.empty": np.zeros((0, 3), np.int64),
    "x_1.bytes": np.arange(5, dtype=np.uint8),
}


@pytest.fixture(scope="module")
def sealed() -> bytes:
    return bytes(sealing.pack(b'{"a": 1}', STATE))


def check_and_read(data: bytes) -> tuple[bytes, dict[str, Array]]:
    sealing.check(data)
    return read_arrays(data)


def test_what_is_packed_is_read_again(sealed: bytes) -> None:
    manifest, arrays = check_and_read(sealed)
    assert manifest == b'{"a": 1}'
    assert arrays.keys() == STATE.keys()
    for name, array in STATE.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_the_user_block_is_what_the_specification_says(sealed: bytes) -> None:
    digest = hashlib.sha256(sealed[512:]).digest()
    assert sealed[:512] == struct.pack("<16sQQ32s448x", b"cnnkit model\r\n\x1a\n", 1, len(sealed) - 512, digest)
    assert sealing.check(sealed) == digest.hex()


def test_plain_hdf5_opens_the_file(sealed: bytes, tmp_path: Path) -> None:
    (tmp_path / "v.h5").write_bytes(sealed)
    with h5py.File(tmp_path / "v.h5", "r") as file:
        assert file.userblock_size == 512
        np.testing.assert_array_equal(file["state/dense_1.weight"][:], STATE["dense_1.weight"])


def test_big_endian_and_strided_arrays_are_stored_canonically() -> None:
    strided = np.arange(12, dtype=">f4").reshape(3, 4).T
    _, arrays = check_and_read(bytes(sealing.pack(b"{}", {"a.b": strided})))
    np.testing.assert_array_equal(arrays["a.b"], strided)
    assert arrays["a.b"].dtype == np.dtype("<f4")


def test_data_that_lies_in_an_object_header_is_read() -> None:
    image = io.BytesIO()
    values = np.arange(3, dtype="<f4")
    with h5py.File(image, "w", userblock_size=512) as file:
        file["manifest"] = np.zeros(2, np.uint8)
        group = file.create_group("state")
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(values.shape)
        dataset = h5py.h5d.create(group.id, b"one.weight", h5py.h5t.IEEE_F32LE, space, dcpl=compact)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    array = read_arrays(image.getvalue())[1]["one.weight"]
    np.testing.assert_array_equal(array, values)
    assert not array.flags.writeable


@pytest.mark.parametrize("offset", [None, 511, 593, 10**9])
def test_data_outside_the_file_is_refused(offset: int | None) -> None:
    with pytest.raises(RegistryError, match=f"'a.b' has 8 bytes at {offset}, outside the file's 600"):
        _view("a.b", bytes(600), offset, 8)


def flips_missed(sealed: bytes, count: int, *, check_hash: bool) -> int:
    rng = np.random.default_rng(0)
    missed = 0
    for position in rng.integers(8 * len(sealed), size=count):
        data = bytearray(sealed)
        data[position // 8] ^= 1 << (position % 8)
        try:
            if check_hash:
                check_and_read(bytes(data))
            else:
                with h5py.File(io.BytesIO(bytes(data)), "r") as file:
                    file["state/dense_1.weight"][:]
            missed += 1
        except Exception as error:
            assert isinstance(error, RegistryError) or not check_hash  # noqa: PT017 - one class for all damage
    return missed


def cuts_missed(sealed: bytes, count: int) -> int:
    missed = 0
    for length in np.random.default_rng(1).integers(len(sealed), size=count):
        for data in (sealed[:length], sealed[:length] + bytes(len(sealed) - int(length))):
            try:
                check_and_read(data)
                missed += data != sealed
            except RegistryError:
                pass
    return missed


def test_every_flipped_bit_and_truncation_is_found(sealed: bytes) -> None:
    assert flips_missed(sealed, 100, check_hash=True) == 0
    assert cuts_missed(sealed, 20) == 0


@pytest.mark.full
def test_every_flipped_bit_and_truncation_is_found_full(sealed: bytes) -> None:
    assert flips_missed(sealed, 1000, check_hash=True) == 0
    assert cuts_missed(sealed, 200) == 0


def test_positive_control_a_reader_without_the_hash_misses_flips(sealed: bytes) -> None:
    assert flips_missed(sealed, 100, check_hash=False) > 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:100], "it has 100 bytes, less than the 512 of a user block"),
        (lambda d: d + b"\0", "it should have .* bytes and has"),
        (lambda d: d[:-1], "it should have .* bytes and has"),
        (lambda d: b"X" + d[1:], "it does not begin like a cnnkit model file"),
        (
            lambda d: d[:16] + b"\3" + d[17:],
            "it has format 3, this cnnkit reads the formats 1 and 2; a newer",
        ),
        (lambda d: d[:300] + b"\1" + d[301:], "its user block has bytes other than zero"),
        (lambda d: d[:-1] + bytes([d[-1] ^ 1]), "its content does not have the sha256"),
    ],
)
def test_damage_is_named(sealed: bytes, change: object, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        sealing.check(change(sealed))  # type: ignore[operator]  # wrong on purpose


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"../x": np.zeros(1)}, "an array in a model file is named like 'conv2d_1.weight', .* got '../x'"),
        ({"a.b\n": np.zeros(1)}, "is named like"),
        ({"a.b": np.zeros(1, np.float16)}, "a.b must be of one of the types uint8, .* got float16"),
        ({"a.b": np.zeros((1,) * 9)}, "with at most 8 axes, got float64 with 9"),
        (
            {f"a.b{i}": np.zeros(0) for i in range(10_001)},
            "a model may have at most 10,000 arrays, this one has 10,001",
        ),
    ],
)
def test_arrays_that_the_format_cannot_hold_are_refused(state: dict[str, Array], message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        sealing.pack(b"{}", state)


def test_files_over_the_limit_are_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "MAX_MODEL_FILE_BYTES", 1000)
    with pytest.raises(RegistryError, match="a model file may have at most 1,000 bytes, this one would have"):
        sealing.pack(b"{}", STATE)


def test_reading_takes_at_most_three_times_the_file() -> None:
    data = bytes(sealing.pack(b"{}", {"a.b": np.zeros(2**20)}))
    tracemalloc.start()
    try:
        check_and_read(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak + len(data) <= 3 * len(data)


def test_equal_content_has_equal_bytes_at_any_time() -> None:
    state = {"dense_1.weight": np.ones((2, 3), np.float32)}
    first = bytes(sealing.pack(b"{}", state))
    time.sleep(1.1)  # HDF5 keeps whole seconds
    assert bytes(sealing.pack(b"{}", state)) == first


def test_arrays_are_where_they_lie_in_the_file_and_cannot_be_written_to() -> None:
    state: dict[str, Array] = {
        "one.weight": np.arange(50_000, dtype=np.float32).reshape(5, -1),
        "two.count": np.arange(3),
    }
    data = bytes(sealing.pack(b"{}", state))
    whole = np.frombuffer(data, np.uint8)
    for name, array in read_arrays(data)[1].items():
        assert np.shares_memory(array, whole), name  # a copy would take the memory of a large model a second time
        assert not array.flags.writeable
        np.testing.assert_array_equal(array, state[name])
