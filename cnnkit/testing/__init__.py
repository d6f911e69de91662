"""Checks for authors of components: do they keep their contract, and are their gradients right?"""

from cnnkit.testing.augmentation import check_augmentation
from cnnkit.testing.callback import check_callback
from cnnkit.testing.conformance import check_layer
from cnnkit.testing.dataset import check_dataset
from cnnkit.testing.gradcheck import GradientReport, gradient_check
from cnnkit.testing.gradcheck_at import gradient_check_at
from cnnkit.testing.gradcheck_network import network_gradient_check
from cnnkit.testing.loss import check_loss
from cnnkit.testing.metric import check_metric
from cnnkit.testing.optimizer import check_optimizer
from cnnkit.testing.plain_context import PlainContext
from cnnkit.testing.runtime import check_runtime
from cnnkit.testing.schedule import check_schedule

__all__ = [
    "GradientReport",
    "PlainContext",
    "check_augmentation",
    "check_callback",
    "check_dataset",
    "check_layer",
    "check_loss",
    "check_metric",
    "check_optimizer",
    "check_runtime",
    "check_schedule",
    "gradient_check",
    "gradient_check_at",
    "network_gradient_check",
]
