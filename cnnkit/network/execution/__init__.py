"""Execution: what runs a list of nodes over tiles, with several workers, and what that costs."""
