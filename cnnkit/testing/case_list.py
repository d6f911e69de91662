"""The checks of everything that is installed, one by one: for pytest, and for `cnnkit plugins check`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import SkipTest

from cnnkit.arguments import signature
from cnnkit.components import Component, Plugin, installed_catalog
from cnnkit.components.expressions import parse
from cnnkit.components.plugin_metadata import BUILT_IN, KINDS, a, of_distribution
from cnnkit.errors import CheckError, CnnkitError, ComponentError, ConfigError
from cnnkit.testing import (
    architecture,
    augmentation,
    callback,
    conformance,
    dataset,
    gradient_method,
    initializer,
    loss,
    metric,
    optimizer,
    runtime,
    schedule,
)
from cnnkit.testing.comparing import Suite
from cnnkit.types import Shape

Verdict = Literal["passed", "failed", "expected failure", "skipped"]
SHAPES: Mapping[str, tuple[Shape, ...]] = {
    "layer": ((3, 8, 7), (3, 9), (5,)),
    "loss": ((5,), (2, 3, 4)),
    "metric": ((5,), (2, 3, 4)),
    "augmentation": ((3, 12, 10), (1, 12, 10)),
    "initializer": ((6, 4, 3, 3), (7, 5), (5,)),
    "architecture": ((1, 28, 28), (3, 32, 32)),
}
"""What a component without examples is tried on, by its kind: the first that it takes."""
EPOCHS = 100
"""Of the training that schedules are made for."""


@dataclass(frozen=True)
class Case:
    """One check of one component; call it to run it.

    `pytest.mark.parametrize("case", cases("cnnkit-scale"))` shows each under its name.
    """

    distribution: str
    kind: str
    component: str
    subject: str
    """The component's expression, and what it is tried on."""
    check: str
    run: Callable[[], None]
    """Raises CheckError with what is wrong, or SkipTest with why there is nothing to check."""
    expected: str = ""
    """Why the component fails this check, if it says that it does."""
    configured: tuple[Component, Shape] | None = None
    """The component itself and what it is tried on, unless it could not be made."""

    @property
    def __name__(self) -> str:
        """What pytest calls it."""
        return f"{self.subject} - {self.check}"

    def outcome(self) -> tuple[Verdict, str]:
        """The verdict, and the reason for any but "passed"."""
        return self._judged()[:2]

    def _judged(self) -> tuple[Verdict, str, CheckError | None]:
        """The same, with the error that has the traceback of the component."""
        try:
            self.run()
        except SkipTest as skipped:
            return "skipped", str(skipped), None
        except CheckError as error:
            return ("expected failure", self.expected, None) if self.expected else ("failed", str(error), error)
        if self.expected:
            reason = f"it passes, and expected_failures says otherwise: {self.expected}; remove it from there"
            return "failed", reason, None
        return "passed", "", None

    def __call__(self) -> None:
        """Raises CheckError if it fails, and SkipTest, which pytest shows as skipped."""
        verdict, reason, error = self._judged()
        if verdict == "failed":
            raise error or CheckError(reason)
        if verdict == "skipped":
            raise SkipTest(reason)


def cases(
    what: str = "", *, in_shape: Shape | None = None, data_dir: str | os.PathLike[str] | None = None
) -> list[Case]:
    """All checks of a plugin or a component, one by one.

    what: the name of a distribution, such as "cnnkit-walsh", an expression, such as "HadamardDense(8)", or the name of
    a component; "" for all plugins. A component is tried in the configurations of its `examples`, or else without
    arguments. in_shape: what an expression is tried on, instead of what its class says; data_dir: where the files of
    datasets are.
    Raises ComponentError if nothing of that name is installed, and what an expression raises that cannot be made.
    """
    folder = Path(data_dir) if data_dir else None
    _check_installed(what)
    if "(" in what:
        return list(_of_expression(what, in_shape, folder))
    catalog = installed_catalog()
    if what and not of_distribution(catalog.plugins, what):
        return list(_of_name(what, in_shape, folder))
    plugins = of_distribution(catalog.plugins, what)
    found = [
        case
        for plugin in plugins
        if what or plugin.distribution != BUILT_IN
        for case in _of_plugin(plugin, folder, bool(what))
    ]
    if not found:
        raise ComponentError("no plugin is installed beside cnnkit itself: there is nothing to check")
    return found


