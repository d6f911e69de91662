"""`train --profile`: what it prints, writes and draws."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import Registry
from cnnkit.errors import PlotError


def test_profile_shows_what_each_step_costs(cli: Any) -> None:
    result = cli("train", "tiny.toml", "--profile")
    assert result.code == 0
    assert "\nregistered  tiny@1\n" in result.out
    table, _, rest = result.out.partition("training, for one sample on one worker:\n")[2].partition("\n\n")
    heading, *lines = table.splitlines()
    assert re.split("  +", heading) == [
        "step", "forward ms", "backward ms", "share", "GFLOP/s", "bytes", "GB/s", "of limit"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines] == ["flatten_1", "dense_1"]
    assert len(lines[1].split()) == 8
    assert re.fullmatch(
        r"between the steps: \d\.\d{4} ms, \d+\.\d%\nlimits: \d+\.\d GFLOP/s of products, \d+\.\d GB/s of copies\n",
        rest,
    )
    found = cli("train", "tiny.toml", "--profile", "--json").document["profile"]
    assert [step["step"] for step in found["steps"]] == ["flatten_1", "dense_1"]
    shares = sum(step["share"] for step in found["steps"])
    assert shares + found["between_steps_ms"] / found["ms"] == pytest.approx(1)
    dense = found["steps"][1]
    assert dense["forward_flops"] == dense["backward_flops"] / 2 == 2 * 640
    assert dense["bytes"] == dense["forward_bytes"] + dense["backward_bytes"]
    limit = min(found["machine_gflops"], found["machine_gb_per_second"] * 2 * 640 / dense["forward_bytes"])
    assert dense["forward_gflops"] / dense["forward_of_limit"] == pytest.approx(limit, rel=0.01)
    assert found["picture"] is None
    assert cli("models", "show", "tiny@2", "--json").document["settings"]["workers"] == 1
    assert "profile" not in cli("train", "tiny.toml", "--json").document


@pytest.mark.parametrize("options", [(), ("--profile",)])
def test_a_profile_is_drawn(cli: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    result = cli("train", "tiny.toml", *options, "--profile-picture", "costs.png")
    assert result.code == 0
    assert result.out.endswith(" GB/s of copies\npicture: costs.png\n")
    assert (tmp_path / "costs.png").read_bytes().startswith(b"\x89PNG")


def test_where_a_profile_cannot_be_drawn(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained for a file that there cannot be; what happens later costs no model and no table."""
    for file in ("costs.txt", "absent/costs.png"):
        result = cli("train", "tiny.toml", "--profile-picture", file)
        assert (result.code, result.out) == (2, "")
        assert f"error: cannot write {file}: expected " in result.err
    result = cli("train", "tiny.toml", "--profile-picture", "costs.png", "--find-lr")
    assert "error: --find-lr and --profile-picture cannot be combined: give only one of them" in result.err
    assert not (tmp_path / "registry").exists()

    def full(*_: object) -> None:
        raise PlotError("cannot write costs.png: no space left on device")

    monkeypatch.setattr("cnnkit.plotting.saving.save", full)
    result = cli("train", "tiny.toml", "--profile-picture", "costs.png")
    assert result.code == 2
    assert "registered  tiny@1" in result.out
    assert result.out.endswith(" GB/s of copies\n")
    assert "error: cannot write costs.png: no space left on device" in result.err


def test_profile_does_not_change_the_model(cli: Any, tmp_path: Path) -> None:
    assert (cli("train", "tiny.toml").code, cli("train", "tiny.toml", "--profile").code) == (0, 0)
    one, two = (Registry(tmp_path / "registry").read(f"tiny@{number}").state for number in (1, 2))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_profile_needs_a_training(cli: Any, tmp_path: Path) -> None:
    result = cli("train", "tiny.toml", "--profile", "--dry-run")
    assert (result.code, result.out) == (2, "")
    assert "error: --dry-run and --profile cannot be combined: give only one of them" in result.err
