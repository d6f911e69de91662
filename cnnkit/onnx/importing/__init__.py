"""ONNX files of other frameworks as networks that are trained, registered and exported like any other."""
