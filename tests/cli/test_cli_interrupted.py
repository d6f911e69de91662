"""A signal ends a command that predicts, however long its tiles take."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from cnnkit.network.execution.engine import Engine

COMMANDS = {
    "evaluate": ("tiny@1", "--workers", "2"),
    "predict": ("tiny@1", "many.npy"),
    "export": ("tiny@1", "-o", "tiny.onnx"),
    "explain": ("tiny@1", "--sample", "3"),
    "attribute": ("tiny@1", "--sample", "3", "--method", "occlusion"),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_ends_the_command(
    trained: Any, monkeypatch: pytest.MonkeyPatch, command: str, number: signal.Signals
) -> None:
    first = itertools.count()

    def endless(*_: object) -> None:
        if next(first) == 0:
            os.kill(os.getpid(), number)
        while True:
            time.sleep(0.001)

    np.save("many.npy", np.zeros((600, 1, 8, 8), np.float32))
    monkeypatch.setattr("cnnkit.network.network.available_cores", lambda: 2)
    monkeypatch.setattr(Engine, "_predict", endless)
    result = trained(command, *COMMANDS[command])
    assert (result.code, result.out) == (128 + number, "")
    assert not [thread for thread in threading.enumerate() if thread.name == "cnnkit"]
