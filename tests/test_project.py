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
HEAVY = {"PIL", "h5py", "joblib", "matplotlib", "onnx", "onnxruntime", "pydantic", "requests", "rich", "typer"}
"""Packages that cnnkit must not load before they are needed: each costs a start-up what only some commands need."""
UNPICKLERS = {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "runpy", "shelve", "torch"}
"""Modules whose loaders run code that is in the file."""
SPREADING = {"Parallel", "delayed", "parallel_config"}
"""What joblib has to spread work over processes; whatever else it has may read a file."""
LAZY = {"cnnkit/__init__.py"}
"""Files that import modules by computed names: they take the names from a table of their own."""


REVIEWED = {
    "S603 cnnkit/onnx/other_python.py": "the Python that the user names as an argument of OnnxRuntime",
    "S603 plugins/cnnkit-ncnn/cnnkit_ncnn/network.py": "pnnx, a program in a wheel that is installed for it",
    "S603 plugins/cnnkit-onnxruntime-web/cnnkit_onnxruntime_web/node.py": "Node, found in the user's PATH",
}
"""Findings that are right: one each, of a program that is started without a shell, since the user asks for it."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def security_findings(*paths: Path) -> list[str]:
    """What ruff's security rules find, also where a comment silences them: eval, exec, shells, pickle."""
    command = [sys.executable, "-m", "ruff", "check", "--select=S", "--ignore-noqa", "--output-format=json", "--quiet"]
    done = subprocess.run([*command, *paths], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return [f"{found['code']} {found['filename']}:{found['location']['row']}" for found in json.loads(done.stdout)]


def test_no_dangerous_calls() -> None:
    found = security_findings(ROOT / "cnnkit", ROOT / "plugins")
    assert sorted(finding.rpartition(":")[0].replace(f"{ROOT}/", "") for finding in found) == sorted(REVIEWED)


def test_dangerous_calls_are_found(tmp_path: Path) -> None:
    lines = [
        "from os import system as run; run(command)",
        "import os; os.popen(command)",
        "eval(text)",
        "import builtins; builtins.eval(text)",
        "exec(text)  # noqa: S102",
        "import subprocess; subprocess.run(command, shell=True)",
        "import pickle; pickle.loads(data)",
        "import marshal; marshal.loads(data)",
        "import shelve; shelve.open(path)",
        "import yaml; yaml.load(text)",
    ]
    source = tmp_path / "bad.py"
    source.write_text("\n".join(lines))
    found = {int(finding.rpartition(":")[2]) for finding in security_findings(source)}
    assert found == set(range(1, len(lines) + 1))


def unpickling(source: str) -> list[str]:
    """What ruff does not see: modules that unpickle, NumPy without `allow_pickle=False`, code and modules by name."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [alias.name for alias in names if alias.name.split(".")[0] in UNPICKLERS]
            case ast.ImportFrom(module=str(module), names=names):
                unsafe = module.split(".")[0] in UNPICKLERS
                unsafe &= module != "joblib" or not {alias.name for alias in names} <= SPREADING
                unsafe |= (module, "load") in {("numpy", alias.name) for alias in names}
                found += [ast.unparse(node)] * unsafe
            case ast.Call(func=ast.Name(id="__import__" | "compile" | "import_module")):
                found.append(ast.unparse(node))
            case ast.Call(func=ast.Attribute(attr="__import__" | "import_module")):
                found.append(ast.unparse(node))
            case ast.Call(func=ast.Attribute(attr="read_array" | "load"), keywords=keywords):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in keywords}
                ours = ast.unparse(node.func) in {"np.load", "numpy.load"} or "read_array" in ast.unparse(node.func)
                found += [ast.unparse(node)] * (ours and options.get("allow_pickle") != "False")
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=name)
def test_nothing_is_unpickled_or_imported_by_name(path: Path) -> None:
    found = unpickling(path.read_text("utf-8"))
    assert found == [] or (name(path) in LAZY and all("import_module" in call for call in found))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, marshal as m",
        "from shelve import open",
        "import _pickle",
        "from joblib.numpy_pickle import load",
        "from joblib import Parallel, load",
        "from torch import load",
        "from numpy import load as read",
        "np.load(path)",
        "np.load(path, None, True)",
        "np.load(path, allow_pickle=flag)",
        "numpy.load(path, allow_pickle=True)",
        "np.lib.format.read_array(file, True)",
        "def f():\n    __import__(text)",
        "compile(text, '', 'exec')",
        "importlib.import_module(text)",
    ],
)
def test_unpickling_is_found(source: str) -> None:
    assert len(unpickling(source)) == 1


def test_harmless_calls_pass() -> None:
    assert unpickling("from joblib import Parallel, delayed") == []
    assert unpickling("import ast\nast.parse(t)\nnp.load(p, allow_pickle=False)\nre.compile('x')\nd.load(p)") == []


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
    assert loaded_by("from cnnkit import *") & HEAVY <= {"h5py", "pydantic"}  # the registry's own, and that of recipes
    assert loaded_by("import cnnkit, onnx, rich") & HEAVY == {"onnx", "rich"}


def test_the_wheel_has_everything(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    files = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "cnnkit").rglob("*") if path.is_file()}
    expected = {path for path in expected if "__pycache__" not in path}
    for needed in (
        "cnnkit/recipes/digits.toml",
        "cnnkit/data/datasets/digits.npz",
        "cnnkit/py.typed",
        "cnnkit/builtin.py",
    ):
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
