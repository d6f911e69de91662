"""Networks: nested layers as one flat list of nodes, and the engine that runs it over tiles."""

from cnnkit.network.augmented import Augmented
from cnnkit.network.available import available_memory
from cnnkit.network.engine import Engine
from cnnkit.network.footprint import Footprint, Forecast
from cnnkit.network.graph import Graph
from cnnkit.network.keys import keyed_rng
from cnnkit.network.network import CLASSES, Network
from cnnkit.network.node import INPUT, Node
from cnnkit.network.objective import Objective, Sums
from cnnkit.network.sequential import Sequential
from cnnkit.network.session import Session, training_session
from cnnkit.network.workers import available_cores

__all__ = [
    "CLASSES",
    "INPUT",
    "Augmented",
    "Engine",
    "Footprint",
    "Forecast",
    "Graph",
    "Network",
    "Node",
    "Objective",
    "Sequential",
    "Session",
    "Sums",
    "available_cores",
    "available_memory",
    "keyed_rng",
    "training_session",
]
