"""JAX on a CPU: the whole step compiled, parameters and optimizer state donated, (N, H, W, C) images."""

from __future__ import annotations

import functools
from importlib.metadata import version
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.child_job import Job, prepared
from benchmarks.networks import channels_last_weight
from benchmarks.turn_child import Turns
from cnnkit.components import Layer, installed_catalog
from cnnkit.layers import AvgPool2D, BatchNorm2D, Conv2D, Dense, Dropout, Flatten, MaxPool2D, ReLU, Residual
from cnnkit.network import INPUT, Node, Sequential
from cnnkit.optimizers import Adam

Arrays = dict[str, Any]
CONVOLUTION = ("NHWC", "HWIO", "NHWC")


class State(NamedTuple):
    """All that a step changes."""

    params: Arrays
    buffers: Arrays
    mean: Arrays
    square: Arrays
    steps: Any


def initial(model: Sequential) -> State:
    """The state that starts from a cnnkit network's parameters."""
    params: Arrays = {}
    buffers: Arrays = {}
    for node in model.nodes:
        if isinstance(node.layer, Layer):
            for name, value in node.layer.params.items():
                array = channels_last_weight(model, node) if name == "weight" else value
                params[f"{node.name}.{name}"] = jnp.array(array)
            buffers |= {f"{node.name}.{name}": jnp.array(value) for name, value in node.layer.buffers.items()}
    zeros = functools.partial(jax.tree.map, jnp.zeros_like)
    return State(params, buffers, zeros(params), zeros(params), jnp.zeros((), jnp.int32))


def logits(model: Sequential, params: Arrays, buffers: Arrays, x: Any, key: Any) -> tuple[Any, Arrays]:
    """The network in training mode, and its buffers after the step."""
    values = {INPUT: x}
    moved: Arrays = {}
    for node in model.nodes:
        inputs = [values[i] for i in node.inputs]
        own = {name.rpartition(".")[2]: value for name, value in params.items() if name.startswith(f"{node.name}.")}
        if isinstance(node.layer, BatchNorm2D):
            values[node.index], mean, var = _normalised(node.layer, own, inputs[0])
            for name, now in ((f"{node.name}.running_mean", mean), (f"{node.name}.running_var", var)):
                moved[name] = (1 - node.layer.momentum) * buffers[name] + node.layer.momentum * now
        else:
            values[node.index] = _applied(node, own, inputs, jax.random.fold_in(key, node.index))
    return values[len(model.nodes) - 1], moved


def _applied(node: Node, own: Arrays, inputs: list[Any], key: Any) -> Any:
    x = inputs[0]
    match node.layer:
        case Conv2D() as layer:
            window = layer.window.onnx
            pads = list(zip(window["pads"][:2], window["pads"][2:], strict=True))
            y = lax.conv_general_dilated(x, own["weight"], window["strides"], pads, dimension_numbers=CONVOLUTION)
            return y + own["bias"] if layer.bias else y
        case Dense() as layer:
            y = x @ own["weight"]
            return y + own["bias"] if layer.bias else y
        case MaxPool2D() | AvgPool2D() as layer:
            size = (1, *layer.window.onnx["kernel_shape"], 1)
            strides = (1, *layer.window.onnx["strides"], 1)
            if isinstance(layer, MaxPool2D):
                return lax.reduce_window(x, -jnp.inf, lax.max, size, strides, "VALID")
            return lax.reduce_window(x, 0.0, lax.add, size, strides, "VALID") / (size[1] * size[2])
        case ReLU():
            return jax.nn.relu(x)
        case Dropout() as layer:
            return jnp.where(jax.random.uniform(key, x.shape) >= layer.rate, x / (1 - layer.rate), 0.0)
        case Flatten():
            return x.reshape(len(x), -1)
        case Residual():
            return inputs[0] + inputs[1]
    raise TypeError(f"{node} has no translation to JAX")


def _normalised(layer: BatchNorm2D, own: Arrays, x: Any) -> tuple[Any, Any, Any]:
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    y = (x - mean) * lax.rsqrt(var + layer.epsilon) * own["gamma"] + own["beta"]
    count = x.size // x.shape[3]
    return y, mean, var * count / max(count - 1, 1)


def main(job: Job, turns: Turns) -> None:
    """Train until there are no more turns."""
    turns.versions = {"jax": version("jax")}
    samples = job.train()
    x, y = jnp.array(prepared(samples.x).transpose(0, 2, 3, 1)), jnp.array(samples.y)
    model = job.model()
    adam = installed_catalog().build("optimizer", job.optimizer)
    if type(adam) is not Adam:
        raise TypeError(f"{job.optimizer} has no translation to JAX")
    key = jax.random.key(job.seed)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: State, x: Any, y: Any, index: Any) -> tuple[State, Any]:
        def mean_loss(params: Arrays) -> tuple[Any, Arrays]:
            outputs, moved = logits(model, params, state.buffers, x[index], jax.random.fold_in(key, state.steps))
            return -jax.nn.log_softmax(outputs)[jnp.arange(len(index)), y[index]].mean(), moved

        (loss, moved), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
        t = state.steps + 1
        mean = jax.tree.map(lambda m, g: adam.beta1 * m + (1 - adam.beta1) * g, state.mean, grads)
        square = jax.tree.map(lambda v, g: adam.beta2 * v + (1 - adam.beta2) * g * g, state.square, grads)
        rate, scale = adam.lr / (1 - adam.beta1**t), 1 / (1 - adam.beta2**t)
        params = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v * scale) + adam.epsilon), state.params, mean, square
        )
        return State(params, moved, mean, square, t), loss

    state = initial(model)
    for epoch in turns:
        parts = []
        for batch in job.batches(epoch):
            state, loss = step(state, x, y, batch)
            parts.append((loss, len(batch)))
        jax.block_until_ready(state)
        turns.done(loss=sum(float(loss) * size for loss, size in parts) / job.samples)
