"""What pictures are drawn of: a model, what is known of its training, and the samples that it is shown on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.class_indices import check_labels, first_outside, indices_of
from cnnkit.components.predicted_class import not_finite
from cnnkit.errors import PlotError, ShapeError
from cnnkit.network import Network, Node
from cnnkit.training.run import Run
from cnnkit.types import Array, Data, Samples

if TYPE_CHECKING:
    from cnnkit.registry import Record


def _name(run: Run) -> str:
    """What a run is called: by the model's name in its recipe or, of a network from Python, by its data."""
    name = ((run.recipe or {}).get("model") or {}).get("name")
    return name or ("the run" if run.dataset is None else f"run on {run.dataset['name']}")


class Subject:
    """A model, with the test samples that it is shown on.

    shown: a registered model, a run, or a network; load: gives the dataset, when a kind first needs it; layer: the name
    of a node, for kinds that show one, else the first that fits; sample: the test sample whose feature maps are shown.
    """

    def __init__(
        self, shown: Record | Run | Network, load: Callable[[], Data], layer: str | None = None, sample: int = 0
    ) -> None:
        self.layer = layer
        self.sample = sample
        self.history: Mapping[str, Sequence[float]] = {}
        self.metrics: Mapping[str, float] = {}
        self.kept_epoch: int | None = None
        """The epoch, from 1, whose weights the model has, where that is not the last one."""
        self.name, self.file = "the model", "model"
        self._record: Record | None = None
        self._load = load
        if isinstance(shown, Network):
            self.model = shown
        elif isinstance(shown, Run):
            self.model, self.history, self.metrics = shown.model, shown.history, shown.metrics
            self.kept_epoch, self.name, self.file = shown.settings.get("kept_epoch"), _name(shown), "run"
        else:
            version, manifest = shown.version, shown.manifest
            self._record, self.history, self.metrics = shown, manifest.history, manifest.metrics
            kept = manifest.settings.get("kept_epoch")
            self.kept_epoch = kept if type(kept) is int else None
            self.name, self.file = version.ref, f"{version.name}-{version.number}"

    @cached_property
    def model(self) -> Network:
        """The model."""
        if self._record is None:
            raise PlotError(f"{self.name} has no model to show")
        return self._record.model()

    @cached_property
    def samples(self) -> Samples:
        """The test samples. Raises ShapeError for those of another shape or with other classes than the model has."""
        data = self._load()
        check_labels(self.model.labels, data.labels, self.name)
        samples = data.test
        if samples.x.shape[1:] != self.model.input_shape:
            raise ShapeError(
                f"{self.name} takes inputs of shape {self.model.input_shape}, the dataset has "
                f"{tuple(samples.x.shape[1:])}: choose a dataset that fits"
            )
        return Samples(samples.x, indices_of(samples.y)) if self.model.task.gives == "classes" else samples

    @cached_property
    def probabilities(self) -> Array:
        """Of each class for each test sample, (N, K). Raises PlotError for a model that does not classify them."""
        targets, outputs = self.samples.y, self.model.output_shape
        if self.model.task.gives == "classes" and len(outputs) != 1:
            raise PlotError(f"{self.name} gives {self.model.gives}: this picture shows one class for each sample")
        if self.model.task.gives != "classes" or not self.model.has_probabilities:
            raise PlotError(f"{self.name} gives {self.model.gives}: this picture shows probabilities of classes")
        if targets.ndim != 1 or not np.issubdtype(targets.dtype, np.integer):
            raise PlotError(f"{self.name} is a classifier, but the targets of the dataset are not class indices")
        self.model.check_report(len(self.samples))
        if first_outside(targets, outputs[0]):
            raise PlotError(f"{self.name} knows the classes 0 to {outputs[0] - 1}, the dataset has others")
        probabilities = self.model.predict_proba(self.samples.x)
        if not np.isfinite(probabilities).all():
            raise PlotError(not_finite(self.name, "test samples"))
        return probabilities

    def outputs(self, samples: Samples) -> Array:
        """Probabilities of labels, and of anything else what the network gives, (N, *output shape).

        Raises PlotError for targets that do not fit, and for outputs that are not finite.
        """
        shape = self.model.output_shape
        expected = shape[1:] if self.model.task.gives == "classes" else shape
        if samples.y.shape[1:] != expected:
            raise PlotError(
                f"{self.name} gives {self.model.gives}, targets of shape {expected}, and the dataset has "
                f"{samples.y.shape[1:]}: choose a dataset that fits"
            )
        self.model.check_report(len(samples))
        says = self.model.predict_proba if self.model.task.gives == "labels" else self.model.outputs
        outputs = says(samples.x)
        if not np.isfinite(outputs).all():
            raise PlotError(not_finite(self.name, "test samples"))
        return outputs

    def node(self, fits: Callable[[Node], bool], what: str) -> Node:
        """The node that was asked for, else the first that fits; raises PlotError, naming those that do."""
        fitting = {node.name: node for node in self.model.nodes if fits(node)}
        if not fitting:
            raise PlotError(f"{self.name} has no layer with {what}")
        if self.layer is None:
            return next(iter(fitting.values()))
        if self.layer not in fitting:
            names = list(fitting)
            shown = ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
            raise PlotError(f"{self.name} has no layer {self.layer!r} with {what}; choose one of {shown}")
        return fitting[self.layer]
