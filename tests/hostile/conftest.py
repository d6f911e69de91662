"""The hostile files of the registry's and of the ONNX tests are used here, too."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(folder) for folder in (HERE / "watched", HERE.parent / "registry", HERE.parent / "onnx")]
