"""The conformance suite for runtimes: everything that validation assumes about one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from cnnkit.components import Runtime, installed_catalog
from cnnkit.errors import CheckError, OnnxError
from cnnkit.testing.comparing import ABSOLUTE, RELATIVE, Suite, check_expression, equal, named, run_all, same_bits
from cnnkit.types import Array

if TYPE_CHECKING:
    from cnnkit.network import Network

NETWORK = ["Conv2D(3, 3)", "ReLU()", "MaxPool2D(2)", "Flatten()", "Dense(4)"]
IN_SHAPE = (2, 7, 6)


def check_runtime(runtime: Runtime | str) -> None:
    """Check that a runtime keeps its contract; `CHECKS` lists what that is.

    runtime: a component or its expression.
    Raises CheckError that names the check and says what was expected and what was received; ExpressionError,
    ComponentError or ConfigError for an expression that does not describe a runtime, OnnxError for one that is not
    installed.
    """
    from cnnkit.onnx.runtimes import ensure_installed  # here, so that `from cnnkit import testing` stays light

    component = cast("Runtime", installed_catalog().build("runtime", runtime))
    if not isinstance(component.requires, str):
        raise CheckError(
            f"{named(component)}: requires must be the name of a distribution, or '', got {component.requires!r}"
        )
    ensure_installed(component)
    run_all([suite(component)])


def suite(runtime: Runtime) -> Suite:
    """All of its checks."""
    return Suite(named(runtime), runtime, CHECKS, (runtime,), copied=False)


def check_outputs(runtime: Runtime) -> None:
    """All outputs come back by their names, with the model's values, float32, for one sample as for many."""
    model = _model()
    for count in (1, 5):
        x = _images(count)
        given = _run(runtime, _exported(model), {"input": x.copy()})
        expected = model.trace(x)[-1]
        equal(f"names of the outputs for {count} samples", sorted(given), ["logits", "probabilities"])
        shifted = np.exp(expected - expected.max(axis=1, keepdims=True))
        shares = shifted / shifted.sum(axis=1, keepdims=True)
        _close(f"logits of {count} samples", given["logits"], expected)
        _close(f"probabilities of {count} samples", given["probabilities"], shares)


def check_extremes(runtime: Runtime) -> None:
    """Values are computed in float32: large, small and negative ones come back, and infinity is an answer."""
    values = np.array([[0.0, -1.5, 1e-30, 1e30, -np.inf, np.inf, 16777216.0, 0.1]], np.float32)
    model = _graph([("Add", ["a", "zero"], "y")], {"a": "float32", "zero": "float32"}, 8)
    given = _run(runtime, model, {"a": values.copy(), "zero": np.zeros_like(values)})["y"]
    equal("dtype of a plus 0 for float32", str(given.dtype), "float32")
    same_bits("a plus 0", given, values)


def check_inputs_by_name(runtime: Runtime) -> None:
    """Inputs are told apart by their names, whatever their order, and keep their dtype or are refused."""
    nodes = [("Sub", ["first", "second"], "difference"), ("Add", ["first", "second"], "sum")]
    model = _graph(nodes, {"first": "float32", "second": "float32"}, 3)
    one, two = (np.arange(6, dtype=np.float32).reshape(2, 3) * factor for factor in (1, 10))
    for order in ({"first": one, "second": two}, {"second": two, "first": one}):
        given = _run(runtime, model, {name: value.copy() for name, value in order.items()})
        equal("names of the outputs", sorted(given), ["difference", "sum"])
        _close("first - second", given["difference"], one - two)
        _close("first + second", given["sum"], one + two)
    bytes_ = np.array([[0, 127, 128], [129, 254, 255]], np.uint8)
    try:
        same = _run(runtime, _graph([("Identity", ["a"], "y")], {"a": "uint8"}, 3), {"a": bytes_})["y"]
    except OnnxError:
        return  # a runtime may know float32 alone
    equal("dtype of what Identity gives for uint8", str(same.dtype), "uint8")
    same_bits("what Identity gives for uint8", same, bytes_)


def check_inputs_unchanged(runtime: Runtime) -> None:
    """The inputs are left as they are, also where they are not in C order."""
    model, x = _model(), _images(3)
    expected = _run(runtime, _exported(model), {"input": x.copy()})["logits"]
    strided = np.asfortranarray(x)
    inputs = {"input": strided}
    _close("logits for inputs in another memory order", _run(runtime, _exported(model), inputs)["logits"], expected)
    equal("names of the inputs after run", list(inputs), ["input"])
    same_bits("inputs after run, which changed them in place", inputs["input"], x)


