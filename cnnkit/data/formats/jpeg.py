"""What a JPEG file asks for, before it is decoded."""

from __future__ import annotations

import re

from cnnkit.errors import DataError

MAX_SCANS = 100
"""Progressive files of encoders have about ten; each scan may be some bytes long and cost a pass over all pixels."""
MAX_SEGMENTS = 10_000
START, END = b"\xff\xd8", 0xD9
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
"""Of a segment or the end; others stand alone, or in the data of a scan."""
_SCAN = 0xDA


def check_scans(name: str, content: bytes) -> None:
    """Raise DataError for a JPEG file with more scans than anybody needs; other content passes.

    Source: ITU-T T.81, B.1.1.
    """
    if not content.startswith(START):
        return
    scans, at = 0, len(START)
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(content, at)
        if not found or found[1][0] == END:
            return
        scans += found[1][0] == _SCAN
        if scans > MAX_SCANS:
            raise DataError(f"{name}: expected a JPEG image of at most {MAX_SCANS} scans, it has more")
        at = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
    raise DataError(f"{name}: expected a JPEG image of at most {MAX_SEGMENTS:,} segments, it has more")
