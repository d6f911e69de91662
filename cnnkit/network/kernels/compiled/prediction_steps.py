"""The steps of a prediction by machine code, as numbers: known without Numba."""

from __future__ import annotations

TAKE, SPLIT, CONVOLVE, DENSE, POINTWISE, AVERAGE, MAXIMUM, ADD, GIVE = range(9)
"""What a step of a prediction does."""

STEPS: dict[int, tuple[str, ...]] = {
    TAKE: ("channels", "height", "width", "y", "y_plane", "y_pitch"),
    SPLIT: (
        *("x", "x_plane", "x_pitch", "channels", "row_stride", "column_stride", "row_phases", "column_phases"),
        *("height", "width", "y"),
    ),
    CONVOLVE: (
        *("x", "x_pitch", "first_tap", "taps", "weight", "filters", "of_a_group", "between_groups"),
        *("pool", "block", "height", "width", "lines", "line", "y", "y_plane", "y_pitch"),
        *("bias", "gamma", "beta", "mean", "inverse"),
    ),
    DENSE: ("x", "inputs", "weight", "units", "bias", "y"),
    POINTWISE: (
        *("x", "x_plane", "x_pitch", "channels", "pool", "height", "width", "spare", "y", "y_plane", "y_pitch"),
        *("gamma", "beta", "mean", "inverse"),
    ),
    AVERAGE: ("x", "x_plane", "x_pitch", "channels", "rows", "columns", "height", "width", "y", "y_plane", "y_pitch"),
    MAXIMUM: (
        *("x", "x_plane", "x_pitch", "channels", "rows", "columns", "height", "width", "y", "y_plane", "y_pitch"),
        *("row_stride", "column_stride", "above", "left", "x_height", "x_width"),
    ),
    ADD: (
        *("x", "x_plane", "x_pitch", "other", "other_plane", "other_pitch"),
        *("channels", "height", "width", "y", "y_plane", "y_pitch"),
    ),
    GIVE: ("x", "x_plane", "x_pitch", "channels", "height", "width"),
}
"""Of each the numbers that say how, in their order: places in the memory of an image, in `offsets`, and for what is a
parameter in the network's vector, `ABSENT` if there is none."""
ABSENT = -1
FIELDS = 1 + max(map(len, STEPS.values()))
"""Of a row of the program: what is done, and how."""
NUMBERS = 3
"""Beside it: what is below 0 is multiplied with the first, the second is the largest output; the third is of the
operation."""
SLACK = 128
"""Numbers behind the memory of an image that may be read and overwritten."""
