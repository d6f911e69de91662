"""Writes a distribution with one component that works, its test and all that surrounds it."""

from __future__ import annotations

import datetime
import importlib.util
import keyword
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from cnnkit import builtin, plugin
from cnnkit.components.distribution_names import is_name, normalized
from cnnkit.components.hookspecs import API_VERSION
from cnnkit.components.plugin_metadata import KINDS as COMPONENT_KINDS
from cnnkit.errors import ConfigError
from cnnkit.new_plugin.taking_over import Taken
from cnnkit.wording import did_you_mean

TEMPLATES = Path(__file__).with_name("templates")
KINDS: Mapping[str, str] = {
    "layer": "layer",
    "join": "layer",
    "optimizer": "optimizer",
    "loss": "loss",
    "dataset": "dataset",
    "augmentation": "augmentation",
    "metric": "metric",
    "schedule": "schedule",
    "callback": "callback",
    "runtime": "runtime",
    "gradient": "gradient method",
    "initializer": "initializer",
    "architecture": "architecture",
}
"""What a plugin can begin with, each a file of `templates/kinds`, and the kind of component that it is."""
NEEDED = {"runtime": ("onnx>=1.17",)}
"""What the component of a kind needs beside cnnkit and NumPy."""


def create(folder: Path, name: str, kind: str, taken: Taken | None = None) -> list[Path]:
    """Write the distribution `name` into a new folder of that name in `folder`; the paths of its files.

    kind: one of `KINDS`; taken: a class that takes the place of the example. Everything or nothing is written.
    Raises ConfigError for a name that a distribution or its module cannot have, for an unknown kind, and if there is a
    file or folder of that name.
    """
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS)
        raise ConfigError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}{'; ' if hint else ''}{hint}")
    module = _module(name)
    target = folder / name
    if target.exists() or target.is_symlink():
        raise ConfigError(f"cannot write {target}: it exists already; choose another name, or remove it")
    files = _files(name, module, kind, taken)
    try:
        target.mkdir()
        for path, text in files.items():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise ConfigError(f"cannot write {target}: {error.strerror or error}") from error
    return [target / path for path in files]


def _module(name: str) -> str:
    """The module of a distribution. Raises ConfigError for a name that cannot be one's, or is taken."""
    module = re.sub(r"[-.]+", "_", name)
    if not is_name(name) or not module.isidentifier() or keyword.iskeyword(module) or name != name.lower():
        raise ConfigError(
            f"expected a name of lower-case letters, digits and hyphens that begins with a letter, such as "
            f"cnnkit-scale, got {name!r}"
        )
    if normalized(name) == "cnnkit" or importlib.util.find_spec(module) is not None:
        raise ConfigError(f"there is a module {module} already, which {name} would hide: choose another name")
    return module


def _component(name: str, kind: str) -> str:
    """What the class is called: by the distribution, unless cnnkit has that name."""
    words = re.split(r"[-_.]+", name.removeprefix("cnnkit-"))
    called = "".join(word[:1].upper() + word[1:] for word in words)
    hook = getattr(builtin, COMPONENT_KINDS[KINDS[kind]][0], None)
    own = {cls.__name__ for cls in hook()} if hook else set()
    return f"My{called}" if called in own | {*plugin.__all__, "Case"} or not called.isidentifier() else called


def _files(name: str, module: str, kind: str, taken: Taken | None) -> dict[str, str]:
    """The text of each file, by its path in the folder."""
    component = taken.name if taken else _component(name, kind)
    needs = ["cnnkit>=0.1", "numpy>=2.1", *(taken.requirements if taken else NEEDED.get(kind, ()))]
    values = {
        "distribution": name,
        "module": module,
        "kind": KINDS[kind],
        "Component": component,
        "dependencies": ", ".join(f'"{one}"' for one in needs),
        "api": API_VERSION,
        "year": str(datetime.datetime.now(datetime.UTC).year),
    }
    common = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "CHANGELOG.md": "CHANGELOG.md",
        "LICENSE": "LICENSE",
        ".gitignore": "gitignore",
        ".github/workflows/ci.yml": "ci.yml",
        f"tests/test_{module}.py": "test.py",
    }
    found = {path: _filled(TEMPLATES / "common" / f"{one}.txt", values) for path, one in common.items()}
    source = taken.source if taken else _filled(TEMPLATES / "kinds" / f"{kind}.py.txt", values)
    return found | {f"{module}/__init__.py": source, f"{module}/py.typed": ""}


def _filled(template: Path, values: Mapping[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], template.read_text("utf-8"))
