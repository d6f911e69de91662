"""The checks of what is installed, one by one: verdicts, names, expected failures, and what cannot be checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np
import pytest

from cnnkit.components import Catalog, Component, Layer, Optimizer, Plugin, hookimpl, installed_plugins
from cnnkit.components.contracts import Architecture, Runtime
from cnnkit.components.training_contracts import GradientMethod
from cnnkit.components.weight_contracts import Initializer
from cnnkit.errors import CheckError, ComponentError
from cnnkit.testing import cases, check_architecture, check_gradient_method, check_initializer
from cnnkit.testing.speed import speed_of
from cnnkit.types import Array, Example


class Twice(Layer):
    """y = 2 x."""

    def forward(self, x: Any, ctx: Any) -> Any:
        return 2 * x, None

    def backward(self, dy: Any, cache: Any, ctx: Any) -> Any:
        return 2 * dy, {}


class Backwards(Twice):
    """A layer whose gradient has the wrong sign."""

    def backward(self, dy: Any, cache: Any, ctx: Any) -> Any:
        return -2 * dy, {}


class Lost(Twice):
    """One that raises an error of two lines."""

    def backward(self, dy: Any, cache: Any, ctx: Any) -> Any:
        raise ArithmeticError("no way\nand no place")


class Straight(Backwards):
    """One that says so."""

    expected_failures: ClassVar[Mapping[str, str]] = {"gradient": "it is climbed, not descended"}


class Modest(Twice):
    """One that says that it fails, and does not."""

    expected_failures: ClassVar[Mapping[str, str]] = {"gradient": "nobody knows", "speed": "there is no such check"}


class Needing(Twice):
    """One that needs an argument."""

    def __init__(self, size: int) -> None:
        self.size = size


class Exemplary(Needing):
    """One that needs an argument, and gives examples."""

    examples = (Example("Exemplary(3)", (4,)), Example("Exemplary(5)", (2, 6, 5)))


class Absent(Runtime):
    """A runtime of what is not installed."""

    requires = "not-installed-here"


def use(monkeypatch: pytest.MonkeyPatch, **hooks: list[type[Component]]) -> None:
    """Let the plugin cnnkit-cases provide these classes, and cnnkit-broken none."""

    def explode() -> Any:
        raise SystemExit(7)

    module = SimpleNamespace()
    for name, classes in hooks.items():
        setattr(module, name, hookimpl(specname=name)(lambda classes=classes: classes))
    own = [plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit"]
    mine = Plugin("cnnkit-cases", "0.1", "cnnkit_cases", lambda: module)
    catalog = Catalog([*own, mine, Plugin("cnnkit-broken", "1.2", "cnnkit_broken", explode)])
    for place in ("components", "testing.case_list", "testing.comparing", "testing.conformance"):
        monkeypatch.setattr(f"cnnkit.{place}.installed_catalog", lambda: catalog)


def verdicts(what: str) -> dict[tuple[str, str], tuple[str, str]]:
    return {(case.component, case.check): case.outcome() for case in cases(what)}


def test_each_check_has_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, cnnkit_layers=[Twice, Backwards, Straight, Modest, Needing, Exemplary], cnnkit_runtimes=[Absent])
    found = verdicts("cnnkit-cases")
    assert {check for (name, check), (verdict, _) in found.items() if name == "Twice" and verdict == "passed"} >= {
        "gradient",
        "tiles",
        "repr",
    }
    failed = {place: reason for place, (verdict, reason) in found.items() if verdict == "failed"}
    assert failed.keys() == {
        ("Backwards", "gradient"),
        ("Modest", "gradient"),
        ("Modest", "expected_failures"),
    }
    assert "fails the check 'gradient'" in failed["Backwards", "gradient"]
    assert failed["Modest", "gradient"] == (
        "it passes, and expected_failures says otherwise: nobody knows; remove it from there"
    )
    assert failed["Modest", "expected_failures"].startswith("expected_failures has speed; the checks are build, shapes")
    assert found["Straight", "gradient"] == ("expected failure", "it is climbed, not descended")
    assert found["Needing", "examples"] == (
        "skipped",
        "it needs arguments, and has no examples: give the class examples = (Example(...),)",
    )
    assert (
        found["Absent", "configuration"][1]
        == "not-installed-here is not installed; run: pip install not-installed-here"
    )
    assert found["cnnkit_cases", "import"] == ("passed", "")
    subjects = {case.subject for case in cases("cnnkit-cases") if case.component == "Exemplary"}
    assert subjects == {"Exemplary(3) on (4,)", "Exemplary(5) on (2, 6, 5)"}


def test_a_case_is_called_and_named_by_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, cnnkit_layers=[Backwards, Straight, Needing])
    by_name = {case.__name__: case for case in cases()}
    by_name["Straight() on (3, 8, 7) - gradient"]()
    by_name["Backwards() on (3, 8, 7) - tiles"]()
    with pytest.raises(CheckError, match="fails the check 'gradient'"):
        by_name["Backwards() on (3, 8, 7) - gradient"]()
    with pytest.raises(SkipTest, match="it needs arguments"):
        by_name["Needing - examples"]()
    with pytest.raises(CheckError, match="importing cnnkit_broken failed: SystemExit: 7"):
        by_name["cnnkit_broken - import"]()


def test_an_error_of_a_component_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, cnnkit_layers=[Lost])
    case = next(one for one in cases("Lost") if one.check == "gradient")
    line = Lost.backward.__code__.co_firstlineno + 1
    with pytest.raises(
        CheckError, match=f"ArithmeticError: no way\nand no place .at (tests/testing/)?test_cases.py:{line}.$"
    ) as told:
        case()
    cause = told.value.__cause__
    assert isinstance(cause, ArithmeticError)
    assert cause.__traceback__ is not None


def test_a_plugin_that_is_asked_for_and_blocked_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Plugin("cnnkit-cases", "0.1", "cnnkit_cases", lambda: None, blocked="CNNKIT_NO_PLUGINS is 1")
    monkeypatch.setattr("cnnkit.testing.case_list.installed_catalog", lambda: Catalog([blocked]))
    (case,) = cases("cnnkit-cases")
    assert case.outcome() == ("failed", "it is blocked: CNNKIT_NO_PLUGINS is 1")
    (case,) = cases()
    assert case.outcome() == ("skipped", "it is blocked: CNNKIT_NO_PLUGINS is 1")


def test_a_component_is_named_by_itself_or_by_its_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, cnnkit_layers=[Twice, Exemplary])
    assert {case.subject for case in cases("Twice", in_shape=(7,))} == {"Twice() on (7,)"}
    assert {case.subject for case in cases("Exemplary(9)")} == {"Exemplary(9) on (4,)"}
    assert {case.distribution for case in cases("Huber(0.5)")} == {"cnnkit"}
    with pytest.raises(ComponentError, match="expected the name of an installed distribution, a component or its expr"):
        cases("cnnkit_nowhere")
    with pytest.raises(ComponentError, match=r"got 'Nothing\(\)'"):
        cases("Nothing()")


def test_why_nothing_is_found_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(cnnkit_layers=hookimpl(specname="cnnkit_layers")(lambda: [Twice]))
    own = [plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit"]
    two = [Plugin(name, "0.1", name, lambda: module) for name in ("cnnkit-a", "cnnkit-b")]
    blocked = Plugin("cnnkit-c", "0.1", "cnnkit_c", lambda: None, blocked="CNNKIT_BLOCK_PLUGINS names it")
    catalog = Catalog([*own, *two, blocked])
    monkeypatch.setattr("cnnkit.testing.case_list.installed_catalog", lambda: catalog)
    with pytest.raises(ComponentError, match="Twice is provided by several plugins: write cnnkit-a:Twice or cnnkit-b:"):
        cases("Twice()")
    with pytest.raises(ComponentError, match=r"got 'Relu\(\)'") as caught:
        cases("Relu()")
    assert "\n  did you mean ReLU" in str(caught.value)
    assert "\n  cnnkit-c 0.1 is blocked and may provide it: CNNKIT_BLOCK_PLUGINS names it" in str(caught.value)


def test_a_built_in_name_waits_for_no_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit"]
    catalog = Catalog([*own, Plugin("cnnkit-slow", "0.1", "cnnkit_slow", lambda: None)])
    monkeypatch.setattr("cnnkit.testing.case_list.installed_catalog", lambda: catalog)
    asked: list[str] = []
    load = catalog.load

    def noted(plugin: Plugin) -> Any:
        asked.append(plugin.distribution)
        return load(plugin)

    monkeypatch.setattr(catalog, "load", noted)
    assert cases("Huber(0.5)")
    assert set(asked) == {"cnnkit"}


def test_what_is_not_installed_is_told_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, cnnkit_layers=[Twice])
    monkeypatch.chdir(tmp_path)
    for folder in ("cnnkit-early", "cnnkit-cases"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pyproject.toml").touch()
    for what in ("cnnkit-early", "./cnnkit-early", "./cnnkit-early/"):
        with pytest.raises(ComponentError, match=r"cnnkit-early is not installed: run pip install -e ./cnnkit-early"):
            cases(what)
    with pytest.raises(ComponentError, match=r"for a plugin that you write, run pip install -e ./cnnkit-nonsense"):
        cases("cnnkit-nonsense")
    with pytest.raises(
        ComponentError, match=r"expected the name of a distribution, got './cnnkit-cases': write cnnkit-"
    ):
        cases("./cnnkit-cases")


def test_without_plugins_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Catalog(plugin for plugin in installed_plugins() if plugin.distribution == "cnnkit")
    monkeypatch.setattr("cnnkit.testing.case_list.installed_catalog", lambda: own)
    with pytest.raises(ComponentError, match="no plugin is installed beside cnnkit itself"):
        cases()


def test_speed_is_measured_beside_a_layer_of_the_same_shape() -> None:
    for shape, beside in (((5,), "Dense(5)"), ((3, 4, 5), "Conv2D(3, 3, padding=1)"), ((3, 9), "ReLU()")):
        found = speed_of(Twice(), shape)
        assert found is not None
        assert found.beside == beside
        assert found.ratio == found.seconds / found.seconds_beside > 0


class Signs(Initializer):
    """Signs of one size."""

    def values(self, weights: Any, rng: np.random.Generator) -> Array:
        return np.asarray(0.1 * rng.choice([-1.0, 1.0], weights.shape))


class Central(GradientMethod):
    """Central differences."""

    def gradient(self, loss: Any, params: Array, rng: np.random.Generator) -> Array:
        moves = 1e-4 * np.eye(len(params))
        return np.array([(loss(params + move) - loss(params - move)) / 2e-4 for move in moves])


class Small(Architecture):
    """Two layers."""

    def layers(self) -> list[Any]:
        from cnnkit.layers import Dense, Flatten

        return [Flatten(), Dense(3)]


def test_what_keeps_its_contract_passes() -> None:
    check_initializer(Signs())
    check_initializer("HeNormal()", (5, 4))
    check_gradient_method(Central())
    check_architecture(Small())
    check_architecture("LeNet5()")


class Global(Signs):
    def values(self, weights: Any, rng: np.random.Generator) -> Array:
        return np.asarray(np.random.normal(size=weights.shape))


class Kept(Signs):
    def __init__(self) -> None:
        self._first: dict[Any, Array] = {}

    def values(self, weights: Any, rng: np.random.Generator) -> Array:
        return self._first.setdefault(weights.shape, super().values(weights, rng))


class Flat(Signs):
    def values(self, weights: Any, rng: np.random.Generator) -> Array:
        return np.zeros(3)


class Uphill(Central):
    def gradient(self, loss: Any, params: Array, rng: np.random.Generator) -> Array:
        return -super().gradient(loss, params, rng)


class Short(Central):
    def gradient(self, loss: Any, params: Array, rng: np.random.Generator) -> Array:
        return 1e-3 * super().gradient(loss, params, rng)


class Single(Central):
    def gradient(self, loss: Any, params: Array, rng: np.random.Generator) -> Array:
        return np.full(len(params), loss(params[0]))


class Shared(Small):
    def __init__(self) -> None:
        self._made = super().layers()

    def layers(self) -> list[Any]:
        return self._made


class Infinite(Small):
    def layers(self) -> list[Any]:
        from cnnkit.initializers import Constant
        from cnnkit.layers import Dense, Flatten

        return [Flatten(), *(Dense(300, initializer=Constant(1e30)) for _ in range(3))]


class Nothing(Small):
    def layers(self) -> list[Any]:
        return []


@pytest.mark.parametrize(
    ("check", "component", "message"),
    [
        (check_initializer, Global(), "'generator': global random numbers were drawn"),
        (check_initializer, Kept(), "'own memory': weights after earlier ones were written into"),
        (check_initializer, Flat(), "'values': ComponentError: the initializer Flat() must give 216 numbers"),
        (check_gradient_method, Uphill(), "'direction': the cosine of the angle"),
        (check_gradient_method, Short(), "'descent': 300 steps against the estimates took the loss from"),
        (check_gradient_method, Single(), "'shape': loss must be called with all parameters, 5 numbers of float64"),
        (check_architecture, Shared(), "'layers': layers gave the same object twice"),
        (check_architecture, Infinite(), "'outputs': the outputs of new weights are not finite"),
        (check_architecture, Nothing(), "'layers': layers must give a list of layers and merges, it gave []"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Component) else "",
)
def test_what_does_not_is_found(check: Any, component: Component, message: str) -> None:
    with pytest.raises(CheckError) as caught:
        check(component)
    assert message in str(caught.value)


class Unmoved(Optimizer):
    """One that is expected to fail some checks: check_optimizer says no more of these."""

    expected_failures: ClassVar[Mapping[str, str]] = {
        "in place": "it waits",
        "direction": "it waits",
        "rate": "it waits",
    }

    def __init__(self, lr: float = 0.1) -> None:
        self.lr = lr

    def update(self, params: Any, grads: Any, state: Any, lr: float, step: int) -> None:
        """Nothing."""


def test_checks_of_a_kind_let_expected_failures_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.testing import check_optimizer

    check_optimizer(Unmoved())
    monkeypatch.setattr(Unmoved, "expected_failures", {})
    with pytest.raises(CheckError, match="fails the check 'in place'"):
        check_optimizer(Unmoved())
