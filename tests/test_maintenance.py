"""What maintainers rely on: a complete source distribution."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder

ROOT = Path(__file__).parents[1]


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
