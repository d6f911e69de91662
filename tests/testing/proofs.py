"""The proofs of the whole catalog, made from what each component says of itself.

`python -m tests.testing.proofs [COUNT] [NAME ...]` runs them over COUNT random configurations of each component (100
unless it is given) and prints a table: components and checks, and for each family the worst figures and where.
Nothing here names a component: configurations come from `examples`, PyTorch's from `twin`, inputs keep to `domain`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
import sys
import tempfile
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnnkit.components import (
    Augmentation,
    Component,
    Layer,
    Loss,
    Merge,
    Metric,
    Mixing,
    installed_catalog,
)
from cnnkit.components.plugin_metadata import BUILT_IN
from cnnkit.errors import ConfigError
from cnnkit.onnx.export import MAX_OPSET, MIN_OPSET, to_onnx
from cnnkit.onnx.runtimes import RUNTIMES, is_installed
from cnnkit.registry.store import Registry
from cnnkit.testing import (
    augmentation,
    check_optimizer,
    check_schedule,
    conformance,
    gradient_check,
)
from cnnkit.testing import loss as loss_suite
from cnnkit.testing import metric as metric_suite
from cnnkit.testing.callback import QUANTITIES
from cnnkit.testing.comparing import checking
from cnnkit.testing.example_inputs import domain_of, ordinary
from cnnkit.testing.example_outputs import ANY, PROBABILITIES, kinds_for, outputs_of_all_kinds
from cnnkit.testing.example_targets import targets_of_all_kinds
from cnnkit.testing.lowering import can_be_lowered
from cnnkit.testing.random_configurations import (
    Configuration,
    Drawn,
    example_configurations,
    random_configurations,
)
from cnnkit.testing.schedule import points
from cnnkit.testing.single_layer import alone
from cnnkit.testing.tiled_passes import build
from cnnkit.types import Array, Example
from tests.testing import twins

FULL, FEW = 100, 2
"""Configurations of each component: of the full count, and of the ordinary tests."""
SLOW = 4
"""Configurations that are exported for other runtimes, and saved in a registry."""
EPOCHS = 100
"""Of the trainings that schedules are made for."""
KINDS = ("layer", "loss", "metric", "augmentation", "optimizer", "schedule")
BOUNDS = {"gradient": 1e-6, "PyTorch": 1e-5, "ONNX": 1e-4}
"""The largest error that is allowed of each figure, relative to the size of the numbers, or to 1."""
UNTOLD = "no twin can be told"

Figure = float | None
Proof = Callable[[Any, Configuration, int], Figure]
"""Of a component, its configuration and a seed. Raises what is wrong; gives a figure if there is one."""


@dataclass
class Proved:
    """What became of one component."""

    cls: type[Component]
    examples: Sequence[Example]
    refused: int = 0
    checks: dict[str, int] = field(default_factory=dict)
    """How many of each were run."""
    untold: dict[str, int] = field(default_factory=dict)
    """How many of each do not apply to the configuration, such as PyTorch's where no twin can be told."""
    worst: dict[str, tuple[float, str]] = field(default_factory=dict)
    """By figure: the largest, and the configuration."""
    faults: list[str] = field(default_factory=list)

    @property
    def family(self) -> str:
        """Where it is defined, such as "layers.conv"."""
        return self.cls.__module__.removeprefix("cnnkit.")

    def run(self, name: str, proof: Proof, one: Configuration, seed: int) -> None:
        """Run one proof of one configuration, and note what came."""
        try:
            with checking():
                figure = proof(one.component, one, seed)
        except Untold:
            self.untold[name] = self.untold.get(name, 0) + 1
            return
        except Exception as error:  # whatever a component raises, it is a fault of this configuration
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.faults.append(f"{one}: {name}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})")
            return
        self.checks[name] = self.checks.get(name, 0) + 1
        if figure is not None:
            self.worst[name] = max(self.worst.get(name, (-1.0, "")), (figure, str(one)))
            if not figure <= BOUNDS[name]:
                self.faults.append(f"{one}: {name}: {figure:.1e}, {BOUNDS[name]:.0e} allowed")


