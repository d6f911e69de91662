"""What a training is about to do, for who waits for it."""

from __future__ import annotations

from dataclasses import dataclass

from cnnkit.wording import counted


@dataclass(frozen=True)
class TrainingOverview:
    """The sizes of a training, and how it uses the machine."""

    layers: int
    parameters: int
    data: str
    """The name of the dataset; "" for arrays."""
    training_samples: int
    validation_samples: int
    test_samples: int
    workers: int
    batch_size: int
    tile: int
    why_tile: str

    def lines(self, name: str) -> list[str]:
        """Two lines of text; name: of the network."""
        used = {"validate": self.validation_samples, "test": self.test_samples}
        others = "".join(f", {count:,} to {use} on" for use, count in used.items() if count)
        network = f"{name}: {counted(self.layers, 'layer')}, {counted(self.parameters, 'parameter')}"
        data = f"{self.data}: {counted(self.training_samples, 'sample')}" if self.data else ""
        data = data or counted(self.training_samples, "sample")
        how = f"batches of {self.batch_size:,} in tiles of {self.tile}, {self.why_tile}"
        if self.batch_size <= self.tile:
            how = f"each batch of {self.batch_size} is one tile"
        return [f"{network}; {data} to train on{others}", f"{counted(self.workers, 'worker')}; {how}"]
