"""The steps of continuous integration: `.ci/run` runs the sessions fast and plugins, `nox --session NAME` runs one.

What stands after `--` goes to pytest: `nox --session fast -- tests/layers`.
"""

from __future__ import annotations

from pathlib import Path

import nox
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["fast", "plugins"]

TORCH = "torch==2.13.0"
"""Not among the dependencies: it is large, and only tests compare with it."""


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
        session.install(f"./{plugin}")
        session.run("pytest", str(plugin), *session.posargs)
