"""Checks for authors of components: do they keep their contract, and are their gradients right?"""

from cnnkit.testing.architecture import check_architecture
from cnnkit.testing.augmentation import check_augmentation
from cnnkit.testing.callback import check_callback
from cnnkit.testing.case_list import Case, cases
from cnnkit.testing.conformance import check_layer
from cnnkit.testing.dataset import check_dataset
from cnnkit.testing.gradcheck import GradientReport, gradient_check
from cnnkit.testing.gradcheck_at import gradient_check_at
from cnnkit.testing.gradcheck_network import network_gradient_check
from cnnkit.testing.gradient_method import check_gradient_method
from cnnkit.testing.initializer import check_initializer
from cnnkit.testing.loss import check_loss
from cnnkit.testing.metric import check_metric
from cnnkit.testing.optimizer import check_optimizer
from cnnkit.testing.plain_context import PlainContext
from cnnkit.testing.runtime import check_runtime
from cnnkit.testing.schedule import check_schedule

__all__ = [
    "Case",
    "GradientReport",
    "PlainContext",
    "cases",
    "check_architecture",
    "check_augmentation",
    "check_callback",
    "check_dataset",
    "check_gradient_method",
    "check_initializer",
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
