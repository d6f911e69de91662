"""Plugins that crash, exit, hang or fork are told as such, by a process that they cannot take along."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.components import Catalog, Plugin, installed_plugins, plugin_isolation
from cnnkit.components.process_state import undisturbed
from cnnkit.errors import CnnkitWarning, ComponentError
from cnnkit.process_activity import PROCESSES

Install = Callable[[str, str], Plugin]
LAYERS = """
from cnnkit import Layer, hookimpl
class {name}(Layer):
    pass
@hookimpl
def cnnkit_layers():
    return [{name}]
"""
HOOK = "from cnnkit import hookimpl\n@hookimpl\ndef cnnkit_losses():\n    "
CRASH = "import faulthandler\nfaulthandler._sigsegv()"
WRITE = """\
import os
for number in range(3, 100):
    try:
        os.write(number, b'{}')
    except OSError:
        pass
"""
FORGED = "importing {} wrote to the pipe that carries its answers"
LONG = "cnnkit_losses() returned a class whose name has more than 100 characters"
GONE = {
    "exits": ("import os\nos._exit(0)", "importing {} ended the process with exit code 0"),
    "exits-with-9": ("import os\nos._exit(9)", "importing {} ended the process with exit code 9"),
    "crashes": (CRASH, "importing {} ended the process by SIGSEGV (Segmentation fault)"),
    "aborts": ("import os\nos.abort()", "importing {} ended the process by SIGABRT (Aborted)"),
    "kills": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "importing {} ended the process by SIGKILL (Killed)",
    ),
    "kills-its-group": (
        "import os, signal\nos.killpg(0, signal.SIGKILL)",
        "importing {} ended the process by SIGKILL (Killed)",
    ),
    "forks": (
        "import os\nos.fork()" + LAYERS.format(name="Two"),
        "importing {} forked the process and returned in both",
    ),
    "asks": ("input()", "importing {} failed: EOFError: EOF when reading a line"),
    "interrupts": ("raise KeyboardInterrupt", "importing {} ended the process with exit code 1"),
    "recurses": ("def f(): f()\nf()", "importing {} failed: RecursionError: maximum recursion depth exceeded"),
    "hook-crashes": (HOOK + "import faulthandler; faulthandler._sigsegv()", "cnnkit_losses() ended the process by SIG"),
    "hook-exits": (HOOK + "import os; os._exit(3)", "cnnkit_losses() ended the process with exit code 3"),
    "hook-never-ends": (HOOK + "while True: yield int", "cnnkit_losses() returned more than 10,000 classes"),
    "hook-forks": (HOOK + "import os; os.fork(); return []", "cnnkit_losses() forked the process and returned in bo"),
    "forges": (WRITE.format(r'{"names": ["Forged"], "problems": []}' + "\\n"), FORGED),
    "writes": (WRITE.format("\\xff\\n[1]\\nnull\\n"), FORGED),
    "writes-for-ever": ("while True:\n    " + WRITE.format("x" * 65536).replace("\n", "\n    "), FORGED),
    "closes": ("import os\nos.closerange(0, 300)", "importing {} ended the process with exit code 1"),
    "complains": ("raise ValueError('x' * 100_000)", "importing {} failed: ValueError: " + "x" * 4000),
    "long-name": (HOOK + "from cnnkit.components import Loss; return [type('A' * 101, (Loss,), {})]", LONG),
    "long-repr": (HOOK + "return ['A' * 100_000]", "cnnkit_losses() returned 'AAA"),
}
"""Module of each plugin, and what is said of it."""
HANGING = {
    "drips": (
        "import time\nwhile True:\n    time.sleep(0.01)\n    " + WRITE.format("x").replace("\n", "\n    "),
        "importing {} failed: TimeoutError: no answer within 2 seconds",
    ),
    "hangs": (
        "import threading\nthreading.Event().wait()",
        "importing {} failed: TimeoutError: no answer within 2 seconds",
    ),
    "spins": ("while True: pass", "importing {} failed: TimeoutError: no answer within 2 seconds"),
    "becomes-another": (
        "import os\nos.execv('/bin/sleep', ['sleep', '60'])",
        "importing {} failed: TimeoutError: no answer within 2 seconds",
    ),
    "hook-hangs": (HOOK + "import time; time.sleep(60)", "cnnkit_losses() failed: TimeoutError: no answer within 2 s"),
}
"""Module of each plugin that never answers, and what is said of it."""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution with one module."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(distribution: str, source: str) -> Plugin:
        module = distribution.replace("-", "_")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[cnnkit]\nplugin = {module}\n")
        (tmp_path / f"{module}.py").write_text(source)
        importlib.invalidate_caches()
        return next(plugin for plugin in installed_plugins() if plugin.distribution == distribution)

    return put


def test_what_does_not_answer_is_told(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_isolation, "PATIENCE", 2.0)
    plugins = {name: install(f"probe-{name}", source) for name, (source, _) in HANGING.items()}
    catalog = Catalog(list(plugins.values()))
    assert catalog.names("layer") == []
    for name, (_, said) in HANGING.items():
        (problem,) = catalog.problems(plugins[name])
        assert problem.startswith(said.format(plugins[name].module)), problem


WAITING = "no answer, and no work, for 0.5 seconds"


@pytest.mark.skipif(not PROCESSES.is_dir(), reason="the system does not tell what processes do")
def test_who_does_nothing_is_not_waited_for(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_isolation, "IDLE", 0.5)
    monkeypatch.setattr(plugin_isolation, "TOLD", 0.2)
    monkeypatch.setattr(plugin_isolation, "PATIENCE", 1800.0)
    sleeping = install("probe-sleeps", "import time; time.sleep(3600)")
    hook = install("probe-hook", HOOK + "import time; time.sleep(3600)" + LAYERS.format(name="Before"))
    until = "import time; until = time.process_time() + 1\nwhile time.process_time() < until: pass\n"
    busy = install("probe-busy", until + LAYERS.format(name="Busy"))
    catalog = Catalog([sleeping, hook, busy])
    with pytest.warns(
        CnnkitWarning, match=r"^waiting for the plugin probe-sleeps 1\.0, which is asked what it provides$"
    ):
        assert catalog.names("layer") == ["Before", "Busy"]
    assert catalog.problems(sleeping) == [f"importing probe_sleeps failed: TimeoutError: {WAITING}"]
    assert catalog.problems(hook) == [f"cnnkit_losses() failed: TimeoutError: {WAITING}"]
    assert catalog.problems(busy) == []


def test_what_goes_wrong_is_told_and_takes_nothing_along(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_isolation, "MOST", 1 << 19)
    plugins = {name: install(f"probe-{name}", source) for name, (source, _) in GONE.items()}
    good = install("probe-good", LAYERS.format(name="Good"))
    half = install("probe-half", LAYERS.format(name="Half") + HOOK + "import os; os._exit(4)")
    catalog = Catalog([*plugins.values(), good, half])
    assert set(catalog.names("layer")) == {"Good", "Half"}
    for name, (_, said) in GONE.items():
        (problem,) = catalog.problems(plugins[name])
        assert problem.startswith(said.format(plugins[name].module)), problem
        assert len(problem) < 5000
    assert catalog.problems(good) == []
    assert catalog.problems(half) == ["cnnkit_losses() ended the process with exit code 4"]
    assert not {plugin.module for plugin in catalog.plugins} & sys.modules.keys()
    with pytest.raises(ComponentError) as caught:
        catalog.find("loss", "Wanted", "probe-crashes")
    assert str(caught.value) == (
        "there is no loss named 'Wanted'\n  probe-crashes 1.0 is broken and may provide it: importing probe_crashes "
        "ended the process by SIGSEGV (Segmentation fault)"
    )
    assert catalog.find("layer", "Half").__name__ == "Half"
    assert catalog.origin(catalog.find("layer", "Good")) == good
    assert catalog.bringing("loss", "Wanted") is None  # a hook that ends processes is not asked in this one


@pytest.mark.parametrize("metadata", [b"", b"Metadata-Version: 2.1\n", b"Name: probe-b\xe4d\nVersion: 1\n"])
def test_metadata_that_cannot_be_read_takes_nothing_along(install: Install, tmp_path: Path, metadata: bytes) -> None:
    good = install("probe-good", LAYERS.format(name="Good"))
    install("probe-nameless", LAYERS.format(name="Nameless"))
    (tmp_path / "probe_nameless-1.0.dist-info" / "METADATA").write_bytes(metadata)
    (nameless,) = (plugin for plugin in installed_plugins() if plugin.module == "probe_nameless")
    assert (nameless.distribution, nameless.version) == ("unknown", "?")
    assert set(Catalog([good, nameless]).names("layer")) == {"Good", "Nameless"}


def test_a_name_imports_only_the_plugin_that_brings_it(install: Install) -> None:
    one, other = install("probe-one", LAYERS.format(name="One")), install("probe-other", LAYERS.format(name="Other"))
    catalog = Catalog([one, other])
    assert catalog.build("layer", "One()").kind == "layer"
    assert {one.module, other.module} & sys.modules.keys() == {one.module}


def test_a_plugin_that_works_only_in_a_process_of_its_own_is_said(install: Install, tmp_path: Path) -> None:
    place = tmp_path / "seen"
    plugin = install("probe-fickle", f"import os\nos.mkdir({str(place)!r})" + LAYERS.format(name="Fickle"))
    with pytest.raises(ComponentError) as caught:
        Catalog([plugin]).find("layer", "Fickle")
    assert str(caught.value).startswith(
        "probe-fickle 1.0 provides the layer Fickle in a separate process, but not in this one: importing "
        "probe_fickle failed: FileExistsError: "
    )


def test_what_a_plugin_has_started_ends_with_the_question(install: Install, tmp_path: Path) -> None:
    started = tmp_path / "started"
    source = f"""\
    import os, time
    if os.fork() == 0:
        open({str(started)!r}, "w").write(str(os.getpid()))
        time.sleep(600)
    while not (os.path.exists({str(started)!r}) and open({str(started)!r}).read()):
        time.sleep(0.01)
    """
    plugin = install("probe-server", textwrap.dedent(source) + LAYERS.format(name="Server"))
    assert Catalog([plugin]).names("layer") == ["Server"]
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            os.kill(int(started.read_text()), 0)
        except ProcessLookupError:
            break
        if (
            Path(f"/proc/{started.read_text()}/stat").exists()
            and ") Z " in Path(f"/proc/{started.read_text()}/stat").read_text()
        ):
            break  # it has ended, and nobody has asked how
        time.sleep(0.01)
    else:
        pytest.fail("the process that the plugin started still runs")


def test_ctrl_c_ends_the_question_and_what_was_asked(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = install("probe-slow", "import time\ntime.sleep(600)")
    asked: list[Any] = []
    original = subprocess.Popen

    def remembered(*arguments: Any, **options: Any) -> Any:
        asked.append(original(*arguments, **options))
        return asked[-1]

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", remembered)
    monkeypatch.setattr(plugin_isolation, "_followed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Catalog([plugin]).names("layer")
    assert [process.returncode for process in asked] == [-signal.SIGKILL]


def disturb() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.alarm(100)
    os.chdir("/")
    sys.stdout = sys.stderr
    np.seterr(all="raise")


def process_wide() -> tuple[Any, ...]:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)]
    mask, timer = signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getitimer(signal.ITIMER_REAL)
    return handlers, mask, timer, os.getcwd(), sys.stdout, np.geterr()


def test_what_belongs_to_the_process_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = process_wide()
    with undisturbed():
        disturb()
        inside = process_wide()
    assert process_wide() == before
    assert all(one != other for one, other in zip(inside, before, strict=True))


def test_it_is_given_back_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = process_wide()

    def fail() -> None:
        with undisturbed():
            disturb()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert process_wide() == before
