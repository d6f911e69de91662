"""A registry of 10,000 versions, and a model of 100 MB: how long the commands take, and how much memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import description
from benchmarks.options import add_turns, count, parser
from benchmarks.report import publish, spread, table
from benchmarks.startup import seconds_of
from benchmarks.turn_taking import ROOT
from cnnkit.network import Sequential
from cnnkit.registry import Files, Registry

CNNKIT = str(Path(sys.executable).with_name("cnnkit"))
EPOCHS = 20
WARM = 3
"""Saves that are not counted."""
WARM_LIST, COLD_LIST = "`cnnkit models list`", "`cnnkit models list`, no file in the page cache"
SHOW = "`cnnkit models show`"
BARS = {
    WARM_LIST: "1.0 s",
    COLD_LIST: "3.0 s",
    SHOW: "0.4 s",
    "save": "0.5 s, 2.50 times",
    "read": "0.3 s, 2.50 times",
    "load": "0.3 s, 2.50 times",
}
TRAINING: dict[str, Any] = {
    "recipe": {
        "model": {"name": "net", "layers": ["Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(10)"]},
        "data": {"dataset": "Digits()", "validation": 0.1},
        "train": {
            "optimizer": "AdamW(0.01, weight_decay=0.01)",
            "loss": "CrossEntropy()",
            "schedule": "Cosine(warmup=1.0)",
            "metrics": ["Accuracy()"],
            "callbacks": [],
            "epochs": EPOCHS,
            "batch_size": 64,
            "seed": 0,
            "keep": "last",
        },
    },
    "history": {name: [0.123456789] * EPOCHS for name in ("loss", "accuracy", "validation_loss", "lr", "seconds")},
    "metrics": {"loss": 0.1, "accuracy": 0.97},
    "dataset": {"name": "Digits()", "digest": "0" * 64},
    "settings": {"workers": 2, "tile": 64},
}
"""What a version of a small training holds beside its weights."""


class Unsynced(Files):
    """Files that wait for no disk, to fill a registry in less time."""

    def sync(self, file: int) -> None:
        """Nothing."""

    def sync_folder(self, path: Path) -> None:
        """Nothing."""


def network(seed: int) -> Sequential:
    """A small model."""
    return Sequential(TRAINING["recipe"]["model"]["layers"], (1, 8, 8), seed=seed)


def fill(folder: Path, models: int, versions: int) -> None:
    """Register so many versions of so many models."""
    registry = Registry(folder, files=Unsynced())
    for model in range(models):
        for seed in range(versions):
            registry.save(network(seed), f"net-{model}", **TRAINING | {"metrics": {"accuracy": seed / versions}})
        registry.set_alias(f"net-{model}", "production")
        registry.set_tag(f"net-{model}", "stage", "candidate")
    os.sync()


def forget(folder: Path) -> None:
    """Let the operating system drop what it keeps in memory of the files in a folder; names and inodes stay."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def commands(folder: Path, turns: int) -> dict[str, list[float]]:
    """Seconds of the commands, each in a new process, from its start to its end."""
    at = ["--registry", str(folder)]
    listed = [CNNKIT, "models", "list", *at]

    def cold() -> float:
        forget(folder)
        return seconds_of(listed)

    where = ["--where", "accuracy>0.98 and train.optimizer~adam"]
    shown = [CNNKIT, "models", "show", "net-0", *at]
    return {
        WARM_LIST: [seconds_of(listed) for _ in range(turns + 1)][1:],
        COLD_LIST: [cold() for _ in range(turns)],
        "`cnnkit models list --where`": [seconds_of([*listed, *where]) for _ in range(turns)],
        SHOW: [seconds_of(shown) for _ in range(turns + 1)][1:],
    }


def saves(folder: Path, turns: int) -> tuple[list[float], list[float]]:
    """Seconds of saves into a model with few versions, and into the one with many, in turn."""
    registry, model = Registry(folder), network(0)

    def one(name: str) -> float:
        began = time.perf_counter()
        registry.save(model, name, **TRAINING)
        return time.perf_counter() - began

    pairs = [(one("few"), one("net-0")) for _ in range(turns + WARM)][WARM:]
    return [few for few, _ in pairs], [many for _, many in pairs]


def large(folder: Path, megabytes: int, turns: int) -> dict[str, list[dict[str, float]]]:
    """Seconds and bytes to save a large model, to read its verified arrays, and to load it; each in a new process."""

    def one(action: str) -> dict[str, float]:
        command = [sys.executable, "-m", "benchmarks.peers.large_model", str(folder), action, str(megabytes)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return dict(json.loads(done.stdout))

    return {action: [one(action) for _ in range(turns + 1)][1:] for action in ("save", "read", "load")}


def rows_of(title: str, times: dict[str, list[float]], bars: dict[str, str]) -> list[list[str]]:
    """Table rows of some measurements, each with its bar."""
    return [[f"{title}: {name}", spread(values, 3), bars.get(name, "")] for name, values in times.items()]


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parser(__doc__)
    add_turns(options)
    options.add_argument("--versions", type=count, default=10_000, help="of one model, and of 100 models together")
    options.add_argument("--megabytes", type=count, default=100, help="of the large model")
    args = options.parse_args(argv)
    machine = description()
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # with it, every command compiles cnnkit again, as no installation does
    rows: list[list[str]] = []
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for models in (1, 100):
            folder, versions = Path(temporary) / str(models), -(-args.versions // models)
            fill(folder, models, versions)
            title = f"{models} x {versions:,} versions"
            results[title] = commands(folder, args.epochs)
            rows += rows_of(title, results[title], BARS)
        few, many = results["saves"] = saves(Path(temporary) / "1", 10 * args.epochs)
        times = statistics.median(many) / statistics.median(few)
        rows.append(["save into a model of few versions", spread(few, 4), ""])
        rows.append(
            [f"save into a model of {args.versions:,}: {times:.2f} times as long", spread(many, 4), "1.20 times"]
        )
        store = Path(temporary) / "large"
        results["large"] = large(store, args.megabytes, args.epochs)
        nbytes = Registry(store).find("large").path.stat().st_size
        for action, turns in results["large"].items():
            grown = max(turn["bytes"] for turn in turns) / nbytes
            name = f"{action} {nbytes / 1e6:.0f} MB; memory {grown:.2f} times the file"
            rows.append([name, spread([turn["seconds"] for turn in turns], 3), BARS[action]])
    publish(args, machine, table(("what", "s (min-max)", "bar"), rows), results)


if __name__ == "__main__":
    main()
