"""A whole prediction as one call of machine code, for networks whose every step has a loop.

The program says where everything is: images in one memory with zeros around them, weights in the network's vector. So
it is written once, and follows the parameters wherever a training moves them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cnnkit.layers import Add, BatchNorm1D, BatchNorm2D, Concat, GlobalAvgPool2D, MaxPool2D, Residual
from cnnkit.network.execution.image_places import NoLoopError, Place, asked, image_of, sizes
from cnnkit.network.execution.plan import Plan, Step
from cnnkit.network.graph.node import INPUT
from cnnkit.network.graph.parameters import Parameters
from cnnkit.network.kernels.activation_kernel import ActivationKernel, SumKernel
from cnnkit.network.kernels.batchnorm_folding import Fold
from cnnkit.network.kernels.compiled.activations import bend_of
from cnnkit.network.kernels.compiled.prediction_steps import (
    ABSENT,
    ADD,
    AVERAGE,
    CONVOLVE,
    DENSE,
    FIELDS,
    GIVE,
    MAXIMUM,
    POINTWISE,
    SLACK,
    SPLIT,
    STEPS,
    TAKE,
)
from cnnkit.network.kernels.conv_kernel import ConvKernel
from cnnkit.network.kernels.dense_kernel import DenseKernel
from cnnkit.network.kernels.epilogue import Activation
from cnnkit.network.kernels.grouped_kernel import GroupedConvKernel
from cnnkit.network.kernels.norm_kernel import BatchNormKernel
from cnnkit.network.kernels.pool_kernel import AvgPoolKernel, MaxPoolKernel
from cnnkit.types import Array, Shape

LINE = 2048
"""Numbers of a filter's output that are computed before bias, pooling and activation follow."""
RUN, AT_ONCE = 80, 4
"""Pixels and filters that are computed together, with the widest vectors."""
NO_NORM = dict.fromkeys(("gamma", "beta", "mean", "inverse"), ABSENT)


class Program(NamedTuple):
    """What `prediction_loops.predict` follows."""

    steps: Array
    numbers: Array
    offsets: Array
    memory: int
    """How many numbers an image takes on its way."""
    norms: tuple[BatchNorm1D | BatchNorm2D, ...]
    """Whose statistics are used, in their order."""
    in_shape: Shape
    out_shape: Shape
    dense_share: float
    """Of all products, how many are those of dense layers."""
    mean_taps: float
    """The products for a number of a convolution's output."""
    used_share: float
    """Of what vectors compute, how much is a number of the output: small images fill few of their lanes."""


def program_of(plan: Plan, parameters: Parameters) -> Program | None:
    """The program of a prediction, None if a step has no loop."""
    try:
        return _Writer(plan, parameters).program()
    except NoLoopError:
        return None


