"""`doctor --tune`: which kernels of OpenBLAS are stored, and when the stored setting is applied."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cnnkit.cli import blas_tuning
from cnnkit.cli.blas_tuning import NEEDED, Measured
from cnnkit.errors import ConfigError

FLAGS = "fpu avx2 fma"


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the setting, not there yet, on a processor with AVX2."""
    path, cpuinfo = tmp_path / "config" / "blas.json", tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: Quick: 9000\nflags\t\t: {FLAGS}\nprocessor\t: 1\n")
    monkeypatch.setattr(blas_tuning, "setting_path", lambda: path)
    monkeypatch.setattr(blas_tuning, "CPUINFO", cpuinfo)
    monkeypatch.delenv(blas_tuning.VARIABLE, raising=False)
    return path


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def speeds(monkeypatch: pytest.MonkeyPatch, **gflops: float | None) -> list[str | None]:
    """Let `measure` answer; the list is filled with what was asked."""
    asked: list[str | None] = []

    def measure(coretype: str | None) -> Measured | None:
        asked.append(coretype)
        speed = gflops.get(coretype or "default")
        return speed and Measured(speed, coretype or "Prescott")  # type: ignore[return-value]  # 0 stands for None

    monkeypatch.setattr(blas_tuning, "measure", measure)
    return asked


def test_tune_stores_what_is_faster(cli: Any, setting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = speeds(monkeypatch, default=50.0, HASWELL=52.0, ZEN=51.0)
    document = cli("doctor", "--tune", "--json").document
    assert document["gflops"] == {"default": 50.0, "HASWELL": 52.0, "ZEN": 51.0}
    assert document["tuned"] == "OPENBLAS_CORETYPE=HASWELL"
    assert json.loads(setting.read_text()) == {"coretype": "HASWELL", "cpu": "Quick: 9000"}
    assert list(setting.parent.iterdir()) == [setting]
    assert "SKYLAKEX" not in asked  # without AVX-512 it would end the process
    result = cli("doctor", "--tune")
    assert "tuned     OPENBLAS_CORETYPE=HASWELL\n" in result.out
    assert "\ncoretype  GFLOP/s\ndefault " in result.out


@pytest.mark.parametrize("content", ["{", {"coretype": "ZEN", "cpu": "Quick: 9000"}])
def test_tune_removes_what_is_not_faster_any_more(
    cli: Any, setting: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    write(setting, content)
    speeds(monkeypatch, default=50.0, HASWELL=51.4, ZEN=None)
    document = cli("doctor", "--tune", "--json").document
    assert document["gflops"] == {"default": 50.0, "HASWELL": 51.4}
    assert document["tuned"] == "no"
    assert not setting.exists()


def test_the_default_by_another_name_is_left_out(setting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas_tuning, "measure", lambda coretype: Measured(60.0 if coretype else 50.0, "Haswell"))
    assert blas_tuning.tune() == {"default": 50.0}
    assert not setting.exists()


@pytest.mark.parametrize("measured", [None, Measured(50.0, None)])
def test_tune_needs_openblas(
    cli: Any, setting: Path, monkeypatch: pytest.MonkeyPatch, measured: Measured | None
) -> None:
    monkeypatch.setattr(blas_tuning, "measure", lambda coretype: measured)
    result = cli("doctor", "--tune")
    assert (result.code, result.out) == (2, "")
    assert "NumPy's BLAS is not OpenBLAS or cannot be measured" in result.err


DAMAGED = ["", "{", "[]", "3", "{}", "[" * 100_000, {"coretype": "ZEN"}, {"coretype": ["ZEN"], "cpu": ""}]
DAMAGED += [{"coretype": "../x", "cpu": "Quick: 9000"}]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: str(content)[:20])
def test_doctor_reports_a_damaged_setting(cli: Any, setting: Path, content: object) -> None:
    write(setting, content)
    result = cli("doctor", "--json")
    assert result.code == 1
    (problem,) = result.document["problems"]
    assert f"{setting} cannot be used: expected a JSON object with cpu and a coretype, one of HASWELL, ZEN" in problem
    assert "run `cnnkit doctor --tune`, or remove the file" in problem


@pytest.mark.parametrize("stored", [{"coretype": "ZEN", "cpu": "Slow"}, {"coretype": "SKYLAKEX", "cpu": "Quick: 9000"}])
def test_a_setting_of_another_processor_is_not_used(setting: Path, stored: dict[str, str]) -> None:
    write(setting, stored)
    assert blas_tuning.stored_setting() is None


def test_a_setting_of_this_processor_is_used(setting: Path) -> None:
    assert blas_tuning.stored_setting() is None
    write(setting, {"coretype": "ZEN", "cpu": "Quick: 9000"})
    assert blas_tuning.stored_setting() == "ZEN"


def applied(setting: Path, code: str = "", **environment: str) -> str:
    """The variable in a process that has run `cnnkit --version`; code: what that process does before."""
    program = (
        f"import os, sys, pathlib; from cnnkit.cli import main, blas_tuning; {code}\n"
        f"blas_tuning.setting_path = lambda: pathlib.Path({str(setting)!r})\n"
        f"blas_tuning.CPUINFO = pathlib.Path({str(blas_tuning.CPUINFO)!r})\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(os.environ.get(blas_tuning.VARIABLE))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()[-1]


def test_the_setting_is_applied_before_numpy_loads(setting: Path) -> None:
    assert applied(setting) == "None"
    write(setting, {"coretype": "ZEN", "cpu": "Quick: 9000"})
    assert applied(setting) == "ZEN"
    assert applied(setting, OPENBLAS_CORETYPE="NEHALEM") == "NEHALEM"  # the user's word counts
    assert applied(setting, "import numpy") == "None"  # too late
    write(setting, "{")
    assert applied(setting) == "None"


def test_a_setting_that_cannot_be_read_is_damaged(setting: Path) -> None:
    setting.mkdir(parents=True)
    with pytest.raises(ConfigError, match="IsADirectoryError"):
        blas_tuning.stored_setting()


def test_the_setting_is_in_the_users_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert blas_tuning.setting_path() == tmp_path / "cnnkit" / "blas.json"


def test_a_processor_that_says_nothing_has_no_flags(setting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blas_tuning.processor_features() == ("Quick: 9000", frozenset(FLAGS.split()))
    monkeypatch.setattr(blas_tuning, "CPUINFO", setting)
    assert blas_tuning.processor_features() == ("", frozenset())


def test_a_process_measures_with_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(blas_tuning.VARIABLE, "NEHALEM")  # `measure` decides alone
    default = blas_tuning.measure(None)
    assert default is not None
    assert default.gflops > 0
    if default.architecture is None or not NEEDED["HASWELL"] <= blas_tuning.processor_features()[1]:
        pytest.skip("NumPy does not use OpenBLAS here, or the processor has no AVX2")
    measured = blas_tuning.measure("HASWELL")
    assert measured is not None
    assert measured.architecture == "Haswell"
    assert default.architecture != "Nehalem"


def test_a_process_that_fails_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert blas_tuning.measure(None) is None


def test_doctor_shows_sgemm(cli: Any, setting: Path) -> None:
    speed, _, rest = cli("doctor", "--json").document["sgemm"].partition(" ")
    assert float(speed) > 0
    assert rest == "GFLOP/s with one thread"
