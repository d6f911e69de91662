"""Two shells that train into one registry, one of them killed again and again; prints what became of the versions that
were acknowledged as one JSON object.

usage: shells_driver.py safe|naive FOLDER KILLS

Every second kill waits until the training has begun to save.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cnnkit.errors import RegistryError
from cnnkit.registry import Registry

RECIPE = """\
[model]
name = "shared"
layers = ["Flatten()", "Dense(10)"]
[data]
dataset = "Digits()"
[train]
optimizer = "SGD(0.1)"
epochs = 1
batch_size = 256
"""
COMMANDS = {
    "safe": [sys.executable, "-m", "cnnkit.cli"],
    "naive": [sys.executable, str(Path(__file__).with_name("naive_command.py"))],
}


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    arguments = ["train", str(folder / "shared.toml"), "--registry", str(folder / "registry"), "--json"]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def saved(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Reference and digest that a training printed."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    document = json.loads(out)
    return document["ref"], document["digest"]


def train_undisturbed(command: list[str], folder: Path, stop: threading.Event) -> list[tuple[str, str]]:
    told = []
    while not stop.is_set():
        told.append(saved(start(command, folder)))
    return told


def wait_for_a_save(process: subprocess.Popen[str], model: Path) -> None:
    """Until there is a new file in the model's folder, or the training is over."""
    before = set(os.listdir(model))
    while process.poll() is None and set(os.listdir(model)) <= before:
        time.sleep(0.0002)


def disturb(command: list[str], folder: Path, kills: int, seconds: float) -> int:
    """Kill one training after the other; how many of them were at work."""
    moments = random.Random(0)
    hit = 0
    for number in range(kills):
        process = start(command, folder)
        if number % 2:
            wait_for_a_save(process, folder / "registry" / "shared")
        else:
            time.sleep(moments.uniform(0, seconds))
        process.kill()
        process.communicate()
        hit += process.returncode < 0
    return hit


def readable(registry: Registry, ref: str, digest: str) -> bool:
    try:
        return registry.read(ref).version.digest == digest
    except RegistryError:
        return False


if __name__ == "__main__":
    command, folder = COMMANDS[sys.argv[1]], Path(sys.argv[2])
    (folder / "shared.toml").write_text(RECIPE)
    began = time.monotonic()
    told = [saved(start(command, folder))]
    seconds = time.monotonic() - began
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:
        other = pool.submit(train_undisturbed, command, folder, stop)
        hit = disturb(command, folder, int(sys.argv[3]), seconds)
        stop.set()
        told += other.result()
    registry = Registry(folder / "registry")
    result = {
        "hit": hit,
        "acknowledged": len(told),
        "lost": [ref for ref, digest in told if not readable(registry, ref, digest)],
        "numbers": len({ref for ref, _ in told}),
        "problems": list(map(str, registry.verify())),
        "removed": len(registry.gc()),
        "left": sorted(name for name in os.listdir(folder / "registry" / "shared") if not name.startswith("v")),
    }
    print(json.dumps(result))
