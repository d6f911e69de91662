"""What holds for the project as a whole: no dangerous calls, small files, true names, a light import, a full wheel."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hatchling.builders.wheel import WheelBuilder

import cnnkit

ROOT = Path(__file__).parents[1]
SHIPPED = [path for folder in ("cnnkit", "plugins") for path in sorted((ROOT / folder).rglob("*.py"))]
SOURCES = [*SHIPPED, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]
MAX_LINES = 400
HEAVY = {"h5py", "matplotlib", "onnx", "onnxruntime", "pooch", "pydantic", "rich", "typer"}
"""Packages that cnnkit must not load before they are needed: each costs a start-up what only some commands need."""
DANGEROUS_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
DANGEROUS_CALLS = {"__import__", "compile", "eval", "exec", "os.popen", "os.system"}
DANGEROUS_OPTIONS = {"allow_pickle", "shell"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def dangers(source: str) -> list[str]:
    """What in a source file could run code that comes from data."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in DANGEROUS_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in DANGEROUS_MODULES:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in DANGEROUS_CALLS:
                found.append(ast.unparse(node.func))
            options = (option for option in node.keywords if option.arg in DANGEROUS_OPTIONS)
            found += [ast.unparse(option) for option in options if ast.unparse(option.value) != "False"]
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_no_dangerous_calls(path: Path) -> None:
    assert dangers(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, marshal as m",
        "from joblib.numpy_pickle import load",
        "def f():\n    eval(text)",
        "exec(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
    ],
)
def test_dangerous_calls_are_found(source: str) -> None:
    assert len(dangers(source)) == 1


def test_harmless_calls_pass() -> None:
    assert dangers("import ast\nast.parse(text, mode='eval')\nnp.load(p, allow_pickle=False)\nre.compile('x')") == []


def too_long(paths: Iterable[Path]) -> list[str]:
    return [path.name for path in paths if len(path.read_text("utf-8").splitlines()) > MAX_LINES]


def test_no_file_is_too_long(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("\n" * (MAX_LINES + 1))
    assert too_long([tmp_path / "long.py"]) == ["long.py"]
    assert too_long(SOURCES) == []


def untrue_names(module: ModuleType | SimpleNamespace) -> list[str]:
    """Names in a module's `__all__` that it does not have, or has twice."""
    names = getattr(module, "__all__", [])
    return [name for name in names if not hasattr(module, name) or names.count(name) > 1]


def test_public_names_exist() -> None:
    modules = [module.name for module in pkgutil.walk_packages(cnnkit.__path__, "cnnkit.")]
    modules = [module for module in modules if not module.endswith("__main__")]  # importing one runs a command
    assert "cnnkit.components" in modules
    for module in ["cnnkit", *modules]:
        assert untrue_names(importlib.import_module(module)) == [], module
    assert untrue_names(SimpleNamespace(__all__=["a", "b", "a"], a=1)) == ["a", "b", "a"]


def test_the_package_exports_all_that_it_imports() -> None:
    tree = ast.parse((ROOT / "cnnkit" / "__init__.py").read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").split(".")[0] == "cnnkit"]
    assert {alias.name for node in ours for alias in node.names} == set(cnnkit.__all__)


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh process has after a statement."""
    code = f"{statement}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {module.split(".")[0] for module in json.loads(done.stdout)}


def test_the_import_is_light() -> None:
    assert loaded_by("import cnnkit") & {*HEAVY, "numpy"} == set()
    assert loaded_by("from cnnkit import Layer, Sequential, Trainer") & HEAVY == set()
    assert loaded_by("from cnnkit import *") & HEAVY <= {"h5py"}  # the registry's own
    assert loaded_by("import cnnkit, onnx, rich") & HEAVY == {"onnx", "rich"}


def test_the_wheel_has_everything(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    files = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "cnnkit").rglob("*") if path.is_file()}
    expected = {path for path in expected if "__pycache__" not in path}
    for needed in ("cnnkit/recipes/digits.toml", "cnnkit/data/digits.npz", "cnnkit/py.typed", "cnnkit/builtin.py"):
        assert needed in expected, f"{needed} is not in the source tree"
    assert {path for path in files if path.startswith("cnnkit/")} == expected
    assert {path.split("/")[0].split("-")[0] for path in files} == {"cnnkit"}


def hooks(source: str) -> dict[str, tuple[str, str]]:
    """Each hook's signature and sentence."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            signature = f"({ast.unparse(node.args)}) -> {node.returns and ast.unparse(node.returns)}"
            found[node.name] = signature, ast.get_docstring(node) or ""
    return found


def test_the_hooks_page_repeats_the_hooks() -> None:
    page = (ROOT / "docs" / "hooks.md").read_text("utf-8")
    told = hooks("".join(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)))
    real = hooks((ROOT / "cnnkit" / "components" / "hookspecs.py").read_text("utf-8"))
    assert len(real) > 0
    assert told == real
    assert hooks('def a() -> int:\n    """One."""') != hooks('def a() -> str:\n    """One."""')
    assert hooks('def a() -> int:\n    """One."""') != hooks('def a() -> int:\n    """Two."""')
