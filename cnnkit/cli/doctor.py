"""`cnnkit doctor`: what this installation consists of, and what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.options import DataFolder, Debug, Json, RegistryFolder
from cnnkit.cli.output import say_json, say_pairs, say_table, warn
from cnnkit.cli.runtime_states import runtime_states
from cnnkit.waiting_line import waiting


def doctor(
    registry: RegistryFolder = None,
    data_dir: DataFolder = None,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune",
            help="Measure which OpenBLAS kernels are fastest here, and use them from now on if the defaults are "
            "slower; takes seconds. Other kernels round differently, as another machine would.",
        ),
    ] = False,
    compile_kernels: Annotated[
        bool,
        typer.Option("--compile", help="Compile the kernels of the extra cnnkit[fast] now, for all later trainings."),
    ] = False,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Show what this installation consists of.

    Exits with 1 if something is wrong with a plugin, a runtime, CNNKIT_TRUST, or the setting that --tune stored.
    """
    import importlib.metadata
    import platform

    import numpy as np
    from threadpoolctl import threadpool_info

    from cnnkit.cli import blas_tuning
    from cnnkit.components import installed_catalog
    from cnnkit.data import default_data_dir
    from cnnkit.errors import ConfigError
    from cnnkit.network import available_cores
    from cnnkit.network.execution.machine_rates import product_rate
    from cnnkit.network.kernels.compiled.choice import require
    from cnnkit.registry import Registry
    from cnnkit.registry.environment import system
    from cnnkit.registry.trust import ENVIRONMENT, trusted

    with waiting("measuring the kernels"):
        measured = blas_tuning.tune() if tune else {}  # before the setting is read
    if compile_kernels:
        require()
    catalog = installed_catalog()
    blas = [f"{info['internal_api']} {info['version']}" for info in threadpool_info() if info["user_api"] == "blas"]
    with waiting("asking the plugins"):
        asked = [(plugin, catalog.problems(plugin)) for plugin in catalog.plugins]
    problems = [f"{one.distribution} {one.version}: {problem}" for one, found in asked for problem in found]
    try:
        setting = blas_tuning.stored_setting()
    except ConfigError as error:
        setting = None
        problems.append(str(error))
    try:
        trust = ", ".join(sorted(trusted()))
    except ConfigError as error:
        trust = f"{ENVIRONMENT} cannot be used"
        problems.append(str(error))
    with waiting("trying the runtimes"):
        runtimes = runtime_states(catalog)
    problems += [state.problem for state in runtimes if state.problem]
    found: dict[str, object] = {
        "cnnkit": importlib.metadata.version("cnnkit"),
        "python": platform.python_version(),
        "platform": system(),
        "numpy": np.__version__,
        "onnx": importlib.metadata.version("onnx"),
        "blas": ", ".join(blas) or "unknown",
        "sgemm": f"{product_rate():.1f} GFLOP/s with one thread",
        "tuned": f"{blas_tuning.VARIABLE}={setting}" if setting else "no",
        "kernels": kernel_state(),
        "cores": available_cores(),
        "registry": folder_state(Registry(registry).path),
        "data": folder_state(Path(data_dir) if data_dir else default_data_dir()),
        "runtimes": ", ".join(state.text for state in runtimes),
        "plugins": ", ".join(
            f"{p.distribution} {p.version}{' (blocked)' if p.blocked else ''}" for p in catalog.plugins
        ),
        "trusted": trust or "no plugin",
    }
    if as_json:
        say_json(found | ({"gflops": measured} if tune else {}) | {"problems": problems})
    else:
        say_pairs(found)
        if tune:
            say_table(("coretype", "GFLOP/s"), measured.items())
        for problem in problems:
            warn(problem)
    if problems:
        raise typer.Exit(1)


def kernel_state() -> str:
    """Whether compiled kernels are ready, and if not, why."""
    from cnnkit.network.kernels.compiled import machine_code

    if reason := machine_code.unavailable():
        return f"NumPy; {reason}"
    if machine_code.is_ready():
        return f"compiled, in {machine_code.folder()}"
    if machine_code.is_being_made():
        return "NumPy; others are being compiled"
    if reason := machine_code.failure():
        return f"NumPy; those that are compiled cannot be made: {reason}; --compile tries again"
    return "NumPy; the next long training begins to compile others, and --compile does it now"


def folder_state(path: Path) -> str:
    """A folder with what can be done in it."""
    if not os.path.exists(path):
        return f"{path} (created when needed)"
    if not os.path.isdir(path):
        return f"{path} (not a folder)"
    return f"{path} ({'writable' if os.access(path, os.W_OK | os.X_OK) else 'read-only'})"
