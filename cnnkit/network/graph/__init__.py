"""The graph: layers as one flat list of nodes, with their parameters, names and limits."""
