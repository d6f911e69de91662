"""Every test has a registry, a cache and a configuration folder of its own, whatever the user's environment says."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """A shell that starts a command in the background has it ignore SIGINT; the tests of interrupts need it heard."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send what is written by default below `tmp_path`; CNNKIT_DATA_DIR stays, for tests on real data."""
    monkeypatch.setenv("CNNKIT_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
