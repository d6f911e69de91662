"""Whether a layer's lowering computes what its forward computes."""

from __future__ import annotations

import copy

import numpy as np

from cnnkit.components import Layer, Merge
from cnnkit.errors import CheckError
from cnnkit.network import Network
from cnnkit.testing.comparing import ABSOLUTE, RELATIVE
from cnnkit.testing.example_inputs import LARGE, domain_of, extreme, ordinary
from cnnkit.testing.single_layer import alone
from cnnkit.types import Array, Shape


def check_lowering(layer: Layer | Merge, in_shape: Shape) -> None:
    """The exported layer gives the values of its forward in prediction, for any batch size; without `lower` it passes.

    Parameters and buffers are moved off their first values, which often are zeros and ones that hide mistakes, first to
    numbers above 0, then parameters to numbers of both signs. Inputs reach 0 and +-100.
    Raises CheckError with the largest difference, OnnxError for what ONNX refuses.
    """
    if not can_be_lowered(layer):
        return
    model = alone(copy.deepcopy(layer), in_shape)
    names = {f"{node.name}.{name}" for node in model.nodes for name in node.layer.params}
    domain = domain_of(layer)
    for seed, signs in enumerate(("above 0", "of both signs")):
        rng = np.random.default_rng(seed)
        state = {name: rng.uniform(0.5, 1.5, value.shape) for name, value in model.state().items()}
        if signs == "of both signs":
            if not names:
                continue
            state |= {name: state[name] * rng.choice([-1.0, 1.0], state[name].shape) for name in names}
        model.load_state(state)
        inputs = {
            "ordinary inputs": ordinary(rng, (3, *in_shape), domain),
            f"inputs of 0 and up to +-{LARGE:g}": extreme(rng, in_shape, domain),
            "one sample": ordinary(rng, (1, *in_shape), domain),
        }
        _compare(model, inputs, f"parameters {signs}" if names else "no parameters")


def can_be_lowered(layer: Layer | Merge) -> bool:
    """Whether it has its own `lower`, and so have the layers in its branches."""
    inner = [one for branch in layer.branches for one in branch]
    return type(layer).lower not in (Layer.lower, Merge.lower) and all(map(can_be_lowered, inner))


def _compare(model: Network, inputs: dict[str, Array], parameters: str) -> None:
    from cnnkit.onnx.export import to_onnx  # here, so that `from cnnkit import testing` stays light
    from cnnkit.onnx.runtimes import ReferenceEvaluator

    exported = to_onnx(model).SerializeToString()
    for what, x in inputs.items():
        x = x.astype(np.float32)
        expected = model.trace(x)[-1]
        given = ReferenceEvaluator().run(exported, {"input": x})["values"]
        if given.shape != expected.shape:
            raise CheckError(
                f"lower gives outputs of shape {given.shape} for {len(x)} samples, expected {expected.shape}"
            )
        size = max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
        if not np.allclose(given, expected, RELATIVE, ABSOLUTE * size, equal_nan=True):
            raise CheckError(
                f"lower computes something else than forward does in prediction: for {what} and {parameters} they "
                f"differ by up to {np.abs(given - expected).max():.1e}"
            )
