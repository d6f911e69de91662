"""Training: recipes, the loop over epochs and batches, and what it gives."""

from cnnkit.training.checkpoint import Checkpoints
from cnnkit.training.run import Run
from cnnkit.training.trainer import Trainer

__all__ = ["Checkpoints", "Run", "Trainer"]
