"""What running a network costs, found from its shapes before anything is allocated.

A few bytes of a file can ask for an image of any size, for a window that is looked through for hours, or for billions
of classes. The same estimate is checked before every prediction, evaluation, trace and training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.components import Layer, Merge
from cnnkit.components.declared import layer_cost
from cnnkit.components.escape_analysis import is_ours
from cnnkit.errors import CostError
from cnnkit.layers.reparametrised import innermost
from cnnkit.layers.window import Axis
from cnnkit.network.execution.available_memory import available_memory, readable
from cnnkit.network.execution.plan import Step
from cnnkit.network.graph.node import INPUT, Node
from cnnkit.network.kernels import Kernel
from cnnkit.network.kernels.conv_kernel import ConvKernel
from cnnkit.network.kernels.conv_transpose_kernel import ConvTransposeKernel
from cnnkit.network.kernels.grouped_kernel import GroupedConvKernel
from cnnkit.network.kernels.reparametrised_kernel import ReparametrisedKernel
from cnnkit.network.kernels.signal_kernel import SignalConvKernel
from cnnkit.types import LayerCost, Shape

FREE_BYTES = 128 << 20
"""What a network may make of one sample in any case, and what a pass may take without a look at the memory."""
EXPANSION = 1_000
"""Beyond that, how many times the bytes of the sample and the parameters it may make: networks that somebody trains
make tens of times as much, and a large image is large when it comes."""
TILE_BYTES = 64 << 20
"""What a tile of a prediction may have in memory at one time in any case, unless a single sample has more."""
MOST_WORK, FREE_WORK, WORK_EACH = 10**10, 10**9, 10**5
"""Numbers that loops over windows, groups and branches may touch for one sample: some ten seconds. A small sample may
take a second of them; one that takes longer has so many for each number that is given."""
FREE_PRODUCTS, PRODUCTS_EACH = 10**11, 10**6
"""Multiplications of a convolution's weights for one sample that are free, a second or two of them; and for each number
that is given: networks that somebody trains have tens of thousands."""
STEP_WORK = 5 * 10**8
"""What a step of a training may have of rounds: a second or two."""
CALL = 5_000
"""Numbers that could be touched in the time of one round of such a loop."""
BESIDE = 4
"""Rounds that a group takes beside those for the rows of its kernel."""
NAME_BYTES, NAME_EXPANSION = 1_000, 4
"""What a class takes in an evaluation: its name, and what is said of it; and how many times the bytes of the sample and
the parameters all of it may take, as a class has weights for each of its inputs."""
KEPT_EXPANSION = 10
"""How many times the bytes of the samples and the parameters the outputs of all samples may take, where a picture keeps
them."""
AMPLE = 8
"""How many times inputs, outputs and patches, all held at once, a pass of a training surely does not take; the most
that was seen of random networks is four."""
SHOWN = 120
"""Letters of a layer in a message: a merge repeats all of its branches."""


@dataclass(frozen=True)
class Cost:
    """What one sample costs on its way through a network."""

    given: int
    """Bytes of the sample, as the first layer sees it, and of the parameters."""
    outputs: int
    """Bytes of what all layers give, and of what the one that needs most has beside."""
    result: int
    """Bytes of what the last layer gives."""
    peak: int
    """Bytes that are in use at one time."""
    training: float
    """Bytes beyond what a pass of a training takes, copies of the parameters aside; infinite for layers of others."""
    work: int
    """Numbers that loops in Python touch."""
    rounds: int
    """How often these loops go round, for each tile of samples."""
    products: int
    """Multiplications of weights with what they meet."""
    sample: int
    """Numbers of the sample."""
    numbers: int
    """Numbers of the sample and the parameters."""
    largest: Node
    """The layer that takes most memory."""
    hardest: Node
    """The layer with most of the work."""
    busiest: Node
    """The layer with most multiplications."""

    def check(self) -> None:
        """Raise CostError, naming the layer, for a network that makes too much of one sample, or for too long."""
        self._check_bytes(self.outputs, "what the layers give and copy")
        work = min(MOST_WORK, max(FREE_WORK, WORK_EACH * self.numbers))
        if self.work > work:
            raise CostError(
                f"{_shown(self.hardest)} takes too long: the network's loops over windows, groups and branches touch "
                f"about {self.work:,} numbers for each sample, and may touch {work:,}; use smaller windows, larger "
                "strides, or fewer groups"
            )
        products = max(FREE_PRODUCTS, PRODUCTS_EACH * self.numbers)
        if self.products > products:
            raise CostError(
                f"{_shown(self.busiest)} takes too long: the network makes {self.products:,} multiplications for each "
                f"sample, and one with {self.numbers:,} inputs and parameters may make {products:,}; use smaller "
                "kernels, larger strides, or less padding"
            )

    def check_rounds(self, samples: int, tile: int) -> None:
        """Raise CostError if loops go round too often for so many samples, in tiles of so many.

        What a round takes is shared by the samples of a tile, but where outputs are large, a tile has few.
        """
        work = max(FREE_WORK, WORK_EACH * samples * self.sample)
        self._check_rounds(samples, tile, work, f"{samples:,} samples,")

    def check_step(self, samples: int, tile: int) -> None:
        """Raise CostError if loops go round too often in one step of a training, of so many samples."""
        self._check_rounds(samples, tile, STEP_WORK, f"a step of training, with {samples:,} samples,")

    def _check_rounds(self, samples: int, tile: int, work: int, what: str) -> None:
        rounds = self.rounds * -(-samples // tile)
        if CALL * rounds > work:
            raise CostError(
                f"{_shown(self.hardest)} takes too long: the network's loops over windows, groups and branches go "
                f"round {rounds:,} times for {what} and may go round {work // CALL:,} times; use fewer groups, smaller "
                "windows, or fewer branches"
            )

    def check_names(self, count: int) -> None:
        """Raise CostError for more classes than can be reported on one by one."""
        self._check_bytes(NAME_BYTES * count, f"a report on {count:,} classes", NAME_EXPANSION)
        self._room(NAME_BYTES * count, f"a report on {count:,} classes")

    def check_kept(self, samples: int) -> None:
        """Raise CostError if the outputs of so many samples are out of proportion to what goes in, as for a picture."""
        self.check()
        given = self.given + (samples - 1) * self.sample * self.given // self.numbers
        made, allowed = samples * self.result, max(FREE_BYTES, KEPT_EXPANSION * given)
        if made > allowed:
            raise CostError(
                f"{_shown(self.largest)} gives {_shape(self.largest)} values for each sample: what the network gives "
                f"for {samples:,} samples takes {readable(made)}, and a picture may take {readable(allowed)} of it; "
                "use fewer samples"
            )

    def check_collected(self, samples: int, copies: int) -> None:
        """Raise CostError if so many copies of the outputs of so many samples do not fit into memory, for metrics."""
        self._room(samples * copies * self.result, f"what metrics collect of {samples:,} samples")

    def check_copies(self, copies: int) -> None:
        """Raise CostError if one sample cannot have so many copies of all outputs, as an explanation makes them."""
        self.check()
        self._check_bytes(copies * self.outputs, "an explanation")
        self._room(copies * self.outputs, "an explanation")

    @property
    def tile_bytes(self) -> int:
        """What a tile of a prediction may have in memory at one time; large samples may have more, as they are given.

        Else a few kilobytes, of which many copies are made, would take as much as a machine has.
        """
        return max(TILE_BYTES, EXPANSION * self.sample * self.given // self.numbers)

    def threads(self, samples: int, tile: int, wished: int, *, kept: int = 0) -> int:
        """How many tiles of so many samples can be on their way at once. Raises CostError if not even one can.

        samples: all that are predicted; kept: of how many the outputs stay.
        """
        self.check()
        self.check_rounds(samples, tile)
        of_a_tile, staying = min(tile, samples) * self.peak, kept * self.result
        most = max(1, min(wished, -(-samples // tile)))
        if most * of_a_tile + staying <= FREE_BYTES:
            return most
        most = max(1, min(most, wished * self.tile_bytes // max(1, of_a_tile)))
        room = self._room(of_a_tile + staying, "the prediction")
        return most if room is None else min(most, (room - staying) // max(1, of_a_tile))

    def _check_bytes(self, made: int, what: str, expansion: int = EXPANSION) -> None:
        """Raise CostError if that is out of proportion to what goes in."""
        allowed = max(FREE_BYTES, expansion * self.given)
        if made > allowed:
            raise CostError(
                f"{_shown(self.largest)} gives {_shape(self.largest)} values for each sample: {what} takes "
                f"{readable(made)}, and a network with inputs and parameters of {self.given:,} bytes may take "
                f"{readable(allowed)}; use less padding, fewer branches, or a smaller network"
            )

    def _room(self, needed: int, what: str) -> int | None:
        """The bytes that are available, None if unknown or not asked for. Raises CostError if more are needed."""
        available = None if needed <= FREE_BYTES else available_memory()
        if available is not None and needed > available:
            raise CostError(
                f"{_shown(self.largest)} gives {_shape(self.largest)} values for each sample: {what} takes about "
                f"{readable(needed)} of memory, but only {readable(available)} is available; use smaller inputs, fewer "
                "samples at once, or a smaller network"
            )
        return available


def cost_of(nodes: Sequence[Node], steps: Sequence[Step], parameters: int, itemsize: int) -> Cost:
    """The cost of a network that runs in these steps. parameters: their bytes; itemsize: of the numbers in between."""
    (in_shape, *_) = nodes[0].in_shapes
    sample = math.prod(in_shape)
    values, live, peak, beside, takes, works = {INPUT: sample}, sample, sample, 0, {}, {}
    rounds = 0
    for step in steps:
        made = math.prod(step.out_shape)
        if step.run is step.node.layer:
            scratch, turns, touched = _said(step.run, step.node.in_shapes, step.node.cost)
        else:
            scratch, turns, touched = _work(step.run, step.node.in_shapes, step.out_shape)
        rounds, works[step.node.index] = rounds + turns, CALL * turns + touched
        takes[step.node.index] = made + scratch
        peak, beside = max(peak, live + made + scratch), max(beside, scratch)
        values[step.output] = made
        live += made - sum(values.pop(source) for source in step.last_use_of)
    products = {node.index: node.cost.products for node in nodes if node.cost}
    sizes = {node.index: max(math.prod(node.out_shape), takes.get(node.index, 0)) for node in nodes}
    return Cost(
        given=sample * itemsize + parameters,
        outputs=(sum(math.prod(node.out_shape) for node in nodes) + beside) * itemsize,
        result=math.prod(nodes[-1].out_shape) * itemsize,
        peak=peak * itemsize,
        training=AMPLE * sum(map(_held, nodes)) * itemsize,
        work=sum(works.values()),
        rounds=rounds,
        products=sum(products.values()),
        sample=sample,
        numbers=sample + parameters // itemsize,
        largest=max(nodes, key=lambda node: sizes[node.index]),
        hardest=max(nodes, key=lambda node: works.get(node.index, 0)),
        busiest=max(nodes, key=lambda node: products.get(node.index, 0)),
    )


def _held(node: Node) -> float:
    """Numbers that a layer has if it keeps inputs, outputs, and all that its windows see, at once."""
    if not is_ours(type(innermost(node.layer)).__module__):
        return math.inf
    cost = node.cost
    return sum(map(math.prod, node.in_shapes)) + math.prod(node.out_shape) + (cost.seen if cost else 0)


def _work(run: Layer | Merge | Kernel, in_shapes: Sequence[Shape], out_shape: Shape) -> tuple[int, int, int]:
    """For one sample: the numbers that are in memory beside inputs and outputs, and rounds and numbers of loops.

    Of layers that do not say what they cost, shapes say all that is known.
    """
    match run:
        case Layer() | Merge():
            return _said(run, in_shapes, layer_cost(run, in_shapes, out_shape))
        case ConvKernel():
            rows = run.epilogue.pool * _row_of_patches(run.rows, run.columns, in_shapes[0][0])
            return rows, 0, 0  # a pooling window's rows together
        case SignalConvKernel():
            return _work(
                run.kernel, [(shape[0], 1, *shape[1:]) for shape in in_shapes], (out_shape[0], 1, *out_shape[1:])
            )
        case ReparametrisedKernel():
            numbers, rounds, touched = _work(run.kernel, in_shapes, out_shape)
            return numbers + math.prod(run.layer.weight_shape), rounds, touched
        case ConvTransposeKernel():
            parts = [part for _, _, part in run.transposed.phases]
            most = max(_row_of_patches(part.rows, part.columns, in_shapes[0][0]) for part in parts)
            return most, sum(part.rows.size for part in parts), 0
        case GroupedConvKernel():
            channels = in_shapes[0][0] // run.conv.groups
            if run.conv.filters == run.conv.groups == in_shapes[0][0]:
                taps = run.rows.size * run.columns.size
                return 0, taps, taps * math.prod(out_shape)
            return _row_of_patches(run.rows, run.columns, channels), run.conv.groups * (run.rows.size + BESIDE), 0
    return 0, 0, 0


def _said(run: Layer | Merge, in_shapes: Sequence[Shape], cost: LayerCost | None) -> tuple[int, int, int]:
    """As `_work`, of a layer that says this of itself."""
    branches = len(in_shapes) if isinstance(run, Merge) else 0
    return (cost.scratch, cost.rounds + branches, cost.touched) if cost else (0, branches, 0)


def _row_of_patches(rows: Axis, columns: Axis, channels: int) -> int:
    """What the windows of an output row see, the least that is copied at once."""
    return ((columns.positions - 1) * columns.stride + columns.size) * rows.size * channels


def _shown(node: Node) -> str:
    text = str(node)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} ..."


def _shape(node: Node) -> str:
    return " x ".join(f"{n:,}" for n in node.out_shape)
