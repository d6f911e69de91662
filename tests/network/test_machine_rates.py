"""What bounds a step, and how it is measured."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.network.execution import machine_rates as module
from cnnkit.network.execution.machine_rates import MachineRates, copy_rate, machine_rates, product_rate


def test_the_roof() -> None:
    rates = MachineRates(gflops=120.0, gb_per_second=40.0)
    assert [rates.limit(intensity) for intensity in (0.5, 3.0, 50.0)] == [20.0, 120.0, 120.0]
    for flops, nbytes in ((1e6, 2e6), (3e6, 1e6), (5e8, 1e7)):
        assert flops / rates.least_ms(flops, nbytes) / 1e6 == pytest.approx(rates.limit(flops / nbytes))
    assert rates.least_ms(0, 4e6) == 0.1


def test_rates_are_operations_and_bytes_by_the_least_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings of the clock: a measurement of 4 s, then one of 2 s, then others of 3 s."""
    further = [reading for at in range(20, 20 + 10 * module.TIMES, 10) for reading in (at, at + 3.0)]
    readings = [0.0, 4.0, 10.0, 12.0, *further]
    for rate, expected in ((product_rate, module.SIDE**3), (copy_rate, module.COPIED_BYTES)):
        clock = iter(readings)
        monkeypatch.setattr("time.perf_counter", lambda clock=clock: next(clock))
        assert rate() == pytest.approx(1e-9 * expected)


@pytest.mark.usefixtures("compiled_kernels")
def test_products_of_compiled_kernels_count_where_they_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS takes 4 s, the machine code 2 s or 8 s."""
    monkeypatch.setattr(module, "has_avx512", lambda: True)
    for own, least in ((2.0, 2.0), (8.0, 4.0)):
        readings = [reading for seconds in (4.0, own) for _ in range(module.TIMES) for reading in (0.0, seconds)]
        clock = iter(readings)
        monkeypatch.setattr("time.perf_counter", lambda clock=clock: next(clock))
        assert product_rate(compiled=True) == pytest.approx(2e-9 * module.SIDE**3 / least)
        assert not list(clock)
    monkeypatch.setattr(module, "has_avx512", lambda: False)  # no kernel uses them then
    clock = iter([0.0, 4.0] * module.TIMES)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert product_rate(compiled=True) == pytest.approx(2e-9 * module.SIDE**3 / 4)


def test_both_are_measured() -> None:
    found = machine_rates(np.dtype(np.float32))
    assert 0 < found.gflops < 1e5
    assert 0 < found.gb_per_second < 1e4
