"""Every built-in loss says all of itself, and is compared on its examples: parity with PyTorch, dtypes, no samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cnnkit import losses
from cnnkit.components import BatchCoupledLoss, Loss, installed_catalog
from cnnkit.components.expressions import parse
from cnnkit.explanation.formulas import describe
from cnnkit.losses import LOSSES, MSE
from cnnkit.testing.example_targets import targets_of_all_kinds
from cnnkit.types import Array, Example

NO_TWIN = {
    "Dice": "PyTorch has no loss of overlaps",
    "Focal": "torchvision has one of labels, PyTorch has none of classes",
    "Jaccard": "PyTorch has no loss of overlaps",
    "LogCosh": "PyTorch has none",
    "SupCon": "PyTorch has none; test_contrastive.py has a loop over all pairs",
}
"""Losses without a class in PyTorch, and why; ORACLES has their formulas, which PyTorch differentiates."""
CASES = [(cls, example) for cls in LOSSES for example in cls.examples]
ALONE = [(cls, example) for cls, example in CASES if not issubclass(cls, BatchCoupledLoss)]
"""Those whose samples are treated one by one."""
CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def built(example: Example) -> Loss:
    return cast(Loss, installed_catalog().build("loss", example.expression))


def drawn(example: Example, seed: int, n: int = 6, dtype: str = "float32") -> tuple[Array, Array]:
    """Outputs, and targets of the example's kind; logarithms of probabilities where the loss needs them."""
    rng = np.random.default_rng(seed)
    targets = targets_of_all_kinds(example.in_shape, n, rng)[example.targets]
    if example.targets != "classes":
        targets = targets.astype(dtype)
    return (2 * rng.standard_normal((n, *example.in_shape))).astype(dtype), targets


def lacking(cls: type[Loss]) -> Iterable[str]:
    said = describe(cls)
    if not cls.examples:
        yield "examples"
    if not all(word in said.formulas for word in ("Forward:", "Backward:")):
        yield "formula"
    if not said.source:
        yield "source"
    if not cls.twin and cls.__name__ not in NO_TWIN:
        yield "twin in PyTorch, and no reason for that in NO_TWIN"
    if cls.twin and cls.examples and all(one.twin is None for one in cls.examples):
        yield "example with arguments of its twin"
    if cls.__name__ not in losses.__all__:
        yield "place in __all__"
    if cls.__name__ not in re.findall(r"\w+", CHANGELOG.read_text("utf-8")):
        yield "word in CHANGELOG.md"
    if cls.gives is None:
        yield "task"


def faults(classes: Iterable[type[Loss]]) -> list[str]:
    return [f"{cls.__name__} has no {part}" for cls in classes for part in lacking(cls)]


def test_every_loss_says_all_of_itself() -> None:
    assert faults(LOSSES) == []
    assert NO_TWIN.keys() <= {cls.__name__ for cls in LOSSES}


def test_what_is_missing_is_named() -> None:
    bare = type("Bare", (Loss,), {})
    assert faults([bare]) == [
        f"Bare has no {part}"
        for part in (
            "examples",
            "formula",
            "source",
            "twin in PyTorch, and no reason for that in NO_TWIN",
            "place in __all__",
            "word in CHANGELOG.md",
            "task",
        )
    ]
    derived = type("MSE", (MSE,), {"__doc__": MSE.__doc__})
    assert faults([derived]) == ["MSE has no examples", "MSE has no twin in PyTorch, and no reason for that in NO_TWIN"]


@pytest.mark.parametrize(("cls", "example"), ALONE, ids=lambda one: getattr(one, "expression", ""))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_inputs_and_batches(cls: type[Loss], example: Example, dtype: str) -> None:
    """The dtype is kept and the inputs are; a batch is its samples one by one, and one without samples is none."""
    loss = built(example)
    outputs, targets = drawn(example, 0, dtype=dtype)
    before = outputs.copy(), targets.copy()
    each, cache = loss.forward(outputs, targets)
    gradient = loss.backward(cache, 0.5)
    assert each.dtype == gradient.dtype == np.dtype(dtype)
    assert np.array_equal(outputs, before[0])
    assert np.array_equal(targets, before[1])
    for at in range(len(outputs)):
        one, one_cache = loss.forward(outputs[at : at + 1], targets[at : at + 1])
        np.testing.assert_allclose(one[0], each[at], rtol=1e-6)
        np.testing.assert_allclose(loss.backward(one_cache, 0.5)[0], gradient[at], rtol=1e-5, atol=1e-7)
    none, cache = loss.forward(outputs[:0], targets[:0])
    assert none.shape == (0,)
    assert loss.backward(cache, 1.0).shape == (0, *example.in_shape)


