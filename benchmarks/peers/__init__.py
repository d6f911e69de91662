"""The child processes of the benchmarks: one module for each framework; importing one needs its package."""
