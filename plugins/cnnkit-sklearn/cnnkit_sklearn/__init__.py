"""scikit-learn estimators that train with cnnkit; its data sets and scores as components are in `components`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit_sklearn.estimators import CNNClassifier, CNNRegressor

__all__ = ["CNNClassifier", "CNNRegressor"]


def __getattr__(name: str) -> Any:
    """The estimators, when they are first asked for: cnnkit looks for components without them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cnnkit_sklearn import estimators

    return getattr(estimators, name)
