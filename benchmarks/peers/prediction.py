"""Prediction of probabilities from raw images; variants: "cnnkit", "torch", "onnxruntime"."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

from benchmarks.child_job import Job
from benchmarks.turn_child import Turns
from cnnkit.types import Array

Predict = Callable[[Array], Array]


def cnnkit(job: Job) -> Predict:
    """The model itself."""
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


VARIANTS = {"cnnkit": cnnkit, "torch": torch, "onnxruntime": onnxruntime}


def main(job: Job, turns: Turns) -> None:
    """Predict all samples, batch by batch, in each turn."""
    turns.versions = {job.variant: version(job.variant)}
    predict = VARIANTS[job.variant](job)
    x = job.train().x
    for _ in turns:
        for start in range(0, len(x), job.batch):
            last = predict(x[start : start + job.batch])
        turns.done(probability=float(last.max(axis=1).mean()))