def _check_installed(what: str) -> None:
    """Raises ComponentError for what can only be a distribution, or its folder, and is not installed."""
    if "(" in what or what.isidentifier() or ":" in what or of_distribution(installed_catalog().plugins, what):
        return
    folder = Path(what)
    name = folder.name if folder.name not in ("", "..") else folder.resolve().name
    if of_distribution(installed_catalog().plugins, name):
        raise ComponentError(f"expected the name of a distribution, got {what!r}: write {name}")
    if (folder / "pyproject.toml").is_file():
        path = what if os.sep in what else f".{os.sep}{what}"
        raise ComponentError(f"{name} is not installed: run pip install -e {path}")
    raise ComponentError(
        f"{what} is not installed: for a plugin that you write, run pip install -e ./{name} where its folder is"
    )


def _of_plugin(plugin: Plugin, folder: Path | None, asked: bool) -> Iterator[Case]:
    catalog = installed_catalog()
    if plugin.blocked:
        why = f"it is blocked: {plugin.blocked}"
        # Beside others it is left out; of a plugin that is asked for by its name, nothing would be checked.
        refused = CheckError(why) if asked else SkipTest(why)
        yield _told(plugin.distribution, "plugin", plugin.value, "import", refused)
        return
    faults = dict.fromkeys(text for kind in KINDS for text in catalog.faults(plugin, kind))
    wrong = CheckError("; ".join(faults)) if faults else None
    yield _told(plugin.distribution, "plugin", plugin.value, "import", wrong)
    for kind in KINDS:
        for name, cls in sorted(catalog.classes(plugin, kind).items()):
            yield from _of_class(plugin.distribution, name, cls, None, folder)


def _of_name(name: str, in_shape: Shape | None, folder: Path | None) -> Iterator[Case]:
    kind, distribution, bare = _kind_of(name)
    cls = installed_catalog().find(kind, bare, distribution)
    yield from _of_class(_origin(cls), bare, cls, in_shape, folder)


def _of_expression(expression: str, in_shape: Shape | None, folder: Path | None) -> Iterator[Case]:
    kind, _, name = _kind_of(expression)
    component = installed_catalog().build(kind, expression)
    shapes = [in_shape] if in_shape else _shapes_of(type(component))
    yield from _configured(_origin(type(component)), name, component, shapes, folder)


def _kind_of(text: str) -> tuple[str, str, str]:
    """The kind of the component that an expression or a name is about, its distribution and its name."""
    call = parse(text if "(" in text else f"{text}()")
    catalog = installed_catalog()
    # Built-in names wait for no plugin; what is wrong is told of all plugins.
    for distribution in dict.fromkeys((call.distribution or BUILT_IN, call.distribution)):
        for kind in KINDS:
            try:
                catalog.find(kind, call.name, distribution)
            except ComponentError as error:
                if distribution == call.distribution and not str(error).startswith("there is no "):
                    raise
            else:
                return kind, call.distribution, call.name
    hints = dict.fromkeys(hint for kind in KINDS for hint in catalog.hints(kind, call.name, call.distribution))
    raise ComponentError(
        "\n  ".join(
            [
                f"expected the name of an installed distribution, a component or its expression, got {text!r}; `cnnkit "
                "plugins list` shows what is installed",
                *hints,
            ]
        )
    )


def _origin(cls: type[Component]) -> str:
    plugin = installed_catalog().origin(cls)
    return plugin.distribution if plugin else ""


def _of_class(
    distribution: str, name: str, cls: type[Component], in_shape: Shape | None, folder: Path | None
) -> Iterator[Case]:
    """In the configurations that the class gives as examples, or without arguments."""
    catalog = installed_catalog()
    examples = cls.examples
    try:
        if not examples and any(one.default is one.empty for one in _needed(cls)):
            skip = SkipTest("it needs arguments, and has no examples: give the class examples = (Example(...),)")
            yield _told(distribution, cls.kind, name, "examples", skip)
            return
        if not examples:
            yield from _configured(
                distribution, name, cls(), [in_shape] if in_shape else SHAPES.get(cls.kind, ()), folder
            )
        for example in examples:
            call = parse(example.expression)
            component = catalog.build(
                cls.kind, f"{distribution}:{example.expression}" if not call.distribution else call
            )
            yield from _configured(distribution, name, component, [in_shape or example.in_shape], folder)
    except Exception as error:  # whatever the class of a plugin raises
        yield _told(distribution, cls.kind, name, "examples", CheckError(f"{type(error).__name__}: {error}"))


