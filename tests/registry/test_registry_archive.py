"""Every model file that this project ships is read for ever, by the glob of its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit.registry import Registry

ARCHIVE = Path(__file__).parents[2] / "registry"
FILES = sorted(ARCHIVE.glob("*/v*.h5"))


@pytest.mark.skipif(not FILES, reason="no model file is shipped yet")
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_shipped_file_is_read_and_predicts(path: Path) -> None:
    model = Registry(ARCHIVE).load(f"{path.parent.name}@{int(path.stem[1:])}")
    probabilities = model.predict_proba(np.zeros((2, *model.input_shape), np.uint8))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
