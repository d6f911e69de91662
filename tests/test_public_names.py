"""What is public: one page lists it, and plugins and documentation import nothing else.

Components are public because the built-in hooks list them; the page names their modules.

`python tests/test_public_names.py` writes the tables of the page anew.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from cnnkit import builtin
from cnnkit.components import Component
from tests.test_docs import PAGES, blocks

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "public-names.md"
BEGIN = "<!-- The tables below are written by tests/test_public_names.py. -->\n"
ROW = re.compile(r"^\| `(cnnkit[\w.]+)` \| (.*) \|$", re.MULTILINE)
MODULES = ("cnnkit", "cnnkit.plugin", "cnnkit.testing", "cnnkit.errors")
COMPONENTS: dict[str, Callable[[], list[type[Component]]]] = {
    "cnnkit.initializers": builtin.cnnkit_initializers,  # type: ignore[dict-item]  # one more precise than all components
    "cnnkit.layers": builtin.cnnkit_layers,  # type: ignore[dict-item]  # as above, and a merge is a component, too
    "cnnkit.losses": builtin.cnnkit_losses,  # type: ignore[dict-item]  # as above
    "cnnkit.optimizers": builtin.cnnkit_optimizers,  # type: ignore[dict-item]  # as above
    "cnnkit.schedules": builtin.cnnkit_schedules,  # type: ignore[dict-item]  # as above
    "cnnkit.metrics": builtin.cnnkit_metrics,  # type: ignore[dict-item]  # as above
    "cnnkit.augmentations": builtin.cnnkit_augmentations,  # type: ignore[dict-item]  # as above
    "cnnkit.architectures": builtin.cnnkit_architectures,  # type: ignore[dict-item]  # as above
}
"""Modules of which the built-in components are public, and nothing else."""
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
TEXTS = [*PAGES, *sorted((ROOT / "plugins").glob("*/README.md"))]


class Definition(NamedTuple):
    """Where a name is defined, as what, and the text that says what it is."""

    module: str
    node: ast.AST
    text: str


@functools.cache
def tree(module: str) -> ast.Module | None:
    """The parsed source of a module of cnnkit, None if there is none of this name."""
    stem = ROOT.joinpath(*module.split("."))
    path = next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)
    return ast.parse(path.read_text("utf-8")) if path else None


def overloads(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """Whether it is one of several signatures, before the function itself."""
    return any(isinstance(one, ast.Name) and one.id == "overload" for one in node.decorator_list)


def definition(module: str, name: str) -> Definition | None:
    """What a name of a module stands for, followed through imports; None for what is not cnnkit's own."""
    found = tree(module)
    if found is None:
        return None
    for node in ast.walk(found):
        match node:
            case ast.ClassDef() | ast.FunctionDef() if node.name == name and node in found.body and not overloads(node):
                return Definition(module, node, ast.get_docstring(node) or "")
            case ast.ImportFrom(module=str(home), names=aliases) if name in [one.asname or one.name for one in aliases]:
                original = next(one.name for one in aliases if name == (one.asname or one.name))
                if home != module and (there := definition(home, original)):
                    return there
    for node, following in zip(found.body, [*found.body[1:], None], strict=True):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == name:
            said = following.value if isinstance(following, ast.Expr) else None
            return Definition(module, node, str(said.value) if isinstance(said, ast.Constant) else "")
    whole = tree(f"{module}.{name}")
    return Definition(f"{module}.{name}", whole, ast.get_docstring(whole) or "") if whole else None


@functools.cache
def public_names() -> dict[str, list[str]]:
    """All public names by their modules, sorted."""
    names = {}
    for module in MODULES:
        here = importlib.import_module(module)
        classes = [name for name, value in vars(here).items() if isinstance(value, type) and value.__module__ == module]
        names[module] = sorted(getattr(here, "__all__", classes))
    return names | {module: sorted(one.__name__ for one in hook()) for module, hook in COMPONENTS.items()}


@functools.cache
def sentences() -> dict[str, str]:
    """Each public name with the first sentence of what is said of it, "" if nothing is."""
    found = {}
    for module, names in public_names().items():
        for name in names:
            there = definition(module, name)
            first = " ".join(there.text.split("\n\n")[0].split()) if there else ""
            found[f"{module}.{name}"] = re.split(r"(?<=[^.]\.) ", first)[0].replace("|", r"\|")
    return found


