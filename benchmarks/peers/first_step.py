"""A whole program, from the start of the process to its first step: `python -m benchmarks.peers.first_step torch`.

Each function imports what it needs and nothing else: the imports are most of what is measured.
"""

import sys


def cnnkit() -> None:
    """One step of `mnist-compact` on random images."""
    import numpy as np

    from cnnkit import Sequential, Trainer

    rng = np.random.default_rng(0)
    x, y = rng.random((512, 1, 28, 28), np.float32), rng.integers(0, 10, 512)
    layers = ["Conv2D(8, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(16, 3)", "ReLU()", "MaxPool2D(3)", "Flatten()"]
    layers += ["Dense(256)", "ReLU()", "Dropout(0.25)", "Dense(256)", "Dense(10)"]
    Trainer(epochs=1, batch_size=512).fit(Sequential(layers, (1, 28, 28)), (x, y))


def torch() -> None:
    """The same in PyTorch."""
    import torch
    from torch import nn

    x, y = torch.rand(512, 1, 28, 28), torch.randint(0, 10, (512,))
    network = nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(3)),
        *(nn.Flatten(), nn.Linear(144, 256), nn.ReLU(), nn.Dropout(0.25), nn.Linear(256, 256), nn.Linear(256, 10)),
    )
    optimizer = torch.optim.Adam(network.parameters())
    nn.functional.cross_entropy(network(x), y).backward()
    optimizer.step()


if __name__ == "__main__":
    {"cnnkit": cnnkit, "torch": torch}[sys.argv[1]]()
