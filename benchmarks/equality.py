"""Whether cnnkit and PyTorch compute the same: the losses of a training's first steps, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.child_job import Job, stored
from benchmarks.machine import description
from benchmarks.networks import NETWORKS
from benchmarks.options import add_networks, count, parser
from benchmarks.report import publish, table
from cnnkit import Trainer
from cnnkit.training.progress import Progress

TOLERANCE = 1e-4
OPTIMIZER, OPTIMIZER_NORMALISED, OPTIMIZER_DEEP = "SGD(0.001)", "SGD(0.0001)", "SGD(0.000001)"
"""The second one for networks with normalisation, the third for `DEEP`. Small steps, for large ones make training
chaotic: at a rate of 0.01 with momentum, two memory formats of PyTorch disagree in the loss of `vgg-bn` by 0.8 after
15 steps. Not Adam: it divides by the size of a gradient, so where that is all rounding, the frameworks would walk
apart."""
DEEP = "mobilenetv2-small"
"""Its gradients grow from each of 52 normalisations to the next: at a rate of 0.0001, PyTorch's float32 is 3e-3 away
from its float64 after four steps."""


def optimizer_for(network: str) -> str:
    """What a network is compared with."""
    if network == DEEP:
        return OPTIMIZER_DEEP
    return OPTIMIZER_NORMALISED if any("Norm" in layer for layer in NETWORKS[network].layers) else OPTIMIZER


class StepLosses(Progress):
    """The mean loss of every step, from the means over the epoch so far."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self._samples, self._sum = 0, 0.0

    def step_done(self, step: int, samples: int, means: Mapping[str, float]) -> None:
        self._samples += samples
        total = means["loss"] * self._samples
        self.losses.append((total - self._sum) / samples)
        self._sum = total


def cnnkit_losses(job: Job) -> list[float]:
    """The loss of each step of the first epoch, by `Trainer.fit`."""
    recorded = StepLosses()
    Trainer(
        optimizer=job.optimizer, epochs=1, batch_size=job.batch, seed=job.seed, workers=job.workers, progress=recorded
    ).fit(job.model(), job.train())
    return recorded.losses


def torch_losses(job: Job) -> list[float]:
    """The same, by the peer that is measured."""
    from benchmarks.peers.torch_peer import Training

    training = Training(job)
    return [float(training.step(batch)) for batch in job.batches(0)]


def difference(job: Job) -> tuple[float, list[tuple[float, float]]]:
    """The largest difference of the two losses, relative to the loss if that is above 1, and all losses."""
    pairs = list(zip(cnnkit_losses(job), torch_losses(job), strict=True))
    return max(abs(ours - theirs) / max(1.0, theirs) for ours, theirs in pairs), pairs


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 1 if a network differs by more than the tolerance."""
    options = parser(__doc__)
    add_networks(options, ",".join(NETWORKS))
    options.add_argument("--steps", type=count, default=50)
    options.add_argument("--batch", type=count, default=64)
    args = options.parse_args(argv)
    machine = description()
    rows, results, worst = [], {}, 0.0
    for network in args.network:
        measured = NETWORKS[network]
        samples = args.steps * args.batch
        with stored(None, measured.input_shape, samples, measured.target_shape) as data:
            rule = optimizer_for(network)
            job = Job(network, data, samples, args.batch, args.workers, optimizer=rule, dropout=False)
            largest, pairs = difference(job)
        worst = max(worst, largest)
        rows.append([network, f"{pairs[0][0]:.4f}", f"{pairs[-1][0]:.4f}", f"{largest:.1e}"])
        results[network] = pairs
    head = ("network", "loss of the first step", f"of step {args.steps}", "largest difference from PyTorch's")
    publish(args, machine, table(head, rows), results)
    return 1 if worst > TOLERANCE else 0


if __name__ == "__main__":
    raise SystemExit(main())
