"""Tensors whose data lie in another file beside the model, as PyTorch writes them: plain files of the same folder."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import Counter
from pathlib import Path
from types import TracebackType

from onnx import TensorProto

from cnnkit.errors import OnnxError
from cnnkit.onnx.load import MAX_ONNX_FILE_BYTES


class DataFiles:
    """The data files beside a model, each read whole when a tensor first names it, all within the limit of one file.

    All tensors that lie in a file have no more bytes than it together: else a few bytes, named by thousands of tensors,
    would take any memory.
    Use it as a context: it holds the folder open, so that no file of another folder can take its place.
    """

    def __init__(self, path: Path, used: int) -> None:
        """path: the model's; used: bytes that it has itself."""
        self._path, self._left = path, MAX_ONNX_FILE_BYTES - used
        self._contents: dict[str, bytes] = {}
        self._taken: Counter[str] = Counter()
        """Bytes of each file that tensors have."""
        self._folder = -1

    def __enter__(self) -> DataFiles:
        try:
            self._folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise OnnxError(f"cannot read the folder of {self._path}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._folder)

    def bytes_of(self, tensor: TensorProto, size: int) -> memoryview:
        """The data of a tensor that has `size` bytes. Raises OnnxError unless a plain file beside the model has them.

        Source: https://github.com/onnx/onnx/blob/main/docs/ExternalData.md
        """
        where = f"{self._path}: tensor {tensor.name!r:.100} keeps its data in another file"
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if not _is_name(location):
            raise OnnxError(
                f"{where}, {location!r:.100}; expected the name of a file in the same folder as the model, without any "
                "folder: export it again with its data beside it, or inside of it"
            )
        content = self._content(location, where)
        start = _number(entries.get("offset", "0"), where, "offset")
        length = _number(entries.get("length", str(size)), where, "length")
        if length != size:
            raise OnnxError(f"{where} as {length:,} bytes; expected {size:,}, as its shape and type say")
        if start + length > len(content):
            raise OnnxError(
                f"{where}: expected {length:,} bytes at {start:,} of {location!r:.100}, which has {len(content):,}: it "
                "does not belong to this model, or is damaged"
            )
        self._taken[location] += length
        if self._taken[location] > len(content):
            raise OnnxError(
                f"{where}: with it the tensors in {location!r:.100} have {self._taken[location]:,} bytes together, and "
                f"the file has {len(content):,}; expected each tensor to have its own part of it"
            )
        return memoryview(content)[start : start + length]

    def digest(self, data: bytes) -> str:
        """The sha256 of the model's bytes, followed by those of its data files in the order of their names."""
        found = hashlib.sha256(data)
        for name in sorted(self._contents):
            found.update(self._contents[name])
        return f"sha256:{found.hexdigest()}"

    def _content(self, name: str, where: str) -> bytes:
        if name not in self._contents:
            try:
                self._contents[name] = self._read(name)
            except OSError as error:
                reason = "it is a link" if error.errno in (errno.ELOOP, errno.EMLINK) else error.strerror
                raise OnnxError(
                    f"{where}, {name!r:.100}, which cannot be read: {reason}; expected a plain file in the same folder "
                    "as the model"
                ) from error
            self._left -= len(self._contents[name])
        return self._contents[name]

    def _read(self, name: str) -> bytes:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW  # opening a pipe would wait for who writes
        file = os.open(name, flags, dir_fd=self._folder)
        with os.fdopen(file, "rb") as stream:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a plain file")
            if status.st_nlink > 1:  # of a file of another folder, which who packed this one may not read
                raise OSError(errno.EPERM, "it has several names (hard links); copy it")
            if status.st_size > self._left:
                raise OSError(
                    errno.EFBIG,
                    f"it has {status.st_size:,} bytes; a model and its data may have {MAX_ONNX_FILE_BYTES:,} in all",
                )
            return stream.read(status.st_size)


def _is_name(location: str | bytes) -> bool:
    """Whether this is the name of a file, without any part that leads to a folder; what is not UTF-8 comes as bytes."""
    return (
        isinstance(location, str)
        and location not in ("", ".", "..")
        and not any(character in location for character in ("/", "\\", "\0"))
    )


def _number(text: str | bytes, where: str, what: str) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 18):
        raise OnnxError(f"{where} with {what} {text!r:.100}; expected a number of bytes")
    return int(text)
