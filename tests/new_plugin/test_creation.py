"""A plugin of each kind is begun, and keeps its contract without an edit."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnkit.components import installed_catalog
from cnnkit.components.hookspecs import API_VERSION
from cnnkit.errors import ConfigError
from cnnkit.new_plugin import KINDS, create
from cnnkit.new_plugin.creation import TEMPLATES
from cnnkit.testing import cases


def register(folder: Path, distribution: str) -> None:
    """What pip leaves of an editable distribution, beside its module."""
    project = tomllib.loads((folder / distribution / "pyproject.toml").read_text())["project"]
    info = folder / distribution / f"{distribution.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {project['version']}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("".join(groups))


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """A folder whose plugins are found, and forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    installed_catalog.cache_clear()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_keeps_its_contract_without_an_edit(kind: str, fresh: Path) -> None:
    name = f"cnnkit-begun-{kind}"
    files = create(fresh, name, kind)
    assert all(path.is_file() for path in files)
    texts = [path.read_text("utf-8") for path in files]
    assert not [text for text in texts if re.search(r"(?<!\w)@\w+@", text)]
    register(fresh, name)
    sys.path.insert(0, str(fresh / name))
    importlib.invalidate_caches()
    installed_catalog.cache_clear()
    found = cases(name)
    assert Counter(case.outcome()[0] for case in found) == {"passed": len(found)}, [
        (case.check, *case.outcome()) for case in found if case.outcome()[0] != "passed"
    ]
    assert {case.kind for case in found} == {"plugin", KINDS[kind]}
    assert len(found) > 3
    (plugin,) = (one for one in installed_catalog().plugins if one.distribution == name)
    assert plugin.apis == (API_VERSION,)
    assert installed_catalog().problems(plugin) == []


def test_every_template_is_a_kind_and_what_is_written_is_linted(tmp_path: Path) -> None:
    assert {path.name.removesuffix(".py.txt") for path in (TEMPLATES / "kinds").iterdir()} == set(KINDS)
    for kind in KINDS:
        create(tmp_path, f"cnnkit-begun-{kind}", kind)
    rules = "A,ARG,B,C4,D1,E,F,I,N,NPY,PIE,PT,RET,RUF,SIM,UP,W"
    options = ["--isolated", "--line-length", "120", "--ignore", "ARG002,D102,D105,D107", "--select", rules]
    options += [
        "--per-file-ignores",
        "test_*.py:D1",
        "--no-cache",
        "--config",
        'lint.isort.known-third-party=["cnnkit"]',
    ]
    linted = subprocess.run([sys.executable, "-m", "ruff", "check", *options, tmp_path], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "120", "--check", "--no-cache"]
    formatted = subprocess.run([*command, tmp_path], capture_output=True, text=True)
    assert formatted.returncode == 0, formatted.stdout
    (tmp_path / "bad.py").write_text("import os")
    wrong = subprocess.run([sys.executable, "-m", "ruff", "check", *options, tmp_path], capture_output=True, text=True)
    assert wrong.returncode == 1


@pytest.mark.parametrize(
    ("name", "component"), [("cnnkit-warm-glow", "WarmGlow"), ("glow", "Glow"), ("cnnkit-dense", "MyDense")]
)
def test_the_class_is_called_like_the_distribution(tmp_path: Path, name: str, component: str) -> None:
    create(tmp_path, name, "layer")
    module = name.replace("-", "_")
    assert f"class {component}(Layer):" in (tmp_path / name / module / "__init__.py").read_text()
    assert f'name = "{name}"' in (tmp_path / name / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        (
            "cnnkit-x",
            "laier",
            "kind must be one of layer, join, optimizer, loss, dataset, augmentation, metric, schedul",
        ),
        ("cnnkit-x", "laier", "got 'laier'; did you mean layer?"),
        (
            "Cnnkit-X",
            "layer",
            "expected a name of lower-case letters, digits and hyphens that begins with a letter, suc",
        ),
        ("../x", "layer", "got '../x'"),
        ("3d", "layer", "got '3d'"),
        ("class", "layer", "got 'class'"),
        ("numpy", "layer", "there is a module numpy already, which numpy would hide: choose another name"),
        ("cnnkit", "layer", "there is a module cnnkit already"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path: Path, name: str, kind: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create(tmp_path, name, kind)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_exists_is_touched(tmp_path: Path) -> None:
    (tmp_path / "cnnkit-x").mkdir()
    with pytest.raises(ConfigError, match=r"cannot write .*cnnkit-x: it exists already; choose another name"):
        create(tmp_path, "cnnkit-x", "layer")
    assert list((tmp_path / "cnnkit-x").iterdir()) == []
    with pytest.raises(ConfigError, match=r"cannot write .*: No such file or directory"):
        create(tmp_path / "nowhere", "cnnkit-y", "layer")


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_installed_and_tested_by_its_own_tests_full(kind: str, tmp_path: Path) -> None:
    name = f"cnnkit-begun-{kind}"
    create(tmp_path, name, kind)
    assert " passed" in installed_and_tested(tmp_path, name)


def installed_and_tested(folder: Path, name: str) -> str:
    """What pytest prints of a distribution that pip has installed, editable, into a new environment."""
    for tool in ("pip", "hatchling"):
        if importlib.util.find_spec(tool) is None:
            pytest.skip(f"{tool} is not installed, and the plugin is built and installed with it")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    hidden = ("PYTHON", "PIP_", "VIRTUAL_ENV", "PYTEST", "CNNKIT_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(python), *arguments], cwd=folder / name, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    own = Path(run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "shared.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in sorted(shared)))
    run("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-e", ".")
    tested = run("-m", "pytest", "-q", "-p", "no:cacheprovider")
    run("-m", "cnnkit.cli", "plugins", "check", name, "--report", "CONFORMANCE.md")
    assert (folder / name / "CONFORMANCE.md").read_text().startswith(f"# Conformance\n\n{name}: ")
    return tested
