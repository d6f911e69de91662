"""The imitation of paper: the same for a seed, dark on light, and changed by each disturbance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.handwriting_on_paper import DISTURBANCES, Sheet, photograph, sheet_of, write_paper

DIGIT = np.zeros((28, 28), np.uint8)
DIGIT[4:24, 12:16] = 255


def test_paper_is_dark_on_light_and_the_same_for_a_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_paper(DIGIT[None], tuple(DISTURBANCES), tmp_path / name, 3)
    assert (tmp_path / "one" / "00000.png").read_bytes() == (tmp_path / "two" / "00000.png").read_bytes()
    pixels = np.asarray(photograph(DIGIT, Sheet(), np.random.default_rng(0)))
    assert pixels.shape == (256, 256)
    assert pixels[0, 0] == round(0.92 * 255)
    assert pixels[128, 128] == pytest.approx(0.15 * 255, abs=1)
    rows = np.flatnonzero((pixels < 128).any(axis=1))
    assert len(rows) / 256 == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("name", DISTURBANCES)
def test_each_disturbance_changes_the_photograph(name: str) -> None:
    rng = np.random.default_rng(0)
    sheet = sheet_of([name], rng)
    assert sheet != Sheet()
    changed, plain = (np.asarray(photograph(DIGIT, one, rng)) for one in (sheet, Sheet()))
    assert not np.array_equal(changed, plain)
