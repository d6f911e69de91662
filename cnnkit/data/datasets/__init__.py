"""The built-in datasets, one family per file."""
