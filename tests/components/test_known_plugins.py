"""The distributions of the project are listed with their components, so that a message can say what to install."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from cnnkit.components import Catalog, hookspecs, installed_plugins
from cnnkit.components.known_plugins import FILE, known_distribution, known_plugins
from cnnkit.errors import ComponentError

PLUGINS = Path(__file__).parents[2] / "plugins"
PAGE = PLUGINS.parent / "docs" / "guide-plugins.md"
HOOKS = PLUGINS.parent / "docs" / "hooks.md"
HEAD = "| distribution | what it is for | components |\n|---|---|---|\n"
FOLDERS = sorted(path.parent.name for path in PLUGINS.glob("*/pyproject.toml"))


def provided(source: str) -> dict[str, list[str]]:
    """The names of the classes in the list that each hook of a module returns."""
    found: dict[str, list[str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("cnnkit_"):
            found[node.name] = []
            for returned in (one.value for one in ast.walk(node) if isinstance(one, ast.Return)):
                assert isinstance(returned, ast.List | ast.Tuple), f"{node.name} does not return a list of classes"
                found[node.name] += [ast.unparse(one).rpartition(".")[2] for one in returned.elts]
    return found


def hooks_of(folder: str) -> dict[str, list[str]]:
    """The hooks that a plugin implements, with the names of what it provides."""
    found: dict[str, list[str]] = {}
    for path in sorted((PLUGINS / folder).glob("cnnkit_*/*.py")):
        for hook, names in provided(path.read_text("utf-8")).items():
            found.setdefault(hook, []).extend(names)
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_distribution_is_listed_with_its_components(folder: str) -> None:
    found = sorted(name for names in hooks_of(folder).values() for name in names)
    assert found, "it has no hooks"
    assert folder in known_plugins(), f"add [{folder}] to {FILE.name}, with components = {found}"
    assert sorted(known_plugins()[folder].components) == found, f"{FILE.name} has other components of {folder}"


def test_every_hook_has_a_plugin_and_the_page_of_hooks_names_all_of_them() -> None:
    specified = [name for name in vars(hookspecs) if name.startswith("cnnkit_")]
    assert len(specified) > 10
    used: dict[str, tuple[set[str], set[str]]] = {hook: (set(), set()) for hook in specified}
    for folder in FOLDERS:
        for hook, names in hooks_of(folder).items():
            used[hook][0].add(folder)
            used[hook][1].update(names)
    assert [hook for hook, (folders, _) in used.items() if not folders] == []
    rows = re.findall(r"^\| `(cnnkit_\w+)` \| (.*) \| (.*) \|$", HOOKS.read_text("utf-8"), re.M)
    assert {hook: ({*folders.split(", ")}, {*names.split(", ")}) for hook, folders, names in rows} == used


def test_nothing_else_is_listed() -> None:
    assert set(known_plugins()) == set(FOLDERS)
    assert all(one.about.endswith(".") for one in known_plugins().values())
    names = [name for one in known_plugins().values() for name in one.components]
    assert len(names) == len(set(names))


def test_hooks_are_read_without_their_being_run() -> None:
    source = (
        "def cnnkit_layers():\n    return [A, b.B]\ndef cnnkit_losses():\n    return []\ndef other():\n    return [C]\n"
    )
    assert provided(source) == {"cnnkit_layers": ["A", "B"], "cnnkit_losses": []}
    with pytest.raises(AssertionError, match="does not return a list"):
        list(provided("def cnnkit_layers():\n    return LAYERS\n"))


def test_a_message_says_what_to_install() -> None:
    assert known_distribution("HadamardDense") == "cnnkit-walsh"
    assert known_distribution("Dense") == ""
    own = Catalog(plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit")
    with pytest.raises(ComponentError) as caught:
        own.find("gradient method", "SPSA")
    assert "SPSA comes with cnnkit-finite-difference; from cnnkit's source, run: pip install ./plug" in str(
        caught.value
    )


def table() -> str:
    """The table of the page."""
    names = {name: ", ".join(f"`{each}`" for each in sorted(one.components)) for name, one in known_plugins().items()}
    return "".join(f"| `{name}` | {one.about} | {names[name]} |\n" for name, one in sorted(known_plugins().items()))


def test_the_page_has_them_as_a_table() -> None:
    text = PAGE.read_text("utf-8")
    assert HEAD in text
    assert text.partition(HEAD)[2] == table(), f"run python {Path(__file__).relative_to(PLUGINS.parent)}"


if __name__ == "__main__":
    before = PAGE.read_text("utf-8").partition(HEAD)[0]
    PAGE.write_text(f"{before}{HEAD}{table()}", "utf-8")
