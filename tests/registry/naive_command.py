"""The command line with a registry that writes in place, and pauses where that is dangerous."""

from __future__ import annotations

from pathlib import Path

from crash_driver import save_naively  # type: ignore[import-not-found]  # beside this script

from cnnkit.cli import main
from cnnkit.registry import Files, commit, digest_log


def register(files: Files, folder: Path, data: bytes | memoryview, digest: str) -> int:
    number: int = save_naively(folder, bytes(data), pause=0.2)
    files.append(folder / digest_log.LOG, digest_log.record(digest_log.COMMIT, number, digest))
    return number


if __name__ == "__main__":
    commit.register = register
    main()
