"""A plugin that writes to stdout in every way there is whenever its code runs, and takes what is the process's."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from cnnkit import Layer, hookimpl
from cnnkit.components import Callback
from cnnkit.types import Array, Cache, Context, Grads


def shout(where: str) -> None:
    print(f"print {where}")
    sys.__stdout__.write(f"stdout {where}\n")  # type: ignore[union-attr]  # it is there in a process of its own
    os.write(1, f"descriptor {where}\n".encode())
    subprocess.run(["/bin/echo", "program", where], check=True)


shout("import")
atexit.register(shout, "end")
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.alarm(1)
os.chdir("/")


class Noisy(Layer):
    """Passes its input on, not in silence."""

    def __init__(self) -> None:
        shout("init")

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        shout("forward")
        return x, None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        shout("backward")
        return dy, {}


class Talks(Callback):
    """Says something after each epoch."""

    def after_epoch(self, history: Mapping[str, list[float]]) -> str:
        shout("epoch")
        return ""


@hookimpl
def cnnkit_layers() -> list[type[Layer]]:
    shout("hook")
    return [Noisy]


@hookimpl
def cnnkit_callbacks() -> list[type[Callback]]:
    return [Talks]
