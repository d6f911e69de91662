"""The page of one layer: all of its maps and filters."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnkit.errors import ConfigError
from cnnkit.explanation import page, write_page
from tests.explanation.networks import network
from tests.explanation.test_page import Reader, explained


def test_a_page_of_one_layer_has_all_of_its_maps_and_filters(tmp_path: Path) -> None:
    model = network('Conv2D(12, 3, padding="same")', "ReLU()", 'Conv2D(20, 3, padding="same")', "Flatten()", "Dense(5)")
    explanation = explained(model)
    found = Reader(page(explanation, "conv2d_2"))
    assert list(found.sections) == ["conv2d_2"]
    alts = [attributes["alt"] for name, attributes in found.elements if name == "img"]
    for what, count in (
        ("Forward: what it takes of conv2d_2 channel", 12),
        ("output of conv2d_2 channel", 20),
        ("weight of conv2d_2", 240),
        ("gradient of weight of conv2d_2", 240),
        ("gradient at conv2d_2 channel", 20),
        ("Backward: the gradient that it passes on, with respect to what it takes of conv2d_2 channel", 12),
    ):
        assert sum(str(alt).startswith(what) for alt in alts) == count, what
    assert "of 20 channels shown" not in found.sections["conv2d_2"]
    assert "20 of 20 filters, 12 of 12 input channels shown" in found.sections["conv2d_2"]
    text = page(explanation, "conv2d_2")
    assert "12 x 9 x 7 from relu_1" in found.sections["conv2d_2"]
    assert write_page(explanation, tmp_path / "a.html", layer="conv2d_2").read_text("utf-8") == text
    with pytest.raises(
        ConfigError,
        match=r"this network has no layer 'conv': expected one of conv2d_1, relu_1, conv2d_2, flatten_1, de",
    ):
        page(explanation, "conv")


def test_a_page_of_one_join_shows_each_of_its_inputs() -> None:
    explanation = explained(network('Residual(Conv2D(2, 3, padding="same"))', "Flatten()", "Dense(5)"))
    text = Reader(page(explanation, "residual_1")).sections["residual_1"]
    for heading in ("Forward: what it takes, from the input", "Forward: what it takes, from conv2d_1"):
        assert heading in text
    last = Reader(page(explanation, "dense_1")).sections["dense_1"]
    assert "Backward: the gradient that it passes on" in last
