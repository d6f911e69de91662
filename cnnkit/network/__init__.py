"""Networks: nested layers as one flat list of nodes, and the engine that runs it over tiles."""

from cnnkit.network.engine import Engine
from cnnkit.network.node import INPUT, Node
from cnnkit.network.objective import Objective, Sums
from cnnkit.network.sequential import Sequential
from cnnkit.network.session import Session, training_session
from cnnkit.network.workers import Threads, available_cores

__all__ = [
    "INPUT",
    "Engine",
    "Node",
    "Objective",
    "Sequential",
    "Session",
    "Sums",
    "Threads",
    "available_cores",
    "training_session",
]
