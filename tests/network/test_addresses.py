"""Where machine code finds the numbers of an array."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.network.kernels.compiled.addresses import address
from cnnkit.types import Array


def read_only() -> Array:
    made = np.arange(5.0)
    made.flags.writeable = False
    return made


ARRAYS = {
    "contiguous": np.arange(6.0).reshape(2, 3),
    "a part": np.arange(6.0)[2:],
    "not contiguous": np.arange(6.0)[1::2],
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "backwards": np.arange(6.0)[::-1],
    "read-only": read_only(),
    "empty": np.empty((0, 3)),
    "without axes": np.array(1.0),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_it_is_that_of_the_first_number(name: str) -> None:
    assert address(ARRAYS[name]) == ARRAYS[name].ctypes.data
