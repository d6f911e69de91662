"""Compiles loops for a processor with shorter vectors than this one has, and tests them: `avx2` or `sse`.

Whatever has AVX-512 also runs code for AVX2 and SSE; XDG_CACHE_HOME must be a folder of its own.
"""

from __future__ import annotations

import sys

import pytest
from llvmlite import binding

WITHOUT = {"avx2": ("avx512", "avx10"), "sse": ("avx", "fma", "f16c", "xop", "vaes", "vpclmulqdq")}
CPUS = {"avx2": "haswell", "sse": "x86-64"}
LANES = {"avx2": 8, "sse": 4}
MODULES = "convolution_loops", "depthwise_loops", "product_loops", "winograd_loops"


def main(kind: str) -> None:
    """Raises AssertionError where one differs from NumPy."""
    features = binding.get_host_cpu_features()
    for name in features:
        if name.startswith(WITHOUT[kind]):
            features[name] = False
    binding.get_host_cpu_features = lambda: features
    binding.get_host_cpu_name = lambda: CPUS[kind]

    from cnnkit.network.kernels.compiled import machine_code, machine_products, product_kernels, vector_code
    from cnnkit.network.kernels.compiled.interface import ARGUMENTS
    from tests.network import (
        test_compiled_depthwise,
        test_compiled_kernels,
        test_compiled_products,
        test_compiled_winograd,
    )

    for name in ARGUMENTS.keys() - set(MODULES):
        ARGUMENTS[name] = {}  # they have no vectors of their own
    machine_code.make_here()
    place = machine_code.folder()
    assert place is not None
    assert LANES[kind] == vector_code.LANES
    machine_products.FEWEST = 0
    patch = pytest.MonkeyPatch()
    patch.setattr(product_kernels, "has_avx512", lambda: True)
    for seed in range(20):
        test_compiled_products.test_a_product_equals_that_of_numpy(seed)
        test_compiled_products.test_sums_of_products_equal_those_of_numpy(seed)
        test_compiled_products.test_kernels_made_of_products_equal_their_layers(seed)
        test_compiled_kernels.test_a_direct_convolution_equals_its_layers(seed, place, patch)
        with pytest.MonkeyPatch.context() as own:
            test_compiled_winograd.test_a_correlation_equals_plain_sums(seed, own)
            test_compiled_winograd.test_a_gradient_of_weights_equals_plain_sums(seed, own)
        test_compiled_depthwise.test_a_depthwise_convolution_equals_its_layers(seed, place)
    print(f"{kind} is right")


if __name__ == "__main__":
    main(sys.argv[1])
