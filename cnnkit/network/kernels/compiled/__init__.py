"""Kernels whose loops are compiled to machine code by Numba, an extra: `pip install "cnnkit[fast]"`.

A compiled kernel claims layers as any other does, and equals the same plain layers.
"""