def tables() -> str:
    """The tables of the page."""
    rows = sentences()
    parts = []
    for module in MODULES:
        names = public_names()[module]
        lines = [f"| `{module}.{name}` | {rows[f'{module}.{name}']} |" for name in names]
        parts.append("\n".join([f"## {module}", "", "| name | what it is |", "|---|---|", *lines, ""]))
    return "\n".join(parts)


def differences(told: Mapping[str, str], real: Mapping[str, str]) -> list[str]:
    """What is wrong with a page that tells of these names, one line for each name."""
    found = [f"{name} is public, and the page does not list it" for name in real if name not in told]
    found += [f"{name} is on the page, and is not public any more: see its policy" for name in told if name not in real]
    found += [f"{name} has no docstring" for name, sentence in real.items() if not sentence]
    return found + [
        f"{name} is described otherwise on the page" for name in told if name in real and told[name] != real[name]
    ]


def test_the_page_lists_what_is_public() -> None:
    text = PAGE.read_text("utf-8")
    hint = f"if this is meant, run python {Path(__file__).relative_to(ROOT)}"
    found = differences(dict(ROW.findall(text)), {name: said for name, said in sentences().items() if is_listed(name)})
    assert not found, "\n".join([*found, hint])
    assert text.partition(BEGIN)[2] == "\n" + tables(), hint


def is_listed(name: str) -> bool:
    """Whether the page has a line for this public name: for all but the components."""
    return name.rpartition(".")[0] in MODULES


def test_components_are_public_without_a_line_of_the_page() -> None:
    text = PAGE.read_text("utf-8")
    assert [name for name, said in sentences().items() if not said] == []
    assert is_public("cnnkit.layers.ReLU")
    assert not is_listed("cnnkit.layers.ReLU")
    assert [module for module in COMPONENTS if f"`{module}`" not in text] == []
    for module, hook in COMPONENTS.items():
        found = vars(importlib.import_module(module))
        here = {name for name, one in found.items() if isinstance(one, type) and issubclass(one, Component)}
        assert {one.__name__ for one in hook()} <= here


def test_changes_of_names_are_found() -> None:
    real = {"cnnkit.a": "One.", "cnnkit.b": "", "cnnkit.c": "Three."}
    assert differences({"cnnkit.a": "Two.", "cnnkit.c": "Three.", "cnnkit.d": "Four."}, real) == [
        "cnnkit.b is public, and the page does not list it",
        "cnnkit.d is on the page, and is not public any more: see its policy",
        "cnnkit.b has no docstring",
        "cnnkit.a is described otherwise on the page",
    ]
    assert ROW.findall("| `cnnkit.a.B` | One `|x|`. |\n| B | c |\n") == [("cnnkit.a.B", "One `|x|`.")]


def test_public_names_are_where_the_page_says() -> None:
    for module, names in public_names().items():
        here = importlib.import_module(module)
        assert [name for name in names if not hasattr(here, name)] == [], module
    for module, hook in COMPONENTS.items():
        here = importlib.import_module(module)
        assert [one for one in hook() if getattr(here, one.__name__) is not one] == [], module


@pytest.mark.parametrize(
    ("module", "name", "home", "text"),
    [
        ("cnnkit", "Layer", "cnnkit.components.contracts", "One step of a network"),
        ("cnnkit", "errors", "cnnkit.errors", "The errors that"),
        ("cnnkit.plugin", "hookimpl", "cnnkit.components.hookspecs", "Marks a function"),
        ("cnnkit.plugin", "Array", "cnnkit.types", "A NumPy array"),
    ],
)
def test_the_texts_of_names_are_found(module: str, name: str, home: str, text: str) -> None:
    there = definition(module, name)
    assert there is not None
    assert there.module == home
    assert there.text.startswith(text)


def test_a_name_without_a_text_has_none() -> None:
    there = definition("cnnkit.components.hookspecs", "hookspec")
    assert there is not None
    assert there.text == ""
    assert definition("cnnkit.types", "np") is None


