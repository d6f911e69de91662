"""`sweep` from Python: one key with its values, and the picture of what they reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnnkit import compare, draw_sweep, sweep
from cnnkit.errors import ConfigError


def test_values_by_key_and_as_text(tmp_path: Path) -> None:
    options: dict[str, Any] = {"overrides": {"epochs": 1}, "seeds": [3], "jobs": 1, "registry": tmp_path}
    swept = sweep("digits", {"batch_size": [256, 64]}, **options)
    assert (swept.key, swept.values) == ("train.batch_size", (256, 64))
    again = sweep("digits", "batch_size=256,64", **options)
    compared = compare(base="digits", grid={"batch_size": [256, 64]}, register="none", **options)
    measured = [row.mean("accuracy") for row in swept.rows]
    assert measured == [row.mean("accuracy") for row in again.rows]
    assert sorted(map(float, filter(None, measured))) == sorted(row.mean("accuracy") or 0 for row in compared.rows)
    assert swept.best == swept.values[max((0, 1), key=lambda at: measured[at] or 0)]
    assert draw_sweep(swept).axes[0].get_xlabel() == "train.batch_size"


@pytest.mark.parametrize("vary", [{}, {"batch_size": [1, 2], "epochs": [1, 2]}])
def test_one_key_is_varied(vary: dict[str, list[int]], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^a sweep varies one key, such as train\.lr=0\.001,0\.01; got \{"):
        sweep("digits", vary, registry=tmp_path)
