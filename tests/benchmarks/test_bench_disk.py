"""The benchmark of training from a large file, on a small one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import disk
from benchmarks.child_job import Job
from benchmarks.turn_taking import Contender, Series
from cnnkit.data import Arrays
from cnnkit.data.formats.rows import StoredRows
from cnnkit.errors import ConfigError


def test_the_file_is_as_large_as_wished_for_and_stays_on_the_disk(tmp_path: Path) -> None:
    with disk.large_file(20_000_000, str(tmp_path)) as folder:
        (file,) = Path(folder).iterdir()
        assert 20_000_000 <= file.stat().st_size < 20_400_000
        data = Arrays(file.name).load(Path(folder))
        assert isinstance(data.train.x, StoredRows)
        assert len(data.test) == disk.TEST
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose a smaller one with --gigabytes"), disk.large_file(2**60, None):
        pass


def test_rows_compare_with_memory() -> None:
    job = Job("mnist-compact", "", 1_000, 100, 2)
    series = [
        Series(Contender(name, "", "", job), turns=[{"seconds": seconds}])
        for name, seconds in (("memory", 0.02), ("file, cached", 0.025))
    ]
    series.append(Series(Contender("file, not cached", "", "", job), "failed: x"))
    assert disk.rows(series) == [
        ["memory", "20.00 (20.00-20.00)", "1.00"],
        ["file, cached", "25.00 (25.00-25.00)", "0.80"],
        ["file, not cached", "failed: x", ""],
    ]


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = ["--gigabytes", "0.01", "--samples", "256", "--batch", "64", "--epochs", "1", "--workers", "1"]
    disk.main([*work, "--json", str(tmp_path / "a.json")])
    printed = capsys.readouterr().out
    assert "a file of 0.01 GB" in printed
    results = json.loads((tmp_path / "a.json").read_text("utf-8"))["results"]
    assert [one["status"] for one in results["speed"]] == ["measured"] * 4
    assert 0 < results["whole"]["peak"] <= results["whole"]["resident"]
