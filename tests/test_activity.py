"""Whether processes do something, as the system tells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnkit import process_activity
from cnnkit.process_activity import PROCESSES, Watch

WORK = {
    "sleeps": "import time; time.sleep(1000)",
    "computes": "while True: pass",
    "reads": "import time\nwhile True: open('/proc/self/stat').read(); time.sleep(0.01)",
    "waits for one that computes": "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])",
}


@pytest.mark.skipif(not PROCESSES.is_dir(), reason="the system does not tell")
@pytest.mark.parametrize("kind", WORK)
def test_who_sleeps_is_idle(kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", WORK[kind]], start_new_session=True) as process:
        watch, looks = Watch(process.pid), 0
        while watch.idle() < 0.5 and (kind == "sleeps" or looks < 40):  # it sleeps some time, however long it starts
            time.sleep(0.05)
            looks += 1
        assert kind == "sleeps" or looks == 40
        os.killpg(process.pid, signal.SIGKILL)


def test_where_the_system_does_not_tell_nobody_is_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_activity, "PROCESSES", tmp_path)
    watch = Watch(1)
    time.sleep(0.01)
    assert watch.idle() == 0
