"""Losses of values to regress: of the differences to the targets, averaged over the features of a sample."""

from __future__ import annotations

import math

import numpy as np

from cnnkit.components.checks import positive
from cnnkit.components.contracts import Loss, are_indices_for
from cnnkit.errors import ShapeError
from cnnkit.losses.rows import check_classes, check_outputs, mean_of_each
from cnnkit.types import Array, Example, Shape, Task


class _RegressionLoss(Loss):
    """The mean of a function of the differences d = y - t; class indices are taken as one-hot rows."""

    gives = "values"

    def task(self, targets: Array, output_shape: Shape) -> Task:
        """Values; of class indices, which are taken as one-hot rows, classes by scores."""
        return Task("classes") if are_indices_for(targets, output_shape) else Task("values")

    def forward(self, outputs: Array, targets: Array) -> tuple[Array, Array]:
        check_outputs(outputs)
        if targets.shape == outputs.shape:
            difference = np.subtract(outputs, targets, dtype=outputs.dtype)
        elif outputs.ndim == 2 and targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer):
            check_classes(outputs, targets)
            difference = outputs.copy(order="K")
            difference[np.arange(len(difference)), targets] -= 1
        else:
            indices = f", or be class indices, integers of shape ({len(outputs)},)" if outputs.ndim == 2 else ""
            raise ShapeError(
                f"the targets must have the shape {outputs.shape} of the outputs{indices}; got {targets.dtype} of "
                f"shape {targets.shape}: reshape them, or change the last layer"
            )
        return mean_of_each(self.of(difference)), difference

    def backward(self, cache: Array, weight: float) -> Array:
        dy = self.slope(cache)
        dy *= weight / math.prod(cache.shape[1:])
        return dy

    def of(self, d: Array) -> Array:
        """The function of each difference."""
        raise NotImplementedError  # derived classes define it

    def slope(self, d: Array) -> Array:
        """Its derivative, a new array."""
        raise NotImplementedError  # derived classes define it


class MSE(_RegressionLoss):
    """Mean squared error over the features of a sample.

    Forward:   loss = mean_f (y_f - t_f)^2
    Backward:  dy = weight * 2 / F * (y - t)

    y: (N, F), (N, C, L) or (N, C, H, W) outputs, with F the number of values of a sample; t: values of the same
    shape, or for (N, F) class indices (N,), which are taken as one-hot rows; loss: (N,), in the square of the outputs'
    unit.
    Raises ShapeError for targets of another shape, or class indices outside 0 .. F - 1.
    Source: Bishop (2006), Pattern Recognition and Machine Learning, section 5.2.
    """

    twin = "torch.nn.MSELoss"
    examples = (
        Example("MSE()", (5,), "", "values"),
        Example("MSE()", (2, 4, 3), "", "values"),
        Example("MSE()", (1,), "", "values"),
        Example("MSE()", (2, 7), "", "values"),
        Example("MSE()", (5,), targets="classes"),
    )

    def of(self, d: Array) -> Array:
        return np.square(d)

    def backward(self, cache: Array, weight: float) -> Array:
        dy: Array = cache * (2 / math.prod(cache.shape[1:]))
        dy *= weight
        return dy


class MAE(_RegressionLoss):
    """Mean absolute error over the features of a sample.

    Forward:   loss = mean_f |y_f - t_f|
    Backward:  dy = weight / F * sign(y - t), 0 where they are equal

    y: (N, F), (N, C, L) or (N, C, H, W); t: values of the same shape, or for (N, F) class indices (N,); loss: (N,), in
    the outputs' unit. Raises ShapeError as MSE does.
    Source: Hastie, Tibshirani, Friedman (2009), The Elements of Statistical Learning, section 10.6.
    """

    twin = "torch.nn.L1Loss"
    examples = (
        Example("MAE()", (5,), "", "values"),
        Example("MAE()", (2, 3, 4), "", "values"),
        Example("MAE()", (2, 7), "", "values"),
        Example("MAE()", (4,), targets="classes"),
    )

    def of(self, d: Array) -> Array:
        return np.abs(d)

    def slope(self, d: Array) -> Array:
        return np.sign(d)


class Huber(_RegressionLoss):
    """Squares of small differences, and of large ones their size, so that outliers pull no harder than others.

    Forward:   loss = mean_f h(y_f - t_f),  h(d) = d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2)
    Backward:  dy = weight / F * min(max(y - t, -delta), delta)

    y: (N, F), (N, C, L) or (N, C, H, W); t: values of the same shape, or for (N, F) class indices (N,); loss: (N,).
    Raises ConfigError unless delta > 0, ShapeError as MSE does.
    Source: Huber (1964), Robust Estimation of a Location Parameter.
    """

    twin = "torch.nn.HuberLoss"
    examples = (
        Example("Huber()", (5,), "", "values"),
        Example("Huber(delta=0.2)", (2, 3, 4), "delta=0.2", "values"),
        Example("Huber()", (2, 7), "", "values"),
        Example("Huber(0.5)", (4,), targets="classes"),
    )

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = positive("delta", delta)

    def of(self, d: Array) -> Array:
        # min(|d|, delta) (|d| - min(|d|, delta) / 2) is both at once.
        size = np.abs(d)
        near = np.minimum(size, d.dtype.type(self.delta))
        value: Array = near * (size - near / 2)
        return value

    def slope(self, d: Array) -> Array:
        delta = d.dtype.type(self.delta)
        return np.clip(d, -delta, delta)


class LogCosh(_RegressionLoss):
    """The logarithm of the hyperbolic cosine of the differences: squares of small ones, the size of large ones, smooth.

    Forward:   loss = mean_f log(cosh(d_f)) = mean_f (|d_f| + log(1 + exp(-2 |d_f|)) - log(2)),  d = y - t
    Backward:  dy = weight / F * tanh(y - t)

    The second form does not overflow; of small differences, where its terms cancel, log(1 + sinh(d)^2) / 2 is taken.

    y: (N, F), (N, C, L) or (N, C, H, W); t: values of the same shape, or for (N, F) class indices (N,); loss: (N,).
    Raises ShapeError as MSE does.
    Source: Green (1990), Bayesian Reconstructions from Emission Tomography Data Using a Modified EM Algorithm.
    """

    examples = (
        Example("LogCosh()", (5,), targets="values"),
        Example("LogCosh()", (2, 3, 4), targets="values"),
        Example("LogCosh()", (2, 7), targets="values"),
        Example("LogCosh()", (4,), targets="classes"),
    )

    def of(self, d: Array) -> Array:
        size = np.abs(d)
        small = np.log1p(np.square(np.sinh(np.minimum(size, 1)))) / 2
        far = size + np.log1p(np.exp(-2 * size)) - d.dtype.type(math.log(2))
        return np.asarray(np.where(size < 1, small, far))

    def slope(self, d: Array) -> Array:
        return np.tanh(d)
