"""A component's repr is the expression that makes it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cnnkit.components import Catalog, Component, Layer, Plugin
from cnnkit.errors import ComponentError, ConfigError


class Plain(Layer):
    """Takes nothing."""


class Conv(Layer):
    """Takes one argument that must be given, and some that need not."""

    def __init__(self, filters: int, stride: Any = 1, *, padding: str = "valid", bias: bool = True) -> None:
        self.filters, self.stride, self.padding, self.bias = filters, stride, padding, bias


class Keyword(Layer):
    """Takes a keyword that must be given."""

    def __init__(self, *, rate: float) -> None:
        self.rate = rate


class Branch(Layer):
    """Takes other layers."""

    def __init__(self, *layers: Layer, scale: float = 1.0) -> None:
        self.layers, self.scale = layers, scale


EXAMPLES: list[tuple[Component, str]] = [
    (Plain(), "Plain()"),
    (Conv(8), "Conv(8)"),
    (Conv(8, 1, padding="valid"), "Conv(8)"),
    (Conv(8, 2), "Conv(8, stride=2)"),
    (Conv(8, (2, 1), padding='a"b', bias=False), r'Conv(8, stride=(2, 1), padding="a\"b", bias=False)'),
    (Conv(8, True), "Conv(8, stride=True)"),
    (Conv(8, 1.0), "Conv(8, stride=1.0)"),
    (Keyword(rate=0.5), "Keyword(rate=0.5)"),
    (Branch(), "Branch()"),
    (Branch(Conv(8), Branch(Keyword(rate=1.0))), "Branch(Conv(8), Branch(Keyword(rate=1.0)))"),
    (Branch(Conv(8), scale=0.1), "Branch(Conv(8), scale=0.1)"),
]


@pytest.mark.parametrize(("component", "text"), EXAMPLES, ids=[text for _, text in EXAMPLES])
def test_repr_makes_the_component_again(component: Component, text: str, make_plugin: Callable[..., Plugin]) -> None:
    assert repr(component) == text
    again = Catalog([make_plugin("p", Plain, Conv, Keyword, Branch)]).build("layer", text)
    assert again is not component
    assert again == component
    assert hash(again) == hash(component)


def test_a_component_without_configuration_takes_no_arguments(make_plugin: Callable[..., Plugin]) -> None:
    catalog = Catalog([make_plugin("p", Plain)])
    with pytest.raises(ConfigError, match=r"^Plain\(3\): too many positional arguments; expected Plain\(\)$"):
        catalog.build("layer", "Plain(3)")
    with pytest.raises(ConfigError, match=r"^Plain: too many positional arguments; expected Plain\(\)$"):
        Plain(3)


def test_components_with_other_arguments_or_classes_differ() -> None:
    class Other(Conv):
        """Looks like a Conv."""

    Other.__name__ = "Conv"
    assert Conv(8) != Conv(9)
    assert Conv(8) != Conv(8, 1.0)
    assert repr(Conv(8)) == repr(Other(8))
    assert Conv(8) != Other(8)
    assert Conv(8) != "Conv(8)"


def test_an_argument_that_is_not_kept_is_named() -> None:
    class Forgetful(Layer):
        """Keeps its argument under another name."""

        def __init__(self, rate: float) -> None:
            self._rate = rate

    with pytest.raises(ComponentError) as caught:
        repr(Forgetful(0.5))
    assert str(caught.value) == (
        "Forgetful.__init__ takes 'rate' but keeps no attribute of that name; write self.rate = rate, "
        "so that models with this component can be saved"
    )


def test_each_layer_has_its_own_params_and_buffers() -> None:
    one, other = Conv(8), Conv(8)
    assert one.params == one.buffers == {}
    assert one.params is not other.params
    assert one.buffers is not other.buffers
    assert one.params is not one.buffers
