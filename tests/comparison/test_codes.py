"""Short codes of networks: what they mean, and where a mistake is."""

from __future__ import annotations

import pytest

from cnnkit.comparison.codes import layers_of
from cnnkit.errors import ConfigError


@pytest.mark.parametrize(
    ("code", "layers"),
    [
        ("c16", ["Conv2D(16, 3)", "ReLU()"]),
        ("p", ["MaxPool2D(2)"]),
        ("c16pc8", ["Conv2D(16, 3)", "ReLU()", "MaxPool2D(2)", "Conv2D(8, 3)", "ReLU()"]),
        ("pp", ["MaxPool2D(2)", "MaxPool2D(2)"]),
        ("c1c999999", ["Conv2D(1, 3)", "ReLU()", "Conv2D(999999, 3)", "ReLU()"]),
    ],
)
def test_a_code_means_layers(code: str, layers: list[str]) -> None:
    assert layers_of(code) == layers


@pytest.mark.parametrize(
    ("code", "position", "found"),
    [
        ("", 1, "expected c16 for a convolution or p for a pooling, found nothing"),
        ("x8", 1, "expected c16 for a convolution or p for a pooling, found 'x8'"),
        ("c16 p", 4, "expected c16 for a convolution or p for a pooling, found ' p'"),
        ("c16p8", 5, "expected c16 for a convolution or p for a pooling, found '8'"),
        ("C16", 1, "expected c16 for a convolution or p for a pooling, found 'C16'"),
        ("pc", 2, "expected c with the number of its filters, 1 to 999,999, such as c16, found 'c'"),
        ("pcp", 2, "expected c with the number of its filters, 1 to 999,999, such as c16, found 'cp'"),
        ("c0p", 1, "expected c with the number of its filters, 1 to 999,999, such as c16, found 'c0p'"),
        ("c08", 1, "expected c with the number of its filters, 1 to 999,999, such as c16, found 'c08'"),
        ("c-1", 1, "expected c with the number of its filters, 1 to 999,999, such as c16, found 'c-1'"),
        ("c1000000", 1, "expected c with the number of its filters, 1 to 999,999, such as c16, found 'c1000000'"),
        ("c\u0661", 1, "expected c with the number of its filters, 1 to 999,999, such as c16, found 'c\u0661'"),
    ],
)
def test_a_mistake_has_its_position(code: str, position: int, found: str) -> None:
    with pytest.raises(ConfigError) as error:
        layers_of(code)
    assert str(error.value) == f"cannot read the code {code!r} at position {position}: {found}"


def test_a_code_has_an_end() -> None:
    assert len(layers_of(200 * "p")) == 200
    with pytest.raises(ConfigError, match="a code may have at most 200 characters, this one has 201"):
        layers_of(201 * "p")
