"""The picture of a profile: points below the machine's limit, and bars for the time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cnnkit.errors import PlotError
from cnnkit.network.execution.machine_rates import MachineRates
from cnnkit.network.execution.profile import Profile, StepProfile, WayProfile
from cnnkit.plotting.roofline import MOST_STEPS, draw_roofline
from cnnkit.plotting.saving import save

RATES = MachineRates(gflops=100.0, gb_per_second=20.0)


def step(name: str, ms: float, flops: int | None = None, nbytes: float = 1e4) -> StepProfile:
    return StepProfile(name, WayProfile(ms / 4, flops, nbytes), WayProfile(3 * ms / 4, flops and 2 * flops, nbytes))


def drawn(*steps: StepProfile, between: float = 1.0) -> Any:
    return draw_roofline(Profile(list(steps), sum(one.ms for one in steps) + between, RATES), "a title")


def numbers(axes: Any) -> dict[str, Any]:
    """Where the numbers of the steps stand."""
    found: dict[str, Any] = {}
    for text in axes.texts:
        found.setdefault(text.get_text(), []).append(text.xy)
    return found


def names(axes: Any) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_points_and_bars_have_the_same_numbers() -> None:
    figure = drawn(step("conv2d_1 + relu_1", 4.0, 10**6), step("max_pool2d_1", 8.0), step("dense_1", 2.0, 10**5))
    roofline, bars = figure.axes
    assert names(bars) == ["1  max_pool2d_1", "2  conv2d_1 + relu_1", "3  dense_1", "between the steps"]
    assert numbers(roofline) == {
        "2": [(200.0, pytest.approx(2 / 3)), (100.0, 1.0)],
        "3": [(20.0, pytest.approx(2 / 15)), (10.0, pytest.approx(0.2))],
    }  # backward and forward; the pooling has no products
    roof = roofline.lines[0].get_xydata().tolist()
    assert roof[1] == [5.0, 100.0]
    assert roof[0][1] == pytest.approx(20 * roof[0][0])
    assert roof[2][1] == 100.0


def test_bars_have_the_time_and_that_of_the_limit() -> None:
    _, bars = drawn(step("conv2d_1", 4.0, 10**8)).axes
    forward, least_forward, backward, least_backward, between = bars.patches
    assert [bar.get_width() for bar in (forward, backward, between)] == [1000, 3000, 1000]
    assert (least_forward.get_width(), least_backward.get_width()) == (pytest.approx(1000), pytest.approx(2000))
    assert [text.get_text() for text in bars.texts] == ["75%"]


def test_a_bar_of_the_limit_ends_with_the_time() -> None:
    _, bars = drawn(step("dense_1", 1.0, 10**8)).axes
    assert [bar.get_width() for bar in bars.patches[:4]] == [250, 250, 750, 750]
    assert [text.get_text() for text in bars.texts] == ["300%"]


def test_steps_that_are_alike_are_one() -> None:
    alike = [step(f"conv2d_{number} + relu_{number}", 1.0, 10**6) for number in (2, 3, 4)]
    figure = drawn(step("conv2d_1", 1.0, 10**6), *alike, step("conv2d_5 + relu_5", 1.0, 10**7))
    roofline, bars = figure.axes
    assert names(bars)[:2] == ["1  conv2d_2 + relu_2, 2 more", "2  conv2d_1"]
    assert numbers(roofline)["1"] == [(200.0, pytest.approx(8 / 3)), (100.0, pytest.approx(4.0))]
    assert bars.patches[0].get_width() == 750


def test_many_steps_and_long_names() -> None:
    many = [step(f"a{'b' * 60}c{'d' * number}", 1.0 + number, 10**6) for number in range(MOST_STEPS + 3)]
    figure = drawn(*many)
    _, bars = figure.axes
    assert names(bars)[-2:] == ["3 further steps", "between the steps"]
    assert len(names(bars)) == MOST_STEPS + 2
    assert bars.patches[-2].get_width() == 1e3 * (1 + 2 + 3)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in bars.get_yticklabels()]
    roofline = figure.axes[0].get_window_extent()
    assert roofline.width > 400
    assert all(box.x0 > roofline.x1 for box in boxes)
    (legend,) = figure.legends
    assert legend.get_window_extent().x0 > 0
    assert legend.get_window_extent().x1 < figure.bbox.width


def test_a_network_without_products_has_a_roof_alone() -> None:
    roofline, _ = drawn(step("flatten_1", 1.0, nbytes=0.0)).axes
    assert numbers(roofline) == {}
    assert len(roofline.lines) == 1


def test_it_can_be_written(tmp_path: Path) -> None:
    written = [save(drawn(step("a$b_1", 1.0, 10**6)), tmp_path / f"{number}.svg") for number in range(2)]
    first, second = (file.read_bytes() for file in written)
    assert first == second
    assert b"a$b_1" in first


def test_nothing_to_draw() -> None:
    with pytest.raises(PlotError, match="there is no profile to show: no time has passed"):
        drawn(between=0.0)
