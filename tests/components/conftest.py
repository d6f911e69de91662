"""Plugins that exist only in a test: no installed state, and a record of which of them were imported."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from cnnkit.components import Component, Plugin, hookimpl

MakePlugin = Callable[..., Plugin]


@pytest.fixture
def imported() -> list[str]:
    """Distributions of the plugins made by `make_plugin` that were imported, in order."""
    return []


@pytest.fixture
def make_plugin(imported: list[str]) -> MakePlugin:
    """make_plugin("walsh", A, B) brings layers A and B; hooks={...} adds hooks by name; error=... fails on import."""

    def make(
        distribution: str,
        *layers: type[Component],
        hooks: dict[str, Callable[..., Any]] | None = None,
        error: BaseException | None = None,
    ) -> Plugin:
        module = types.ModuleType(f"{distribution}_module")
        for name, hook in {"cnnkit_layers": lambda: list(layers), **(hooks or {})}.items():
            setattr(module, name, hookimpl(hook))

        def load() -> Any:
            imported.append(distribution)
            if error is not None:
                raise error
            return module

        return Plugin(distribution, "1.2", module.__name__, load)

    return make