class Untold(Exception):  # noqa: N818  # it is no error
    """A proof does not apply to a configuration."""


def prove(cls: type[Component], count: int, examples: Sequence[Example] | None = None) -> Proved:
    """All proofs of its kind, on its examples and over so many random configurations."""
    examples = getattr(cls, "examples", ()) if examples is None else examples
    proved = Proved(cls, examples)
    try:
        given = example_configurations(cls, examples)
        drawn = _drawn(cls, count, examples)
    except Exception as error:
        told = "; ".join(getattr(error, "__notes__", ()))
        proved.faults.append(f"no configurations: {type(error).__name__}: {error} {told}")
        return proved
    proved.refused = drawn.refused
    for number, one in enumerate([*drawn.found, *given]):
        for name, proof in PROOFS[cls.kind].items():
            proved.run(name, proof, one, number)
        for name, proof in SLOW_PROOFS.items() if number < SLOW and cls.kind == "layer" else ():
            proved.run(name, proof, one, number)
    return proved


def twins_told(cls: Any, count: int) -> float:
    """Of so many random configurations of a component with a twin, the share of those whose own can be told."""
    found = _drawn(cls, count, cls.examples).found
    told = 0
    for one in found:
        with contextlib.suppress(Untold), _torch_in_silence():
            _twin(one.component, one)
            told += 1
    return told / len(found)


def _drawn(cls: type[Component], count: int, examples: Sequence[Example]) -> Drawn:
    seed = zlib.crc32(cls.__name__.encode())
    return random_configurations(cls, examples, count, functools.partial(_accepts, cls.kind), seed)


def _accepts(kind: str, component: Any, one: Configuration) -> None:
    rng = np.random.default_rng(0)
    if kind == "layer":
        build(component, one.in_shape, rng)
        alone(copy.deepcopy(component), one.in_shape)  # a network refuses what looks like (height, width, channels)
    elif kind == "loss":
        component.forward(*_samples(component, one, rng))
    elif kind == "metric":
        if not np.isfinite(_metric_trial(component, one).value()):
            raise ConfigError("it has no value for these samples, such as where none is counted")
    elif kind == "augmentation":
        augmentation.result(component, one.in_shape)
    elif kind == "schedule":
        component.begin(QUANTITIES)
        for epoch in points(EPOCHS):
            component.factor(epoch, EPOCHS)


def _samples(component: Loss | Metric, one: Configuration, rng: np.random.Generator, n: int = 6) -> tuple[Array, Array]:
    """Outputs that a loss or metric takes, float64, and targets of the example's kind."""
    targets = targets_of_all_kinds(one.in_shape, n, rng)[one.example.targets]
    if isinstance(component, Loss):
        kind = kinds_for(component)[0]
    else:
        kind = PROBABILITIES if component.of_probabilities else ANY
    return outputs_of_all_kinds((n, *one.in_shape), rng)[kind], targets


def _gradient(layer: Layer | Merge, one: Configuration, seed: int) -> float:
    report = gradient_check(layer, one.in_shape, batch=2 + seed % 4, seed=seed)
    assert report.ok, report
    return report.error


def _gradient_of_loss(loss: Loss, one: Configuration, seed: int) -> float:
    rng, batch = np.random.default_rng(seed), 2 + seed % 4
    targets = targets_of_all_kinds(one.in_shape, batch, rng)[one.example.targets]
    report = gradient_check(loss, one.in_shape, batch=batch, seed=seed, targets=targets)
    assert report.ok, report
    return report.error


def _parity(layer: Layer, one: Configuration, seed: int) -> float:
    rng = np.random.default_rng(seed)
    with _torch_in_silence():
        module = _twin(layer, one)
        return max(twins.layer_errors(copy.deepcopy(layer), one.in_shape, module, rng, 2 + seed % 4))


