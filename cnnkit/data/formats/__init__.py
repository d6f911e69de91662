"""The formats of files that samples come in, each read within what its header may ask for."""