def _needed(cls: type[Component]) -> Iterable[Any]:
    """The parameters that one must or may give, but for `*args`."""
    return [one for one in signature(cls).parameters.values() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]


def _shapes_of(cls: type[Component]) -> Iterable[Shape]:
    return dict.fromkeys((*(example.in_shape for example in cls.examples), *SHAPES.get(cls.kind, ())))


def _configured(
    distribution: str, name: str, component: Component, shapes: Iterable[Shape], folder: Path | None
) -> Iterator[Case]:
    """All checks of a component, on the first of these shapes that it takes."""
    try:
        shape, suites = _suites(component, shapes, folder)
    except (SkipTest, CnnkitError) as problem:
        wrong = problem if isinstance(problem, SkipTest) else CheckError(f"{type(problem).__name__}: {problem}")
        yield _told(distribution, component.kind, name, "configuration", wrong)
        return
    subject = repr(component) + (f" on {shape}" if shape else "")
    names = list(dict.fromkeys(check for suite in suites for check in suite.checks))
    expected = component.expected_failures
    if unknown := [check for check in expected if check not in names]:
        wrong = CheckError(f"expected_failures has {', '.join(unknown)}; the checks are {', '.join(names)}")
        yield _told(distribution, component.kind, name, "expected_failures", wrong)
    for check in names:

        def run(check: str = check) -> None:
            for suite in suites:
                if check in suite.checks:
                    suite.check(check)

        reason = str(expected.get(check, ""))
        yield Case(distribution, component.kind, name, subject, check, run, reason, (component, shape))


def _suites(component: Component, shapes: Iterable[Shape], folder: Path | None) -> tuple[Shape, list[Suite]]:
    """The shape and the suites. Raises SkipTest for what is not there, and what the component raises."""
    one: Any = component
    match component.kind:
        case "optimizer":
            return (), [optimizer.suite(one)]
        case "schedule":
            return (), [schedule.suite(one, EPOCHS)]
        case "callback":
            return (), [callback.suite(one)]
        case "gradient method":
            return (), [gradient_method.suite(one)]
        case "runtime":
            return (), [_runtime_suite(one)]
        case "dataset":
            return (), [_dataset_suite(one, folder)]
    made: Mapping[str, Callable[[Any, Shape], Iterable[Suite]]] = {
        "layer": conformance.suites,
        "loss": loss.suites,
        "metric": metric.suites,
        "initializer": initializer.suites,
        "augmentation": lambda one, shape: [augmentation.suite(one, shape)],
        "architecture": lambda one, shape: [architecture.suite(one, shape)],
    }
    refusals: list[CnnkitError] = []
    for shape in shapes:
        try:
            return shape, list(made[component.kind](one, shape))
        except CnnkitError as refusal:
            refusals.append(refusal)
    raise refusals[0] if refusals else ConfigError(f"there is no shape to try {a(component.kind)} on")


def _runtime_suite(component: Any) -> Suite:
    from cnnkit.onnx.runtimes import install_command, is_installed  # here, so that cnnkit.testing stays light

    if not is_installed(component):
        raise SkipTest(f"{component.requires} is not installed; run: {install_command(type(component))}")
    return runtime.suite(component)


def _dataset_suite(component: Any, folder: Path | None) -> Suite:
    from cnnkit.data import default_data_dir  # as above

    folder = folder or default_data_dir()
    if component.is_complete(folder) is False:
        raise SkipTest(f"its files are not in {folder}; run: cnnkit datasets fetch {component!r}")
    return dataset.suite(component, folder)


def _told(distribution: str, kind: str, name: str, check: str, wrong: Exception | None) -> Case:
    """A case whose outcome is known."""

    def run() -> None:
        if wrong:
            raise wrong

    return Case(distribution, kind, name, name, check, run)
