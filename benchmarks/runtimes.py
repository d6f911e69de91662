"""Whether exported files give the model's answers on other people's runtimes: every layer in many geometries.

Each `--python` is an environment with NumPy and one or several of ONNX Runtime, OpenCV, OpenVINO and onnx, in any
versions; the environment that runs this takes part with what it has. Exits with 1 if a runtime gives wrong answers or
refuses a file whose opset it loads, or if the control, a lowering that some versions are known to get wrong, is not
caught on one of them.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from benchmarks import runtime_child
from benchmarks.geometries import Geometry, geometries
from benchmarks.machine import description
from benchmarks.options import counts, parser
from benchmarks.report import publish, table
from cnnkit.components import Runtime
from cnnkit.errors import OnnxError
from cnnkit.onnx.export import to_onnx
from cnnkit.onnx.validate import validate_proto
from cnnkit.types import Array

OPSETS = [13, 17, 19, 21, 22, 23]
CHILD = Path(runtime_child.__file__)
CONTROL = "control"
"""The row of AveragePool with count_include_pad=1."""


class Elsewhere(Runtime):
    """A runtime in a process of another Python; one that dies is started anew for the next model."""

    def __init__(self, python: str, name: str) -> None:
        self.python, self.name = python, name
        self.child: subprocess.Popen[bytes] | None = None
        self._version = self._start()

    def __repr__(self) -> str:
        return f"{self.name} {self._version}"

    def run(self, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if self.child is None:
            self._start()
        reply = self._ask({"model": np.frombuffer(model, np.uint8), **inputs})
        if "error" in reply:
            raise OnnxError(f"{self!r} cannot execute the model: {reply['error']}")
        return reply

    def close(self) -> int | None:
        """End the process, which finds no further request; its exit code, or None if there is none."""
        child, self.child = self.child, None
        if child is None:
            return None
        child.communicate()
        return child.returncode

    def _start(self) -> str:
        self.child = subprocess.Popen(
            [self.python, str(CHILD), self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        return str(self._ask(None)["version"])

    def _ask(self, request: Mapping[str, Any] | None) -> dict[str, Array]:
        assert self.child
        assert self.child.stdin
        assert self.child.stdout
        try:
            if request is not None:
                runtime_child.write(self.child.stdin, request)
            reply = runtime_child.read(self.child.stdout)
        except BrokenPipeError:
            reply = None
        if reply is None:
            raise OnnxError(f"{self.name} in {self.python} died with exit code {self.close()}")
        return reply


@dataclass(frozen=True)
class Outcome:
    """What one runtime made of one file."""

    layer: str
    geometry: str
    opset: int
    runtime: str
    verdict: str
    """"right", "wrong" or "refused"."""
    relative: float
    detail: str


def installed(python: str) -> list[Elsewhere]:
    """The runtimes of an environment. Raises SystemExit if it has none."""
    modules = {name: module for name, (module, _) in runtime_child.RUNTIMES.items()}
    question = f"import importlib.util as u; print(*[n for n, m in {modules!r}.items() if u.find_spec(m)], sep='\\n')"
    answer = subprocess.run([python, "-c", question], capture_output=True, text=True, check=True)
    if not answer.stdout.strip():
        raise SystemExit(f"{python}: expected one of {', '.join(modules.values())} to be installed there, found none")
    return [Elsewhere(python, name) for name in answer.stdout.splitlines()]


def loads(runtime: Runtime, opset: int) -> bool:
    """Whether a runtime loads an opset at all: by the simplest model."""
    simplest = Geometry("ReLU", ("ReLU()",), (2,))
    try:
        runtime.run(to_onnx(simplest.model(), opset=opset).SerializeToString(), {"input": simplest.inputs()})
    except OnnxError:
        return False
    return True


def padding_counted(proto: ModelProto) -> ModelProto:
    """The control: the same means by AveragePool with count_include_pad=1 instead of Conv."""
    changed = ModelProto()
    changed.CopyFrom(proto)
    for node in changed.graph.node:
        if node.op_type == "Conv" and node.doc_string.startswith("AvgPool2D("):
            node.op_type = "AveragePool"
            del node.input[1:]
            kept = [attribute for attribute in node.attribute if attribute.name != "group"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("count_include_pad", 1)])
    return changed


def outcomes(geometry: Geometry, runtimes: Mapping[int, Sequence[Runtime]]) -> Iterator[Outcome]:
    """What the runtimes make of one geometry, and of its control if it has padded means; runtimes: for each opset."""
    model, x = geometry.model(), geometry.inputs()
    for opset, able in runtimes.items():
        proto = to_onnx(model, opset=opset)
        protos = {geometry.layer: proto}
        if geometry.layer == "AvgPool2D" and (control := padding_counted(proto)) != proto:
            protos[CONTROL] = control
        for layer, one in protos.items():
            report = validate_proto(one, Path(str(geometry)), model, x, able)
            for result in report.results:
                verdict = "right" if result.ok else "refused" if result.worst_sample is None else "wrong"
                detail = "" if result.ok else "; ".join(result.remarks())
                yield Outcome(layer, str(geometry), opset, result.runtime, verdict, result.max_relative, detail)


def cell(some: Sequence[Outcome]) -> str:
    """How many files of one layer a runtime has wrong or refuses, and the largest relative difference otherwise."""
    counted = {verdict: sum(one.verdict == verdict for one in some) for verdict in ("wrong", "refused")}
    faults = [f"{count} {verdict}" for verdict, count in counted.items() if count]
    right = [one.relative for one in some if one.verdict == "right"]
    return ", ".join(faults) or f"{max(right):.0e}"


def tables(found: Sequence[Outcome], runtimes: Mapping[int, Sequence[Runtime]]) -> str:
    """The table of layers and runtimes."""
    names = list(dict.fromkeys(repr(runtime) for able in runtimes.values() for runtime in able))
    rows = []
    for layer in dict.fromkeys(one.layer for one in found):
        mine = [one for one in found if one.layer == layer]
        cells = [cell([one for one in mine if one.runtime == name]) for name in names]
        rows.append([layer, str(len({one.geometry for one in mine})), *cells])
    newest = [str(max(opset for opset, able in runtimes.items() if name in map(repr, able))) for name in names]
    return table(("layer", "geometries", *names), [*rows, ["newest opset that loads", "", *newest]])


def known_to_miscount(runtime: str, opset: int) -> bool:
    """Whether a runtime is known to get the control wrong."""
    name, _, version = runtime.rpartition(" ")
    major, minor = map(int, version.split(".")[:2])
    return (name, major) == ("OpenCV", 4) or (name == "ONNX Runtime" and 21 <= minor <= 24 and opset >= 19)


def faults(found: Sequence[Outcome]) -> list[str]:
    """What must not be: wrong or refused files, and a control that is not caught where it is known to be wrong."""
    lines = [
        f"{one.runtime}, opset {one.opset}, {one.geometry}: {one.verdict}: {one.detail}"
        for one in found
        if one.layer != CONTROL and one.verdict != "right"
    ]
    caught: dict[str, bool] = {}
    for one in found:
        if one.layer == CONTROL and known_to_miscount(one.runtime, one.opset):
            caught[one.runtime] = caught.get(one.runtime, False) or one.verdict == "wrong"
    return lines + [f"{runtime}: the control was not caught" for runtime, yes in caught.items() if not yes]


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 1 if there are faults."""
    options = parser(__doc__)
    options.add_argument("--python", action="append", default=[], help="the Python of an environment; repeatable")
    options.add_argument("--opset", type=counts, default=OPSETS, help="with commas between")
    args = options.parse_args(argv)
    machine = description()
    pythons = dict.fromkeys([sys.executable, *args.python])
    with contextlib.ExitStack() as stack:
        everyone = [runtime for python in pythons for runtime in installed(python)]
        for runtime in everyone:
            stack.callback(runtime.close)
        runtimes = {opset: [runtime for runtime in everyone if loads(runtime, opset)] for opset in args.opset}
        for runtime in everyone:
            if not any(runtime in able for able in runtimes.values()):
                raise SystemExit(f"{runtime!r} loads none of the opsets {', '.join(map(str, args.opset))}")
        found = [outcome for geometry in geometries() for outcome in outcomes(geometry, runtimes)]
    wrong = faults(found)
    markdown = tables(found, runtimes) + "".join(f"\n- {line}" for line in wrong)
    publish(args, machine, markdown, [asdict(one) for one in found])
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
