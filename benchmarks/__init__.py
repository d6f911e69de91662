"""cnnkit measured against its peers: each framework in a separate process, in turn, on the same work."""
