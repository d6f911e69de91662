"""Train convolutional networks with NumPy, keep every model in a registry, export to ONNX with proof."""
