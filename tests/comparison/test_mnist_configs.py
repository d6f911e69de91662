"""The shipped comparison on real MNIST: two convolutions with 16 filters are best, three poolings are worst."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cnnkit.comparison import compare


@pytest.mark.full
@pytest.mark.skipif(not os.environ.get("CNNKIT_DATA_DIR"), reason="CNNKIT_DATA_DIR names no folder with MNIST")
def test_the_known_ranking(tmp_path: Path) -> None:
    made = compare(["mnist-configs"], jobs=2, registry=tmp_path)
    assert not made.failures
    assert [len(row.runs) for row in made.rows] == 6 * [3]
    best, *_, worst = made.rows
    assert (best.name, worst.name) == ("c16pc16", "c8pc8pc8p")
    means = [row.mean("accuracy") or 0.0 for row in made.rows]
    assert means[0] > 0.98
    assert means[-1] < means[-2] - 0.02