def annotated(node: ast.AST) -> Iterator[ast.expr]:
    """The annotations that a user of a class or function meets."""
    match node:
        case ast.ClassDef(body=body):
            for one in body:
                yield from annotated(one)
        case ast.FunctionDef(name=name, args=args) if not name.startswith("_") or name == "__init__":
            everything = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
            yield from (one.annotation for one in everything if one and one.annotation)
            yield from filter(None, [node.returns])
        case ast.AnnAssign(annotation=annotation, target=ast.Name(id=name)) if not name.startswith("_"):
            yield annotation


def missing_types(module: str) -> set[str]:
    """Types of cnnkit in the signatures of a module's public names that it does not have itself."""
    names = set(public_names()[module])
    found = set()
    for there in filter(None, (definition(module, name) for name in names)):
        used = (one for annotation in annotated(there.node) for one in ast.walk(annotation))
        found |= {one.id for one in used if isinstance(one, ast.Name) and definition(there.module, one.id)}
    return found - names


def test_authors_of_plugins_have_all_types_of_the_contracts() -> None:
    assert missing_types("cnnkit.plugin") == set()
    assert {"Array", "Run", "GradientReport"} & missing_types("cnnkit.testing") == {"Array"}


def is_public(name: str) -> bool:
    """Whether it is a public name, or the module of some."""
    return name in sentences() or name in public_names() or name == "cnnkit.__version__"


def private_imports(source: str) -> list[str]:
    """Names of cnnkit that a source imports, or reaches through `cnnkit`, and that are not public."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ImportFrom(module=str(module), names=aliases) if module.split(".")[0] == "cnnkit":
                found += [f"{module}.{alias.name}" for alias in aliases]
            case ast.Import(names=aliases):
                found += [alias.name for alias in aliases if alias.name.split(".")[0] == "cnnkit"]
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="cnnkit"), attr=module), attr=name):
                found += [f"cnnkit.{module}.{name}"] * (f"cnnkit.{module}" in public_names())
            case ast.Attribute(value=ast.Name(id="cnnkit"), attr=name):
                found.append(f"cnnkit.{name}")
    return [name for name in found if not is_public(name)]


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: str(path.relative_to(ROOT / "plugins")))
def test_plugins_import_public_names(path: Path) -> None:
    assert private_imports(path.read_text("utf-8")) == []


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_pages_name_public_names(page: Path) -> None:
    text = page.read_text("utf-8")
    if page in PAGES:
        for block in blocks(text, page.name):
            assert block.language != "python" or private_imports(block.body) == [], block.where
    assert private_mentions(text) == []


def private_mentions(text: str) -> list[str]:
    """Names of cnnkit in a text, such as `cnnkit.plugin.Layer`, that are not public."""
    return [name for name in re.findall(r"`(cnnkit(?:\.\w+)+)", text) if not is_public(name)]


@pytest.mark.parametrize(
    "source",
    [
        "from cnnkit.types import Array",
        "from cnnkit.components import Layer as L",
        "from cnnkit import engine",
        "from cnnkit.plugin import *",
        "import numpy, cnnkit.network",
        "import cnnkit.training.trainer as trainer",
        "def f():\n    from cnnkit.network import Engine",
        "import cnnkit\ncnnkit.network.Engine()",
        "import cnnkit\ncnnkit.layers.LAYERS",
    ],
)
def test_private_imports_are_found(source: str) -> None:
    assert len(private_imports(source)) == 1


def test_public_imports_pass() -> None:
    assert private_imports("from cnnkit.plugin import Layer, hookimpl\nimport numpy as np, cnnkit.plugin") == []
    assert private_imports("import cnnkit\ncnnkit.layers.ReLU()\ncnnkit.train('digits').model") == []
    assert private_imports("import cnnkit\nprint(cnnkit.__version__)") == []
    assert private_mentions("`cnnkit.plugin.Layer`, `cnnkit.testing` and `cnnkit.types.Array(...)`") == [
        "cnnkit.types.Array"
    ]


def test_what_authors_import_is_light() -> None:
    code = "from cnnkit.plugin import Layer, hookimpl; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {module.split(".")[1] for module in done.stdout.split() if module.startswith("cnnkit.")}
    assert rooms & {"cli", "data", "layers", "network", "onnx", "registry", "testing", "training"} == set()
    assert "plugin" in rooms


if __name__ == "__main__":
    before = PAGE.read_text("utf-8").partition(BEGIN)[0]
    PAGE.write_text(f"{before}{BEGIN}\n{tables()}", "utf-8")
