"""Version files that are whole and sealed, with weights that fit, and a manifest that means harm to what reads it.

Most of them load: what they name is met only later, when a command asks what the model was trained with or shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import hostile_models  # type: ignore[import-not-found]  # in tests/onnx
import numpy as np

from cnnkit.registry.format import sealing
from cnnkit.registry.model_manifest import describe
from cnnkit.types import Array

MODEL = hostile_models.MODEL
OUTSIDE = "{outside}"
"""Stands for a folder outside of everything that is allowed, with files that could be used."""
CODE = f"__import__('os').system('touch {OUTSIDE}/touched')"
SHELL = f"$(touch {OUTSIDE}/touched)"
STEERING = "\x1b]0;evil\x07\x1b[2J"

DATASETS = {
    "npz": f"Arrays('{OUTSIDE}/secret.npz')",
    "hdf5": f"Arrays('{OUTSIDE}/secret.h5')",
    "npy": f"Arrays('{OUTSIDE}/x.npy', targets='{OUTSIDE}/y.npy')",
    "relative": "Arrays('../outside/secret.npz')",
    "in_the_working_folder": "Arrays('secret.npz')",
    "in_the_home_folder": "Arrays('~/secret.npz')",
    "of_the_system": "Arrays('/etc/passwd')",
    "of_the_process": "Arrays('/proc/self/environ')",
    "device_without_end": "Arrays('/dev/zero')",
    "address": "Arrays('https://example.org/secret.npz')",
    "share": r"Arrays('\\\\example.org\\secret\\x.npz')",
    "download": "MNIST()",
    "large_download": "CIFAR10()",
    "another_download": "EMNIST('letters')",
    "missing_plugin": "evil:Digits()",
    "no_plugin": "numpy:Digits()",
    "layer": "Dense(10)",
    "inside_a_dataset": f"Digits(Arrays('{OUTSIDE}/secret.npz'))",
    "made_of_a_file": f"Denoising(Arrays('{OUTSIDE}/secret.npz'))",
    "made_of_a_download": "Overlapping(MNIST())",
    "larger_than_memory": "Waveforms(train=1000000000)",
    "many_of_few": "Overlapping(Digits(), train=1000000000)",
    "list": f"[Digits(), Arrays('{OUTSIDE}/secret.npz')]",
    "code": CODE,
    "conditional_code": f"Digits() if {CODE} else 0",
    "shell": SHELL,
    "piped": f"Digits() | touch {OUTSIDE}/touched",
    "option": f"--registry={OUTSIDE}",
    "empty": "",
    "deep": "Digits(" * 3000 + ")" * 3000,
    "long": "A" * 200_000 + "()",
    "steering": f"{STEERING}Digits()",
    "zero_byte": f"Digits()\0{OUTSIDE}",
}
LOSSES: dict[str, Any] = {
    "missing_plugin": "evil:CrossEntropy()",
    "no_plugin": "numpy:CrossEntropy()",
    "path": f"CrossEntropy('{OUTSIDE}/secret')",
    "dataset": f"Arrays('{OUTSIDE}/secret.npz')",
    "code": CODE,
    "shell": SHELL,
    "number": 3,
    "list": ["CrossEntropy()"],
    "another": "MSE()",
}
METRICS: dict[str, Any] = {
    "missing_plugin": ["Accuracy()", "evil:Accuracy()"],
    "code": ["Accuracy()", CODE],
    "dataset": [f"Arrays('{OUTSIDE}/secret.npz')"],
    "text": "Accuracy()",
    "many": ["Accuracy()"] * 300,
    "steering": [f"{STEERING}()"],
}
LABELS = {
    "paths": [f"{OUTSIDE}/secret.npz"] * 10,
    "different_paths": [f"../outside/{i}" for i in range(10)],
    "addresses": [f"file://{OUTSIDE}/{i}" for i in range(10)],
    "page": [f"<script src='file://{OUTSIDE}/{i}'></script>" for i in range(10)],
    "pictures": [f"<img src='https://example.org/{i}'>" for i in range(10)],
    "shell": [f"{SHELL}{i}" for i in range(10)],
    "formats": [f"{{0.__class__.__mro__[{i}]}}%n%s" for i in range(10)],
    "formulas": [rf"$\input{{{OUTSIDE}/{i}}}$" for i in range(10)],
    "steering": [f"{STEERING}{i}" for i in range(10)],
    "lines": [f"a\nb\r{i}" for i in range(10)],
    "zero_bytes": [f"{i}\0" for i in range(10)],
    "long": [f"{i}" * 100_000 for i in range(10)],
    "equal": ["same"] * 10,
    "too_few": ["one"],
}
LAYERS = {
    "missing_plugin": "evil:Dense(10)",
    "no_plugin": "numpy:Dense(10)",
    "path": f"Dense('{OUTSIDE}/secret')",
    "option": f"Dense(10, path='{OUTSIDE}/secret')",
    "dataset": f"Arrays('{OUTSIDE}/secret.npz')",
    "runtime": "OnnxRuntime()",
    "code": f"Dense({CODE})",
}
TRAINING = {
    "optimizer": f"evil:SGD('{OUTSIDE}')",
    "schedule": CODE,
    "gradient": f"Gradient('{OUTSIDE}')",
    "callbacks": [f"Run('touch {OUTSIDE}/touched')"],
    "augmentations": [f"Images('{OUTSIDE}')"],
    "record": [f"{OUTSIDE}/secret"],
}
EVIL = {"distribution": "evil", "version": "1.0; touch x"}


def _named(**changes: Any) -> dict[str, Any]:
    return changes


def _trained(**settings: Any) -> dict[str, Any]:
    return {"recipe": {"train": {"loss": "CrossEntropy()"} | settings}}


CHANGES: dict[str, Mapping[str, Any]] = {
    **{f"dataset_{name}": {"dataset": {"name": text, "digest": "0"}} for name, text in DATASETS.items()},
    **{f"loss_{name}": _trained(loss=loss) for name, loss in LOSSES.items()},
    **{f"metrics_{name}": _trained(metrics=metrics) for name, metrics in METRICS.items()},
    **{f"labels_{name}": _named(labels=labels, dataset=None) for name, labels in LABELS.items()},
    **{f"training_{name}": _trained(**{name: value}) for name, value in TRAINING.items()},
    **{f"layer_{name}": {"layers": [*map(repr, MODEL.layers[:-1]), text]} for name, text in LAYERS.items()},
    "origin_of_the_dataset": {"components+": {"dataset Digits": EVIL}},
    "origin_of_the_loss": _trained() | {"components+": {"loss CrossEntropy": EVIL}},
    "origin_of_a_layer": {"components+": {"Dense": EVIL}},
    "origin_without_plugin": {"components+": {"Dense": {"distribution": "numpy", "version": "2.0"}}},
    "digest_with_a_path": {"dataset": {"name": "Digits()", "digest": f"{OUTSIDE}/secret"}},
    "recipe_with_files": {"recipe": {"data": {"dataset": f"Arrays('{OUTSIDE}/secret.npz')", "dir": OUTSIDE}}},
    "recipe_with_modules": {"recipe": {"plugins": {"import": ["os", "evil"], "path": OUTSIDE}}},
    "recipe_with_another": {"recipe": {"extends": {"recipe": f"{OUTSIDE}/secret.toml"}}},
    "settings_with_folders": {"settings": {"registry": OUTSIDE, "data_dir": OUTSIDE, "workers": 10**9, "tile": -1}},
    "settings_with_a_program": {"settings": {"python": "/bin/sh", "command": SHELL}},
    "versions_with_commands": {"versions": {"evil; touch x": SHELL, "python": "../../bin/sh"}},
    "environment_with_commands": {"environment": {"revision": SHELL, "processor": f"{OUTSIDE}/secret"}},
    "history_of_paths": {"history": {f"{OUTSIDE}/secret": [1.0], STEERING: [float("nan")]}},
    "metrics_of_paths": {"metrics": {f"{OUTSIDE}/secret": 1.0}},
    "scale_beyond_everything": {"preprocessing": {"scale": 1e308, "mean": [0.0], "std": [1e-308]}},
    "range_beyond_everything": {"input_range": [-1e30, 1e30]},
    "seed_beyond_everything": {"seed": 10**400},
    "task_of_values": {"task": {"gives": "values", "from_logits": False}},
    "task_of_labels": {"task": {"gives": "labels", "from_logits": True}},
    "numbers_of_64_bits": {"dtype": "float64"},
    "inputs_of_bytes": {"input_dtype": "uint8"},
    "inputs_of_another_shape": {"input_shape": [1, 9, 9]},
    "inputs_without_end": {"input_shape": [1, 2**31, 2**31]},
}


def version(change: Mapping[str, Any], outside: Path) -> bytes:
    """The file of the model, sealed, with a change of its manifest; a key that ends with + is added to.

    outside: the folder that it points to.
    """
    state = MODEL.state()
    nothing: dict[str, Any] = {"recipe": None, "history": {}, "metrics": {}, "settings": {}}
    manifest = json.loads(
        describe(MODEL, "net", tuple(state), **nothing, dataset={"name": "Digits()", "digest": "0"}).encode()
    )
    for key, value in change.items():
        manifest[key.rstrip("+")] = manifest[key[:-1]] | value if key.endswith("+") else value
    text = json.dumps(manifest).replace(OUTSIDE, str(outside))
    return bytes(sealing.pack(text.encode(), state))


def lay_out(outside: Path) -> None:
    """The files outside: a network could be measured on them."""
    outside.mkdir()
    rng = np.random.default_rng(0)
    arrays: dict[str, Array] = {"x": rng.random((40, 1, 8, 8), np.float32), "y": np.arange(40) % 10}
    np.savez(outside / "secret.npz", **arrays)  # type: ignore[arg-type]  # its third parameter is a flag
    with h5py.File(outside / "secret.h5", "w") as file:
        for name, array in arrays.items():
            np.save(outside / f"{name}.npy", array)
            file[name] = array
    (outside / "secret").write_bytes(arrays["x"].tobytes())