Oracle = Callable[[Any, Any], Any]


def twin_of(path: str, arguments: str, torch: Any) -> Oracle:
    """A PyTorch loss of one sample, as a function; lists among its arguments become tensors, one for each class."""
    call = parse(f"Twin({arguments})")
    cls = getattr(torch.nn, path.rpartition(".")[2])
    given = {key: torch.tensor(value) if key == "pos_weight" else value for key, value in call.kwargs.items()}
    return cast(Oracle, cls(*call.args, **given))


def shares_of(torch: Any, x: Any, t: Any, ignored: int | None = None) -> tuple[Any, Any]:
    """One-hot targets, and what is counted, (1, 1, H, W)."""
    if t.shape == x.shape:
        return t, torch.ones_like(x[:, :1])
    counted = torch.ones_like(t) if ignored is None else (t != ignored).to(t.dtype)
    q = torch.nn.functional.one_hot(t, x.shape[1]).movedim(-1, 1).to(x.dtype)
    return q, counted[:, None].to(x.dtype)


def oracle(loss: Any, torch: Any) -> Oracle:
    """The formula of a loss that PyTorch has not, of one sample, written with its functions."""

    def focal(x: Any, t: Any) -> Any:
        q, counted = shares_of(torch, x, t, loss.ignore_index)
        log_p = torch.log_softmax(x, 1)
        each = -(q * (1 - log_p.exp()) ** loss.gamma * log_p).sum(1, keepdim=True)
        return (each * counted).sum() / counted.sum().clamp(min=1)

    def overlap(x: Any, t: Any) -> Any:
        q, counted = shares_of(torch, x, t, loss.ignore_index)
        p = torch.softmax(x, 1) * counted
        both, one, other = ((values * counted).sum((2, 3)) for values in (p * q, p, q))
        if type(loss).__name__ == "Dice":
            return 1 - ((2 * both + loss.smooth) / (one + other + loss.smooth)).mean()
        return 1 - ((both + loss.smooth) / (one + other - both + loss.smooth)).mean()

    def log_cosh(x: Any, t: Any) -> Any:
        t = torch.nn.functional.one_hot(t, x.shape[1]).to(x.dtype) if t.shape != x.shape else t
        return torch.log(torch.cosh(x - t)).mean()

    return {"Focal": focal, "Dice": overlap, "Jaccard": overlap, "LogCosh": log_cosh}[type(loss).__name__]


COMPARED = [(cls, one) for cls, one in ALONE if one.twin is not None or cls.__name__ in NO_TWIN]


@pytest.mark.parametrize(("cls", "example"), COMPARED, ids=lambda one: getattr(one, "expression", ""))
def test_losses_and_gradients_equal_those_of_pytorch(cls: type[Loss], example: Example) -> None:
    """Of each sample alone: what PyTorch makes of it with its mean, or of its formula where it has no such loss."""
    torch = pytest.importorskip("torch", reason="torch==2.13.0 is not installed")
    loss = built(example)
    for seed in range(5):
        outputs, targets = drawn(example, seed)
        losses, cache = loss.forward(outputs, targets)
        gradient = loss.backward(cache, 1.0)
        theirs = twin_of(cls.twin, example.twin or "", torch) if cls.twin else oracle(loss, torch)
        # Without a twin, the formula is computed in float64, where it may be written without care.
        dtype = np.float32 if cls.twin else np.float64
        for at in range(len(outputs)):
            x = torch.tensor(outputs[at : at + 1].astype(dtype), requires_grad=True)
            t = targets[at : at + 1]
            expected = theirs(x, torch.tensor(t if example.targets == "classes" else t.astype(dtype)))
            expected.backward()
            assert abs(losses[at] - expected.item()) <= 1e-5 * max(1.0, abs(expected.item()))
            assert np.abs(gradient[at] - x.grad.numpy()[0]).max() <= 1e-5 * max(1.0, float(x.grad.abs().max()))
