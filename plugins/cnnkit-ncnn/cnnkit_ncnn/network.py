"""An ONNX model, converted by pnnx for one sample, as a network of ncnn."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import ncnn
import numpy as np
import onnx
import pnnx

from cnnkit.plugin import Array, Shape

CONVERTER = Path(pnnx.__file__).with_name("pnnx")


class Network:
    """A network of ncnn. Raises ValueError or OSError if a model cannot be converted."""

    def __init__(self, model: bytes) -> None:
        graph = onnx.load_model_from_string(model).graph
        self._takes = {value.name: _shape(value) for value in graph.input}
        self._gives = {value.name: _shape(value) for value in graph.output}
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = 1
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = options.use_vulkan_compute = False
        with tempfile.TemporaryDirectory() as folder:
            self._load(_converted(model, list(self._takes.values()), Path(folder)))

    def _load(self, files: Path) -> None:
        if self._net.load_param(f"{files}.param") or self._net.load_model(f"{files}.bin"):
            raise ValueError("ncnn does not know a layer that pnnx made of it")
        inputs, outputs = (list(map(str, names)) for names in (self._net.input_names(), self._net.output_names()))
        if (len(inputs), len(outputs)) != (len(self._takes), len(self._gives)):
            raise ValueError(f"pnnx gave it {len(inputs)} inputs and {len(outputs)} outputs")

    def samples(self, inputs: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
        """The inputs of each sample. Raises ValueError for inputs that the model does not take."""
        for name, shape in self._takes.items():
            if name not in inputs or inputs[name].shape[1:] != shape or inputs[name].dtype != np.float32:
                raise ValueError(f"the input {name} must be float32 (N, {', '.join(map(str, shape))})")
        count = min(len(array) for array in inputs.values())
        return ({name: inputs[name][place] for name in self._takes} for place in range(count))

    def run(self, sample: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for one sample, without the batch axis. Raises ValueError if ncnn fails."""
        extractor = self._net.create_extractor()
        for place, name in enumerate(self._takes):
            extractor.input(f"in{place}", ncnn.Mat(np.ascontiguousarray(sample[name])).clone())
        outputs = {}
        for place, (name, shape) in enumerate(self._gives.items()):
            failed, mat = extractor.extract(f"out{place}")
            if failed:
                raise ValueError(f"ncnn cannot compute {name}")
            outputs[name] = np.array(mat).reshape(shape)
        return outputs


def _shape(value: onnx.ValueInfoProto) -> Shape:
    """Without the batch axis. Raises ValueError for what is not float32 or has no fixed size."""
    kind = value.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        raise ValueError(f"ncnn takes and gives float32 alone, and {value.name} is not: export with --input float32")
    sizes = tuple(n.dim_value for n in kind.shape.dim[1:])
    if not sizes or not all(sizes):
        raise ValueError(f"ncnn needs fixed sizes, and those of {value.name} are not declared")
    return sizes


def _converted(model: bytes, shapes: list[Shape], folder: Path) -> Path:
    """Where pnnx has written the files, without their suffixes."""
    (folder / "model.onnx").write_bytes(model)
    sizes = ",".join("[" + ",".join(map(str, (1, *shape))) + "]" for shape in shapes)
    command = [str(CONVERTER), "model.onnx", f"inputshape={sizes}", "fp16=0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)  # noqa: S603  # a program of a wheel
    if done.returncode or not (folder / "model.ncnn.param").exists():
        raise ValueError(f"pnnx cannot convert it (exit code {done.returncode})")
    return folder / "model.ncnn"
