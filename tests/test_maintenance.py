"""What maintainers rely on: a complete source distribution, and Pythons, steps and requirements that agree."""

from __future__ import annotations

import ast
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]


def git(folder: Path, *arguments: str, code: int = 0) -> set[str]:
    """The lines of the answer."""
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return set(done.stdout.splitlines())


def sdist(folder: Path, to: Path) -> set[str]:
    """The files of the source distribution of the project in a folder."""
    (archive,) = SdistBuilder(str(folder)).build(directory=str(to), versions=["standard"])
    with tarfile.open(archive) as files:
        return {name.partition("/")[2] for name in files.getnames()}


def test_the_source_distribution_has_all_that_is_tracked(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    files = sdist(ROOT, tmp_path)
    assert git(ROOT, "ls-files") - files == set()
    assert "PKG-INFO" in files
    assert git(ROOT, "check-ignore", *files, code=1) == set()


def test_a_source_distribution_that_leaves_something_out_or_takes_too_much_is_found(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "tests").mkdir(parents=True)
    for name in ("small.py", "tests/test_small.py", "notes.log"):
        (project / name).touch()
    (project / ".gitignore").write_text("*.log\n")
    config = '[project]\nname = "small"\nversion = "1"\n[tool.hatch.build.targets.sdist]\ninclude = ["/small.py"]\n'
    (project / "pyproject.toml").write_text(config + 'artifacts = ["*.log"]\n')
    git(project, "init")
    git(project, "add", ".")
    files = sdist(project, tmp_path)
    assert git(project, "ls-files") - files == {"tests/test_small.py"}
    assert git(project, "check-ignore", *files) == {"notes.log"}


def test_the_pythons_agree() -> None:
    said = re.findall(r"Python :: (3\.\d+)\n", "\n".join(PROJECT["classifiers"]) + "\n")
    assert len(said) > 1
    assert PROJECT["requires-python"] == f">={said[0]}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{said[0].replace('.', '')}"
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert re.findall(r"^ +python: \[(.*)\]$", workflow, re.MULTILINE) == [str(said)[1:-1].replace("'", '"')]


def sessions() -> dict[str, str]:
    """The sessions of nox, with what they say they do."""
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {
        node.name: ast.get_docstring(node) or ""
        for node in functions
        if "nox.session" in map(ast.unparse, node.decorator_list)
    }


def test_the_steps_stand_once() -> None:
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert table == list(sessions()) == ["fast", "full", "docs", "plugins", "mlflow"]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert re.findall(r"run: (.*)", workflow) == ["bash .ci/run", "bash .ci/run full"]
    tools = re.findall(r'"(ruff|mypy|lint-imports|pytest|coverage)\b', (ROOT / "noxfile.py").read_text("utf-8"))
    assert set(tools) == {"ruff", "mypy", "lint-imports", "pytest", "coverage"}
    assert not re.search(r"ruff|mypy|lint-imports|pytest|coverage", (ROOT / ".ci" / "run").read_text("utf-8"))


def test_no_requirement_is_said_twice() -> None:
    (extra, *others), extras = PYPROJECT["dependency-groups"]["dev"], PROJECT["optional-dependencies"]
    assert extra == "cnnkit[dev]"
    said = [*others, *PROJECT["dependencies"], *(each for name in extras if name != "all" for each in extras[name])]
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in said]
    assert sorted(names) == sorted(set(names))
