"""Every component of the catalog keeps its proofs, and what breaks one in a single configuration is found."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from cnnkit.components import Component, Layer, Loss
from cnnkit.errors import CheckError, ConfigError, ShapeError
from cnnkit.layers import LAYERS, Conv2D, Dense
from cnnkit.losses import LOSSES
from cnnkit.testing.random_configurations import example_configurations, random_configurations
from cnnkit.testing.tiled_passes import build
from cnnkit.types import Array, Cache, Context, Example, Grads, OnnxGraph, Shape
from tests.testing import twins
from tests.testing.proofs import FEW, FULL, KINDS, components, prove, table, twins_told

LEAST_TOLD = 0.3
"""Of random configurations of a component with a twin: those that have one of their own that can be told."""
FEWER_TOLD = {
    "KLDiv": "PyTorch adds up what is said of the pixels of a sample, and takes no numbers of classes",
    "LPPool2D": "PyTorch has no padding, even powers alone, and other windows at the edge with ceil_mode",
    "Reshape": "PyTorch unflattens one axis, and so vectors alone",
}
"""Components of which most configurations have no twin, and why."""
CLASSES = [cls for kind in KINDS for cls in components(kind)]


def test_the_guide_says_which_kinds_are_proved() -> None:
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert f"every built-in {', '.join(KINDS[:-1])} and {KINDS[-1]} " in guide


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.kind}-{cls.__name__}")
def test_each_component_is_proved(cls: type[Component]) -> None:
    assert prove(cls, FEW).faults == []


@pytest.mark.proofs
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.kind}-{cls.__name__}")
def test_each_component_is_proved_over_many_configurations(cls: type[Component]) -> None:
    proved = prove(cls, FULL)
    print("\n".join(table([proved])))
    assert proved.faults == []


class Times(Layer):
    """The right layer that the faulty ones are made from: y = factor x, with a factor that no example has to 5."""

    examples: ClassVar[tuple[Example, ...]] = (
        Example("Times(2)", (3, 4, 5)),
        Example("Times(3)", (7,)),
        Example("Times(4)", (2, 6)),
    )

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * x.dtype.type(self.factor), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * dy.dtype.type(self.factor), {}

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Mul", x, np.array(self.factor, np.float32))


class WrongGradient(Times):
    """By 1e-4, in one configuration."""

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        return dy * dy.dtype.type(self.factor * (1 + 1e-4 * (self.factor == 5))), {}


class WrongShape(Times):
    """Of its output, in one configuration."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = x * x.dtype.type(self.factor)
        return (y[..., :1] if self.factor == 5 else y), None


class Mutating(Times):
    """Of its input, in one configuration."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        if self.factor == 5:
            x *= 5
            return x, None
        return super().forward(x, ctx)


class LooksAtTheTile(Times):
    """In one configuration: the mean of a tile is not that of a batch."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        y = x * x.dtype.type(self.factor)
        return (y - y.mean(axis=0) if self.factor == 5 else y), None

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        dx = dy * dy.dtype.type(self.factor)
        return (dx - dx.mean(axis=0) if self.factor == 5 else dx), {}


class OtherType(Times):
    """float64 for float32, in one configuration."""

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        return x * (np.float64(5.0) if self.factor == 5 else x.dtype.type(self.factor)), None


class OtherExport(Times):
    """In one configuration, the exported file computes something else."""

    def lower(self, graph: OnnxGraph, x: str) -> str:
        return graph.add("Mul", x, np.array(self.factor + (self.factor == 5), np.float32))


class Fails(Times):
    """In a way that is no answer, in one configuration."""

    def __init__(self, factor: int) -> None:
        super().__init__(factor)
        self.inverse = 1 // (factor - 5)


class RefusesNearlyAll(Times):
    examples = (Example("RefusesNearlyAll(17)", (3,)),)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        if self.factor != 17 or in_shape != (3,):
            raise ShapeError("expected 3 features")
        return in_shape


class Unwritten(Times):
    examples: ClassVar[tuple[Example, ...]] = ()


EXAMPLES = tuple(Example(one.expression, one.in_shape) for one in Times.examples)


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (WrongGradient, "gradient: "),
        (WrongShape, "shapes: "),
        (Mutating, "inputs unchanged: "),
        (LooksAtTheTile, "tiles: "),
        (OtherType, "dtype: "),
        (OtherExport, "lowering: "),
    ],
)
def test_positive_control_a_fault_in_one_configuration_is_found(cls: type[Layer], fault: str) -> None:
    faults = prove(cls, 40, EXAMPLES).faults
    assert any(fault in one for one in faults)
    assert all(one.startswith(f"{cls.__name__}(5) on ") for one in faults)


@pytest.mark.parametrize(
    ("cls", "fault"),
    [
        (Fails, "no configurations: ZeroDivisionError: "),
        (RefusesNearlyAll, "no configurations: CheckError: RefusesNearlyAll: of 3,600 random configurations 1 were"),
        (Unwritten, "no configurations: CheckError: Unwritten has no examples"),
    ],
)
def test_positive_control_without_configurations_nothing_is_proved(cls: type[Layer], fault: str) -> None:
    examples = EXAMPLES if cls is Fails else cls.examples
    (found,) = prove(cls, 60, examples).faults
    assert found.startswith(fault)


