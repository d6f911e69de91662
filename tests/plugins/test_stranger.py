"""A plugin as a stranger meets it: missing, then installed with pip, then found by its name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "cnnkit-walsh"
VERSION = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["version"]

FIND = """
import json, sys
from cnnkit.components import installed_catalog
from cnnkit.errors import ComponentError
catalog = installed_catalog()
answer = {"listed": [[p.distribution, p.version, p.value] for p in catalog.plugins]}
try:
    catalog.find("layer", "Dense")
    answer["imported for Dense"] = "cnnkit_walsh" in sys.modules
    layer = catalog.build("layer", sys.argv[1])
    origin = catalog.origin(type(layer))
    answer["found"] = [repr(layer), origin.distribution, origin.version, catalog.problems(origin)]
except ComponentError as error:
    answer["error"] = str(error)
print(json.dumps(answer))
"""


def run(python: Path, *arguments: str) -> str:
    # Neither this process's settings of Python nor large data sets reach the other one.
    hidden = ("PYTHON", "PIP_", "VIRTUAL_ENV", "PYTEST", "CNNKIT_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        [str(python), *arguments], cwd=PLUGIN / "tests", env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ask(python: Path, expression: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run(python, "-c", FIND, expression))
    return answer


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment that sees what is installed in the running one, with the plugin installed by pip."""
    for tool in ("pip", "hatchling"):
        if importlib.util.find_spec(tool) is None:
            pytest.skip(f"{tool} is not installed, and the plugin is built and installed with it")
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # addsitedir, unlike a line with the folder alone, obeys the .pth files in it too: an editable cnnkit is one.
    shared = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "shared.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in sorted(shared)))
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", str(PLUGIN))
    return python


def installed_here() -> bool:
    return any(d.name == "cnnkit-walsh" for d in importlib.metadata.distributions())


@pytest.mark.skipif(installed_here(), reason="cnnkit-walsh is installed in the running environment")
def test_without_the_plugin_the_catalog_tells_what_to_install() -> None:
    answer = ask(Path(sys.executable), "HadamardDense(8)")
    assert "cnnkit-walsh" not in [distribution for distribution, _, _ in answer["listed"]]
    assert answer["error"] == (
        "there is no layer named 'HadamardDense'\n"
        "  HadamardDense comes with cnnkit-walsh; from cnnkit's source, run: pip install ./plugins/cnnkit-walsh"
    )
    answer = ask(Path(sys.executable), "cnnkit-walsh:HadamardDense(8)")
    assert answer["error"] == (
        "the expression cnnkit-walsh:HadamardDense names the distribution cnnkit-walsh, which is not installed: if you "
        "trust that distribution, run pip install cnnkit-walsh"
    )


def test_once_installed_the_plugin_is_found_by_name(stranger: Path) -> None:
    expected = ["HadamardDense(8, depth=2)", "cnnkit-walsh", VERSION, []]
    for prefix in ("", "cnnkit-walsh:"):
        answer = ask(stranger, f"{prefix}HadamardDense(8, depth=2)")
        assert ["cnnkit-walsh", VERSION, "cnnkit_walsh"] in answer["listed"]
        assert answer["imported for Dense"] is False
        assert answer["found"] == expected


def test_the_plugins_own_tests_pass_where_it_is_installed(stranger: Path) -> None:
    where = run(stranger, "-c", "import cnnkit_walsh; print(cnnkit_walsh.__file__)").strip()
    assert Path(where).is_relative_to(stranger.parent.parent)
    assert " passed" in run(stranger, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", ".")
