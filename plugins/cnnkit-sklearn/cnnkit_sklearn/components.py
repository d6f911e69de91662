"""What the plugin adds to cnnkit: data sets, a metric, and the loss of weighted samples."""

from __future__ import annotations

from cnnkit.plugin import Dataset, Loss, Metric, hookimpl
from cnnkit_sklearn.datasets import BreastCancer, Diabetes, Iris, Wine
from cnnkit_sklearn.sample_weighted import SampleWeighted
from cnnkit_sklearn.scores import SklearnScore


@hookimpl
def cnnkit_datasets() -> list[type[Dataset]]:
    """The tables that come with scikit-learn."""
    return [BreastCancer, Diabetes, Iris, Wine]


@hookimpl
def cnnkit_metrics() -> list[type[Metric]]:
    """The metrics of scikit-learn that cnnkit does not have."""
    return [SklearnScore]


@hookimpl
def cnnkit_losses() -> list[type[Loss]]:
    """A loss with a weight for each sample."""
    return [SampleWeighted]