def check_models_apart(runtime: Runtime) -> None:
    """Each call runs the model that it is given, and what an earlier one returned stays as it is."""
    one, two, x = _exported(_model(0)), _exported(_model(1)), _images(3)
    first = _run(runtime, one, {"input": x})["logits"]
    kept = first.copy()
    second = _run(runtime, two, {"input": x})["logits"]
    _close("logits of a second model; run the model that is given", second, _model(1).trace(x)[-1])
    same_bits("logits of the first model after a second one was run", first, kept)
    _run(runtime, one, {"input": -x})
    same_bits("logits after another run of the same model; give memory that is not used again", first, kept)
    same_bits("logits of the same model and inputs, run again", _run(runtime, one, {"input": x})["logits"], kept)


def check_refusals(runtime: Runtime) -> None:
    """What cannot be executed raises OnnxError: no model, a damaged one, inputs that are missing or do not fit."""
    model, x = _exported(_model()), _images(2)
    for what, data, inputs in (
        ("bytes that are no model", b"not a model", {"input": x}),
        ("half a model", model[: len(model) // 2], {"input": x}),
        ("a model without its input", model, {}),
        ("inputs of another shape", model, {"input": x[:, :, :2]}),
    ):
        try:
            given = runtime.run(data, cast("Mapping[str, Array]", inputs))
        except OnnxError:
            continue
        except Exception as error:
            raise CheckError(f"{what}: expected an OnnxError, got {type(error).__name__}: {error}") from error
        raise CheckError(f"{what}: expected an OnnxError, got {given!r}")


def check_repr(runtime: Runtime) -> None:
    """`repr` is the expression that recreates the runtime, after a run as before."""
    text = repr(runtime)
    _run(runtime, _exported(_model()), {"input": _images(1)})
    equal("repr after run", repr(runtime), text)
    check_expression("runtime", runtime)


CHECKS: Mapping[str, Callable[[Runtime], None]] = {
    "outputs": check_outputs,
    "extremes": check_extremes,
    "inputs unchanged": check_inputs_unchanged,
    "inputs by name": check_inputs_by_name,
    "models apart": check_models_apart,
    "refusals": check_refusals,
    "repr": check_repr,
}
"""By name, in the order in which they run."""


def _run(runtime: Runtime, model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    given = runtime.run(model, inputs)
    if not isinstance(given, dict) or not all(isinstance(value, np.ndarray) for value in given.values()):
        raise CheckError(f"run must return the outputs as a dict of arrays by their names, it returned {given!r}")
    return given


def _model(seed: int = 0) -> Network:
    from cnnkit.network import Sequential

    return Sequential(NETWORK, IN_SHAPE, seed=seed)


def _exported(model: Network) -> bytes:
    from cnnkit.onnx.export import to_onnx

    data: bytes = to_onnx(model).SerializeToString()
    return data


def _images(count: int) -> Array:
    return np.random.default_rng(0).normal(size=(count, *IN_SHAPE)).astype(np.float32)


def _graph(nodes: list[tuple[str, list[str], str]], inputs: Mapping[str, str], features: int) -> bytes:
    """A model of nodes without attributes, all of whose outputs are outputs; (N, features)."""
    from onnx import helper

    dtype = next(helper.np_dtype_to_tensor_dtype(np.dtype(one)) for one in inputs.values())
    graph = helper.make_graph(
        [helper.make_node(op, names, [output]) for op, names, output in nodes],
        "check",
        [helper.make_tensor_value_info(name, dtype, ("N", features)) for name in inputs],
        [helper.make_tensor_value_info(output, dtype, ("N", features)) for _, _, output in nodes],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=helper.find_min_ir_version_for([opset]))
    data: bytes = model.SerializeToString()
    return data


def _close(what: str, given: Array, expected: Array) -> None:
    equal(f"dtype of the {what}", str(given.dtype), "float32")
    equal(f"shape of the {what}", given.shape, expected.shape)
    if not np.allclose(given, expected, RELATIVE, ABSOLUTE):
        raise CheckError(f"{what}: expected the model's, they differ by up to {np.abs(given - expected).max():.1e}")
