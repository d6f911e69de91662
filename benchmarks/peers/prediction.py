"""Prediction of probabilities from raw images; variants: "cnnkit", "cnnkit compiled", "torch", "onnxruntime"."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version

from benchmarks.child_job import Job
from benchmarks.turn_child import Turns
from cnnkit.types import Array

Predict = Callable[[Array], Array]


def cnnkit(job: Job) -> Predict:
    """The model itself, with NumPy's kernels."""
    os.environ["CNNKIT_KERNELS"] = "numpy"
    return job.model().predict_proba


def cnnkit_compiled(job: Job) -> Predict:
    """The model itself, by machine code."""
    os.environ["CNNKIT_KERNELS"] = "compiled"
    return job.model().predict_proba


def torch(job: Job) -> Predict:
    """PyTorch in inference mode."""
    import torch

    from benchmarks.peers.torch_network import chain
    from benchmarks.peers.torch_peer import converted

    torch.set_num_threads(job.workers)
    network = chain(job.model().layers).eval()

    @torch.inference_mode()
    def predict(x: Array) -> Array:
        return network(converted(torch.from_numpy(x))).softmax(1).numpy()

    return predict


def onnxruntime(job: Job) -> Predict:
    """ONNX Runtime on the exported file."""
    import onnxruntime

    from cnnkit.onnx.export import to_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job.workers, 1
    model = to_onnx(job.model()).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    return lambda x: session.run(["probabilities"], {name: x})[0]


VARIANTS: dict[str, tuple[str, Callable[[Job], Predict]]] = {
    "cnnkit": ("cnnkit", cnnkit),
    "cnnkit compiled": ("numba", cnnkit_compiled),
    "torch": ("torch", torch),
    "onnxruntime": ("onnxruntime", onnxruntime),
}
"""Of each the distribution that it needs, and what makes it."""


def main(job: Job, turns: Turns) -> None:
    """Predict all samples, batch by batch, in each turn."""
    needed, made = VARIANTS[job.variant]
    turns.versions = {needed: version(needed)}
    predict = made(job)
    x = job.train().x
    predict(x[:1])  # what is made when a model is first asked
    for _ in turns:
        for start in range(0, len(x), job.batch):
            last = predict(x[start : start + job.batch])
        turns.done(probability=float(last.max(axis=1).mean()))
