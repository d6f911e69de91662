"""Losses: one number for each sample, and its gradient with respect to the network's outputs."""

from cnnkit.components.contracts import Loss
from cnnkit.losses.binary_cross_entropy import BinaryCrossEntropy
from cnnkit.losses.contrastive import SupCon
from cnnkit.losses.cross_entropy import CrossEntropy, Focal, WeightedCrossEntropy
from cnnkit.losses.dice_jaccard import Dice, Jaccard
from cnnkit.losses.hinge import Hinge
from cnnkit.losses.log_probabilities import NLL, KLDiv
from cnnkit.losses.regression import MAE, MSE, Huber, LogCosh

LOSSES: tuple[type[Loss], ...] = (
    BinaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    Hinge,
    Huber,
    Jaccard,
    KLDiv,
    LogCosh,
    MAE,
    MSE,
    NLL,
    SupCon,
)

__all__ = [
    "LOSSES",
    "MAE",
    "MSE",
    "NLL",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Hinge",
    "Huber",
    "Jaccard",
    "KLDiv",
    "LogCosh",
    "SupCon",
    "WeightedCrossEntropy",
]
