"""A profile of a training beside what the machine can do: the roofline, and the time of each step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.errors import PlotError
from cnnkit.network.execution.profile import Profile, StepProfile, WayProfile
from cnnkit.plotting.style import BLACK, BLUE, GREY, SMALL, VERMILION, new_figure, picture, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cnnkit.network.execution.machine_rates import MachineRates

MOST_STEPS = 14
"""Of which there are bars; the others have one together."""
MOST_LETTERS = 34
"""Of a step's name."""
WAYS = {"forward": (BLUE, "o"), "backward": (VERMILION, "s")}
"""Their colours and marks."""
MARK = 19
"""Points; a number stands in it."""
NUMBER: dict[str, Any] = {"color": "white", "fontsize": SMALL, "fontweight": "bold", "ha": "center", "va": "center"}
BAR, LEAST = 0.72, 0.16
"""The heights of a bar and of the line in it."""
BEYOND = 2.0
"""How much further than what is drawn the axes reach."""


@picture
def draw_roofline(profile: Profile, title: str) -> Figure:
    """The GFLOP/s of each step by its operations for each byte, below the machine's limit; and where the time goes.

    Steps that are alike are drawn as one. They have numbers, those that take longest the first; what has no products,
    such as a pooling, has a bar alone. Raises PlotError for a profile without any time.
    Source: Williams, Waterman, Patterson (2009), Roofline: An Insightful Visual Performance Model for Multicore
    Architectures.
    """
    if not profile.ms:
        raise PlotError("there is no profile to show: no time has passed")
    ranked = sorted(_together(profile.steps), key=lambda step: -step.ms)
    figure = new_figure(title)
    roofline, bars = figure.subplots(1, 2, width_ratios=[1.15, 1])
    _draw_roofline(roofline, ranked[:MOST_STEPS], profile.rates)
    _draw_bars(bars, ranked, profile)
    _explain(figure, profile.rates)
    return figure


def _together(steps: Sequence[StepProfile]) -> list[StepProfile]:
    """The steps, with those as one that run the same kinds of layers with as many operations and bytes."""
    alike: dict[object, list[StepProfile]] = {}
    for step in steps:
        kinds = re.sub(r"_\d+\b", "", step.name)
        alike.setdefault((kinds, *((way.flops, way.nbytes) for way in step.ways.values())), []).append(step)
    return [
        StepProfile(
            _named(some[0].name, len(some) - 1),
            *(_sum([one.ways[name] for one in some]) for name in WAYS),
        )
        for some in alike.values()
    ]


def _named(name: str, more: int) -> str:
    """A step's name, cut if need be, with how many more there are like it."""
    ending = f", {more} more" if more else ""
    room = MOST_LETTERS - len(ending)
    return f"{name if len(name) <= room else f'{name[: room - 1]}…'}{ending}"


def _sum(ways: Sequence[WayProfile]) -> WayProfile:
    flops = sum(way.flops or 0 for way in ways)
    return WayProfile(sum(way.ms for way in ways), flops or None, sum(way.nbytes for way in ways))


def _draw_roofline(axes: Axes, steps: Sequence[StepProfile], rates: MachineRates) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    ridge = rates.gflops / rates.gb_per_second
    points = [
        (way.flops / way.nbytes, way.gflops, name, number)
        for number, step in enumerate(steps, 1)
        for name, way in step.ways.items()
        if way.flops and way.nbytes and way.gflops
    ]
    x = np.array([ridge, *(point[0] for point in points)])
    y = np.array([rates.gflops, *(point[1] for point in points)])
    left, right = min(x.min(), ridge / 4) / BEYOND, max(x.max(), 4 * ridge) * BEYOND
    roof = np.array([left, ridge, right])
    axes.plot(roof, [rates.limit(intensity) for intensity in roof], color=BLACK, zorder=1)
    for intensity, gflops, name, number in reversed(points):  # the longest on top
        colour, mark = WAYS[name]
        axes.plot(intensity, gflops, mark, color=colour, markersize=MARK, markeredgecolor="white", zorder=2)
        axes.annotate(str(number), (intensity, gflops), zorder=2, **NUMBER)
    axes.set(xscale="log", yscale="log", xlim=(left, right))
    axes.set_ylim(min(y.min(), rates.limit(left)) / BEYOND, y.max() * BEYOND)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("operations for each byte that must be moved")
    axes.set_ylabel("GFLOP/s")
    axes.set_title("How fast each step computes")
    axes.grid(visible=True)


def _draw_bars(axes: Axes, ranked: Sequence[StepProfile], profile: Profile) -> None:
    shown, others = ranked[:MOST_STEPS], ranked[MOST_STEPS:]
    names = [f"{number}  {plain(step.name, MOST_LETTERS)}" for number, step in enumerate(shown, 1)]
    for place, step in enumerate(shown):
        start = 0.0
        for name, way in step.ways.items():
            axes.barh(place, 1e3 * way.ms, BAR, 1e3 * start, color=WAYS[name][0])
            axes.barh(place, 1e3 * min(way.ms, way.least_ms(profile.rates)), LEAST, 1e3 * start, color=BLACK)
            start += way.ms
        if step.ms and (least := step.least_ms(profile.rates)):
            share, end = f"{least / step.ms:.0%}", (1e3 * step.ms, place)
            axes.annotate(share, end, (5, 0), textcoords="offset points", va="center", fontsize=SMALL)
    rest = {f"{len(others)} further steps": sum(step.ms for step in others)} if others else {}
    for name, ms in (rest | {"between the steps": profile.between_ms}).items():
        axes.barh(len(names), 1e3 * ms, BAR, color=GREY)
        names.append(name)
    axes.set_yticks(range(len(names)), names, fontsize=SMALL)
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel("µs for one sample")
    axes.set_title("Where the time goes")
    axes.grid(visible=True, axis="x")
    axes.set_axisbelow(True)


def _explain(figure: Figure, rates: MachineRates) -> None:
    """One legend for both halves."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    limit = f"the machine's limit: {rates.gflops:.0f} GFLOP/s of products, {rates.gb_per_second:.0f} GB/s of copies"
    handles = [
        *(
            Line2D([], [], color=colour, marker=mark, markersize=MARK * 0.6, linestyle="none", label=name)
            for name, (colour, mark) in WAYS.items()
        ),
        Line2D([], [], color=BLACK, label=limit),
        Patch(color=BLACK, label="time at the limit, and its share"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.4, handlelength=1.6)
