"""Installed plugins that are broken, each in its own way, and the commands as processes: all of them at once by
default, each alone and with cnnkit's own patience in full."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pytest

LAYER = """\
from cnnkit import Layer, hookimpl


class {name}(Layer):
    def forward(self, x, ctx):
        return x, None

    def backward(self, dy, cache, ctx):
        return dy, {{}}


@hookimpl
def cnnkit_layers():
    return [{name}]
"""
HOOK = "from cnnkit import hookimpl\n\n\n@hookimpl\ndef "
BROKEN = {
    "import-error": ("from cnnkit import Convolution", "ImportError: cannot import name 'Convolution'"),
    "missing-dependency": ("import not_installed_here", "ModuleNotFoundError: No module named 'not_installed_here'"),
    "missing-module": (None, "ModuleNotFoundError: No module named 'cnnkit_missing_module'"),
    "syntax-error": ("def cnnkit_layers(:", "SyntaxError: "),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "raises": ("1 / 0", "ZeroDivisionError: division by zero"),
    "raises-anything": ("class Odd(BaseException): pass\nraise Odd('odd')", "Odd: odd"),
    "hangs": ("import threading\nthreading.Event().wait()", "TimeoutError: no answer"),
    "hook-hangs": (
        f"{HOOK}cnnkit_losses():\n    import threading\n    threading.Event().wait()",
        "cnnkit_losses() failed: TimeoutError: no answer",
    ),
    "ends-the-process": (
        "import os\nos._exit(0)",
        "importing cnnkit_ends_the_process ended the process with exit code 0",
    ),
    "crashes": ("import faulthandler\nfaulthandler._sigsegv()", "ended the process by SIGSEGV (Segmentation fault)"),
    "hook-crashes": (
        f"{HOOK}cnnkit_layers():\n    import os\n    os.abort()",
        "cnnkit_layers() ended the process by SIG",
    ),
    "hook-never-ends": (f"{HOOK}cnnkit_layers():\n    while True: yield int", "returned more than 10,000 classes"),
    "forks": (f"import os\nos.fork()\n{LAYER.format(name='Forked')}", "forked the process and returned in both"),
    "reads": ("input()", "EOFError: EOF when reading a line"),
    "without-hooks": ("x = 1", "cnnkit_without_hooks implements no hook of cnnkit"),
    "unmarked-hook": ("def cnnkit_layers(): return []", "cnnkit_layers is never called: mark it with @cnnkit.hookimpl"),
    "hook-raises": (f"{HOOK}cnnkit_layers():\n    raise RuntimeError('not today')", "RuntimeError: not today"),
    "wrong-type": (f"{HOOK}cnnkit_layers():\n    return [dict]", "<class 'dict'>, which is not a layer class"),
    "returns-nothing": (
        f"{HOOK}cnnkit_layers():\n    pass",
        "cnnkit_layers() must return a list of classes, and returned None",
    ),
    "wrong-api": (f"{HOOK}cnnkit_layers(model):\n    return []", "PluginValidationError: "),
    "unknown-hook": (f"{HOOK}cnnkit_kernels():\n    return []", "cnnkit_kernels is not a hook of cnnkit"),
    "replaces-numpy": (
        f"import numpy\nnumpy.float32 = numpy.float64\n{LAYER.format(name='Wide')}",
        "importing cnnkit_replaces_numpy replaced numpy.float32; that was put back",
    ),
    "hook-replaces-numpy": (
        f"{HOOK}cnnkit_layers():\n    import numpy\n    numpy.random.default_rng = None\n    return []",
        "cnnkit_layers() replaced numpy.random.default_rng; that was put back",
    ),
    "leaves-a-thread": (
        f"import threading, time\nthreading.Thread(target=time.sleep, args=(600,), name='idle').start()\n"
        f"{LAYER.format(name='Threaded')}",
        "it starts the thread 'idle' when it is imported, and no process ends before that does",
    ),
    "hook-leaves-a-thread": (
        f"{HOOK}cnnkit_layers():\n    import threading, time\n"
        "    threading.Thread(target=time.sleep, args=(600,), name='idle').start()\n    return []",
        "it starts the thread 'idle' in cnnkit_layers(), and no process ends before that does",
    ),
    "other-api": (LAYER.format(name="Later"), "it is for version 2 of the plugin API, and this cnnkit has version 1"),
    "built-in-name": (LAYER.format(name="Dense"), "cnnkit itself has a layer Dense too: write cnnkit-built-in-name:De"),
    "shared-name": (LAYER.format(name="Good"), "cnnkit-good has a layer Good too: write cnnkit-shared-name:Good for t"),
}
"""Module of each broken plugin, None if there is none, and what must be said of it."""
YIELDING = LAYER.format(name="Yielded").replace("return [Yielded]", "yield Yielded")
BUSY = "import time\nuntil = time.monotonic() + {}\nwhile time.monotonic() < until: pass\n"
ODD = {
    "prints": (
        "import os\nprint('printed')\nos.write(1, b'written')\n"
        + LAYER.format(name="Printed").replace("return [", "print('asked')\n    return ["),
        "Printed",
    ),
    "yields": (YIELDING, "Yielded"),
    "serves": (
        f"import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        f"{LAYER.format(name='Served')}",
        "Served",
    ),
    "forks-aside": (
        f"import os\nif os.fork() == 0:\n    os._exit(0)\nos.wait()\n{LAYER.format(name='Aside')}",
        "Aside",
    ),
    "takes-long": (BUSY.format(0.5) + LAYER.format(name="Long"), "Long"),
}
"""Module of each plugin that does more than it needs to, and works; and its layer."""
RECIPE = """\
[model]
name = "tiny"
layers = ["{layer}", "Flatten()", "Dense(10)"]
[data]
dataset = "Digits()"
[train]
optimizer = "SGD(0.1)"
epochs = 1
batch_size = 256
"""
IMPATIENT = (
    "from cnnkit.components import plugin_isolation; plugin_isolation.PATIENCE = 2.0; "
    "from cnnkit.cli import main; main()"
)


def install(folder: Path, distribution: str, source: str | None) -> None:
    """What pip leaves of a distribution with one module."""
    module = distribution.replace("-", "_")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cnnkit]\nplugin = {module}\n")
    if distribution.endswith("other-api"):
        (info / "entry_points.txt").write_text(f"[cnnkit]\nplugin = {module}\n[cnnkit.api]\n2 = {module}\n")
    if source is not None:
        (folder / f"{module}.py").write_text(source)


def run(folder: Path, *arguments: str, patient: bool) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, *(("-m", "cnnkit.cli") if patient else ("-c", IMPATIENT)), *arguments]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    lines = done.stderr.splitlines(keepends=True)
    done.stderr = "".join(line for line in lines if not line.startswith("warning: waiting for the plugin "))
    return done


def check(folder: Path, names: Collection[str], odd: Iterable[str] = (), *, patient: bool) -> None:
    for name in names:
        install(folder / "site", f"cnnkit-{name}", BROKEN[name][0])
    for name in odd:
        install(folder / "site", f"cnnkit-{name}", ODD[name][0])
    install(folder / "site", "cnnkit-good", LAYER.format(name="Good"))
    for layer in ("ReLU()", "cnnkit-good:Good()"):
        (folder / "tiny.toml").write_text(RECIPE.format(layer=layer))
        trained = run(folder, "train", "tiny.toml", "--json", patient=patient)
        assert trained.returncode == 0, trained.stderr
    helped = run(folder, "--help", patient=patient)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "plugins" in helped.stdout
    listed = run(folder, "plugins", "list", "--json", patient=patient)
    assert (listed.returncode, listed.stderr) == (0, "")
    entries = {entry["distribution"]: entry for entry in json.loads(listed.stdout)}
    problems = {distribution: entry["problems"] for distribution, entry in entries.items()}
    for name in odd:
        entry = entries[f"cnnkit-{name}"]
        assert (entry["state"], entry["problems"]) == ("ready", []), entry
        assert entry["components"] == {"layer": [ODD[name][1]]}
    np.save(folder / "x.npy", np.zeros((1, 1, 8, 8), np.uint8))
    for command in (("models", "list"), ("predict", "tiny", "x.npy")):
        done = run(folder, *command, "--json", patient=patient)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        json.loads(done.stdout)
    asked = run(folder, "doctor", "--json", patient=patient)
    assert (asked.returncode, asked.stderr) == (1 if names else 0, "")
    diagnosed = json.loads(asked.stdout)["problems"]
    for name in names:
        (problem,) = problems[f"cnnkit-{name}"]
        assert BROKEN[name][1] in problem
        assert [text for text in diagnosed if text.startswith(f"cnnkit-{name} 1.0: ")] == [
            f"cnnkit-{name} 1.0: {problem}"
        ]
    assert problems["cnnkit"] == []
    (folder / "tiny.toml").write_text(RECIPE.format(layer="Godo()"))
    unknown = run(folder, "train", "tiny.toml", patient=patient)
    assert unknown.returncode == 2
    assert "there is no layer named 'Godo'" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_every_command_works_beside_all_of_them(tmp_path: Path) -> None:
    assert len(BROKEN) + len(ODD) >= 18
    check(tmp_path, BROKEN, ODD, patient=False)


@pytest.mark.full
@pytest.mark.parametrize("name", ODD)
def test_every_command_works_beside_each_that_works_full(tmp_path: Path, name: str) -> None:
    check(tmp_path, [], [name], patient=True)


@pytest.mark.full
def test_a_plugin_may_need_twenty_seconds_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ODD, "takes-twenty", (BUSY.format(20) + LAYER.format(name="Twenty"), "Twenty"))
    check(tmp_path, [], ["takes-twenty"], patient=True)


@pytest.mark.full
@pytest.mark.parametrize("name", BROKEN)
def test_every_command_works_beside_each_of_them_full(tmp_path: Path, name: str) -> None:
    check(tmp_path, [name], patient=True)


def test_positive_control_a_plugin_of_which_nothing_is_said_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BROKEN, "works", (LAYER.format(name="Works"), "whatever"))
    with pytest.raises(AssertionError):
        check(tmp_path, ["works"], patient=False)


def test_commands_of_built_in_components_import_no_plugin(tmp_path: Path) -> None:
    log = tmp_path / "imported"
    source = f"open({str(log)!r}, 'w').close()\nimport faulthandler\nfaulthandler._sigsegv()"
    install(tmp_path / "site", "cnnkit-fatal", source)
    (tmp_path / "tiny.toml").write_text(RECIPE.format(layer="ReLU()"))
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 8, 8), np.uint8))
    for command in (
        ("train", "tiny.toml"),
        ("predict", "tiny", "x.npy"),
        ("evaluate", "tiny"),
        ("models", "list"),
        ("models", "show", "tiny"),
        ("models", "verify"),
        ("summary", "tiny.toml"),
        ("gradcheck", "ReLU()"),
        ("reproduce", "tiny"),
    ):
        done = run(tmp_path, *command, patient=True)
        assert (done.returncode, log.exists()) == (0, False), done.stderr
    exported = run(tmp_path, "export", "tiny", "-o", "tiny.onnx", patient=True)  # asks for runtimes
    assert (exported.returncode, log.exists()) == (0, True), exported.stderr
    assert "cnnkit-fatal 1.0 is broken and may provide a runtime: importing cnnkit_fatal ended the process by SIG" in (
        exported.stdout + exported.stderr
    )
    named = run(tmp_path, "gradcheck", "cnnkit-fatal:Fatal()", patient=True)
    assert named.returncode == 2
    assert "error: there is no loss named 'Fatal'\n  cnnkit-fatal 1.0 is broken and may provide it: " in named.stderr