def _parity_of_loss(loss: Loss, one: Configuration, seed: int) -> float:
    with _torch_in_silence():
        module = _twin(loss, one)
    outputs, targets = _samples(loss, one, np.random.default_rng(seed))
    targets = targets if one.example.targets == "classes" else targets.astype("f4")
    return max(twins.loss_errors(loss, module, outputs.astype("f4"), targets), default=0.0)


@contextlib.contextmanager
def _torch_in_silence() -> Iterator[None]:
    """PyTorch warns of what takes it longer, such as "same" padding of even kernels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _twin(component: Component, one: Configuration) -> Any:
    """The twin of this very configuration. Raises Untold if it cannot be told, or if there is none."""
    cls: Any = type(component)
    if not cls.twin or importlib.util.find_spec("torch") is None:
        raise Untold(UNTOLD)
    is_example = any(one == given for given in example_configurations(cls, [one.example]))
    if is_example and one.example.twin is not None:
        twin = twins.twin_class(cls.twin)
        return twins.made_of(twin, twins.arguments_of(twin, one.example.twin))
    rule = _rule(cls)
    arguments = rule.arguments(one) if rule and not is_example else None
    if rule is None or arguments is None:
        raise Untold(UNTOLD)
    module = twins.made(rule.cls, arguments, functools.partial(_call, component, one))
    if module is None:
        raise Untold(UNTOLD)
    return module


def _call(component: Component, one: Configuration, module: Any) -> None:
    """Call a twin with what it will be called with, to see whether it refuses that."""
    import torch

    if isinstance(component, Loss):
        outputs, targets = _samples(component, one, np.random.default_rng(0), 1)
        module(*map(torch.tensor, (outputs, targets)))
    else:
        module(torch.zeros(2, *one.in_shape))


@functools.cache
def _rule(cls: Any) -> twins.TwinRule | None:
    return twins.rule_of(cls, cls.examples, cls.twin)


def _runtimes(layer: Layer | Merge, one: Configuration, seed: int) -> float:
    """The export, at the lowest and the highest opset, on the runtimes that are here."""
    if not can_be_lowered(layer):
        raise Untold
    rng = np.random.default_rng(seed)
    model = alone(layer, one.in_shape)
    model.load_state({name: rng.uniform(0.5, 1.5, value.shape) for name, value in model.state().items()})
    x = ordinary(rng, (3, *one.in_shape), domain_of(layer)).astype(np.float32)
    expected = model.trace(x)[-1]
    worst = 0.0
    for opset in (MIN_OPSET, MAX_OPSET):
        file = to_onnx(model, opset=opset).SerializeToString()
        for runtime in filter(is_installed, RUNTIMES):
            given = runtime().run(file, {"input": x})["values"]
            assert given.shape == expected.shape, f"{runtime.__name__} at opset {opset}: {given.shape}"
            size = max(1.0, float(np.abs(expected).max(initial=0.0)))
            worst = max(worst, float(np.abs(given - expected).max(initial=0.0)) / size)
    return worst


def _saved(layer: Layer | Merge, one: Configuration, seed: int) -> None:
    """A model that is saved and loaded has the same layers and gives the same numbers."""
    model = alone(layer, one.in_shape)
    x = ordinary(np.random.default_rng(seed), (3, *one.in_shape), domain_of(layer)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(folder)
        registry.save(model, "proof")
        again = registry.load("proof@1", [type(layer)])
    assert list(map(repr, again.layers)) == list(map(repr, model.layers))
    np.testing.assert_array_equal(again.trace(x)[-1], model.trace(x)[-1])


def _of_layer(check: Callable[[Layer | Merge, tuple[int, ...]], None]) -> Proof:
    return lambda layer, one, seed: check(layer, one.in_shape)


def _of_loss(check: Callable[[loss_suite.LossTrial], None]) -> Proof:
    def proof(loss: Loss, one: Configuration, seed: int) -> None:
        outputs, targets = _samples(loss, one, np.random.default_rng(seed), loss_suite.SAMPLES)
        check(loss_suite.LossTrial(loss, outputs.astype("f4"), targets, kinds_for(loss)[0], one.example.targets))

    return proof


def _of_metric(check: Callable[[metric_suite.MetricTrial], None]) -> Proof:
    return lambda metric, one, seed: check(_metric_trial(metric, one))


def _metric_trial(metric: Metric, one: Configuration) -> metric_suite.MetricTrial:
    outputs, targets = _samples(metric, one, np.random.default_rng(0), metric_suite.SAMPLES)
    return metric_suite.MetricTrial(metric, outputs.astype("f4"), targets)


def _of_augmentation(check: Callable[[Augmentation | Mixing, tuple[int, ...]], None]) -> Proof:
    return lambda one, configuration, seed: check(one, configuration.in_shape)


OF_CLASSES = ("lesson", "examples", "gradient")
"""Checks of a class, which no configuration changes, and the one that has a figure."""
PROOFS: Mapping[str, Mapping[str, Proof]] = {
    "layer": {name: _of_layer(check) for name, check in conformance.CHECKS.items() if name not in OF_CLASSES}
    | {"gradient": _gradient, "PyTorch": _parity},
    "loss": {name: _of_loss(check) for name, check in loss_suite.CHECKS.items() if name not in OF_CLASSES}
    | {"gradient": _gradient_of_loss, "PyTorch": _parity_of_loss},
    "metric": {name: _of_metric(check) for name, check in metric_suite.CHECKS.items()},
    "augmentation": {name: _of_augmentation(check) for name, check in augmentation.CHECKS.items()},
    "optimizer": {"contract": lambda optimizer, one, seed: check_optimizer(optimizer)},
    "schedule": {"contract": lambda schedule, one, seed: check_schedule(schedule, EPOCHS)},
}
SLOW_PROOFS: Mapping[str, Proof] = {"ONNX": _runtimes, "saved": _saved}


def components(kind: str) -> list[type[Component]]:
    """The built-in classes of a kind that give examples."""
    catalog = installed_catalog()
    (own,) = (plugin for plugin in catalog.plugins if plugin.distribution == BUILT_IN)
    return [cls for _, cls in sorted(catalog.classes(own, kind).items())]


def table(all_proved: Sequence[Proved]) -> Iterator[str]:
    """Components and checks of each kind, and the worst figures of each family."""
    for kind in KINDS:
        of_kind = [one for one in all_proved if one.cls.kind == kind]
        checks = sum(sum(one.checks.values()) for one in of_kind)
        refused = sum(one.refused for one in of_kind)
        yield f"{kind}: {len(of_kind)} components, {checks:,} checks, {refused:,} configurations were refused"
        for family in sorted({one.family for one in of_kind}):
            members = [one for one in of_kind if one.family == family]
            for figure in BOUNDS:
                found = [one.worst[figure] for one in members if figure in one.worst]
                if found:
                    worst, where = max(found)
                    runs = sum(one.checks.get(figure, 0) for one in members)
                    untold = sum(one.untold.get(figure, 0) for one in members)
                    without = f", not in {untold}" if untold else ""
                    yield f"  {family:32} {figure:9} {worst:8.1e} in {runs:5}{without}  {where}"
    checks = sum(sum(one.checks.values()) for one in all_proved)
    faults = sum(len(one.faults) for one in all_proved)
    yield f"{len(all_proved)} components, {checks:,} checks, {faults:,} faults"


def main(arguments: Sequence[str]) -> int:
    """Run them, print the table and the faults; 1 if there are some."""
    count = int(arguments[0]) if arguments else FULL
    wanted = [cls for kind in KINDS for cls in components(kind) if not arguments[1:] or cls.__name__ in arguments[1:]]
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(functools.partial(prove, count=count), wanted))
    print("\n".join(table(found)))
    for one in found:
        for fault in one.faults:
            print(f"{one.cls.__name__}: {fault}")
    return int(any(one.faults for one in found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
