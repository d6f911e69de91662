"""Every test has a registry, a cache and a configuration folder of its own, whatever the user's environment says.

Property tests try the same examples every time, however long one takes: a loaded machine changes no result.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,  # examples share the folder of their test, and overwrite their files
    ],
)
settings.load_profile("deterministic")
MATPLOTLIB = tempfile.TemporaryDirectory(prefix="cnnkit-matplotlib-")


def pytest_configure() -> None:
    """Let the tests hear signals, and matplotlib keep its cache outside the folder of the first test that draws.

    In the background, or under nohup, a process ignores signals that the tests, and what they start, must hear.
    """
    os.environ.setdefault("MPLCONFIGDIR", MATPLOTLIB.name)
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send what is written by default below `tmp_path`; CNNKIT_DATA_DIR stays, for tests on real data."""
    monkeypatch.setenv("CNNKIT_KERNELS", "numpy")
    monkeypatch.setenv("CNNKIT_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def compiled_kernels(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of machine code that all tests of a run share: whoever needs it first compiles it."""
    pytest.importorskip("numba", reason="compiled kernels need the extra cnnkit[fast]")
    from cnnkit.network.kernels.compiled import machine_code

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp().parent / "compiled-kernels"))
    machine_code.make()
    found = machine_code.folder()
    assert found is not None
    return found
