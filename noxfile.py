"""The steps of continuous integration: `.ci/run` runs fast, plugins and mlflow, `nox --session NAME` one.

What stands after `--` goes to pytest: `nox --session fast -- tests/layers`.
"""

from __future__ import annotations

from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["fast", "plugins", "mlflow"]

TORCH = "torch==2.13.0"
"""Not among the dependencies: it is large, and only tests compare with it."""

ALONE = ("cnnkit-mlflow",)
"""Plugins whose dependencies, a web server and a database among them, are too many to share an environment."""


def install(session: nox.Session) -> None:
    """The package with all that its tests use, and PyTorch where there is one."""
    session.install("--editable", ".[dev]")
    try:
        session.install(TORCH)
    except CommandFailed:
        session.warn(f"{TORCH} cannot be installed: the parity tests will skip")


@nox.session
def fast(session: nox.Session) -> None:
    """Formatting, lints, types, import contracts, all tests but the long ones, and the coverage of the registry."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("pytest", *session.posargs)
    session.run("coverage", "run", "-m", "pytest", "tests/registry")
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report")


@nox.session
def full(session: nox.Session) -> None:
    """The long reliability harnesses, and the full count of the proofs."""
    install(session)
    session.run("pytest", "-m", "full or proofs", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Every block, link and set-up line of the documentation, with the page of formulas."""
    session.install("--editable", ".[dev]")
    session.run("python", "docs/components.py")
    session.run("pytest", "tests/test_docs.py", *session.posargs)


@nox.session
def plugins(session: nox.Session) -> None:
    """Install and test each plugin, apart from the other sessions: their tests hold with no plugin installed."""
    session.install("--editable", ".[dev]")
    for plugin in sorted(Path("plugins").iterdir()):
        if plugin.name not in ALONE:
            check_plugin(session, plugin)


@nox.session
def mlflow(session: nox.Session) -> None:
    """The plugin for MLflow in an environment of its own, whose server takes a minute to start."""
    session.install("--editable", ".[runtimes,plots]", "pytest>=9.0", "pytest-xdist>=3.6")
    check_plugin(session, Path("plugins/cnnkit-mlflow"), "-n", "0")


def check_plugin(session: nox.Session, plugin: Path, *options: str) -> None:
    """Install a plugin with what its tests need, if it names that, and test it."""
    extra = "[test]" if "\ntest = " in (plugin / "pyproject.toml").read_text("utf-8") else ""
    session.install(f"./{plugin}{extra}")
    session.run("pytest", str(plugin), *options, *session.posargs)
