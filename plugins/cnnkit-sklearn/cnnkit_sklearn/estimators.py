"""Networks of cnnkit as estimators of scikit-learn."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from cnnkit import Layer, Run, Sequential, Trainer
from cnnkit.plugin import (
    Array,
    Augmentation,
    Callback,
    Loss,
    Merge,
    Mixing,
    Optimizer,
    Preprocessing,
    Schedule,
    Shape,
    ShapeError,
)
from cnnkit_sklearn.default_networks import default_layers
from cnnkit_sklearn.sample_weighted import SampleWeighted, weighted_targets

MOST_SEEDS = np.iinfo(np.int32).max

OPTIONS = """
    layers: all layers but the last, which is Dense(number of outputs): expressions such as "Conv2D(16, 3)", or objects,
        of which copies are trained; None for a network that suits the shape of a sample, see `default_layers`
    input_shape: the shape of a sample, such as (1, 8, 8), if the rows of X are images or signals; None for X as it is,
        (N, F), (N, C, L) or (N, C, H, W)
    scale: what inputs are multiplied with before the first layer, which is a part of the network; None for 1 for rows,
        and 1 / max |x| of the training samples for images and signals
    optimizer, schedule, loss, callbacks, augmentations, epochs, batch_size, keep: the training options of cnnkit
    validation_fraction: the share of the training samples that the callbacks and keep = "best" look at; None for none
    dtype: what the network computes in, "float32" or "float64", which takes twice the time
    n_jobs: workers of the training; it changes no result. None for 1, -1 for all cores
    random_state: of the weights, and of the order of the samples
    verbose: whether each epoch is shown
