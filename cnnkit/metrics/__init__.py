"""Metrics: measures of predictions, from sums that can be added up over tiles in any cut."""

from cnnkit.components.contracts import Metric
from cnnkit.metrics.accuracy import Accuracy, TopKAccuracy
from cnnkit.metrics.calibration import CalibrationError
from cnnkit.metrics.class_counts import F1, BalancedAccuracy, Matthews, MeanIoU, Precision, Recall
from cnnkit.metrics.images import PSNR, SSIM
from cnnkit.metrics.ranking import ROCAUC, AveragePrecision
from cnnkit.metrics.regression import MAE, R2, RMSE

METRICS: tuple[type[Metric], ...] = (
    Accuracy,
    AveragePrecision,
    BalancedAccuracy,
    CalibrationError,
    F1,
    MAE,
    Matthews,
    MeanIoU,
    PSNR,
    Precision,
    R2,
    RMSE,
    ROCAUC,
    Recall,
    SSIM,
    TopKAccuracy,
)

__all__ = [
    "F1",
    "MAE",
    "METRICS",
    "PSNR",
    "R2",
    "RMSE",
    "ROCAUC",
    "SSIM",
    "Accuracy",
    "AveragePrecision",
    "BalancedAccuracy",
    "CalibrationError",
    "Matthews",
    "MeanIoU",
    "Precision",
    "Recall",
    "TopKAccuracy",
]
