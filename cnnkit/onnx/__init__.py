"""Models as ONNX files, and the proof that other runtimes give the same answers.

This file imports nothing, so that naming a runtime does not load the onnx package.
"""