def test_a_right_layer_passes() -> None:
    proved = prove(Times, 20, EXAMPLES)
    assert proved.faults == []
    *_, last = table([proved])
    assert last == f"1 components, {sum(proved.checks.values()):,} checks, 0 faults"
    assert sum(proved.checks.values()) > 20 * 20


def test_configurations_are_the_same_for_a_seed_and_all_differ() -> None:
    def drawn(seed: int) -> list[str]:
        found = random_configurations(
            Conv2D, Conv2D.examples, 50, lambda layer, one: build(layer, one.in_shape, np.random.default_rng(0)), seed
        )
        assert found.refused > 0
        return list(map(str, found.found))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 50
    own = set(map(str, example_configurations(Conv2D, Conv2D.examples)))
    assert len(own & set(drawn(1))) < 25


def test_what_is_refused_is_drawn_again_and_nothing_else_is_excused() -> None:
    def accepts(layer: Dense, one: object) -> None:
        if layer.units % 2:
            raise ConfigError("expected an even number")
        if layer.units > 8:
            raise KeyError(layer.units)

    found = random_configurations(Dense, Dense.examples[2:], 3, accepts)
    assert all(one.component.units % 2 == 0 for one in found.found)  # type: ignore[attr-defined]  # it is a Dense
    with pytest.raises(KeyError) as caught:
        random_configurations(Dense, Dense.examples[2:], 40, accepts)
    assert caught.value.__notes__[0].startswith("in the random configuration Dense with {'units': 10, 'bias': ")


def test_too_few_configurations_are_told() -> None:
    def refuses(layer: Dense, one: object) -> None:
        raise ShapeError("never")

    with pytest.raises(
        CheckError, match=r"^Dense: of 600 random configurations 0 were accepted and differ, expected 10: "
    ):
        random_configurations(Dense, Dense.examples, 10, refuses)


class KinkWithin(Layer):
    """Two layers in one: the kink of the second lies anywhere."""

    examples = (Example("KinkWithin(0.5)", (6, 5, 5)),)
    slope = 0.0

    def __init__(self, at: float) -> None:
        self.at = at

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Cache]:
        z = x.sum(axis=1, keepdims=True) - self.at
        return np.where(z > 0, z, self.slope * z).astype(x.dtype), (z > 0, x.shape)

    def build(self, in_shape: Shape, rng: np.random.Generator) -> Shape:
        return (1, *in_shape[1:])

    def backward(self, dy: Array, cache: Cache, ctx: Context) -> tuple[Array, Grads]:
        positive, shape = cache
        dz = np.where(positive, dy, self.wrong * self.slope * dy)
        return np.broadcast_to(dz, shape).astype(dy.dtype), {}

    wrong = 1.0


class KinkWithinAndWrong(KinkWithin):
    slope = 0.3
    wrong = 1 + 1e-4


def test_a_kink_anywhere_is_no_error_and_hides_none() -> None:
    from cnnkit.testing import gradient_check

    for seed in range(40):
        report = gradient_check(KinkWithin(0.01 * seed), (6, 5, 5), seed=seed)
        assert report.ok, report
        assert not gradient_check(KinkWithinAndWrong(0.01 * seed), (6, 5, 5), seed=seed).ok


@pytest.mark.parametrize("cls", [*LAYERS, *LOSSES], ids=lambda cls: cls.__name__)
def test_the_twins_of_examples_follow_a_rule_that_gives_them_back(cls: type[Layer | Loss]) -> None:
    pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    if not cls.twin:
        pytest.skip("it has no twin")
    rule = twins.rule_of(cls, cls.examples, cls.twin)
    assert rule
    for one in example_configurations(cls, cls.examples):
        if one.example.twin is not None:
            assert rule.arguments(one) == twins.arguments_of(rule.cls, one.example.twin)


@pytest.mark.parametrize("cls", [cls for cls in [*LAYERS, *LOSSES] if cls.twin], ids=lambda cls: cls.__name__)
def test_enough_random_configurations_have_a_twin_of_their_own(cls: type[Layer | Loss]) -> None:
    pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    share = twins_told(cls, 24)
    if cls.__name__ in FEWER_TOLD:
        assert 0 < share < LEAST_TOLD
    else:
        assert share >= LEAST_TOLD


class OnceIdentity(Times):
    """Has a twin with one argument alone, which none of the twin's follows."""

    examples = (Example("OnceIdentity(1)", (3, 4, 5), ""), Example("OnceIdentity(2)", (7,)))
    twin = "torch.nn.Identity"


def test_a_configuration_without_a_twin_is_not_compared_by_another_one() -> None:
    pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    proved = prove(OnceIdentity, 10)
    compared, untold = proved.checks["PyTorch"], proved.untold["PyTorch"]
    assert compared + untold == proved.checks["gradient"]
    assert untold >= 5
    (line,) = (line for line in table([proved]) if " PyTorch " in line)
    assert f" in {compared:5}, not in {untold}  " in line


def test_a_rule_is_told_from_examples_alone() -> None:
    pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    rule = twins.rule_of(Conv2D, Conv2D.examples, Conv2D.twin)
    assert rule
    assert rule.sources["in_channels"] == "axis 0"
    assert rule.sources["kernel_size"] == "kernel"
    wrong = (*Conv2D.examples[:1], Example("Conv2D(3, 3)", (2, 6, 5), "2, 5, 3"))
    assert twins.rule_of(Conv2D, wrong, Conv2D.twin) is None
