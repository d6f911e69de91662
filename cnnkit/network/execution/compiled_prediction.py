"""Predictions by machine code: one call for a few images, from the first layer to the last."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from cnnkit.network.execution.plan import Plan
from cnnkit.network.execution.prediction_program import Program, program_of
from cnnkit.network.graph.parameters import Parameters
from cnnkit.network.kernels.compiled.machine_code import Functions, functions
from cnnkit.types import Array, Preprocessing

LEAST_USED = 0.75
"""Of what vectors compute, below which many images are faster together: then the samples are the lanes."""
FEW = 16
"""Images that are always predicted one after the other."""
AT_ONCE, INPUT_NUMBERS = 128, 1 << 20
"""Images of a call, and numbers that they may have together, unless one has more: threads meet between two calls."""
MOST_DENSE = 0.02
"""Of all products, how many those of dense layers may be for many images: one after the other, each reads all of their
weights, which products of matrices read once."""
MOST_TAPS = 256
"""In a number of a convolution's output, on average, up to which many images are faster one after the other: with more,
products of matrices with Winograd's sums are."""


class CompiledPrediction:
    """Runs a program for images one after the other; several threads may do so at once, each in memory of its own.

    Equals the steps of the plan that the program was made from, up to the order in which products are added, and that
    batch normalisation is not folded into the convolution before it.
    """

    def __init__(self, program: Program, parameters: Parameters, preprocessing: Preprocessing) -> None:
        self._program, self._parameters = program, parameters
        self._functions = functions()  # before threads ask for them; as long as they are here, the code is
        self._scaling = preprocessing.affine(np.dtype(np.float32), 1 + len(program.in_shape))
        self._rooms: list[_Room] = []
        """Those that no call has now."""

    def suits(self, samples: int) -> bool:
        """Whether it is the fastest way for so many, and the layers have the parameters that it knows."""
        program = self._program
        is_fast = samples <= FEW or (
            program.dense_share <= MOST_DENSE and program.mean_taps <= MOST_TAPS and program.used_share >= LEAST_USED
        )
        return is_fast and self._parameters.are_in_place()

    def run(self, x: Array, y: Array) -> None:
        """Fill y, (N, ...), with the outputs for raw values x, (N, ...)."""
        try:
            room = self._rooms.pop()
        except IndexError:
            room = _Room(self._program, self._functions)
        room.take_statistics()
        call, (factor, offset) = room.call_for(self._parameters.vector), self._scaling
        step = len(room.given)
        for start in range(0, len(x), step):
            tile = x[start : start + step]
            given = room.given[: len(tile)]
            np.multiply(tile, factor, out=given, dtype=np.float32, casting="unsafe")
            np.add(given, offset, out=given)
            call(len(tile))
            y[start : start + step] = room.found[: len(tile)]
        self._rooms.append(room)


def compiled_prediction(
    plan: Plan, parameters: Parameters, preprocessing: Preprocessing, most: int
) -> CompiledPrediction | None:
    """For the plan of a prediction, None if a step has no loop, or if an image takes more than `most` bytes."""
    program = program_of(plan, parameters) if parameters.vector.dtype == np.float32 else None
    if program is None or program.memory * parameters.vector.itemsize > most:
        return None
    return CompiledPrediction(program, parameters, preprocessing)


class _Room:
    """The memory of one call."""

    def __init__(self, program: Program, functions: Functions) -> None:
        self._program, self._function = program, functions["predict"]
        largest = max(math.prod(program.in_shape), math.prod(program.out_shape))
        images = max(1, min(AT_ONCE, INPUT_NUMBERS // largest))
        self.given = np.empty((images, *program.in_shape), np.float32)
        self.found = np.empty((images, *program.out_shape), np.float32)
        sizes = [norm.buffers["running_mean"].size for norm in program.norms]
        self._statistics = np.empty((2, sum(sizes)), np.float32)
        """Of each channel the mean, and 1 / sqrt(variance + epsilon)."""
        self._epsilons = np.repeat(np.array([norm.epsilon for norm in program.norms], np.float32), sizes)
        self._memory = np.zeros(program.memory, np.float32)
        self._vector: Array | None = None

    def take_statistics(self) -> None:
        """Those that batch normalisation has now."""
        if norms := self._program.norms:
            mean, inverse = self._statistics
            np.concatenate([norm.buffers["running_mean"] for norm in norms], out=mean)
            np.concatenate([norm.buffers["running_var"] for norm in norms], out=inverse)
            np.add(inverse, self._epsilons, out=inverse)
            np.divide(1, np.sqrt(inverse, out=inverse), out=inverse)

    def call_for(self, vector: Array) -> Callable[[int], None]:
        """The call for so many images, with the parameters where they are now."""
        if vector is not self._vector:
            steps, numbers, offsets = self._program.steps, self._program.numbers, self._program.offsets
            arrays = numbers, offsets, vector, self._statistics, self.given, self._memory, self.found
            addresses = (array.ctypes.data for array in arrays)
            self._call = functools.partial(self._function.at, steps.ctypes.data, len(steps), *addresses)
            self._vector = vector
        return self._call
