"""Smaller files: weights and values in float16 or int8, and how much a file loses by that."""
