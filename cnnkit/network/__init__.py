"""Networks: nested layers as one flat list of nodes, and the engine that runs it over tiles."""

from cnnkit.network.execution.augmented import Augmented
from cnnkit.network.execution.available_memory import available_memory, present_memory
from cnnkit.network.execution.engine import Engine
from cnnkit.network.execution.objective import Objective, Sums, Told
from cnnkit.network.execution.parameter_groups import Constraint, Groups
from cnnkit.network.execution.session import Session, busy_workers, training_session
from cnnkit.network.execution.threads import available_cores
from cnnkit.network.execution.training_memory import Footprint, Forecast
from cnnkit.network.graph.keyed_random import keyed_rng
from cnnkit.network.graph.node import INPUT, Node
from cnnkit.network.graph_model import Graph
from cnnkit.network.network import CLASSES, Network
from cnnkit.network.sequential import Sequential

__all__ = [
    "CLASSES",
    "INPUT",
    "Augmented",
    "Constraint",
    "Engine",
    "Footprint",
    "Forecast",
    "Graph",
    "Groups",
    "Network",
    "Node",
    "Objective",
    "Sequential",
    "Session",
    "Sums",
    "Told",
    "available_cores",
    "available_memory",
    "busy_workers",
    "keyed_rng",
    "present_memory",
    "training_session",
]
