"""What `doctor` says of each runtime: what executes the models, in which version, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from cnnkit.components import Catalog, Plugin, Runtime


@dataclass(frozen=True)
class RuntimeState:
    """A runtime as text, such as `OnnxRuntime (onnxruntime 1.20.1)`, and its problem, "" if it works."""

    text: str
    problem: str = ""


def runtime_states(catalog: Catalog) -> list[RuntimeState]:
    """The state of every runtime that cnnkit or a plugin provides; imports all plugins, and executes a small model."""
    classes = [(plugin, cls) for plugin, found in catalog.all_classes("runtime") for cls in found.values()]
    return [_state(catalog, plugin, cast("type[Runtime]", cls)) for plugin, cls in classes]


def _state(catalog: Catalog, plugin: Plugin, cls: type[Runtime]) -> RuntimeState:
    from cnnkit.components.plugin_metadata import BUILT_IN
    from cnnkit.onnx.runtimes import is_installed

    source = "" if plugin.distribution == BUILT_IN else f", of {plugin.distribution} {plugin.version}"
    if not is_installed(cls):
        return RuntimeState(f"{cls.__name__} ({cls.requires} is not installed{source})")
    executes = _with_version(cls.requires) if cls.requires else f"{plugin.distribution} {plugin.version}"
    about = f"{executes}{source if cls.requires else ''}"
    if wrong := _tried(catalog, plugin, cls):
        problem = f"{plugin.distribution} {plugin.version}: the runtime {cls.__name__} does not work: {wrong}"
        return RuntimeState(f"{cls.__name__} ({about}; does not work)", problem)
    return RuntimeState(f"{cls.__name__} ({about})")


def _with_version(distribution: str) -> str:
    """A distribution with its version; its name alone if only its module is there, from a variant of it."""
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return distribution


def _tried(catalog: Catalog, plugin: Plugin, cls: type[Runtime]) -> str:
    """What is wrong with a runtime that must execute a rectifier; "" if nothing is."""
    import numpy as np

    from cnnkit.network import Sequential
    from cnnkit.onnx.export import to_onnx

    model, x = Sequential(["ReLU()"], (2,)), np.array([[-1, 2]], np.float32)
    try:
        runtime = cast("Runtime", catalog.build("runtime", f"{plugin.distribution}:{cls.__name__}()"))
        outputs = runtime.run(to_onnx(model).SerializeToString(), {"input": x})
        if np.array_equal(outputs["logits"], model.logits(x)):
            return ""
    except Exception as error:  # a plugin may fail in any way; it is reported
        return f"{type(error).__name__}: {error}"
    return "its output for a ReLU differs from cnnkit's"
