"""The measured networks: what they are, what they cost, and that PyTorch computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.child_job import Job, load, prepared, stored
from benchmarks.equality import TOLERANCE, cnnkit_losses, difference, optimizer_for
from benchmarks.networks import NETWORKS, PREPROCESSING, channels_last_weight, training_flops
from cnnkit import load_recipe
from cnnkit.components import Layer
from cnnkit.errors import ConfigError
from cnnkit.network import Sequential


def test_mnist_compact_is_the_recipe() -> None:
    assert NETWORKS["mnist-compact"].layers == load_recipe("mnist-compact").model.expressions


@pytest.mark.parametrize(
    ("network", "weighted", "parameters"),
    [
        ("mnist-compact", 5, 106_730),
        ("mnist-12k", 3, 174_554),
        ("c16pc16", 3, 21_850),
        ("resnet-20", 22, 272_474),
        ("resnet-20-gn", 22, 272_474),
        ("mobilenetv2-small", 53, 700_490),
        ("unet", 13, 117_226),
    ],
)
def test_sizes(network: str, weighted: int, parameters: int) -> None:
    model = NETWORKS[network].build()
    found = [node for node in model.nodes if isinstance(node.layer, Layer) and "weight" in node.layer.params]
    assert len(found) == weighted
    assert model.parameter_count() == parameters


def test_operations_are_counted() -> None:
    # Convolution: 26*26 positions of 8 filters of 9 weights; dense layers: 1352*128 and 128*10 weights.
    assert training_flops(NETWORKS["mnist-12k"].build()) == 3 * 2 * (26 * 26 * 8 * 9 + 1352 * 128 + 128 * 10)


def test_a_transposed_convolution_meets_each_input_position() -> None:
    model = Sequential(["ConvTranspose2D(5, 2, 2)"], (3, 4, 6))
    assert training_flops(model) == 3 * 2 * (4 * 6) * (3 * 5 * 2 * 2)


def test_without_dropout() -> None:
    assert "Dropout" in repr(NETWORKS["mnist-compact"].build())
    assert "Dropout" not in repr(NETWORKS["mnist-compact"].build(dropout=False))


def test_weights_for_channels_last_images() -> None:
    model = NETWORKS["mnist-12k"].build()
    x = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), np.uint8)
    values = dict(zip((node.name for node in model.nodes), model.trace(x), strict=True))
    dense = next(node for node in model.nodes if node.name == "dense_1")
    flat = values["max_pool2d_1"].transpose(0, 2, 3, 1).reshape(3, -1)
    np.testing.assert_allclose(flat @ channels_last_weight(model, dense), values["dense_1"], atol=1e-4)
    assert channels_last_weight(model, model.nodes[0]).shape == (3, 3, 1, 8)


def test_stored_samples_and_their_preparation() -> None:
    with stored("random", (3, 32, 32), 5) as folder:
        samples = load(folder, "train")
        given = Job("resnet-20", folder, 4, 3, 1)
        assert len(given.train()) == 4
        assert sorted(np.concatenate(list(given.batches(0)))) == [0, 1, 2, 3]
        assert Job.from_json(given.to_json()) == given
    assert samples.x.shape == (5, 3, 32, 32)
    x = prepared(samples.x)
    assert x.dtype == np.float32
    np.testing.assert_allclose(
        x, (np.asarray(samples.x) / 255 - PREPROCESSING.mean[0]) / PREPROCESSING.std[0], atol=1e-5
    )


def test_mnist_has_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import child_job
    from cnnkit import load_dataset

    monkeypatch.setattr(child_job, "load_dataset", lambda _: load_dataset("Digits()"))
    message = r"as MNIST has them, got 5 of shape \(3, 32, 32\); use --data random"
    with pytest.raises(ConfigError, match=message), stored("mnist", (3, 32, 32), 5):
        pass


def small(network: str, folder: str) -> Job:
    rule = optimizer_for(network)
    return Job(network, folder, 24, 8, 1, optimizer=rule, dropout=False)


@pytest.mark.parametrize("network", NETWORKS)
def test_cnnkit_and_torch_have_the_same_losses(network: str) -> None:
    pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    with stored("random", NETWORKS[network].input_shape, 24, NETWORKS[network].target_shape) as data:
        largest, pairs = difference(small(network, data))
    assert len(pairs) == 3
    assert largest < TOLERANCE
    assert pairs[0] != pairs[-1]


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    torch: Any = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    from benchmarks.peers import torch_peer

    class Wrong(torch_peer.Training):
        def step(self, positions: Any) -> Any:
            loss = super().step(positions)
            with torch.no_grad():
                first = next(self.network.parameters())
                first.sub_(first.grad, alpha=0.1 * self.rate)  # a tenth too much
            return loss

    with stored("random", (1, 28, 28), 160) as data:
        given = Job("c16pc16", data, 160, 8, 1, optimizer=optimizer_for("c16pc16"), dropout=False)
        assert difference(given)[0] < TOLERANCE
        monkeypatch.setattr(torch_peer, "Training", Wrong)
        assert difference(given)[0] > TOLERANCE


def test_step_losses_are_those_of_single_steps() -> None:
    with stored("random", (1, 28, 28), 24) as data:
        losses = cnnkit_losses(small("mnist-12k", data))
    assert len(losses) == 3
    assert np.isfinite(losses).all()