class _Writer:
    """Writes one step after the other."""

    def __init__(self, plan: Plan, parameters: Parameters) -> None:
        self._plan, self._parameters = plan, parameters
        self._rows: list[dict[str, int]] = []
        self._numbers: list[tuple[float, float, float]] = []
        self._offsets: list[Array] = []
        self._taps = 0
        self._products, self._computed, self._outputs, self._dense_products = 0, 0, 0, 0
        self._norms: list[BatchNorm1D | BatchNorm2D] = []
        self._statistics = 0
        self._size = 0
        self._beside = 0
        """Numbers behind all images: the lines of a convolution, and a row of a pooling."""
        self._folds: dict[int, Fold] = {}
        for fold in plan.folds:
            if not isinstance(fold, Fold):
                raise NoLoopError
            self._folds[id(fold.folded)] = fold
        self._sources = {INPUT: INPUT}
        """Of each value the one that it is the same as."""
        for step in plan.steps:
            source = self._sources[step.node.inputs[0]]
            self._sources[step.output] = source if _keeps(step) else step.output
        self._margins: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        """Of each value the zeros that convolutions ask for: above, below, to its left and right."""
        for step in plan.steps:
            if isinstance(step.run, ConvKernel | GroupedConvKernel):
                margins = self._margins[self._sources[step.node.inputs[0]]]
                margins[:] = map(max, margins, (*asked(step.run.rows), *asked(step.run.columns)))
        self._places: dict[int, Place] = {}

    def program(self) -> Program:
        """All of it."""
        (in_shape, *_) = self._plan.steps[0].node.in_shapes
        place = self._place(INPUT, in_shape)
        self._row(TAKE, **sizes(place.shape), **place.fields("y"))
        for step in self._plan.steps:
            if not _keeps(step):
                self._step(step)
        last = self._places[self._sources[self._plan.steps[-1].output]]
        self._row(GIVE, **sizes(last.shape), **last.fields("x"))
        steps = np.zeros((len(self._rows), FIELDS), np.intp)
        for row, fields in zip(steps, self._rows, strict=True):
            operation = fields.pop("operation")
            for name in ("lines", "spare"):
                if name in fields:
                    fields[name] += self._size
            if fields.get("inverse", ABSENT) != ABSENT:
                fields["inverse"] += self._statistics
            names = STEPS[operation]
            row[: 1 + len(names)] = [operation, *(fields.pop(name) for name in names)]
            if fields:
                raise TypeError(f"operation {operation} has no {', '.join(fields)}")
        offsets = np.concatenate([np.empty(0, np.intp), *self._offsets])
        memory = self._size + self._beside + SLACK
        return Program(
            steps,
            np.array(self._numbers, np.float32),
            offsets,
            memory,
            tuple(self._norms),
            in_shape,
            self._plan.steps[-1].out_shape,
            self._dense_products / max(1, self._products + self._dense_products),
            self._products / max(1, self._outputs),
            self._products / max(1, self._computed),
        )

    def _step(self, step: Step) -> None:
        """What the step does, for the values that it takes."""
        first, *others = (self._places[self._sources[source]] for source in step.node.inputs)
        match step.run:
            case ConvKernel() | GroupedConvKernel():
                self._convolution(step, step.run, first)
            case DenseKernel() as kernel:
                self._dense(step, kernel, first)
            case BatchNormKernel() as kernel:
                self._pointwise(step, first, 1, kernel.epilogue.activation, self._norm(step.node.index, kernel.norm))
            case MaxPoolKernel() as kernel:
                self._pointwise(step, first, kernel.size)
            case ActivationKernel() as kernel:
                self._pointwise(step, first, 1, kernel.activation)
            case AvgPoolKernel() as kernel:
                self._average(step, first, kernel.size, kernel.size)
            case GlobalAvgPool2D() as layer if type(layer) is GlobalAvgPool2D:
                self._average(step, first, *first.shape[1:])
            case MaxPool2D() as layer if type(layer) is MaxPool2D:
                self._maximum(step, first, layer)
            case Concat() as merge if type(merge) is Concat:
                self._concat(step, [first, *others])
            case SumKernel() as kernel:
                self._sum(step, [first, *others], kernel.activation)
            case Add() | Residual() as merge if type(merge) in (Add, Residual):
                self._sum(step, [first, *others], None)
            case layer if getattr(layer, "passes_values_on", False):
                self._reshape(step, first)
            case _:
                raise NoLoopError

    def _convolution(self, step: Step, kernel: ConvKernel | GroupedConvKernel, x: Place) -> None:
        conv, epilogue = kernel.conv, kernel.epilogue
        filters, channels, *_ = conv.params["weight"].shape
        rows, columns = kernel.rows, kernel.columns
        down, across = min(rows.size, rows.stride), min(columns.size, columns.stride)
        begin = x.begin - rows.before * x.pitch - columns.before
        if (rows.stride, columns.stride) == (1, 1):
            plane, pitch, phase = x.plane, x.pitch, 0
        else:
            height = rows.positions + (rows.size - 1) // rows.stride
            pitch = columns.positions + (columns.size - 1) // columns.stride
            phase = height * pitch
            plane = down * across * phase
            phases = self._take(x.shape[0] * plane)
            self._row(
                SPLIT,
                **{**x.fields("x"), "x": begin, "y": phases, "channels": x.shape[0], "height": height, "width": pitch},
                row_stride=rows.stride,
                column_stride=columns.stride,
                row_phases=down,
                column_phases=across,
            )
            begin = phases
        channel, i, j = np.ogrid[:channels, : rows.size, : columns.size]
        taps = channel * plane + (i % rows.stride * across + j % columns.stride) * phase
        taps = (taps + i // rows.stride * pitch + j // columns.stride).reshape(-1)
        y = self._place(step.output, step.out_shape)
        _, height, width = y.shape
        pool = epilogue.pool
        block = max(1, min(height, LINE // (pool * pitch)))
        line = block * pool * pitch + width * pool + SLACK
        self._beside = max(self._beside, 5 * line)
        entries = self._entries(step.node.index)
        fold = self._folds.get(id(conv))
        self._row(
            CONVOLVE,
            epilogue.activation,
            x=begin,
            x_pitch=pitch,
            first_tap=self._taps,
            taps=len(taps),
            weight=entries["weight"],
            filters=filters,
            of_a_group=filters // conv.groups,
            between_groups=channels * plane,
            pool=pool,
            block=block,
            height=height,
            width=width,
            lines=0,
            line=line,
            bias=entries.get("bias", ABSENT),
            **y.fields("y"),
            **(self._norm(step.node.index + 1, fold.norm) if fold else NO_NORM),
        )
        self._outputs += filters * height * width * pool**2
        self._products += len(taps) * filters * height * width * pool**2
        lanes = -(-(height * pool * pitch) // RUN) * RUN
        self._computed += len(taps) * lanes * max(filters, AT_ONCE * conv.groups)
        self._offsets.append(taps.astype(np.intp))
        self._taps += len(taps)

    def _dense(self, step: Step, kernel: DenseKernel, x: Place) -> None:
        entries = self._entries(step.node.index)
        y = self._place(step.output, step.out_shape)
        where = {"x": x.begin, "inputs": x.shape[0], "y": y.begin, "units": y.shape[0]}
        bias = entries.get("bias", ABSENT)
        self._dense_products += x.shape[0] * y.shape[0]
        self._row(DENSE, kernel.epilogue.activation, **where, weight=entries["weight"], bias=bias)

    def _pointwise(
        self,
        step: Step,
        x: Place,
        pool: int,
        activation: Activation | None = None,
        norm: dict[str, int] = NO_NORM,
    ) -> None:
        self._copy(x, self._place(step.output, step.out_shape), pool, activation, norm)

    def _copy(
        self,
        x: Place,
        y: Place,
        pool: int = 1,
        activation: Activation | None = None,
        norm: dict[str, int] = NO_NORM,
    ) -> None:
        self._beside = max(self._beside, y.shape[1] * pool * x.pitch + y.shape[2] * pool + SLACK)
        where = x.fields("x") | y.fields("y") | sizes(y.shape)
        self._row(POINTWISE, activation, **where, pool=pool, spare=0, **norm)

    def _average(self, step: Step, x: Place, rows: int, columns: int) -> None:
        """Of windows side by side."""
        y = self._place(step.output, step.out_shape)
        where = x.fields("x") | y.fields("y") | sizes(y.shape)
        self._row(AVERAGE, None, 1 / (rows * columns), **where, rows=rows, columns=columns)

    def _maximum(self, step: Step, x: Place, layer: MaxPool2D) -> None:
        """Of windows anywhere."""
        rows, columns = layer.window.rows, layer.window.columns
        if (rows.dilation, columns.dilation) != (1, 1):
            raise NoLoopError
        y = self._place(step.output, step.out_shape)
        self._row(
            MAXIMUM,
            **x.fields("x") | y.fields("y") | sizes(y.shape),
            rows=rows.size,
            columns=columns.size,
            row_stride=rows.stride,
            column_stride=columns.stride,
            above=rows.before,
            left=columns.before,
            x_height=rows.length,
            x_width=columns.length,
        )

    def _concat(self, step: Step, xs: Sequence[Place]) -> None:
        """One after the other."""
        y = self._place(step.output, step.out_shape)
        for x in xs:
            self._copy(x, y._replace(shape=x.shape))
            y = y._replace(begin=y.begin + x.shape[0] * y.plane)

    def _reshape(self, step: Step, x: Place) -> None:
        """The same numbers in C order, copied only for the zeros around them."""
        if not x.is_flat:
            flat = self._new(x.shape, (0, 0, 0, 0))
            self._copy(x, flat)
            x = flat
        y = x.reshaped(step.out_shape)
        if any(self._margins[step.output]):
            self._copy(y, self._place(step.output, step.out_shape))
        else:
            self._places[step.output] = y

    def _sum(self, step: Step, xs: Sequence[Place], activation: Activation | None) -> None:
        """Two at a time."""
        y = self._place(step.output, step.out_shape)
        total, *others = xs
        for k, other in enumerate(others):
            is_last = k == len(others) - 1
            where = total.fields("x") | other.fields("other") | y.fields("y") | sizes(y.shape)
            self._row(ADD, activation if is_last else None, **where)
            total = y

    def _row(self, operation: int, activation: Activation | None = None, number: float = 0.0, /, **fields: int) -> None:
        self._rows.append({"operation": operation, **fields})
        self._numbers.append((*bend_of(activation), number))

    def _entries(self, node: int) -> dict[str, int]:
        """Where in the vector each parameter of a node begins."""
        return {entry.name: entry.start for entry in self._parameters.of_node(node)}

    def _norm(self, node: int, norm: BatchNorm1D | BatchNorm2D) -> dict[str, int]:
        """Where the parameters and statistics of a node's batch normalisation begin."""
        mean, entries = self._statistics, self._entries(node)
        self._norms.append(norm)
        self._statistics += norm.buffers["running_mean"].size
        return {"gamma": entries["gamma"], "beta": entries["beta"], "mean": mean, "inverse": mean}

    def _place(self, value: int, shape: Shape) -> Place:
        """Memory for a value, with its margins."""
        made = self._places[value] = self._new(image_of(shape), self._margins[value])
        return made

    def _new(self, image: tuple[int, int, int], margins: Sequence[int]) -> Place:
        """What is to the right of a row is to the left of the next one."""
        channels, height, width = image
        above, below, left, right = margins
        pitch = width + max(left, right)
        plane = (above + height + below) * pitch + left
        return Place(self._take(channels * plane) + above * pitch + left, plane, pitch, image)

    def _take(self, count: int) -> int:
        begin = self._size
        self._size += count
        return begin


def _keeps(step: Step) -> bool:
    """Whether the output is the input, as of dropout in a prediction."""
    return getattr(step.run, "passes_values_on", False) and step.out_shape == step.node.in_shapes[0]
