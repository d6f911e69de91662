"""What the built-in layers say about bad arguments and inputs that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.components import Layer, installed_catalog
from cnnkit.errors import ConfigError, ShapeError
from cnnkit.layers import (
    AvgPool2D,
    BatchNorm2D,
    ChannelShuffle,
    Concat,
    Conv2D,
    ConvTranspose2D,
    Crop2D,
    Dense,
    Flatten,
    MaxPool2D,
    Pad2D,
    Permute,
    PixelShuffle,
    PixelUnshuffle,
    Reshape,
    Residual,
    Slice,
)
from cnnkit.types import Shape


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Conv2D(0, 3)", "filters must be a whole number, 1 or above, got 0"),
        ("Conv2D(8, (3,))", "kernel must be a whole number or a pair of them (height, width), got (3,)"),
        ("Conv2D(8, 3, stride=0)", "stride must be a whole number, 1 or above, got 0"),
        ("Conv2D(8, 3, dilation=-1)", "dilation must be a whole number, 1 or above, got -1"),
        ("Conv2D(8, 3, padding=-1)", "padding must be a whole number, 0 or above, got -1"),
        ('Conv2D(8, 3, padding="full")',
         'padding must be a whole number, a pair of them (height, width), "same" or "valid", got \'full\''),
        ("Conv2D(8, 3, groups=3)", "filters must be a multiple of groups, got 8 filters in 3 groups"),
        ("GroupNorm(4, 8)",
         "epsilon must be a number with 0 < epsilon < 1, got 8; how many channels there are, the input says"),
        ("Conv2D(8, 3, bias=1)", "bias must be True or False, got 1"),
        ("DepthwiseConv2D(3, multiplier=0)", "multiplier must be a whole number, 1 or above, got 0"),
        ("SeparableConv2D(0, 3)", "filters must be a whole number, 1 or above, got 0"),
        ("ConvTranspose2D(4, 3, 2, 1, 2)",
         "output_padding must be smaller than stride, or there would be rows that no filter reaches; "
         "got output_padding=2 and stride=2"),
        ('ConvTranspose2D(4, 3, padding="same")', "padding must be a whole number, 0 or above, got 'same'"),
        ("ConvTranspose2D(4, 3, groups=3)", "filters must be a multiple of groups, got 4 filters in 3 groups"),
        ("AdaptiveAvgPool2D((2, 0))", "size must be a whole number, 1 or above, got 0"),
        ("GlobalMaxPool2D(1)", "keepdims must be True or False, got 1"),
        ("Pad2D((1, 2, 3))",
         "padding must be a whole number, a pair of them (height, width), or a pair for each axis ((top, bottom), "
         "(left, right)), got (1, 2, 3)"),
        ("Pad2D(-1)", "padding must be a whole number, 0 or above, got -1"),
        ('Pad2D(1, mode="wrap")', "mode must be one of 'constant', 'reflect', 'edge', got 'wrap'"),
        ('Pad2D(1, mode="edge", value=2.0)',
         "value is for mode='constant' alone, got value=2.0 with mode='edge'"),
        ("Crop2D((1, (2, -3)))", "crop must be a whole number, 0 or above, got -3"),
        ("Reshape(12)",
         "shape must be the lengths of the axes behind that of the samples, of which one may be -1, such as (8, 4, 4) "
         "or (8, -1), got 12"),
        ("Reshape((-1, -1))",
         "shape must be the lengths of the axes behind that of the samples, of which one may be -1, such as (8, 4, 4) "
         "or (8, -1), got (-1, -1)"),
        ("Reshape((0, 4))", "each length of shape must be a whole number, 1 or above, got 0"),
        ("Permute((1, 3))",
         "axes must be the numbers 1, 2, ... of all axes but the samples' in another order, such as (2, 3, 1), got "
         "(1, 3)"),
        ("Slice(1.5)", "start must be a whole number, got 1.5"),
        ("Slice(1, False)", "stop must be a whole number, or None, got False"),
        ("Slice(1, axis=0)", "axis must be a whole number, 1 or above, got 0"),
        ("PixelShuffle(0)", "factor must be a whole number, 1 or above, got 0"),
        ("ChannelShuffle(0)", "groups must be a whole number, 1 or above, got 0"),
        ("MaxPool2D(2, ceil_mode=1)", "ceil_mode must be True or False, got 1"),
        ("AvgPool2D(2, count_include_pad=0)", "count_include_pad must be True or False, got 0"),
        ("LPPool2D(0.5, 2)", "norm must be a number, 1 or above, got 0.5"),
        ('Upsample2D(2, mode="cubic")', "mode must be one of 'nearest', 'bilinear', got 'cubic'"),
        ("Conv1D(8, (3, 1))", "kernel must be a whole number, 1 or above, got (3, 1)"),
        ("Conv1D(8, 3, padding=(1, 0))", "padding must be a whole number, 0 or above, got (1, 0)"),
        ("MaxPool1D((2, 2))", "size must be a whole number, 1 or above, got (2, 2)"),
        ("AvgPool1D(2, padding=2)",
         "padding must be smaller than size, or a window would hold padding alone; got padding=2 and size=2"),
        ("MaxPool2D(2.5)", "size must be a whole number, 1 or above, got 2.5"),
        ("MaxPool2D(2, stride=0)", "stride must be a whole number, 1 or above, got 0"),
        ("AvgPool2D((3, 2), padding=(2, 2))",
         "padding must be smaller than size, or a window would hold padding alone; "
         "got padding=(2, 2) and size=(3, 2)"),
        ('Dense("10")', "units must be a whole number, 1 or above, got '10'"),
        ("BatchNorm2D(momentum=1.5)", "momentum must be a number with 0 < momentum <= 1, got 1.5"),
        ("BatchNorm2D(epsilon=0)", "epsilon must be a number above 0, got 0"),
        ("Dropout(1.0)", "rate must be a number with 0 <= rate < 1, got 1.0"),
        ("Residual()", "Residual expects at least one layer, such as Residual(Conv2D(8, 3)), got none"),
        ("Residual(8)", "Residual expects layers, such as Conv2D(8, 3), or lists of them, got 8"),
        ("Residual(ReLU(), shortcut=1)",
         "shortcut of Residual expects layers, such as Conv2D(8, 3), or lists of them, got 1"),
        ("Concat(ReLU())",
         "Concat expects two branches or more, such as Concat(Conv2D(8, 1), [Conv2D(4, 1), ReLU()]), got one"),
    ],
)  # fmt: skip
def test_bad_arguments(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        installed_catalog().build("layer", text)
    assert str(caught.value) == f"{text}: {message}"


@pytest.mark.parametrize(
    ("layer", "in_shape", "message"),
    [
        (Conv2D(8, 3), (10,),
         "Conv2D expects an input of shape (channels, height, width), got (10,); "
         "put Conv2D before Flatten() and Dense(...)"),
        (MaxPool2D(2), (10,),
         "MaxPool2D expects an input of shape (channels, height, width), got (10,); "
         "put MaxPool2D before Flatten() and Dense(...)"),
        (BatchNorm2D(), (10,),
         "BatchNorm2D expects an input of shape (channels, height, width), got (10,); "
         "put BatchNorm2D before Flatten() and Dense(...)"),
        (ConvTranspose2D(4, 3, padding=2), (1, 2, 9),
         "ConvTranspose2D makes images of 4 x 11 from 2 x 9, and padding=2 cuts off all of it at both ends; use less "
         "padding, or a larger kernel or stride"),
        (ConvTranspose2D(4, 3, groups=2), (3, 2, 9),
         "ConvTranspose2D expects a number of input channels that is a multiple of its 2 groups, got 3 channels; "
         "change groups, or the filters of the layer before it"),
        (Pad2D(2, "reflect"), (1, 2, 9),
         "Pad2D reflects less than an image has, of one with 2 x 9 pixels up to 1 rows and 8 columns, got padding=2; "
         "use less, or mode='edge'"),
        (Crop2D((1, 0)), (1, 2, 9),
         "Crop2D cuts off all of an image of 2 x 9 pixels, got crop=(1, 0); use less"),
        (Reshape((5, -1)), (2, 3, 4),
         "Reshape cannot make (5, -1) of an input of shape (2, 3, 4), which has 24 numbers for each sample; the "
         "lengths that are given hold 5"),
        (Permute((2, 1)), (2, 3, 4), "Permute expects an input of 2 axes beside the samples', got (2, 3, 4)"),
        (Slice(1, axis=3), (2, 3), "Slice expects an input with an axis 3 beside the samples', 0, got (2, 3)"),
        (Slice(3, 3), (4, 3, 3),
         "Slice(3, stop=3) leaves nothing of axis 1 of an input of shape (4, 3, 3): expected start before stop, and "
         "both within the axis"),
        (PixelShuffle(2), (6, 3, 3),
         "PixelShuffle expects a number of channels that is a multiple of 4, factor * factor, got 6; change the "
         "filters of the layer before it"),
        (PixelUnshuffle(2), (1, 3, 4),
         "PixelUnshuffle expects images whose sides are multiples of 2, got 3 x 4; crop or pad them before it"),
        (ChannelShuffle(4), (6, 3, 3),
         "ChannelShuffle expects a number of channels that is a multiple of its 4 groups, got 6 channels; change "
         "groups, or the filters of the layer before it"),
        (Dense(3), (8, 5, 5), "Dense expects an input of shape (features,), got (8, 5, 5); put Flatten() before it"),
        (Conv2D(8, 3, dilation=2, padding=(1, 0)), (1, 2, 9),
         "Conv2D has a window of 5 x 5, larger than its input of 2 x 9 (4 x 9 with padding); "
         'use a smaller window, padding="same", or fewer layers that shrink the image before it'),
        (AvgPool2D(4), (1, 4, 3),
         "AvgPool2D has a window of 4 x 4, larger than its input of 4 x 3 (4 x 3 with padding); "
         'use a smaller window, padding="same", or fewer layers that shrink the image before it'),
        (Conv2D(8, 3, groups=4), (6, 9, 9),
         "Conv2D expects a number of input channels that is a multiple of its 4 groups, got 6 channels; "
         "change groups, or the filters of the layer before it"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit(layer: Layer, in_shape: Shape, message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(in_shape, np.random.default_rng(0))
    assert str(caught.value) == message


def test_residual_with_two_shapes() -> None:
    with pytest.raises(ShapeError) as caught:
        Residual(Conv2D(16, 3)).merge_shape([(16, 26, 26), (8, 28, 28)])
    assert str(caught.value) == (
        "Residual expects the same shape from its body and its shortcut, got (16, 26, 26) from its body and (8, 28, "
        "28) from its "
        'shortcut; keep the size in the body with padding="same", or add shortcut=Conv2D(16, 1, ...) that gives '
        "(16, 26, 26)"
    )
    with pytest.raises(ShapeError, match=r"or add shortcut=Dense\(5\) that gives \(5,\)"):
        Residual(Dense(5)).merge_shape([(5,), (7,)])


def test_concat_with_two_sizes() -> None:
    with pytest.raises(ShapeError) as caught:
        Concat(Conv2D(4, 3), Flatten()).merge_shape([(4, 26, 26), (784,)])
    assert str(caught.value) == (
        "Concat expects branches that give shapes equal in all but the channels, got (4, 26, 26), (784,); "
        'use padding="same" and the same strides in every branch'
    )