"""


class _Network(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What classifier and regressor have in common."""

    def __init__(
        self,
        layers: Sequence[str | Layer | Merge] | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        scale: float | None = None,
        optimizer: str | Optimizer = "Adam(0.003)",
        schedule: str | Schedule = "Constant()",
        loss: str | Loss = "MSE()",
        callbacks: Sequence[str | Callback] = (),
        augmentations: Sequence[str | Augmentation | Mixing] = (),
        epochs: int = 50,
        batch_size: int = 64,
        validation_fraction: float | None = None,
        keep: str = "last",
        dtype: Literal["float32", "float64"] = "float32",
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.layers = layers
        self.input_shape = input_shape
        self.scale = scale
        self.optimizer = optimizer
        self.schedule = schedule
        self.loss = loss
        self.callbacks = callbacks
        self.augmentations = augmentations
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.keep = keep
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """It takes signals and images as well as rows."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _samples(self, X: Any, y: Any, *, first: bool, **checks: Any) -> tuple[Array, Array]:  # noqa: N803
        """Inputs as the network takes them, and the targets as scikit-learn has checked them."""
        x, y = validate_data(self, X, y, reset=first, dtype=self.dtype, allow_nd=True, **checks)
        return self._shaped(x), y

    def _inputs(self, X: Any) -> Array:  # noqa: N803
        """Inputs to predict from, as the network takes them."""
        check_is_fitted(self)
        return self._shaped(validate_data(self, X, reset=False, dtype=self.dtype, allow_nd=True))

    def _shaped(self, x: Array) -> Array:
        shape = tuple(x.shape[1:]) if self.input_shape is None else tuple(self.input_shape)
        if int(np.prod(shape)) * len(x) != x.size:
            raise ShapeError(
                f"input_shape is {shape}, which is {int(np.prod(shape))} numbers for a sample; X has the shape "
                f"{tuple(x.shape)}: correct input_shape, or remove it"
            )
        return np.ascontiguousarray(x).reshape(len(x), *shape)

    def _begin(self, x: Array, outputs: int, labels: Sequence[str] = ()) -> None:
        """A new network with weights of its own."""
        shape: Shape = tuple(x.shape[1:])
        self._seed = int(check_random_state(self.random_state).randint(MOST_SEEDS))
        scale = self.scale
        if scale is None:
            largest = 1.0 if len(shape) == 1 else float(np.abs(x).max())
            scale = 1 / largest if largest else 1.0
        hidden = default_layers(shape) if self.layers is None else copy.deepcopy(list(self.layers))
        self.model_ = Sequential(
            [*hidden, f"Dense({outputs})"],
            shape,
            labels=labels,
            preprocessing=Preprocessing(std=(1 / scale,)),  # values may be of both signs
            seed=self._seed,
            dtype=self.dtype,
        )
        self.history_: dict[str, list[float]] = {}
        self.n_iter_ = 0

    def _train(self, x: Array, y: Array, weights: Array | None, epochs: int | None = None) -> None:
        """Train on; epochs: one step of a training in parts, None for a whole training with all of its options."""
        loss: str | Loss = self.loss
        if weights is not None and (weights != weights[0]).any():
            counted = weights > 0
            x, y, weights = x[counted], y[counted], weights[counted]
            y, loss = weighted_targets(y, weights / weights.mean()), self._weighted()
        trainer = Trainer(
            optimizer=self.optimizer,
            loss=loss,
            metrics=[],
            epochs=epochs or self.epochs,
            batch_size=self.batch_size,
            augmentations=self.augmentations,
            seed=(self._seed + self.n_iter_) % MOST_SEEDS,
            workers={None: 1, -1: None}.get(self.n_jobs, self.n_jobs),  # None: all cores, as cnnkit says it
            progress=bool(self.verbose),
        )
        validation = None
        if epochs is None:
            trainer.schedule, trainer.callbacks, trainer.keep = self.schedule, self.callbacks, self.keep  # type: ignore[assignment]
            validation = self.validation_fraction
        run: Run = trainer.fit(self.model_, (x, y), validation=validation)
        if run.signal is not None:
            raise KeyboardInterrupt  # a search must not go on with the next candidate
        for name, values in run.history.items():
            self.history_.setdefault(name, []).extend(values)
        self.n_iter_ = len(self.history_["loss"])
        self.loss_ = self.history_["loss"][-1]

    def _weighted(self) -> Loss:
        return SampleWeighted(Trainer(loss=self.loss).loss)

    def _weights(self, sample_weight: Any, x: Array) -> Array | None:
        if sample_weight is None:
            return None
        weights: Array = _check_sample_weight(sample_weight, x, dtype=np.float64, ensure_non_negative=True)
        if not weights.any():
            raise ValueError("sample_weight is zero for all samples; expected at least one above 0")
        return weights


class CNNClassifier(ClassifierMixin, _Network):  # type: ignore[misc]
    """A network of cnnkit that tells classes apart.

    options
    class_weight: the weight of each class by its label, "balanced", or None for 1; it multiplies those of the samples

    Fitted: model_, the network, which cnnkit registers, explains and exports; classes_; n_features_in_; n_iter_, the
    epochs; history_ and loss_, of the training.
    """

    def __init__(
        self,
        layers: Sequence[str | Layer | Merge] | None = None,
        *,
        input_shape: Sequence[int] | None = None,
        scale: float | None = None,
        optimizer: str | Optimizer = "Adam(0.003)",
        schedule: str | Schedule = "Constant()",
        loss: str | Loss = "CrossEntropy()",
        callbacks: Sequence[str | Callback] = (),
        augmentations: Sequence[str | Augmentation | Mixing] = (),
        epochs: int = 50,
        batch_size: int = 64,
        validation_fraction: float | None = None,
        keep: str = "last",
        dtype: Literal["float32", "float64"] = "float32",
        class_weight: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            layers,
            input_shape=input_shape,
            scale=scale,
            optimizer=optimizer,
            schedule=schedule,
            loss=loss,
            callbacks=callbacks,
            augmentations=augmentations,
            epochs=epochs,
            batch_size=batch_size,
            validation_fraction=validation_fraction,
            keep=keep,
            dtype=dtype,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train a new network. y: labels, (N,); sample_weight: (N,), 0 or above, or None for 1."""
        x, y = self._samples(X, y, first=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self._begin(x, len(self.classes_), [*map(str, self.classes_.tolist())])
        self._train(x, self._codes(y), self._class_weights(y, self._weights(sample_weight, x)))
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train one epoch on these samples; the optimizer starts anew, schedule and callbacks are not asked.

        classes: all labels, which the first call needs unless y has all of them.
        """
        first = not hasattr(self, "model_")
        x, y = self._samples(X, y, first=first)
        check_classification_targets(y)
        if first:
            self.classes_ = np.unique(y if classes is None else classes)
            self._begin(x, len(self.classes_), [*map(str, self.classes_.tolist())])
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes is {classes!r}, and the first call had {self.classes_!r}")
        self._train(x, self._codes(y), self._class_weights(y, self._weights(sample_weight, x)), epochs=1)
        return self

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """The probability of each of `classes_`, (N, K) float64."""
        x = self._inputs(X)
        return self.model_.predict_proba(x).astype(np.float64)

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The most probable label of each sample, (N,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[likeliest])

    def _codes(self, y: Array) -> Array:
        """Class indices of labels."""
        if unknown := sorted(set(np.unique(y).tolist()) - set(self.classes_.tolist()), key=str):
            raise ValueError(f"y has labels that are not among the classes: {unknown[:5]}; expected {self.classes_}")
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def _class_weights(self, y: Array, weights: Array | None) -> Array | None:
        """The weights of the samples, times those of their classes."""
        if self.class_weight is None:
            return weights
        of_classes: Array = compute_sample_weight(self.class_weight, y)
        return of_classes if weights is None else weights * of_classes


class CNNRegressor(RegressorMixin, _Network):  # type: ignore[misc]
    """A network of cnnkit that tells one value, or several.

    options
    Targets are taken as they are: for large ones, wrap it in scikit-learn's TransformedTargetRegressor.

    Fitted: model_, the network, which cnnkit registers, explains and exports; n_features_in_; n_outputs_; n_iter_, the
    epochs; history_ and loss_, of the training.
    """

    def __sklearn_tags__(self) -> Any:
        """It takes several targets for each sample."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train a new network. y: values, (N,) or (N, F); sample_weight: (N,), 0 or above, or None for 1."""
        x, values = self._targets(X, y, first=True)
        self._train(x, values, self._weights(sample_weight, x))
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train one epoch on these samples; the optimizer starts anew, schedule and callbacks are not asked."""
        x, values = self._targets(X, y, first=not hasattr(self, "model_"))
        self._train(x, values, self._weights(sample_weight, x), epochs=1)
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """The values of each sample, of the shape of the training's targets."""
        x = self._inputs(X)
        values: Array = self.model_.predict(x).astype(np.float64)
        return values[:, 0] if self._is_single else values

    def _targets(self, X: Any, y: Any, *, first: bool) -> tuple[Array, Array]:  # noqa: N803
        x, y = self._samples(X, y, first=first, multi_output=True, y_numeric=True)
        values = y.astype(np.float32).reshape(len(y), -1)
        if first:
            self._is_single, self.n_outputs_ = y.ndim == 1, values.shape[1]
            self._begin(x, self.n_outputs_)
        elif values.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {values.shape[1]} values for each sample, the first call had {self.n_outputs_}")
        return x, values


for _estimator in (CNNClassifier, CNNRegressor):
    _estimator.__doc__ = (_estimator.__doc__ or "").replace("\n    options", OPTIONS.rstrip("\n"))
