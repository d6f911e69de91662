"""The components that come with cnnkit, through the same hooks as everyone's."""

from cnnkit.components import (
    Architecture,
    Augmentation,
    Callback,
    Dataset,
    Initializer,
    Layer,
    Loss,
    Merge,
    Metric,
    Mixing,
    Optimizer,
    Runtime,
    Schedule,
    hookimpl,
)


@hookimpl
def cnnkit_architectures() -> list[type[Architecture]]:
    """LeNet, residual networks, networks for telephones, U-Net."""
    from cnnkit.architectures import ARCHITECTURES

    return list(ARCHITECTURES)


@hookimpl
def cnnkit_layers() -> list[type[Layer | Merge]]:
    """Convolution, pooling, dense, activations, normalisation, merges."""
    from cnnkit.layers import LAYERS

    return list(LAYERS)


@hookimpl
def cnnkit_initializers() -> list[type[Initializer]]:
    """By fans, of a given distribution, orthogonal, constant, the identity."""
    from cnnkit.initializers import INITIALIZERS

    return list(INITIALIZERS)


@hookimpl
def cnnkit_losses() -> list[type[Loss]]:
    """Cross-entropy and squared error."""
    from cnnkit.losses import LOSSES

    return list(LOSSES)


@hookimpl
def cnnkit_optimizers() -> list[type[Optimizer]]:
    """Gradient descent with momentum, Adam and AdamW."""
    from cnnkit.optimizers import OPTIMIZERS

    return list(OPTIMIZERS)


@hookimpl
def cnnkit_schedules() -> list[type[Schedule]]:
    """Constant, cosine and step."""
    from cnnkit.schedules import SCHEDULES

    return list(SCHEDULES)


@hookimpl
def cnnkit_metrics() -> list[type[Metric]]:
    """Accuracy."""
    from cnnkit.metrics import METRICS

    return list(METRICS)


@hookimpl
def cnnkit_datasets() -> list[type[Dataset]]:
    """Digits, MNIST and its kin, CIFAR, and arrays from a file."""
    from cnnkit.data import DATASETS

    return list(DATASETS)


@hookimpl
def cnnkit_augmentations() -> list[type[Augmentation | Mixing]]:
    """Shifting, cropping, flipping, rotating, erasing, mixing."""
    from cnnkit.augmentations import AUGMENTATIONS

    return list(AUGMENTATIONS)


@hookimpl
def cnnkit_callbacks() -> list[type[Callback]]:
    """Early stopping and stopping at a target."""
    from cnnkit.training.callbacks import CALLBACKS

    return list(CALLBACKS)


@hookimpl
def cnnkit_runtimes() -> list[type[Runtime]]:
    """ONNX's reference evaluator and ONNX Runtime."""
    from cnnkit.onnx.runtimes import RUNTIMES

    return list(RUNTIMES)
