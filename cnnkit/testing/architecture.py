"""The conformance suite for architectures: everything that recipes assume about one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from cnnkit.components import Architecture, Layer, Merge, installed_catalog
from cnnkit.errors import CheckError
from cnnkit.testing.comparing import ABSOLUTE, RELATIVE, Suite, check_expression, equal, named, run_all
from cnnkit.types import Array, Shape

if TYPE_CHECKING:
    from cnnkit.network import Network

SAMPLES = 3


def check_architecture(architecture: Architecture | str, in_shape: Shape = (1, 28, 28)) -> None:
    """Check that an architecture keeps its contract; `CHECKS` lists what that is.

    architecture: a component or its expression; in_shape: of one input that it is for, without the batch axis.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe an architecture.
    """
    run_all([suite(cast("Architecture", installed_catalog().build("architecture", architecture)), in_shape)])


def suite(architecture: Architecture, in_shape: Shape) -> Suite:
    """All of its checks, on inputs of this shape."""
    subject = f"{named(architecture)} on inputs of shape {in_shape}"
    return Suite(subject, architecture, CHECKS, (architecture, in_shape))


def check_layers(architecture: Architecture) -> None:
    """`layers` gives a list of layers and merges, the same each time, and new ones each time."""
    first, second = architecture.layers(), architecture.layers()
    if not isinstance(first, list) or not first or not all(isinstance(one, Layer | Merge) for one in first):
        raise CheckError(f"layers must give a list of layers and merges, it gave {first!r}")
    equal("layers, asked for again", list(map(repr, second)), list(map(repr, first)))
    if set(map(id, first)) & set(map(id, second)):
        raise CheckError("layers gave the same object twice: two networks would share its parameters; make new ones")


def check_outputs(architecture: Architecture, in_shape: Shape) -> None:
    """A network of them takes inputs of this shape, and its outputs are finite."""
    model = _model(architecture, in_shape)
    y = model.outputs(_inputs(in_shape))
    equal("number of outputs", len(y), SAMPLES)
    if not np.isfinite(y).all():
        raise CheckError("the outputs of new weights are not finite: normalise, or start with smaller weights")


def check_export(architecture: Architecture, in_shape: Shape) -> None:
    """The exported network gives the outputs of the network itself."""
    from cnnkit.onnx.export import to_onnx  # here, so that `from cnnkit import testing` stays light
    from cnnkit.onnx.outputs import compared_outputs, output_names
    from cnnkit.onnx.runtimes import ReferenceEvaluator

    model, x = _model(architecture, in_shape), _inputs(in_shape)
    exported = to_onnx(model).SerializeToString()
    names = output_names(model)
    found = ReferenceEvaluator().run(exported, {"input": x})[names[0]]
    expected = compared_outputs(model, x, names)
    size = max(1.0, float(np.abs(expected).max()))
    if found.shape != expected.shape or not np.allclose(found, expected, 10 * RELATIVE, 10 * ABSOLUTE * size):
        raise CheckError(f"the exported network differs by up to {np.abs(found - expected).max():.1e}")


def check_repr(architecture: Architecture) -> None:
    """`repr` is the expression that recreates the architecture."""
    again = check_expression("architecture", architecture)
    if again is not None:
        made = cast("Architecture", again).layers()
        equal("layers of what repr makes", list(map(repr, made)), list(map(repr, architecture.layers())))


CHECKS: Mapping[str, Callable[[Architecture, Shape], None]] = {
    "layers": lambda one, _: check_layers(one),
    "outputs": check_outputs,
    "export": check_export,
    "repr": lambda one, _: check_repr(one),
}
"""By name, in the order in which they run."""


def _model(architecture: Architecture, in_shape: Shape) -> Network:
    from cnnkit.network import Sequential

    return Sequential(architecture.layers(), in_shape, seed=0)


def _inputs(in_shape: Shape) -> Array:
    return np.random.default_rng(0).normal(size=(SAMPLES, *in_shape)).astype(np.float32)
