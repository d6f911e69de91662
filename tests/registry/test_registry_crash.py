"""Writers that are killed, and writers that race: by default 24 kills, and 8 writers of 6 versions; in full 500 kills,
and 8 writers of 50."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).with_name("crash_driver.py")


def drive(harness: str, writer: str, folder: Path, count: int) -> dict[str, Any]:
    command = [sys.executable, str(DRIVER), harness, writer, str(folder), str(count)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=600)
    return dict(json.loads(done.stdout))


def check_kills(folder: Path, count: int) -> None:
    result = drive("kill", "safe", folder, count)
    assert result["acknowledged"] >= count * 3 // 4
    assert (result["lost"], result["torn"], result["problems"], result["left"]) == (0, 0, [], [])
    assert result["removed"] >= count // 4  # the kills did hit writers at work


def test_a_killed_writer_loses_nothing_and_leaves_nothing_torn(tmp_path: Path) -> None:
    check_kills(tmp_path, 24)


@pytest.mark.full
def test_a_killed_writer_loses_nothing_and_leaves_nothing_torn_full(tmp_path: Path) -> None:
    check_kills(tmp_path, 500)


def test_positive_control_a_killed_naive_writer_leaves_torn_files(tmp_path: Path) -> None:
    assert drive("kill", "naive", tmp_path, 24)["torn"] > 0


def check_race(folder: Path, count: int) -> None:
    result = drive("race", "safe", folder, count)
    assert result["acknowledged"] == 8 * count
    assert result["numbers"] == list(range(1, 8 * count + 1))
    assert (result["lost"], result["torn"], result["problems"], result["removed"]) == (0, 0, [], 0)
    assert (result["parts"], result["complaints"]) == (0, 0)
    assert result["reads"] > count
    assert result["verifications"] > 0


def test_writers_at_once_get_a_number_each_and_readers_see_no_part(tmp_path: Path) -> None:
    check_race(tmp_path, 6)


@pytest.mark.full
def test_writers_at_once_get_a_number_each_and_readers_see_no_part_full(tmp_path: Path) -> None:
    check_race(tmp_path, 50)


def test_positive_control_writers_that_rename_to_the_next_number_lose_versions(tmp_path: Path) -> None:
    assert drive("race", "renaming", tmp_path, 6)["lost"] > 0


def test_positive_control_readers_see_parts_of_files_that_are_written_in_place(tmp_path: Path) -> None:
    assert drive("race", "naive", tmp_path, 6)["parts"] > 0
