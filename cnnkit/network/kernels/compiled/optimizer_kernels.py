"""The optimizers whose updates are compiled."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np

from cnnkit.components import Optimizer
from cnnkit.network.kernels.compiled.machine_code import Functions, functions
from cnnkit.optimizers import SGD, Adam, AdamW
from cnnkit.types import Array

FEWEST = 4096
"""Numbers below which an update by NumPy is faster."""


class CompiledUpdates:
    """Updates by machine code, which each equal the optimizer's bit for bit."""

    @functools.cached_property
    def _functions(self) -> Functions:
        """Loaded when they are first called."""
        return functions()

    def update(
        self, optimizer: Optimizer, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int
    ) -> bool:
        """Move the parameters as `optimizer.update` does; False, and nothing done, if there is no loop for it.

        Other than that, it leaves the gradient as it is.
        """
        if params.size < FEWEST or not all(
            one.dtype == np.float32 and one.flags.c_contiguous for one in (params, grads, *state.values())
        ):
            return False
        if any(isinstance(value, np.generic) for value in vars(optimizer).values()):
            return False  # with a float64 of NumPy's, NumPy computes in float64
        if type(optimizer) in (Adam, AdamW):
            self._adam(optimizer, params, grads, state, lr, step)  # type: ignore[arg-type]  # it is one
            return True
        if type(optimizer) is SGD:
            self._gradient_descent(optimizer, params, grads, state, lr)
            return True
        return False

    def _adam(
        self, optimizer: Adam, params: Array, grads: Array, state: Mapping[str, Array], lr: float, step: int
    ) -> None:
        beta1, beta2 = optimizer.beta1, optimizer.beta2
        scale = math.sqrt((1 - beta2) / (1 - beta2**step))
        is_decoupled = type(optimizer) is AdamW
        self._functions["adam"](
            params,
            grads,
            state["mean"],
            state["square"],
            state["largest"] if optimizer.amsgrad else grads,
            params.size,
            beta1,
            beta2,
            optimizer.epsilon / scale,
            lr * (1 - beta1) / (1 - beta1**step) / scale,
            1 - lr * optimizer.weight_decay if is_decoupled else 1.0,
            optimizer.weight_decay,
            bool(optimizer.weight_decay) and not is_decoupled,
            optimizer.amsgrad,
        )

    def _gradient_descent(
        self, optimizer: SGD, params: Array, grads: Array, state: Mapping[str, Array], lr: float
    ) -> None:
        self._functions["gradient_descent"](
            params,
            grads,
            state["velocity"] if optimizer.momentum else grads,
            params.size,
            lr,
            optimizer.momentum,
            optimizer.weight_decay,
            bool(optimizer.momentum),
            bool(optimizer.weight_decay),
            optimizer.nesterov,
        )
