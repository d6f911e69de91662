"""Pictures with their captions: the channels of an array on one scale of colours, and numbers in grids."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.explanation import png
from cnnkit.explanation.markup import Html, joined, number, tag
from cnnkit.types import Array
from cnnkit.wording import counted, sizes

ROW = png.MAX_SIDE
"""Numbers in a row of a picture of a vector: each has its own pixel, as signs would cancel in a mean."""
MAX_GRID = 49
"""Numbers that are written out; more are drawn."""


@dataclass(frozen=True)
class Box:
    """A rectangle on a picture, in numbers of the array: (top, left, height, width)."""

    top: float
    left: float
    height: float
    width: float


def gallery(
    array: Array,
    name: str,
    most: int,
    *,
    also: Collection[int] = (),
    boxes: Mapping[int, Box] | None = None,
    part: str = "channel",
    names: Sequence[str] = (),
) -> Html:
    """The channels of (C, H, W), or all of a vector, blue below 0 and orange above, on one scale.

    name: what it is, for those who cannot see it; most: channels shown; also: channels that are shown in any case;
    part: what a channel is; names: of all channels, if they have some.
    """
    if not array.size:
        return tag("p", "nothing", class_="remark")
    channels = as_channels(array)
    limit = reach(array)
    shown = chosen(len(channels), most, also)
    cells = []
    for index in shown:
        label = "" if len(channels) == 1 else names[index] if names else f"{part} {index}"
        cells.append(signed_picture(channels[index], limit, f"{name} {label}", label, (boxes or {}).get(index)))
    parts = "classes" if part == "class" else f"{part}s"
    remarks = [f"{len(shown)} of {len(channels)} {parts} shown"] if len(shown) < len(channels) else []
    rows, columns = png.rectangle(*channels.shape[1:])
    if rows * columns > 1:
        remarks.append(f"each pixel is the mean of {rows} x {columns} numbers")
    if array.ndim == 1 and len(array) > ROW:
        remarks.append(f"{counted(len(array), 'number')}, in reading order")
    return tag("div", tag("div", *cells, class_="maps"), scale(limit, remarks), class_="gallery")


def signed_picture(channel: Array, limit: float, alt: str, label: str = "", box: Box | None = None) -> Html:
    """One channel, (H, W), blue and orange, with its range under it."""
    told = f"{_range(channel)}" if channel.size > 1 else number(channel.item())
    wide = channel.shape[1] > 3 * channel.shape[0]
    width = f"width:{min(46, 1.5 * channel.shape[1]):g}rem" if wide else None
    picture = tag("img", src=Html(png.signed(channel, limit)), alt=f"{alt}: {told}".strip())
    marked = tag("span", picture, outline(box, channel) if box else None, class_="marked")
    caption = tag("figcaption", tag("b", label) if label else None, " " if label else None, told)
    return tag("figure", marked, caption, class_="map wide" if wide else "map", style=width)


def image_picture(image: Array, low: float, high: float, alt: str, box: Box | None = None) -> Html:
    """An image, (1, H, W) or (3, H, W), as the eye expects it."""
    picture = tag("img", src=Html(png.plain(image, low, high)), alt=alt)
    return tag("span", picture, outline(box, image[0]) if box else None, class_="marked")


def outline(box: Box, channel: Array) -> Html:
    """A frame around a part of a channel's picture; parts of the padding lie outside."""
    height, width = channel.shape
    left, top = 100 * box.left / width, 100 * box.top / height
    size = f"width:{100 * box.width / width:.3f}%;height:{100 * box.height / height:.3f}%"
    return tag("i", class_="box", style=f"left:{left:.3f}%;top:{top:.3f}%;{size}")


def scale(limit: float, remarks: Collection[str] = ()) -> Html:
    """The bar of colours from -limit to limit, and remarks beside it."""
    bar = tag("span", number(-limit), tag("span", class_="bar"), number(limit), class_="scale")
    return tag("p", bar, *(tag("span", remark, class_="remark") for remark in remarks), class_="under")


def grid(values: Array, *, inside: Array | None = None, mark: tuple[int, ...] | None = None, alt: str = "") -> Html:
    """(H, W) numbers in rows and columns; those outside, in the padding, are set apart, and one may be marked."""
    if values.size > MAX_GRID:
        return signed_picture(np.where(np.isfinite(values), values, 0), reach(values), alt)
    rows = []
    for i, row in enumerate(values):
        cells = []
        for j, value in enumerate(row):
            classes = "padding" if inside is not None and not inside[i, j] else "mark" if mark == (i, j) else None
            cells.append(tag("td", "none" if math.isinf(value) and classes else number(value, 3), class_=classes))
        rows.append(tag("tr", *cells))
    return tag("table", tag("tbody", *rows), class_="grid", aria_label=alt or None)


def as_channels(array: Array) -> Array:
    """(C, H, W) for an array of any number of axes; a vector becomes rows of one channel, NaN after its end."""
    array = np.atleast_1d(array)
    if array.ndim == 1:
        width = _width(len(array))
        filled = np.full(-(-len(array) // width) * width, np.nan)
        filled[: len(array)] = array
        return filled.reshape(1, -1, width)
    return array.reshape(-1, *array.shape[-2:])


def chosen(count: int, most: int, also: Collection[int]) -> list[int]:
    """Which channels are shown, in order: the first ones, and those that must be."""
    wanted = sorted({index for index in also if index < count})
    others = (index for index in range(count) if index not in wanted)
    return sorted([*wanted, *(index for index, _ in zip(others, range(most - len(wanted)), strict=False))])


def reach(array: Array) -> float:
    """The largest finite absolute value."""
    finite = np.isfinite(array)
    return max(float(array.max(where=finite, initial=0)), -float(array.min(where=finite, initial=0))) + 0.0


def described(array: Array) -> Html:
    """Shape and range of an array as text."""
    return joined([sizes(array.shape), f", {_range(array)}" if array.size else ""])


def _range(array: Array) -> str:
    finite = np.isfinite(array)
    if not finite.any():
        return "not finite"
    any_of_them = array.flat[finite.argmax()]
    low, high = (float(end(where=finite, initial=any_of_them)) for end in (array.min, array.max))
    return f"all {number(low, 3)}" if low == high else f"{number(low, 3)} to {number(high, 3)}"


def _width(length: int) -> int:
    """How many numbers of a vector stand in a row: all of them, or a number that leaves no row unfilled."""
    if length <= ROW:
        return max(1, length)
    return next((width for width in range(ROW, ROW // 3, -1) if length % width == 0), ROW)
