"""A broken plugin is reported with what is wrong, and never disturbs a name that does not need it."""

from __future__ import annotations

import importlib
import itertools
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnkit.components import Catalog, Component, Layer, Optimizer, Plugin, hookimpl, installed_plugins
from cnnkit.errors import ComponentError

MakePlugin = Callable[..., Plugin]
HOOKS = (
    "cnnkit_architectures, cnnkit_layers, cnnkit_initializers, cnnkit_losses, cnnkit_optimizers, cnnkit_gradients, "
    "cnnkit_schedules, cnnkit_metrics, cnnkit_datasets, cnnkit_augmentations, cnnkit_callbacks, cnnkit_runtimes"
)


class Good(Layer):
    """A layer that works."""


class Fine(Layer):
    """A layer of a plugin that is broken elsewhere."""


class Sgd(Optimizer):
    """Not a layer."""


def fails(error: BaseException) -> Callable[[], Any]:
    def hook() -> Any:
        raise error

    return hook


def nothing() -> list[type[Component]]:
    return []


def takes(unknown: int) -> list[type[Component]]:
    return []


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "import error": (
        {"error": ImportError("no module named 'fast_thing'")},
        "importing broken_module failed: ImportError: no module named 'fast_thing'",
    ),
    "missing dependency": (
        {"error": ModuleNotFoundError("No module named 'scipy'")},
        "importing broken_module failed: ModuleNotFoundError: No module named 'scipy'",
    ),
    "syntax error": (
        {"error": SyntaxError("invalid syntax")},
        "importing broken_module failed: SyntaxError: invalid syntax",
    ),
    "exit on import": ({"error": SystemExit(3)}, "importing broken_module failed: SystemExit: 3"),
    "any exception on import": (
        {"error": BaseException("unheard of")},
        "importing broken_module failed: BaseException: unheard of",
    ),
    "hook raises": (
        {"hooks": {"cnnkit_optimizers": fails(RuntimeError("not today"))}},
        "cnnkit_optimizers() failed: RuntimeError: not today",
    ),
    "hook exits": ({"hooks": {"cnnkit_losses": fails(SystemExit())}}, "cnnkit_losses() failed: SystemExit: "),
    "hook returns no list": (
        {"hooks": {"cnnkit_losses": lambda: None}},
        "cnnkit_losses() must return a list of classes, and returned None",
    ),
    "hook returns a class": (
        {"hooks": {"cnnkit_optimizers": lambda: Sgd}},
        f"cnnkit_optimizers() must return a list of classes, and returned {Sgd!r}",
    ),
    "hook returns an object": (
        {"hooks": {"cnnkit_optimizers": lambda: ["Sgd"]}},
        "cnnkit_optimizers() returned 'Sgd', which is not an optimizer class",
    ),
    "hook returns another kind": (
        {"hooks": {"cnnkit_losses": lambda: [Sgd]}},
        f"cnnkit_losses() returned {Sgd!r}, which is not a loss class",
    ),
    "two classes of one name": (
        {"hooks": {"cnnkit_optimizers": lambda: [Sgd, type("Sgd", (Optimizer,), {})]}},
        "cnnkit_optimizers() returned two classes named Sgd",
    ),
    "unknown hook": (
        {"hooks": {"cnnkit_layer": nothing}},
        f"cnnkit_layer is not a hook of cnnkit; the hooks are {HOOKS}",
    ),
    "hook that never ends": (
        {"hooks": {"cnnkit_losses": lambda: itertools.count()}},
        "cnnkit_losses() returned more than 10,000 classes",
    ),
    "class that cannot be named": (
        {"hooks": {"cnnkit_optimizers": lambda: [type("S\nGD", (Optimizer,), {})]}},
        "cnnkit_optimizers() returned a class named 'S\\nGD', which an expression cannot name",
    ),
    "hook with arguments": (
        {"hooks": {"cnnkit_losses": takes}},
        "importing broken_module failed: PluginValidationError: Plugin 'broken broken_module'",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
class TestBrokenPlugin:
    @pytest.fixture
    def catalog(self, case: str, make_plugin: MakePlugin) -> Catalog:
        options, _ = BROKEN[case]
        return Catalog([make_plugin("broken", **options), make_plugin("cnnkit", Good), make_plugin("other", Fine)])

    def test_is_reported(self, catalog: Catalog, case: str) -> None:
        broken, good, fine = catalog.plugins
        (problem,) = catalog.problems(broken)
        assert problem.startswith(BROKEN[case][1])
        assert catalog.problems(good) == catalog.problems(fine) == []

    def test_disturbs_no_other_name(self, catalog: Catalog, case: str) -> None:
        assert catalog.find("layer", "Good") is Good
        assert catalog.find("layer", "Fine") is Fine
        assert {"Good", "Fine"} == set(catalog.names("layer"))

    def test_is_named_where_it_may_be_the_reason(self, catalog: Catalog, case: str) -> None:
        hook = next(iter(BROKEN[case][0].get("hooks", {"cnnkit_layer": None})))
        kind = {"cnnkit_layer": "layer", "cnnkit_losses": "loss", "cnnkit_optimizers": "optimizer"}[hook]
        with pytest.raises(ComponentError) as caught:
            catalog.find(kind, "Wanted")
        lines = str(caught.value).split("\n  ")
        assert lines[0] == f"there is no {kind} named 'Wanted'"
        assert lines[1].startswith(f"broken 1.2 is broken and may provide it: {BROKEN[case][1]}")


def test_a_class_in_the_hook_of_another_kind_is_found(make_plugin: MakePlugin) -> None:
    catalog = Catalog([make_plugin("odd", hooks={"cnnkit_losses": lambda: [Sgd]}), make_plugin("other", Fine)])
    with pytest.raises(
        ComponentError, match=r"^there is no optimizer named 'Sgd'\n  odd 1\.2 is broken: cnnkit_losses"
    ):
        catalog.find("optimizer", "Sgd")
    with pytest.raises(ComponentError) as caught:
        catalog.find("optimizer", "Else")
    assert "odd" not in str(caught.value)


def test_plugins_that_are_blocked_alike_share_a_line() -> None:
    why = "CNNKIT_NO_PLUGINS is set"
    catalog = Catalog([Plugin(name, "1.0", name, lambda: None, blocked=why) for name in ("one", "two")])
    with pytest.raises(ComponentError) as caught:
        catalog.find("loss", "Wanted")
    assert str(caught.value).split("\n  ")[1:] == [f"one, two are blocked and may provide it: {why}"]


def test_a_plugin_with_one_bad_hook_keeps_the_others(make_plugin: MakePlugin) -> None:
    catalog = Catalog([make_plugin("half", Fine, hooks={"cnnkit_losses": fails(RuntimeError("no"))})])
    assert catalog.find("layer", "Fine") is Fine
    with pytest.raises(ComponentError, match=r"^there is no loss named 'Fine'\n  half 1\.2 is broken"):
        catalog.find("loss", "Fine")


def test_ctrl_c_is_no_broken_plugin(make_plugin: MakePlugin) -> None:
    with pytest.raises(KeyboardInterrupt):
        Catalog([make_plugin("slow", error=KeyboardInterrupt())]).names("layer")
    with pytest.raises(KeyboardInterrupt):
        Catalog([make_plugin("slow", hooks={"cnnkit_losses": fails(KeyboardInterrupt())})]).names("loss")


def test_a_package_that_uses_its_own_plugin_while_it_is_imported_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "cnnkit_selfish"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import importlib\n"
        "from cnnkit.components import Catalog, Plugin\n"
        "plugin = Plugin('selfish', '1', f'{__name__}.own', lambda: importlib.import_module(f'{__name__}.own'))\n"
        "found = Catalog([plugin]).find('layer', 'Own')\n"
    )
    (package / "own.py").write_text(
        "import cnnkit_selfish\n"
        "from cnnkit import Layer, hookimpl\n"
        "class Own(Layer): pass\n"
        "@hookimpl\n"
        "def cnnkit_layers():\n"
        "    from cnnkit_selfish.own import Own\n"
        "    return [Own]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("cnnkit_selfish").found.__name__ == "Own"


def of_module(**attributes: Any) -> list[str]:
    """What is said of a module with these attributes."""
    module = types.ModuleType("bare_module")
    vars(module).update(attributes)
    catalog = Catalog([Plugin("bare", "1.2", "bare_module", lambda: module)])
    return catalog.problems(catalog.plugins[0])


def unmarked() -> list[type[Component]]:
    return []


@hookimpl
def marked() -> list[type[Component]]:
    return []


def test_a_module_without_hooks_is_reported() -> None:
    assert of_module(helper=unmarked) == [f"bare_module implements no hook of cnnkit; the hooks are {HOOKS}"]
    never = "cnnkit_losses is never called: mark it with @cnnkit.hookimpl"
    assert of_module(cnnkit_losses=unmarked) == [never]
    assert of_module(cnnkit_layers=marked, cnnkit_losses=unmarked) == [never]
    assert of_module(cnnkit_layers=marked) == []


def test_names_that_another_has_too_are_reported(make_plugin: MakePlugin) -> None:
    cnnkit, one, other = make_plugin("cnnkit", Good), make_plugin("one", Good, Fine), make_plugin("other", Fine)
    catalog = Catalog([cnnkit, one, other])
    assert catalog.problems(cnnkit) == []
    assert catalog.problems(one) == [
        "cnnkit itself has a layer Good too: write one:Good for this one",
        "other has a layer Fine too: write one:Fine for this one",
    ]
    assert catalog.problems(other) == ["one has a layer Fine too: write other:Fine for this one"]
    with pytest.raises(ComponentError) as caught:
        catalog.find("layer", "Wanted")
    assert "broken" not in str(caught.value)


def test_an_error_in_cnnkit_itself_is_not_hidden(make_plugin: MakePlugin) -> None:
    with pytest.raises(ImportError, match="half an installation"):
        Catalog([make_plugin("cnnkit", error=ImportError("half an installation"))]).find("layer", "Good")


def test_cnnkit_is_found_by_its_entry_point() -> None:
    (cnnkit,) = [plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit"]
    assert cnnkit.value == "cnnkit.builtin"
    assert cnnkit.load().__name__ == "cnnkit.builtin"


def test_discovery_reads_metadata_and_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cnnkit_hangs-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cnnkit-hangs\nVersion: 3.1\n")
    (info / "entry_points.txt").write_text("[cnnkit]\nhangs = cnnkit_hangs\n")
    (tmp_path / "cnnkit_hangs.py").write_text("import never-to-be-run\n")
    monkeypatch.syspath_prepend(tmp_path)
    catalog = Catalog(installed_plugins())
    (found,) = [plugin for plugin in catalog.plugins if plugin.distribution == "cnnkit-hangs"]
    assert (found.version, found.value) == ("3.1", "cnnkit_hangs")
    (problem,) = catalog.problems(found)
    assert problem.startswith("importing cnnkit_hangs failed: SyntaxError: invalid syntax")
