"""Asks plugins for their names, each in a separate process: one that crashes, exits or hangs takes nothing along."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn, cast

from cnnkit import caller_warnings
from cnnkit.components import hook_calls, hookspecs
from cnnkit.components.plugin_metadata import KINDS, Plugin
from cnnkit.errors import CnnkitWarning
from cnnkit.printable_text import cut
from cnnkit.process_activity import Watch

PATIENCE, IDLE = 30.0, 10.0
"""Seconds in which a plugin must answer, and for which it may do nothing: a large import from a slow disk takes many,
but computes and reads all the time."""
TOLD = 2.0
"""Seconds after which a wait is reported."""
STARTING = 60.0
"""Seconds in which a process must be ready to ask it, on a machine that has much else to do."""
AT_ONCE = 4
"""Plugins that are asked at once, or as many as there are processors: one that waits needs none."""
TICK = 0.05
"""Seconds between two looks at a process that is silent."""
SETTLING = 1.0
"""Seconds in which processes that a plugin has forked may show whether they come back from it."""
MOST = 1 << 24
"""Bytes that an answer may have."""
COPY = 86
"""Exit code of a process that a plugin has forked and that came back from it."""

_in_child = False


@dataclass
class Found:
    """What a plugin provides, and what is wrong with it, by kind; what is wrong with its module stands under ""."""

    names: dict[str, list[str]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    imported: bool = False

    def faults(self, kind: str) -> list[str]:
        """What is wrong with the module, and with its hook for this kind."""
        return [*self.problems.get("", []), *self.problems.get(kind, [])]


def can_probe(plugin: Plugin) -> bool:
    """Whether another process can and may import a plugin, and this one has not done so."""
    return (
        plugin.installed
        and not plugin.blocked
        and not plugin.mismatch
        and plugin.module not in sys.modules
        and not _in_child
    )


def probe(plugins: Sequence[Plugin]) -> list[Found]:
    """What each plugin provides; several are asked at once."""
    found: list[Found] = []
    at_once = max(AT_ONCE, os.cpu_count() or 1)
    for start in range(0, len(plugins), at_once):
        with contextlib.ExitStack() as stack:
            watches: list[Watch] = []
            some = plugins[start : start + at_once]
            children = [stack.enter_context(_Child(plugin, KINDS, watches)) for plugin in some]
            found += map(_followed, children)
    return found


class _GoneError(Exception):
    """A process did not answer; the text says what it did instead."""


class _SilentError(_GoneError):
    """It did nothing, for as long as a plugin may."""


class _Child:
    """A process that imports one plugin, and asks its hooks of some kinds.

    watches: of those that are asked at the same time, whose idleness counts while another one is awaited.
    """

    def __init__(self, plugin: Plugin, kinds: Iterable[str], watches: list[Watch]) -> None:
        self.plugin, self._told = plugin, False
        self._read = bytearray()
        self._pipe, theirs = os.pipe()
        given = {"path": sys.path, "pipe": theirs, "value": plugin.value, "kinds": [*kinds]}
        given |= {"distribution": plugin.distribution, "version": plugin.version}
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-c",
                    "import json, sys; given = json.load(sys.stdin); sys.path[:] = given['path']\n"
                    "from cnnkit.components.plugin_isolation import report; report(given)",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,  # what it prints belongs to no answer
                pass_fds=(theirs,),
                start_new_session=True,  # so that what the plugin has started ends with it
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(theirs)
        self._watch, self._watches = Watch(self._process.pid), watches
        watches.append(self._watch)
        with contextlib.suppress(BrokenPipeError), cast(IO[bytes], self._process.stdin) as file:
            file.write(json.dumps(given).encode())

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, of those that ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._pipe)

    def answer(self, patience: float, **expected: Callable[[Any], bool]) -> dict[str, Any]:
        """The next answer, with these keys and what holds for their values.

        Raises _GoneError if none comes within that many seconds, or something else does: a plugin may write into any
        descriptor that its process has. A warning reports a wait of `TOLD` seconds.
        """
        began = time.monotonic()
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while b"\n" not in self._read and len(self._read) <= MOST:
            ended = self._process.poll() is not None
            ready = poll.poll(0 if ended else TICK * 1000)
            data = os.read(self._pipe, 1 << 16) if ready else b""
            self._read += data
            if ended and not data:
                raise _GoneError(_ending(self._process.returncode))
            if ready and not data:  # it has become another program
                time.sleep(TICK)
            if b"\n" in data:
                continue
            if (waited := time.monotonic() - began) > TOLD:
                self._tell()
            if waited > patience:
                raise _GoneError(f"failed: TimeoutError: no answer within {patience:g} seconds")
            idle = {watch: watch.idle() for watch in self._watches}
            if idle[self._watch] > IDLE:
                raise _SilentError(f"failed: TimeoutError: no answer, and no work, for {IDLE:g} seconds")
        line, _, self._read = self._read.partition(b"\n")
        try:
            answer = json.loads(line[:MOST])
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and answer.get("forked"):
            raise _GoneError("forked the process and returned in both")
        if not (isinstance(answer, dict) and all(holds(answer.get(key)) for key, holds in expected.items())):
            raise _GoneError("wrote to the pipe that carries its answers")
        return answer

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            plugin = self.plugin
            text = f"waiting for the plugin {plugin.distribution} {plugin.version}, which is asked what it provides"
            caller_warnings.warn(text, CnnkitWarning)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_kinds(value: Any) -> bool:
    return _is_texts(value) and len(set(value)) == len(value) and KINDS.keys() >= set(value)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended the process with exit code {code}"
    number = signal.Signals(-code)
    return f"ended the process by {number.name} ({signal.strsignal(number)})"


def _followed(child: _Child) -> Found:
    """All answers of a child; where it goes away while a hook is asked, another one is asked for the rest."""
    found = Found()
    kind, kinds = "", []
    try:
        child.answer(STARTING, ready=bool)
        module = child.answer(PATIENCE, imported=_is_bool, problems=_is_texts, kinds=_is_kinds)
        found.imported, found.problems[""], kinds = module["imported"], module["problems"], module["kinds"]
        for kind in kinds:
            answer = child.answer(PATIENCE, names=_is_texts, problems=_is_texts)
            found.names[kind], found.problems[kind] = answer["names"], answer["problems"]
    except _GoneError as gone:
        step = f"{KINDS[kind][0]}()" if kind else f"importing {child.plugin.value}"
        found.problems[kind] = [f"{step} {gone}"]
        rest = kinds[kinds.index(kind) + 1 :] if kind and not isinstance(gone, _SilentError) else []
        if rest:
            with _Child(child.plugin, rest, []) as another:
                others = _followed(another)
            found.names |= others.names
            if others.imported:
                others.problems.pop("")  # they are known
            found.problems |= others.problems
    return found


def report(given: dict[str, Any]) -> NoReturn:
    """What the process of a `_Child` does: import the plugin, ask its hooks, write each answer as a line of JSON."""
    global _in_child
    _in_child = True
    tell = _teller(given["pipe"])
    tell(ready=True)
    entry = importlib.metadata.EntryPoint("plugin", given["value"], hookspecs.NAMESPACE)
    try:
        loaded = hook_calls.load(Plugin(given["distribution"], given["version"], given["value"], entry.load))
        loaded.problems[""] += _threads_left("when it is imported")
        kinds = [kind for kind in given["kinds"] if kind in loaded.hooks]
        tell(imported=loaded.imported, problems=loaded.problems[""], kinds=kinds)
        for kind in kinds:
            before = set(threading.enumerate())
            names = list(loaded.ask(kind))
            tell(names=names, problems=loaded.problems[kind] + _threads_left(f"in {KINDS[kind][0]}()", before))
    finally:
        os._exit(1 if sys.exc_info()[0] else 0)  # what the plugin has left to do at the end of a process is not wanted


def _threads_left(when: str, before: Container[threading.Thread] = ()) -> list[str]:
    """What is wrong with threads that a plugin has started: a process ends only after those that are no daemons."""
    others = (one for one in threading.enumerate() if one is not threading.main_thread() and one not in before)
    return [
        f"it starts the thread {cut(one.name)!r} {when}, and no process ends before that does: make it a daemon, or "
        "start it where it is needed"
        for one in others
        if not one.daemon
    ]


def _teller(pipe: int) -> Callable[..., None]:
    own, forks = os.getpid(), []
    os.register_at_fork(after_in_parent=lambda: forks.append(True))

    def tell(**answer: Any) -> None:
        if os.getpid() != own:
            os._exit(COPY)
        line = json.dumps({"forked": True} if forks and _returned_twice() else answer) + "\n"
        with os.fdopen(os.dup(pipe), "w") as file:
            file.write(line)

    return tell


def _returned_twice() -> bool:
    """Whether one of the processes that were forked comes back from the plugin's code, as this one has."""
    deadline = time.monotonic() + SETTLING
    while time.monotonic() < deadline:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if child and os.waitstatus_to_exitcode(status) == COPY:
            return True
        time.sleep(TICK / 5)
    return False
