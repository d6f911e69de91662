"""Keras on TensorFlow at its best on a CPU: data in memory, the whole step in one tf.function, with XLA or without."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.child_job import Job, prepared
from benchmarks.networks import channels_last_weight
from benchmarks.turn_child import Turns
from cnnkit.components import installed_catalog
from cnnkit.layers import (
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAvgPool2D,
    GroupNorm,
    MaxPool2D,
    ReLU,
    ReLU6,
    Residual,
)
from cnnkit.network import INPUT, Node, Sequential
from cnnkit.optimizers import Adam

layers = keras.layers


def translate(model: Sequential) -> Any:
    """A cnnkit network as a Keras model of (N, H, W, C) images that starts from the same parameters."""
    channels, height, width = model.input_shape
    start = layers.Input((height, width, channels))
    values: dict[int, Any] = {INPUT: start}
    filled = []
    for node in model.nodes:
        inputs = [values[i] for i in node.inputs]
        layer = _layer(node)
        if padding := _explicit_padding(node):
            inputs = [layers.ZeroPadding2D(padding)(inputs[0])]
        values[node.index] = layer(inputs if isinstance(node.layer, Residual | Concat) else inputs[0])
        if weights := _weights(model, node):
            filled.append((layer, weights))
    translated = keras.Model(start, values[len(model.nodes) - 1])
    for layer, weights in filled:
        layer.set_weights(weights)
    return translated


def _layer(node: Node) -> Any:
    match node.layer:
        case Conv2D() as layer:
            window = layer.window.onnx
            size, strides = window["kernel_shape"], window["strides"]
            padding = "same" if any(window["pads"]) and not _explicit_padding(node) else "valid"
            if isinstance(layer, DepthwiseConv2D):
                return layers.DepthwiseConv2D(size, strides, padding, layer.multiplier, use_bias=layer.bias)
            return layers.Conv2D(layer.filters, size, strides, padding, use_bias=layer.bias)
        case ConvTranspose2D() as layer:
            window = layer.window.onnx
            if any(window["pads"]):
                raise TypeError(f"{node} is padded, which its translation to Keras is not")
            size, strides = window["kernel_shape"], window["strides"]
            return layers.Conv2DTranspose(layer.filters, size, strides, use_bias=layer.bias)
        case MaxPool2D() | AvgPool2D() as layer:
            kind = layers.MaxPooling2D if isinstance(layer, MaxPool2D) else layers.AveragePooling2D
            return kind(tuple(layer.window.onnx["kernel_shape"]), tuple(layer.window.onnx["strides"]))
        case Dense() as layer:
            return layers.Dense(layer.units, use_bias=layer.bias)
        case BatchNorm2D() as layer:
            return layers.BatchNormalization(momentum=1 - layer.momentum, epsilon=layer.epsilon)
        case GroupNorm() as layer:
            return layers.GroupNormalization(layer.groups, epsilon=layer.epsilon)
        case ReLU():
            return layers.ReLU()
        case ReLU6():
            return layers.ReLU(6.0)
        case Dropout() as layer:
            return layers.Dropout(layer.rate)
        case Flatten():
            return layers.Flatten()
        case GlobalAvgPool2D():
            return layers.GlobalAveragePooling2D()
        case Residual():
            return layers.Add()
        case Concat():
            return layers.Concatenate()
    raise TypeError(f"{node} has no translation to Keras")


def _explicit_padding(node: Node) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The padding of a convolution where Keras' "same" would put it elsewhere: with strides above 1."""
    if not isinstance(node.layer, Conv2D):
        return None
    top, left, bottom, right = node.layer.window.onnx["pads"]
    same = node.layer.window.onnx["strides"] == [1, 1] and node.in_shapes[0][1:] == node.out_shape[1:]
    return None if same or not top + left + bottom + right else ((top, bottom), (left, right))


def _weights(model: Sequential, node: Node) -> list[Any]:
    match node.layer:
        case DepthwiseConv2D() as layer:
            weight = layer.params["weight"]  # (channels * multiplier, 1, kh, kw) -> (kh, kw, channels, multiplier)
            shape = *weight.shape[2:], -1, layer.multiplier
            return [weight.transpose(2, 3, 0, 1).reshape(shape), *([layer.params["bias"]] if layer.bias else [])]
        case Conv2D() | ConvTranspose2D() | Dense() as layer:
            bias = [layer.params["bias"]] if layer.bias else []
            return [channels_last_weight(model, node), *bias]
        case BatchNorm2D() as layer:
            return [*layer.params.values(), *layer.buffers.values()]
        case GroupNorm() as layer:
            return [*layer.params.values()]
    return []


def main(job: Job, turns: Turns) -> None:
    """Train until there are no more turns. Variants: "", "xla"."""
    turns.versions = {"tensorflow": version("tensorflow-cpu"), "keras": version("keras")}
    tf.config.threading.set_intra_op_parallelism_threads(job.workers)
    keras.utils.set_random_seed(job.seed)
    samples = job.train()
    x = tf.constant(prepared(samples.x).transpose(0, 2, 3, 1))
    y = tf.constant(samples.y)
    network = translate(job.model())
    rule = installed_catalog().build("optimizer", job.optimizer)
    if type(rule) is not Adam:
        raise TypeError(f"{job.optimizer} has no translation to Keras")
    optimizer = keras.optimizers.Adam(rule.lr, rule.beta1, rule.beta2, rule.epsilon)
    optimizer.build(network.trainable_variables)

    @tf.function(jit_compile=job.variant == "xla", reduce_retracing=False)
    def step(index: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = network(tf.gather(x, index), training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(y, index), logits)
            loss = tf.reduce_mean(losses)
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    for epoch in turns:
        parts = [(step(tf.constant(batch)), len(batch)) for batch in job.batches(epoch)]
        turns.done(loss=float(np.sum([float(loss) * size for loss, size in parts])) / job.samples)
