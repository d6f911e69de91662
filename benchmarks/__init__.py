"""cnnkit measured against its peers: each framework in a process of its own, in turn, on the same work."""
