"""Runs commands on models that ask for much; prints what each said, and the memory of all, as one JSON object.

usage: cost_driver.py guarded|careless CASE...; careless: a positive control that looks at no cost

Each command may take 60 seconds of the processor, however loaded it is; a longer one ends this process by SIGPROF.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
from pathlib import Path

import numpy as np

from cnnkit.cli import main
from cnnkit.network import Sequential
from cnnkit.network.execution import cost
from cnnkit.registry import Registry

SECONDS = 60
DIGIT = (1, 8, 8)
MILLION, BILLION = 10**6, 10**9
CASES: dict[str, tuple[list[str], tuple[int, ...]]] = {
    "image": (["Flatten()"], (1, BILLION, BILLION)),
    "overflow": (["Flatten()"], (1, 2**32, 2**32)),
    "padding": (["Conv2D(1, 1, padding=5000)", "Flatten()"], DIGIT),
    "padding_twice": (["Conv2D(1, 1, padding=900)", "ReLU()", "ReLU()", "ReLU()", "ReLU()"] * 2 + ["Flatten()"], DIGIT),
    "doubling": (["Flatten()", *["Concat([], [])"] * 28], DIGIT),
    "branches": (["Flatten()", *[f"Concat({', '.join(['[]'] * 2400)})"] * 2], DIGIT),
    "dilation": ([f"Conv2D(1, 2, padding={MILLION}, dilation={2 * MILLION})", "Flatten()"], DIGIT),
    "gaps": (["Conv2D(10, 1, padding=500000000, stride=500000000)", "Flatten()"], DIGIT),
    "loops": (["Conv2D(1, 1, padding=600)", "AvgPool2D(600, 1)", "Flatten()"], DIGIT),
    "stride": (["Conv2D(10, 1, stride=10000000)", "Flatten()"], DIGIT),
    "stride_of_a_layer_inside": (["ReLU()", f"Conv2D(10, 3, stride={BILLION}, padding=1)", "Flatten()"], DIGIT),
    "average": (['AvgPool2D(3000, 1, "same")', "Flatten()"], DIGIT),
    "maximum": ([f'MaxPool2D({BILLION}, 1, "same")', "Flatten()"], DIGIT),
    "layers": (["Flatten()", *["ReLU()"] * 1000], DIGIT),
}
COMMANDS = {
    "predict": ("net", "one.npy"),
    "evaluate": ("net",),
    "export": ("net", "-o", "net.onnx"),
    "explain": ("net", "--sample", "3", "-o", "net.html"),
    "attribute": ("net", "one.npy", "--method", "integrated-gradients"),
    "models export-bundle": ("net", "-o", "net.zip"),
    "plot": ("net", "--kind", "predictions", "-o", "net.png"),
}


def peak() -> int:
    """The most bytes of memory that this process has had."""
    return 1024 * int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])


def run(command: str) -> tuple[int, list[str]]:
    """The exit code, and the lines that are no warnings."""
    err = io.StringIO()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
            main([*command.split(), *COMMANDS[command]])
    except SystemExit as stop:
        lines = [line for line in err.getvalue().splitlines() if not line.startswith("warning: Digits()")]
        return int(stop.code or 0), lines
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def register(case: str) -> None:
    layers, shape = CASES[case]
    model = Sequential(layers, shape)
    Registry().save(model, "net", dataset={"name": "Digits()", "digest": ""})


if __name__ == "__main__":
    mode, *cases = sys.argv[1:]
    if mode == "careless":
        cost.FREE_BYTES = cost.MOST_WORK = 10**30
    np.save("one.npy", np.ones(DIGIT, np.float32))
    register("stride")
    for command in COMMANDS:
        run(command)  # what they import is counted before
    before, said = peak(), {}
    for case in cases or CASES:
        register(case)
        said[case] = {command: run(command) for command in (COMMANDS if mode == "guarded" else ["predict"])}
    print(json.dumps({"said": said, "memory": peak() - before}))
