"""Networks: nested layers as one flat list of nodes, and the engine that runs it over tiles."""

from cnnkit.network.engine import Engine, Objective, Sums
from cnnkit.network.node import INPUT, Node
from cnnkit.network.sequential import Sequential
from cnnkit.network.workers import available_cores, one_blas_thread

__all__ = ["INPUT", "Engine", "Node", "Objective", "Sequential", "Sums", "available_cores", "one_blas_thread"]
